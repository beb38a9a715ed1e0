"""The chaos test: a gateway process between clients that come and go and three mock providers that fail at random.

    python tests/faults/chaos.py --seconds 120 --seed 1

It prints a report. It exits with 1 if a response was lost, an incomplete one looked complete, something leaked or grew,
or the providers got more than 1.1 calls per request.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, NamedTuple

import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))  # for `support`, as under pytest

from support.chaos_clients import carry_out, plan
from support.chaos_providers import NAMES, Provider, Weather
from support.ports import free_port

MAX_CALLS = 1.1  # per request
GROWTH_MIB = 4.0  # allowed from the second quarter to the last, in addition to two per cent
WARM_UP = 60.0  # seconds; growth in a shorter run is not counted
SETTINGS = {
    "SHUTDOWN_DELAY": "0s",
    "PROVIDER_TIMEOUT": "1s",
    "STREAM_IDLE_TIMEOUT": "1s",
    "CONNECT_TIMEOUT": "1s",
    "REQUEST_TIMEOUT": "8s",
    "UPSTREAM_IDLE_TIMEOUT": "1s",
    "STREAM_KEEPALIVE": "300ms",
    "WRITE_TIMEOUT": "5s",
    "CB_TIME_WINDOW": "1s",
    "CB_HALF_OPEN_TIMEOUT": "500ms",
    "LOG_QUEUE": "1000000",
    "CACHE_MAX_BYTES": "2MiB",  # full within the first quarter, so that later growth is not the cache
}


class Result(NamedTuple):
    """A line of the report. If `bad`, the run has failed."""

    what: str
    value: Any
    bad: bool = False


class Gateway:
    """The gateway's process, its pages, its log and its memory."""

    def __init__(self, providers: list[Provider], directory: Path) -> None:
        self.port = free_port()
        self._log = directory / "requests.jsonl"
        self._errors = directory / "stderr.txt"
        keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environ = {**keep, **SETTINGS, "PORT": str(self.port)}
        for provider in providers:
            key = {"gemini": "GOOGLE"}.get(provider.name, provider.name.upper())
            path = "/v1beta" if provider.name == "gemini" else "/v1"
            environ |= {f"{key}_API_KEY": "sk-chaos", f"{provider.name.upper()}_BASE_URL": provider.url + path}
        with self._log.open("wb") as out, self._errors.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nulpoint", "serve"], env=environ, cwd=directory, stdout=out, stderr=err
            )
        self.memory: list[float] = []

    def page(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return dict(json.loads(response.read()))

    async def ready(self) -> None:
        for _ in range(500):
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self.page, "/readiness")
                return
            await asyncio.sleep(0.02)
        raise SystemExit("the gateway did not start:\n" + self._errors.read_text())

    def note_memory(self) -> None:
        """Record the resident memory in MiB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def bugs(self) -> int:
        return self._errors.read_text().count("failed because of a bug")

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 60)


async def bombard(gateway: Gateway, weather: Weather, options: argparse.Namespace, rng: Random) -> Counter[str]:
    """Send requests at a random pace and return how often each result occurred."""
    results: Counter[str] = Counter()
    running: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        results[await carry_out(gateway.port, plan(number, rng))] += 1

    began, number, last_look = time.monotonic(), 0, 0.0
    while (now := time.monotonic() - began) < options.seconds:
        weather.at(now)
        if now - last_look >= 0.25:
            last_look = now
            gateway.note_memory()
        task = asyncio.ensure_future(one(number))
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1
        await asyncio.sleep(rng.expovariate(options.rate))
    weather.clear()
    await asyncio.gather(*running)
    return results


async def leaked(gateway: Gateway, providers: list[Provider]) -> tuple[int, dict[str, int]]:
    """Return the connections and permits in use after the load, when idle connections have had time to close."""
    for _ in range(100):
        health = await asyncio.to_thread(gateway.page, "/health")
        states = health["providers"]
        permits = {
            "in flight": health["inflight_requests"],
            "places": sum(health["places"].values()),
            "further attempts": sum(state["further_attempts"] for state in states.values()),
            "probes": sum(state["circuit_breaker"] == "half_open" for state in states.values()),
        }
        connections = health["upstream_connections"] + sum(len(provider.connections) for provider in providers)
        if not connections and not any(permits.values()):
            break
        await asyncio.sleep(0.1)
    return connections, {what: count for what, count in permits.items() if count}


async def failures_afterwards(gateway: Gateway) -> int:
    """Return how many requests fail after the faults have ended and breakers had time to probe."""
    await asyncio.sleep(1)
    results = []
    for number in range(30):
        planned = plan(number, Random(number))
        calm = planned._replace(id=f"calm-{number}", marker=f"calm{number}", leaves=None)
        results.append(await carry_out(gateway.port, calm))
    return len(results) - results.count("answer")


def growth(memory: list[float]) -> float:
    """Return the growth from the second quarter to the last in MiB, beyond the allowed growth."""
    quarter = len(memory) // 4
    if not quarter:
        return 0.0
    early, late = median(memory[quarter : 2 * quarter]), median(memory[-quarter:])
    return round(late - early * 1.02 - GROWTH_MIB, 1)


def judge(results: Counter[str], records: list[dict[str, Any]], providers: list[Provider]) -> list[Result]:
    """Compare the results of clients, the log and the providers."""
    request_count = results.total()
    ours = [record for record in records if record["id"].startswith("storm-")]
    coalesced = sum(record.get("coalesced", False) for record in ours)
    calls = sum(provider.calls.total() + provider.met["refuse"] for provider in providers)
    good: Counter[str] = sum((provider.good for provider in providers), Counter())
    doubles = sum(count > 1 for marker, count in good.items() if marker.startswith("q"))
    false = sum(count for result, count in results.items() if result.startswith("false"))
    lost = sum(count for result, count in results.items() if result.startswith("lost"))
    known = {record["id"] for record in ours}
    missing = request_count - results["left"] - len({record["id"] for record in ours if record["status"] != 499})
    return [
        Result("requests", request_count),
        Result("  shared another's call", coalesced),
        Result("  whose client disconnected", results["left"]),
        Result("errors that clients received", results["error"]),
        Result("upstream calls", calls, calls > MAX_CALLS * (request_count - coalesced)),
        Result("  per request without sharing", round(calls / max(1, request_count - coalesced), 3)),
        Result("faults met", sum(provider.met.total() for provider in providers)),
        Result("requests with two good responses", doubles),
        Result("false completions", false, false > 0),
        Result("lost responses", lost, lost > 0),
        Result("records too many", len(ours) - len(known), len(ours) != len(known)),
        Result("records too few", max(0, missing), missing > 0),
        *(Result("  " + result, count, True) for result, count in results.items() if ":" in result),
    ]


async def main(options: argparse.Namespace) -> int:
    rng = Random(options.seed)
    providers = [Provider(name, rng) for name in NAMES]
    for provider in providers:
        await provider.listen("127.0.0.1", 0)
    weather = Weather(providers, rng)
    with tempfile.TemporaryDirectory(prefix="nulpoint-chaos-") as directory:
        gateway = Gateway(providers, Path(directory))
        try:
            await gateway.ready()
            results = await bombard(gateway, weather, options, rng)
            calls_by_then = [Counter(provider.calls) for provider in providers]
            failed_afterwards = await failures_afterwards(gateway)
            connections, permits = await leaked(gateway, providers)
            code = await gateway.stop()
        finally:
            gateway.process.kill()
            gateway.process.wait()
        for provider, calls in zip(providers, calls_by_then, strict=True):
            provider.calls = calls
        report = judge(results, gateway.records(), providers)
        excess = growth(gateway.memory)
        report += [
            Result("outages", weather.outages),
            Result("leaked connections", connections, connections > 0),
            Result("leaked permits", permits or 0, bool(permits)),
            Result("failed after the faults ended", failed_afterwards, failed_afterwards > 0),
            Result("memory at the end, MiB", round(gateway.memory[-1], 1)),
            Result("  grown beyond what is allowed", max(0.0, excess), options.seconds >= WARM_UP and excess > 0),
            Result("bugs in the gateway's log", gateway.bugs(), gateway.bugs() > 0),
            Result("exit code", code, code != 0),
        ]
    for provider in providers:
        await provider.close()
    print(f"seed {options.seed}, {options.seconds:g} s at {options.rate:g} requests a second")
    for result in report:
        print(f"{'!' if result.bad else ' '} {result.what:<44} {result.value}")
    return int(any(result.bad for result in report))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--seed", type=int, default=1)
    sys.exit(uvloop.run(main(parser.parse_args())))
