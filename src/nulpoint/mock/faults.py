"""What a mock provider can be told to do wrong."""

import re
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
    "error_mid_stream": 3,  # N events, then an error as this provider puts it into a stream
    "error_first": 529,  # a stream whose first event is an error with status N
    "malformed_json": None,
    "wrong_length": None,  # Content-Length larger than the body, then FIN
    "short_length": None,  # bytes after the body
    "rate_limit": 0,  # 429; where N > 0 it says to wait N seconds, as this provider says it
    "status": 500,  # an error answer with status N
    "html_error": 502,
    "repeat": 401,  # an error answer with status N whose text repeats the credential and the request
    "repeat_in_200": None,
    "repeat_first": 529,  # as the first event of a stream
    "repeat_mid_stream": 3,  # N events, then that
    "slow_drip": 5,  # one byte each N ms
    "error_in_200": None,
    "expired_token": 401,  # the token is refused, as one that was withdrawn
    "token_refused": 400,  # by the token server, which else is spared: those of the clouds
    "token_repeat": 400,  # the same, and it repeats the request
    "token_stall": None,
    "gzip": None,
    "close_delimited": None,  # no length: the end of the connection is the end
    "informational": 1,  # N interim answers first
    "huge_head": None,  # a header field of 128 KiB
}
_FAULT_TEXT = re.compile(r"(?:(\w+):)?(\w+)(?:=([\d.]+))?(?:\*(\d+))?")


class Fault(msgspec.Struct):
    """`count`: how many requests still get it; None is all."""

    name: str
    arg: float = 0
    count: int | None = None


def parse(text: str) -> Fault:
    """`NAME`, `NAME=N`, and for some requests only `NAME*COUNT`. Raises ValueError."""
    return parse_with_provider(text)[1]


def parse_with_provider(text: str) -> tuple[str | None, Fault]:
    """The same, perhaps for one provider only: `PROVIDER:NAME=N*COUNT`. Raises ValueError."""
    written = _FAULT_TEXT.fullmatch(text)
    if written is None:
        raise ValueError(f"cannot read fault {text!r}; write NAME, NAME=N or PROVIDER:NAME=N*COUNT")
    provider, name, arg, count = written.groups()
    return provider, make(name, float(arg) if arg else None, int(count) if count else None)


def make(name: str, arg: Any = None, count: int | None = None) -> Fault:
    """Raises ValueError for an unknown name."""
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(FAULTS)}")
    return Fault(name, float(arg if arg is not None else FAULTS[name] or 0), count)
