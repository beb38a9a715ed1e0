"""`Retry-After`, both ways (RFC 9110, 10.2.3: seconds, or an HTTP date)."""

import math
from email.utils import parsedate_to_datetime


def parse_retry_after(value: bytes | None, now: float) -> float | None:
    """The seconds a provider asks for; None where it says nothing usable. `now` is Unix time.

    Clocks disagree: a date that is already past counts as absent, and so do negative numbers and garbage.
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
    """The same of OpenAI's finer field and the standard one; the finer counts, as in OpenAI's SDKs."""
    milliseconds = parse_retry_after(retry_after_ms, now) if (retry_after_ms or b"").isdigit() else None
    return milliseconds / 1000 if milliseconds is not None else parse_retry_after(retry_after, now)


def _seconds_until(date: str, now: float) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (ValueError, OverflowError):
        return math.nan


def format_retry_after(seconds: float) -> bytes:
    """Whole seconds, rounded up, for a caller."""
    return b"%d" % max(1, math.ceil(seconds))
