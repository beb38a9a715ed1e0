"""Measures nulpoint next to nginx in interleaved rounds, and the memory and the start-up time of nulpoint.

Set `BENCH_QUICK=1` for a first look. Prints a table and writes bench/results/latest.json. `--write-docs` puts the table
into docs/performance.md and its most important rows into README.md.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from cached import measure_cache
from clocks import cpu_ns, rss_kib
from figures import Row, interval, pass_through_row, ratios, translated_row
from formats import BEDROCK, PASSED_THROUGH, SIGNED, TRANSLATED, Format
from load import PROMPTS, check_same_response, check_same_text, lua, wrk
from longest_step import measure_longest_steps
from peers import measure_peers
from published import publish
from reloading import measure_reloads
from settling import measure_settling
from signing import measure_signing
from streams import measure_idle_streams, measure_streams, measure_translated_streams
from subjects import (
    LOAD_CPU,
    SUBJECT_CPU,
    Subject,
    allow_many_files,
    child,
    free_port,
    gateway_environment,
    nginx_proxy,
    nulpoint,
    pass_through_subjects,
    pinned,
    response_server,
    translated_subjects,
    wait_for,
)

HERE = Path(__file__).parent
QUICK = bool(os.environ.get("BENCH_QUICK"))
# Many short runs: a disturbance of the machine, which lasts seconds, then affects neighbouring runs alike.
ROUNDS, SECONDS = (4, 1) if QUICK else (10, 2)
LATENCY_ROUNDS = 3 if QUICK else 6
TURNS = 10 if QUICK else 60  # turns of half a second for each subject of the streams
NO_CACHE = "CACHE_MODE=none"  # by default the cache is on, and every request here is a miss
SIGNED_NAME = "Bedrock, with signatures,"


def measure_requests(folder: Path, rows: list[Row], raw: dict[str, Any]) -> None:
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(response_server(folder / "up"))
        reference = stack.enter_context(nginx_proxy(folder / "px", upstream))
        second_reference = stack.enter_context(nginx_proxy(folder / "px2", upstream, "nginx again"))
        ours = stack.enter_context(nulpoint(folder, upstream))
        signed = stack.enter_context(nulpoint(folder, upstream, SIGNED_NAME, BEDROCK.model, settings=SIGNED))
        translated, passed_through = [*translated_subjects(ours), signed], pass_through_subjects(ours)
        check_same_response(upstream, ours.port)
        check_same_text(upstream, [*translated, *passed_through])
        uncached = stack.enter_context(nulpoint(folder, upstream, NO_CACHE, settings={"CACHE_MODE": "none"}))
        subjects = [reference, second_reference, ours, uncached, *translated, *passed_through]
        for name, characters in PROMPTS.items():
            scripts = {subject.model: lua(folder, name, characters, subject.model) for subject in subjects}
            for subject in subjects:
                wrk(subject.port, 64, 1, scripts[subject.model])
            rounds = [cpu_round(subjects, scripts, number) for number in range(ROUNDS)]
            raw[f"cpu us per request, {name}"] = rounds
            rows += cpu_rows(name, rounds)
        latency(upstream, [reference, ours], lua(folder, "latency", 150), rows, raw)
        raw["rss"] = rss_kib(ours.pids)


def cpu_round(subjects: list[Subject], scripts: dict[str, Path], number: int) -> dict[str, float]:
    """Return the CPU time of a request at 64 connections, in microseconds, for every subject. The order rotates."""
    turn = number % len(subjects)
    costs = {}
    for subject in subjects[turn:] + subjects[:turn]:
        before = cpu_ns(subject.pids)
        run = wrk(subject.port, 64, SECONDS, scripts[subject.model])
        costs[subject.name] = (cpu_ns(subject.pids) - before) / run["requests"] / 1000
    return costs


def cpu_rows(name: str, rounds: list[dict[str, float]]) -> list[Row]:
    low, mid, high = interval(ratios(rounds, "nulpoint", "nginx"))
    a_low, a_mid, a_high = interval(ratios(rounds, "nginx again", "nginx"))
    m_low, m_mid, m_high = interval(ratios(rounds, "nulpoint", NO_CACHE))
    target = "<= 3.0 (aim 2.0)" if name == "260 B" else ""
    return [
        (f"CPU per request, {name}: nginx", f"{median(costs['nginx'] for costs in rounds):.1f} us", ""),
        (f"CPU per request, {name}: nulpoint", f"{median(costs['nulpoint'] for costs in rounds):.1f} us", ""),
        (f"CPU per request, {name}: nulpoint / nginx", f"{mid:.2f} ({low:.2f} to {high:.2f})", target),
        (f"CPU per request, {name}: nginx / nginx (noise)", f"{a_mid:.2f} ({a_low:.2f} to {a_high:.2f})", ""),
        (
            f"CPU per request, {name}: nulpoint with {NO_CACHE}",
            f"{median(costs[NO_CACHE] for costs in rounds):.1f} us",
            "",
        ),
        (
            f"CPU per request, {name}: nulpoint, a cache miss / with {NO_CACHE}",
            f"{m_mid:.2f} ({m_low:.2f} to {m_high:.2f})",
            "<= 1.25" if name == "260 B" else "<= 2.0",
        ),
        *(translated_row(f"request, {name}", form.name, rounds, _bound(name, form)) for form in TRANSLATED),
        translated_row(f"request, {name}", SIGNED_NAME, rounds, ""),
        *(
            pass_through_row(f"request, {name}", form.name, rounds, "<= 1.2" if name == "260 B" else "")
            for form in PASSED_THROUGH
        ),
    ]


def _bound(name: str, form: Format) -> str:
    """Return the bound on a translated request; Bedrock's is only reported."""
    return "<= 1.8" if name == "260 B" and form is not BEDROCK else ""


def latency(upstream: int, subjects: list[Subject], script: Path, rows: list[Row], raw: dict[str, Any]) -> None:
    """Measure the latency added at one connection, in ABBA order: the difference to direct requests in a round."""
    direct = Subject("direct", upstream, [])
    rounds = []
    for _ in range(LATENCY_ROUNDS):
        latencies: dict[str, list[float]] = {}
        order = [direct, *subjects]
        for subject in order + order[::-1]:
            latencies.setdefault(subject.name, []).append(wrk(subject.port, 1, 1, script)["p50"])
        rounds.append({name: sum(values) / len(values) for name, values in latencies.items()})
    raw["p50 us at one connection"] = rounds
    for subject in subjects:
        low, mid, high = interval([medians[subject.name] - medians["direct"] for medians in rounds])
        target = "<= 250 us" if subject.name == "nulpoint" else ""
        rows.append((f"P50 added at one connection: {subject.name}", f"{mid:.0f} us ({low:.0f} to {high:.0f})", target))


def measure_start(folder: Path, rows: list[Row], raw: dict[str, Any]) -> None:
    """Measure the time from exec to the first proxied response."""
    times = []
    with response_server(folder / "cold") as upstream:
        for _ in range(5 if QUICK else 20):
            port = free_port()
            began = time.monotonic()
            with child(
                pinned(SUBJECT_CPU, sys.executable, "-m", "nulpoint", "serve"), gateway_environment(port, upstream)
            ):
                wait_for(port)
                check_same_response(upstream, port)
                times.append(time.monotonic() - began)
    raw["start"] = times
    rows.append(("First proxied answer after start, median", f"{median(times) * 1000:.0f} ms", "<= 1 s"))


def header() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "?",
    )
    nginx = (
        subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().rpartition("/")[2]
        if shutil.which("nginx")
        else "absent"
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE
    ).stdout.strip()
    return (
        f"commit {commit}, Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} x {model}, nginx {nginx}; "
        f"{ROUNDS} rounds of {SECONDS} s, subject on CPU {SUBJECT_CPU}, load and upstream on CPU {LOAD_CPU}; 64 connections; "
        "median and 95 % interval"
    )


def table(rows: list[Row]) -> str:
    return "\n".join(["| What | Measured | To reach |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write-docs", action="store_true", help="write the figures into docs/performance.md and README.md"
    )
    parser.add_argument(
        "--peers", action="store_true", help="also measure LiteLLM and Portkey, installed from their packages"
    )
    options = parser.parse_args()
    allow_many_files()
    rows: list[Row] = []
    raw: dict[str, Any] = {"header": header()}
    has_tools = bool(shutil.which("nginx") and shutil.which("wrk"))
    with tempfile.TemporaryDirectory(prefix="nulpoint-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if has_tools:
            measure_requests(folder, rows, raw)
            measure_streams(folder, TURNS, rows, raw)
            measure_translated_streams(folder, TURNS, rows, raw)
            measure_cache(folder, ROUNDS, SECONDS, wrk, rows, raw)
            measure_start(folder, rows, raw)
            measure_longest_steps(folder, 3 if QUICK else 5, rows, raw)
            measure_reloads(folder, 2 if QUICK else 10, wrk, lua(folder, "reloads", 150), rows, raw)
        else:
            print("bench: nginx or wrk is not installed, so only memory, the log, metrics and signatures are measured")
        measure_settling(ROUNDS, rows, raw)
        measure_signing(ROUNDS, rows, raw)
        measure_idle_streams(folder, rows, raw)
        if options.peers and has_tools:
            rows += measure_peers(folder, raw, SECONDS, wrk, lua)
    raw["rows"] = rows
    text = f"{raw['header']}\n\n{table(rows)}"
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "latest.json").write_text(json.dumps(raw, indent=1))
    print(text)
    if options.write_docs:
        publish(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
