"""The request log: writes one record per request to every sink, without making a request wait.

A record is encoded as a line of JSON at once. Ten times a second the collected lines are handed to the sinks' writers
(see `writer`). Each writer has its own thread, and only these threads may block. All queues are limited: records that a
sink cannot take are dropped and counted.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from nulpoint.telemetry.request_log.record import RequestRecord
from nulpoint.telemetry.request_log.writer import LogSink, LogWriter, weight

FLUSH_SECONDS = 0.1
LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3}
_NOTHING = 9  # a level above all others


class RequestLog:
    """Call `put` from the event loop only."""

    def __init__(self, sinks: Sequence[LogSink], level: str, capacity: int, on_drop: Callable[[], None]) -> None:
        """Start the writers. `capacity` is how many records may wait for a sink; a long one counts as several."""
        self._level = LEVELS[level] if sinks else _NOTHING
        self._capacity = capacity
        self._on_drop = on_drop
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._weight = 0
        self._flush_handle: asyncio.TimerHandle | None = None
        self._writers = [LogWriter(sink, capacity, on_drop) for sink in sinks]

    def set_level(self, level: str) -> None:
        """Log only records of this level or a higher one from now on."""
        self._level = LEVELS[level] if self._writers else _NOTHING

    def put(self, record: RequestRecord) -> None:
        if LEVELS[record.level] < self._level:
            return
        if self._weight >= self._capacity:
            self._on_drop()
            return
        line = self._encode(record)
        self._weight += weight(line)
        self._lines.append(line)
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        lines, self._lines, self._weight = self._lines, [], 0
        if lines:
            for writer in self._writers:
                writer.enqueue(lines)

    @property
    def failing(self) -> bool:
        """Return whether a sink cannot be written at present."""
        return any(writer.error for writer in self._writers)

    def health(self) -> list[dict[str, Any]]:
        """Return the state of each sink, for the health page."""
        return [writer.health() for writer in self._writers]

    def close(self, timeout: float) -> None:
        """Write the remaining records, for at most `timeout` seconds per sink."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
        self._flush()
        for writer in self._writers:
            writer.stop()
        for writer in self._writers:
            writer.join(timeout)
