"""Filters for request records, turned into an SQL condition."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from nulpoint.config.values import duration
from nulpoint.providers.operations import OPERATIONS

ROUTES = f"route IN ({', '.join(map(repr, OPERATIONS))})"
# Statuses from 400 on, and streams that were cut. A client that disconnected (499) is not an error.
FAILED = "((status >= 400 OR error IS NOT NULL) AND status <> 499)"
_STATUS = re.compile(r"[1-5](\d\d|xx)")


class Filters(NamedTuple):
    """The filters of one command; None matches everything.

    `since` is a UTC time as the log file writes it, and `slower_than` is in seconds.
    """

    model: str | None = None
    provider: str | None = None
    status: str | None = None
    key: str | None = None
    cache: str | None = None
    since: str | None = None
    slower_than: float | None = None
    failed_over: bool = False
    all_routes: bool = False

    def condition(self) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL condition for WHERE, and the values of its placeholders."""
        parts: list[tuple[str, tuple[Any, ...]]] = []
        if not self.all_routes:
            parts.append((ROUTES, ()))
        if self.model is not None:
            parts.append(("(model GLOB ? OR answered_model GLOB ?)", (self.model, self.model)))
        if self.provider is not None:
            parts.append(("provider = ?", (self.provider,)))
        if self.status is not None:
            parts.append(_status_condition(self.status))
        if self.key is not None:
            parts.append(("substr(key, 1, ?) = ?", (len(self.key), self.key)))
        if self.cache is not None:
            parts.append(("cache = ?", (self.cache,)))
        if self.since is not None:
            parts.append(("time >= ?", (self.since,)))
        if self.slower_than is not None:
            parts.append(("total_us > ?", (int(self.slower_than * 1e6),)))
        if self.failed_over:
            parts.append(("json_array_length(attempts) > 1", ()))
        return " AND ".join(text for text, _ in parts) or "1", tuple(value for _, values in parts for value in values)


def _status_condition(text: str) -> tuple[str, tuple[Any, ...]]:
    if text == "error":
        return FAILED, ()
    if text.endswith("xx"):
        return "status / 100 = ?", (int(text[0]),)
    return "status = ?", (int(text),)


def status(text: str) -> str:
    """Validate a status filter: `429`, `5xx` or `error`. Raises ValueError."""
    lowered = text.lower()
    if lowered != "error" and not _STATUS.fullmatch(lowered):
        raise ValueError("use a status such as 429, a class such as 5xx, or error")
    return lowered


def since(text: str, now: datetime) -> str:
    """Parse a duration before `now`, or a date or time (UTC unless it has an offset). Raises ValueError."""
    try:
        start = now - timedelta(seconds=duration(text))
    except (ValueError, OverflowError):
        try:
            start = datetime.fromisoformat(text)
        except ValueError:
            remedy = "use a duration such as 30m, 24h or 7d, or a time such as 2026-11-26 or 2026-11-26T14:00"
            raise ValueError(remedy) from None
    start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
    return start.strftime("%Y-%m-%dT%H:%M:%S.") + f"{start.microsecond // 1000:03d}Z"
