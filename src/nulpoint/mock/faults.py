"""The faults that can be injected into a mock provider, and how they are written."""

import re
from typing import Any

import msgspec

# The name of each fault, and the default of its argument; None if it takes none.
FAULTS: dict[str, float | None] = {
    "refuse": None,  # close the connection at once, without reading
    "reset_before_head": None,  # read the whole request, then RST
    "close_before_head": None,  # read the whole request, then FIN
    "reset_after_head": None,
    "stall": None,  # never respond
    "stall_mid_stream": 3,  # N events, then silence
    "cut_mid_stream": 3,  # N events, then FIN without the last chunk
    "reset_mid_stream": 3,
    "end_mid_stream": 3,  # N events, then a regular end of the HTTP body, without the finish reason and the last event
    "error_mid_stream": 3,  # N events, then an error in the form this provider uses inside a stream
    "error_first": 529,  # a stream whose first event is an error with status N
    "malformed_json": None,
    "wrong_length": None,  # Content-Length larger than the body, then FIN
    "short_length": None,  # bytes after the body
    "rate_limit": 0,  # 429; if N > 0, with a wait of N seconds in the form this provider uses
    "status": 500,  # an error with status N
    "html_error": 502,
    "repeat": 401,  # an error with status N whose text repeats the credential and the request
    "repeat_in_200": None,  # the same error with status 200
    "repeat_first": 529,  # the same error as the first event of a stream
    "repeat_mid_stream": 3,  # N events, then the same error
    "slow_drip": 5,  # one byte every N ms
    "error_in_200": None,  # an error with status 200
    "expired_token": 401,  # reject the access token, as if it had been revoked
    "token_refused": 400,  # the token server of a cloud refuses; other faults do not affect token servers
    "token_repeat": 400,  # the token server refuses, and its error repeats the request
    "token_stall": None,  # the token server never responds
    "gzip": None,
    "close_delimited": None,  # no length: the end of the connection is the end of the body
    "informational": 1,  # N interim responses (103) first
    "huge_head": None,  # a header of 128 KiB
}
_FAULT_TEXT = re.compile(r"(?:(\w+):)?(\w+)(?:=([\d.]+))?(?:\*(\d+))?")


class Fault(msgspec.Struct):
    """A fault to inject. `count` is the number of requests that still get it; None means all of them."""

    name: str
    arg: float = 0
    count: int | None = None


def parse(text: str) -> Fault:
    """Parse `NAME` or `NAME=N`, either with `*COUNT` to limit the number of requests. Raises ValueError."""
    return parse_with_provider(text)[1]


def parse_with_provider(text: str) -> tuple[str | None, Fault]:
    """Parse a fault that may be limited to one provider: `PROVIDER:NAME=N*COUNT`. Raises ValueError."""
    match = _FAULT_TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"cannot read fault {text!r}; write NAME, NAME=N or PROVIDER:NAME=N*COUNT")
    provider, name, arg, count = match.groups()
    return provider, make(name, float(arg) if arg else None, int(count) if count else None)


def make(name: str, arg: Any = None, count: int | None = None) -> Fault:
    """Make a fault; `arg` defaults to the argument in FAULTS. Raises ValueError for an unknown name."""
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(FAULTS)}")
    return Fault(name, float(arg if arg is not None else FAULTS[name] or 0), count)
