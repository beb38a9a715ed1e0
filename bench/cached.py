"""Measures what cache hits cost, what the limits add, and what half-cached batches of embeddings save."""

import contextlib
import json
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from clocks import cpu_ns
from figures import Row, interval, ratios
from subjects import LOAD_CPU, Subject, child, free_port, nginx_proxy, nulpoint, pinned, response_server, wait_for

Wrk = Callable[[int, int, float, Path], dict[str, float]]
CONNECTIONS, BATCHES = 64, 8  # at the same time; the response to a batch is 820 kB
HIGH_LIMIT = "1000000000"  # never reached, so that only the accounting is measured
OFF, MEMORY, REDIS = "cache off", "hit in memory", "hit in Redis"
LIMITS, SHARED_LIMITS = "limits in this process", "limits in Redis"
CACHED_INPUTS = 50  # of 100
_HEAD = """wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer any"
"""
_BATCHES = """local number = os.time() * 1000000
request = function()
  local new = {}
  for index = 1, %d do
    number = number + 1
    new[index] = string.format('"text %%020d"', number)
  end
  return wrk.format(nil, "/v1/embeddings", nil, [[%s]] .. table.concat(new, ",") .. "]}")
end
"""


def measure_cache(folder: Path, rounds: int, seconds: float, wrk: Wrk, rows: list[Row], raw: dict[str, Any]) -> None:
    same = _script(folder, "same", f"wrk.body = [[{_question()}]]\n")
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(response_server(folder / "cache-up"))

        def gateway(name: str, **settings: str) -> Subject:
            return stack.enter_context(nulpoint(folder, upstream, name, settings=settings))

        runs = [
            (stack.enter_context(nginx_proxy(folder / "cache-px", upstream)), same),
            (gateway(OFF, CACHE_MODE="none"), same),
            (gateway(MEMORY), same),
            (gateway(LIMITS, CACHE_MODE="none", RPM_LIMIT=HIGH_LIMIT, TPM_LIMIT=HIGH_LIMIT), same),
        ]
        if shutil.which("redis-server"):
            url = stack.enter_context(_redis())
            runs.append((gateway(REDIS, CACHE_MODE="redis", REDIS_URL=url), same))
            runs.append(
                (
                    gateway(
                        SHARED_LIMITS, CACHE_MODE="none", RPM_LIMIT=HIGH_LIMIT, TPM_LIMIT=HIGH_LIMIT, REDIS_URL=url
                    ),
                    same,
                )
            )
        measured = _rounds(runs, CONNECTIONS, rounds, seconds, wrk)
    raw["cpu us per request, cache and limits"] = measured
    rows += _request_rows(measured)
    measure_batches(folder, rounds, seconds, wrk, rows, raw)


def _request_rows(measured: list[dict[str, float]]) -> list[Row]:
    rows = [(f"CPU per request, 260 B: {MEMORY}", f"{median(costs[MEMORY] for costs in measured):.1f} us", "")]
    rows.append(_ratio(MEMORY, "nginx", measured))
    rows.append(_added(LIMITS, measured))
    if REDIS in measured[0]:
        rows.append(_ratio(REDIS, OFF, measured))
        rows.append(_added(SHARED_LIMITS, measured))
    return rows


def measure_batches(folder: Path, rounds: int, seconds: float, wrk: Wrk, rows: list[Row], raw: dict[str, Any]) -> None:
    """Measure batches of 100 inputs with 50 of them cached, and the same with a gateway that has no cache."""
    cached = [f"text {number:020}" for number in range(CACHED_INPUTS)]
    unclosed = json.dumps({"model": "text-embedding-3-small", "encoding_format": "base64", "input": cached})[:-2] + ","
    script = _script(folder, "batches", _BATCHES % (CACHED_INPUTS, unclosed))
    with (
        _vectors_upstream(CACHED_INPUTS) as half_port,
        _vectors_upstream(2 * CACHED_INPUTS) as whole_port,
        nulpoint(folder, whole_port, OFF, settings={"CACHE_MODE": "none"}) as off,
        nulpoint(folder, half_port, MEMORY) as memory,
    ):
        _post(memory.port, unclosed[:-1] + "]}")
        measured = _rounds([(off, script), (memory, script)], BATCHES, rounds, seconds, wrk)
    raw["cpu us per batch of embeddings"] = measured
    unit = "CPU per batch of 100 embeddings"
    low, mid, high = interval(ratios(measured, MEMORY, OFF))
    rows.append((f"{unit}: {OFF}", f"{median(costs[OFF] for costs in measured):.0f} us", ""))
    rows.append((f"{unit}: half of them known / {OFF}", f"{mid:.2f} ({low:.2f} to {high:.2f})", ""))


def _rounds(
    runs: list[tuple[Subject, Path]], connections: int, rounds: int, seconds: float, wrk: Wrk
) -> list[dict[str, float]]:
    """Return the CPU time of a request in microseconds. Every round has each subject once, in a rotating order."""
    for subject, script in runs:
        wrk(subject.port, connections, 1, script)
    measured = []
    for number in range(rounds):
        costs = {}
        turn = number % len(runs)
        for subject, script in runs[turn:] + runs[:turn]:
            before = cpu_ns(subject.pids)
            requests = wrk(subject.port, connections, seconds, script)["requests"]
            costs[subject.name] = (cpu_ns(subject.pids) - before) / requests / 1000
        measured.append(costs)
    return measured


def _ratio(name: str, reference: str, measured: list[dict[str, float]]) -> Row:
    low, mid, high = interval(ratios(measured, name, reference))
    return f"CPU per request, 260 B: {name} / {reference}", f"{mid:.2f} ({low:.2f} to {high:.2f})", ""


def _added(name: str, measured: list[dict[str, float]]) -> Row:
    low, mid, high = interval([costs[name] - costs[OFF] for costs in measured])
    return f"CPU added to a request: {name}", f"{mid:.1f} us ({low:.1f} to {high:.1f})", ""


def _question() -> str:
    prompt = ("word " * 150)[:150]
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}], "temperature": 0.7})


def _script(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.lua"
    path.write_text(_HEAD + text)
    return path


def _post(port: int, body: str) -> None:
    headers = {"content-type": "application/json", "authorization": "Bearer any"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/embeddings", body.encode(), headers)
    urllib.request.urlopen(request, timeout=5).close()


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="nulpoint-redis-") as folder:
        options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder)
        with child(pinned(LOAD_CPU, "redis-server", *options)):
            wait_for(port)
            yield f"redis://127.0.0.1:{port}"


@contextlib.contextmanager
def _vectors_upstream(count: int) -> Iterator[int]:
    port = free_port()
    program = str(Path(__file__).with_name("vectors_upstream.py"))
    with child(pinned(LOAD_CPU, sys.executable, program, str(port), str(count))):
        wait_for(port)
        yield port
