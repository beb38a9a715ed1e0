"""Reads and writes the `Retry-After` header (RFC 9110, 10.2.3), which holds seconds or an HTTP date."""

import math
from email.utils import parsedate_to_datetime


def parse_retry_after(value: bytes | None, now: float) -> float | None:
    """Return the seconds to wait that a header value asks for, or None if it has none. `now` is Unix time.

    Dates in the past, which may be due to clocks that disagree, negative numbers and malformed values count as absent.
    """
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text, now)
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def parse_retry_after_headers(retry_after_ms: bytes | None, retry_after: bytes | None, now: float) -> float | None:
    """Return the seconds to wait by OpenAI's `retry-after-ms` or, without it, by `Retry-After`, as OpenAI's SDKs do."""
    milliseconds = parse_retry_after(retry_after_ms, now) if (retry_after_ms or b"").isdigit() else None
    return milliseconds / 1000 if milliseconds is not None else parse_retry_after(retry_after, now)


def _seconds_until(date: str, now: float) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (ValueError, OverflowError):
        return math.nan


def format_retry_after(seconds: float) -> bytes:
    """Return a header value for clients: whole seconds, rounded up, at least 1."""
    return b"%d" % max(1, math.ceil(seconds))
