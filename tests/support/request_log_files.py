"""Records, a controllable clock and files for the tests of the request log."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from nulpoint.telemetry.request_log.record import RequestRecord
from nulpoint.telemetry.request_log.sqlite import SqliteSink
from nulpoint.telemetry.wall_clock import TrustedClock

WHEN = datetime(2026, 11, 26, 14, 0, 0, tzinfo=UTC)
DAY = 86400.0


class Clock:
    """A wall clock and a monotonic clock that tests move forward."""

    def __init__(self) -> None:
        self.wall = WHEN.timestamp()
        self.steady = 1000.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def calendar(self) -> TrustedClock:
        return TrustedClock(lambda: self.wall, lambda: self.steady)


def record(**fields: Any) -> RequestRecord:
    known: dict[str, Any] = {"time": WHEN, "level": "info", "id": "i", "route": "chat", "method": "POST", "status": 200}
    return RequestRecord(**{**known, **fields})


def lines(*ids: str, **fields: Any) -> list[bytes]:
    return [msgspec.json.encode(record(id=one, **fields)) for one in ids]


def database(path: Path, clock: Clock | None = None, retention: float = 0.0) -> SqliteSink:
    driven = clock or Clock()
    return SqliteSink(path, retention, driven.calendar(), lambda: driven.steady)


def rows(path: Path, what: str = "id") -> list[Any]:
    connection = sqlite3.connect(path)
    found = [row[0] if len(row) == 1 else row for row in connection.execute(f"SELECT {what} FROM requests")]
    connection.close()
    return found
