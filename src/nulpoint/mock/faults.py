"""What a mock provider can be told to do wrong."""

from typing import Any

import msgspec

# name -> whether it takes an argument, and its default
FAULTS: dict[str, float | None] = {
    "refuse": None,  # close the connection at once, unread
    "reset_before_head": None,  # the whole request read, then RST
    "close_before_head": None,  # the same with FIN
    "reset_after_head": None,
    "stall": None,  # never answer
    "stall_mid_stream": 3,  # N events, then silence
    "cut_mid_stream": 3,  # N events, then FIN without the last chunk
    "reset_mid_stream": 3,
    "end_mid_stream": 3,  # N events, then a proper HTTP end, but no finish and no terminal event
    "error_mid_stream": 3,  # N events, then an error event
    "malformed_json": None,
    "wrong_length": None,  # Content-Length larger than the body, then FIN
    "short_length": None,  # bytes after the body
    "rate_limit": 0,  # 429, with Retry-After where N > 0
    "status": 500,  # an error answer with status N
    "html_error": 502,
    "slow_drip": 5,  # one byte each N ms
    "error_in_200": None,
    "gzip": None,
    "close_delimited": None,  # no length: the end of the connection is the end
    "informational": 1,  # N interim answers first
    "huge_head": None,  # a header field of 128 KiB
}


class Fault(msgspec.Struct):
    """`count`: how many requests still get it; None is all."""

    name: str
    arg: float = 0
    count: int | None = None


def parse(text: str) -> Fault:
    """`name` or `name=N`. Raises ValueError."""
    name, _, arg = text.partition("=")
    return make(name, float(arg) if arg else None)


def make(name: str, arg: Any = None, count: int | None = None) -> Fault:
    """Raises ValueError for an unknown name."""
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(FAULTS)}")
    return Fault(name, float(arg if arg is not None else FAULTS[name] or 0), count)
