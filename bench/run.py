"""The campaign: nulpoint beside nginx in interleaved rounds, and what it costs in memory and time to start.

`BENCH_QUICK=1` for a first look. Prints a table and writes bench/results/latest.json; `--write-docs` puts the table
into docs/performance.md.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

from clocks import cpu_ns, rss_kib
from figures import Row, interval, ratios
from peers import peers_available
from streams import measure_idle_streams, measure_streams
from subjects import (
    LOAD_CPU,
    SUBJECT_CPU,
    Subject,
    answering,
    child,
    free_port,
    gateway_environment,
    nulpoint,
    pinned,
    proxying,
    wait_for,
)

HERE = Path(__file__).parent
QUICK = bool(os.environ.get("BENCH_QUICK"))
ROUNDS, SECONDS = (3, 2) if QUICK else (10, 4)
TURNS = 10 if QUICK else 60  # of half a second, for each subject of the streams
PROMPTS = {"260 B": 150, "160 kB": 160_000}


def wrk(port: int, connections: int, seconds: float, script: Path) -> dict[str, float]:
    """One run of wrk. Raises RuntimeError when any answer was not a 200 or a connection failed."""
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "--latency",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}/v1/chat/completions",
    ]
    printed = subprocess.run(pinned(LOAD_CPU, *command), capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise RuntimeError(f"a round with errors counts for nothing:\n{printed}")
    requests = re.search(r"(\d+) requests in", printed)
    return {
        "requests": float(requests[1] if requests else 0),
        "p50": _microseconds(printed, "50"),
        "p99": _microseconds(printed, "99"),
    }


def _microseconds(printed: str, percentile: str) -> float:
    found = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)", printed)
    return float(found[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[found[2]] if found else 0.0


def lua(folder: Path, name: str, characters: int) -> Path:
    body = json.dumps(
        {
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": ("word " * characters)[:characters]}],
            "temperature": 0.7,
        }
    )
    path = folder / f"{name.replace(' ', '')}.lua"
    path.write_text(
        'wrk.method = "POST"\nwrk.headers["content-type"] = "application/json"\n'
        f'wrk.headers["authorization"] = "Bearer any"\nwrk.body = [[{body}]]\n'
    )
    return path


def same_answer(direct: int, through: int) -> None:
    """The gateway's body must be the provider's, byte for byte."""

    def ask(port: int) -> bytes:
        data = b'{"model":"gpt-4o","messages":[]}'
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        request = urllib.request.Request(url, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bytes(answer.read())

    if ask(direct) != ask(through):
        raise RuntimeError("the gateway's answer is not the provider's")


def measure_requests(folder: Path, rows: list[Row], raw: dict[str, Any]) -> None:
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(answering(folder / "up"))
        reference = stack.enter_context(proxying(folder / "px", upstream))
        again = stack.enter_context(proxying(folder / "px2", upstream, "nginx again"))
        ours = stack.enter_context(nulpoint(folder, upstream))
        same_answer(upstream, ours.port)
        for name, characters in PROMPTS.items():
            script = lua(folder, name, characters)
            rounds = [cpu_round([reference, again, ours], script, number) for number in range(ROUNDS)]
            raw[f"cpu us a request, {name}"] = rounds
            rows += cpu_rows(name, rounds)
        latency(upstream, [reference, ours], lua(folder, "latency", 150), rows, raw)
        raw["rss"] = rss_kib(ours.pids)


def cpu_round(subjects: list[Subject], script: Path, number: int) -> dict[str, float]:
    """CPU microseconds a request at 64 connections, every subject once; the order turns from round to round."""
    turn = number % len(subjects)
    one = {}
    for subject in subjects[turn:] + subjects[:turn]:
        wrk(subject.port, 64, 1, script)
        before = cpu_ns(subject.pids)
        run = wrk(subject.port, 64, SECONDS, script)
        one[subject.name] = (cpu_ns(subject.pids) - before) / run["requests"] / 1000
    return one


def cpu_rows(name: str, rounds: list[dict[str, float]]) -> list[Row]:
    low, mid, high = interval(ratios(rounds, "nulpoint", "nginx"))
    a_low, a_mid, a_high = interval(ratios(rounds, "nginx again", "nginx"))
    target = "<= 3.0 (aim 2.0)" if name == "260 B" else ""
    return [
        (f"CPU a request, {name}: nginx", f"{median(one['nginx'] for one in rounds):.1f} us", ""),
        (f"CPU a request, {name}: nulpoint", f"{median(one['nulpoint'] for one in rounds):.1f} us", ""),
        (f"CPU a request, {name}: nulpoint / nginx", f"{mid:.2f} ({low:.2f} to {high:.2f})", target),
        (f"CPU a request, {name}: nginx / nginx (noise)", f"{a_mid:.2f} ({a_low:.2f} to {a_high:.2f})", ""),
    ]


def latency(upstream: int, subjects: list[Subject], script: Path, rows: list[Row], raw: dict[str, Any]) -> None:
    """At one connection, in ABBA order; what is added is the difference to direct within one round."""
    direct = Subject("direct", upstream, [])
    rounds = []
    for _ in range(ROUNDS):
        one: dict[str, list[float]] = {}
        order = [direct, *subjects]
        for subject in order + order[::-1]:
            one.setdefault(subject.name, []).append(wrk(subject.port, 1, 1, script)["p50"])
        rounds.append({name: sum(values) / len(values) for name, values in one.items()})
    raw["p50 us at one connection"] = rounds
    for subject in subjects:
        low, mid, high = interval([one[subject.name] - one["direct"] for one in rounds])
        target = "<= 250 us" if subject.name == "nulpoint" else ""
        rows.append((f"P50 added at one connection: {subject.name}", f"{mid:.0f} us ({low:.0f} to {high:.0f})", target))


def measure_start(folder: Path, rows: list[Row], raw: dict[str, Any]) -> None:
    """From exec to the first proxied answer."""
    times = []
    with answering(folder / "cold") as upstream:
        for _ in range(5 if QUICK else 20):
            port = free_port()
            began = time.monotonic()
            with child(
                pinned(SUBJECT_CPU, sys.executable, "-m", "nulpoint", "serve"), gateway_environment(port, upstream)
            ):
                wait_for(port)
                same_answer(upstream, port)
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


def write_docs(text: str) -> None:
    path = HERE.parent / "docs" / "performance.md"
    page = path.read_text()
    start, end = "<!-- table -->", "<!-- end of table -->"
    path.write_text(page[: page.index(start) + len(start)] + f"\n\n{text}\n\n" + page[page.index(end) :])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--peers", action="store_true", help="also LiteLLM and Portkey, from their packages")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows: list[Row] = []
    raw: dict[str, Any] = {"header": header()}
    have = bool(shutil.which("nginx") and shutil.which("wrk"))
    with tempfile.TemporaryDirectory(prefix="nulpoint-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if have:
            measure_requests(folder, rows, raw)
            measure_streams(folder, TURNS, rows, raw)
            measure_start(folder, rows, raw)
        else:
            print("nginx or wrk is not here: only memory is measured")
        measure_idle_streams(folder, rows, raw)
        if options.peers and have:
            rows += peers_available(folder, raw, SECONDS, wrk, lua)
    raw["rows"] = rows
    text = f"{raw['header']}\n\n{table(rows)}"
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "latest.json").write_text(json.dumps(raw, indent=1))
    print(text)
    if options.write_docs:
        write_docs(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
