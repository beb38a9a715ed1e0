"""What the accounts of one request cost the event loop, in this process: its record, log and metrics together.

    .venv/bin/python bench/log_cost.py

Everything between the end of an answer and the next request is measured: entry to record, price, JSON line, queue,
counters. What the sink's thread does beside it is the second column; SQLite takes records apart without the
interpreter lock.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from nulpoint.gateway.journal import Entry, Journal
from nulpoint.http.message import Request
from nulpoint.providers.price_list import PRICE_LIST
from nulpoint.providers.prices import Prices
from nulpoint.stores.calendar import calendar
from nulpoint.stores.log_database import DatabaseSink
from nulpoint.stores.log_files import DescriptorSink
from nulpoint.stores.log_writer import Sink
from nulpoint.stores.metrics import Metrics
from nulpoint.stores.requestlog import RequestLog
from nulpoint.wire.usage import Usage

ROUNDS, REQUESTS = 30, 2000


class Answered:
    """As much of a reply as its record needs."""

    status, body_bytes = 200, 512


class NoMetrics:
    def settle(self, record: Any, provider_us: int = 0) -> None: ...


def entry() -> Entry:
    now = time.perf_counter()
    return Entry(b"0123456789abcdef0123456789abcdef", "chat", now, now, now, now, "gpt-4o", "openai", "gpt-4o",
                 "gpt-4o-2024-08-06", cache="MISS", key=b"k" * 32, usage=Usage(9, 24))  # fmt: skip


async def measure(sinks: list[Sink], metrics: Any) -> tuple[float, float, float]:
    """Microseconds a request: the loop's, at best and in the median; and the thread's."""
    log = RequestLog(sinks, "info", 10**9, lambda: None)
    journal = Journal(log, metrics, Prices(PRICE_LIST), None)
    request, reply = Request("POST", b"/v1/chat/completions", {}, "1.1", True, 0.0), Answered()
    taken, beside, own = [], [], []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(REQUESTS):
            entry()
        own.append(time.thread_time() - began)
        began, all_began = time.thread_time(), time.process_time()
        for _ in range(REQUESTS):
            journal.settle(entry(), request, reply)  # type: ignore[arg-type]
        taken.append(time.thread_time() - began)
        await asyncio.sleep(0.25)
        beside.append(time.process_time() - all_began - (time.thread_time() - began))
    log.close(5.0)
    each = 1e6 / REQUESTS
    return (min(taken) - min(own)) * each, (median(taken) - median(own)) * each, median(beside) * each


def main() -> None:
    print(f"{'us a request':<24}{'best':>8}{'median':>8}{'thread':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, sinks in (
            ("no log", []),
            ("stdout", [DescriptorSink(os.open(os.devnull, os.O_WRONLY), shared=False)]),
            ("SQLite", [DatabaseSink(Path(folder) / "x.db", 0.0, calendar(), time.monotonic, 0.0)]),
        ):
            for more, metrics in (("", NoMetrics()), (" and metrics", Metrics("bench"))):
                if more:
                    sinks = [_again(sink) for sink in sinks]
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    best, usual, thread = runner.run(measure(sinks, metrics))
                print(f"{name + more:<24}{best:>8.2f}{usual:>8.2f}{thread:>8.2f}")


def _again(sink: Sink) -> Sink:
    if isinstance(sink, DatabaseSink):
        return DatabaseSink(sink._path, 0.0, calendar(), time.monotonic, 0.0)
    return sink


if __name__ == "__main__":
    main()
