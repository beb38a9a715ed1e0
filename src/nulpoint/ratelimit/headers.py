"""Reports limits in the headers and errors of the OpenAI API, so that its SDKs wait as long as they should."""

import math

from nulpoint.errors import Failure, Kind
from nulpoint.ratelimit.limiter import LimitRefusal, LimitStatus, Verdict

# What each limit counts, as worded in the error, then its setting for all clients together and its setting per key.
_WORDS = {
    "requests": ("requests per minute", "RPM_LIMIT", "RPM_LIMIT_PER_KEY"),
    "tokens": ("tokens per minute", "TPM_LIMIT", "TPM_LIMIT_PER_KEY"),
    "parallel": ("requests at a time", "", "MAX_PARALLEL_PER_KEY"),
}


def limit_headers(verdict: Verdict) -> bytes:
    """Return the `x-ratelimit-*` headers and, for a refusal, `retry-after-ms`, which is finer than `Retry-After`."""
    block = _status_headers(b"requests", verdict.requests) + _status_headers(b"tokens", verdict.tokens)
    if verdict.refusal is not None:
        block += b"retry-after-ms: %d\r\n" % max(1, math.ceil(verdict.refusal.wait * 1000))
    return block


def _status_headers(what: bytes, status: LimitStatus | None) -> bytes:
    if status is None:
        return b""
    template = b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %d\r\nx-ratelimit-reset-%b: %b\r\n"
    return template % (what, status.limit, what, status.remaining, what, duration(status.reset))


def duration(seconds: float) -> bytes:
    """Format a duration as OpenAI does (Go's format): `12ms`, `8.64s`, `6m0s`, `1h0m0s`. Rounds up to milliseconds."""
    milliseconds = math.ceil(round(seconds * 1000, 6))
    if 0 < milliseconds < 1000:
        return b"%dms" % milliseconds
    whole, thousandths = divmod(milliseconds, 1000)
    fraction = b".%03d" % thousandths if thousandths else b""
    if thousandths % 10 == 0:
        fraction = fraction.rstrip(b"0")
    if whole < 60:
        return b"%d%bs" % (whole, fraction)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = b"%dm%d%bs" % (minutes, whole, fraction)
    return b"%dh%b" % (hours, text) if hours else text


def refusal_failure(refusal: LimitRefusal, limit: int) -> Failure:
    """Return the error for a refusal: a 429, or a 503 if the limits could not be checked."""
    if refusal.limit == "unavailable":
        text = "the limits cannot be checked at present and RATE_LIMIT_ON_ERROR is deny; try again shortly"
        return Failure(Kind.OVERLOADED, 503, text, code="limits_unavailable", retry_after=refusal.wait)
    what, for_all, for_each = _WORDS[refusal.limit]
    setting = for_each if refusal.per_key else for_all
    whose = "your key" if refusal.per_key else "this gateway"
    again = duration(refusal.wait).decode()
    text = f"Rate limit exceeded: {whose} may have {limit} {what} ({setting}); try again in {again}"
    return Failure(Kind.RATE_LIMIT, 429, text, code="rate_limit_exceeded", retry_after=refusal.wait)
