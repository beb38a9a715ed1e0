"""Measures what remains to be done after a response: the log record and the metrics, in this process, without sockets.

Run it alone with `python bench/settling.py`.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from figures import Row
from nulpoint.conversation.usage import Usage
from nulpoint.http.message import HttpRequest
from nulpoint.models.catalog import built_in_models
from nulpoint.models.costs import Prices
from nulpoint.request.context import RequestContext
from nulpoint.request.recorder import RequestRecorder
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.telemetry.request_log.files import DescriptorSink
from nulpoint.telemetry.request_log.request_log import RequestLog
from nulpoint.telemetry.request_log.sqlite import SqliteSink
from nulpoint.telemetry.request_log.writer import LogSink
from nulpoint.telemetry.wall_clock import trusted_clock

REQUESTS = 5_000  # per round
PROVIDERS, ROUTES, STATUSES = ("openai", "anthropic", "gemini", "mistral"), ("chat", "embeddings"), (200, 429, 502)


class _Response:
    """Those attributes of a response that the recorder reads."""

    status = 200
    body_bytes = 900


REQUEST = HttpRequest("POST", b"/v1/chat/completions", {}, "1.1", True, 0.0)
RESPONSE: Any = _Response()


def measure_settling(rounds: int, rows: list[Row], raw: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteSink(Path(folder) / "requests.db", 0.0, trusted_clock(), time.monotonic)
        both, metrics_only, page, lines = asyncio.run(_measure(rounds))
        with_sqlite = asyncio.run(_measure_with_sink(database, rounds))
    raw["log and metrics"] = {"both us": both, "metrics us": metrics_only, "page ms": page, "SQLite us": with_sqlite}
    rows.append(("CPU of log and metrics together, per request", f"{median(both):.1f} us", "<= 6"))
    rows.append(("CPU of the metrics alone, per request", f"{median(metrics_only):.1f} us", ""))
    rows.append(("The same two with SQLite, whose thread takes most of it", f"{median(with_sqlite):.1f} us", ""))
    rows.append((f"CPU of a page of /metrics with {lines} lines", f"{median(page):.1f} ms", ""))


async def _measure(rounds: int) -> tuple[list[float], list[float], list[float], int]:
    null_device = os.open(os.devnull, os.O_WRONLY)
    metrics, log, recorder = _build(DescriptorSink(null_device, shared=False))
    both, metrics_only, page = [], [], []
    for _ in range(rounds):
        both.append(await _time_per_request(log, recorder))
        metrics_only.append(_time_of_metrics(recorder, metrics))
    for provider in PROVIDERS:
        for route in ROUTES:
            for status in STATUSES:
                record = recorder.build_record(_request_context(provider, route), REQUEST, RESPONSE)
                record.status = status
                metrics.request_finished(record)
    for _ in range(rounds):
        began = time.process_time()
        text = metrics.page()
        page.append((time.process_time() - began) * 1e3)
    log.close(1.0)
    os.close(null_device)
    return both, metrics_only, page, text.count(b"\n")


async def _measure_with_sink(sink: LogSink, rounds: int) -> list[float]:
    _, log, recorder = _build(sink)
    times = [await _time_per_request(log, recorder) for _ in range(rounds)]
    log.close(5.0)
    return times


def _build(sink: LogSink) -> tuple[Metrics, RequestLog, RequestRecorder]:
    metrics = Metrics("bench")
    log = RequestLog([sink], "info", 10 * REQUESTS, metrics.log_dropped)
    return metrics, log, RequestRecorder(log, metrics, Prices(built_in_models()), None)


async def _time_per_request(log: RequestLog, recorder: RequestRecorder) -> float:
    """Return the microseconds per request, of all threads together, until the last record is written."""
    began = time.process_time()
    for _ in range(REQUESTS):
        recorder.finish(_request_context(), REQUEST, RESPONSE)
    await asyncio.sleep(0.15)  # the interval at which the log writes a batch
    while log.health()[0]["waiting"]:
        await asyncio.sleep(0.05)
    finished = time.process_time()
    for _ in range(REQUESTS):
        _request_context()
    return (2 * finished - began - time.process_time()) / REQUESTS * 1e6


def _time_of_metrics(recorder: RequestRecorder, metrics: Metrics) -> float:
    record = recorder.build_record(_request_context(), REQUEST, RESPONSE)
    began = time.process_time()
    for _ in range(REQUESTS):
        metrics.request_finished(record, 4000)
    return (time.process_time() - began) / REQUESTS * 1e6


def _request_context(provider: str = "openai", route: str = "chat") -> RequestContext:
    """Return the context of a plain request that succeeded."""
    now = time.perf_counter()
    return RequestContext(
        id=b"0123456789abcdef01230000000000ab", route=route, started=now - 0.005, sent=now - 0.0049,
        first_byte=now - 0.0001, response_started=now - 0.00005, model="gpt-4o", provider=provider,
        response_model="gpt-4o-2024-08-06", cache="MISS", usage=Usage(12, 34),
    )  # fmt: skip


def main() -> None:
    rows: list[Row] = []
    measure_settling(20, rows, {})
    for name, value, target in rows:
        print(f"{name}: {value} {target}".rstrip())


if __name__ == "__main__":
    main()
