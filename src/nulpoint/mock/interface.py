"""What the server and the providers' code say to each other: a call comes in, an answer goes out, in one dialect."""

import hashlib
import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

CREATED = 1_790_000_000  # Unix time; fixed, so that equal requests get equal answers


class MockRequest(msgspec.Struct):
    """A request as the providers' code sees it. `number` counts the requests of this server, from 1.

    `query` is what follows the path's question mark, `raw` the body as it came; tokens given out last `token_seconds`.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    number: int
    word_count: int
    query: str = ""
    raw_body: bytes = b""
    token_seconds: float = 3600.0


class MockResponse(msgspec.Struct):
    """A whole body, or the events of a stream as they go onto the wire."""

    status: int = 200
    body: bytes = b""
    events: list[bytes] | None = None
    headers: dict[str, str] = {}


class ProviderApi(NamedTuple):
    """How one provider speaks: its answers, and its words for what went wrong."""

    respond: Callable[[MockRequest], MockResponse]
    error: Callable[[int, str], MockResponse]
    rate_limited: Callable[[float], MockResponse]  # seconds to wait; 0 where it does not say
    error_event: Callable[[int, str], bytes]  # inside a stream
    api_for_path: Callable[[str], Any] | None = None  # the dialect that speaks on this path, where it is another one
    is_token_path: Callable[[str], bool] = lambda _: False  # whether this path is the token server's


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> MockResponse:
    return MockResponse(status=status, body=msgspec.json.encode(value), headers=headers or {})


def sse_event(value: Any, name: str = "", line_end: bytes = b"\n") -> bytes:
    """One server-sent event."""
    head = b"event: " + name.encode() + line_end if name else b""
    return head + b"data: " + msgspec.json.encode(value) + line_end + line_end


def json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def sorted_json(value: Any) -> str:
    """JSON text that does not depend on the order of members."""
    return msgspec.json.encode(value, order="sorted").decode()


def token_count(value: Any) -> int:
    """A stand-in for a tokenizer: a token is four bytes of the JSON text."""
    return max(1, len(msgspec.json.encode(value)) // 4)


def vector(text: str, dimensions: int) -> list[float]:
    """A unit-ish vector that depends on the text alone."""
    numbers: list[float] = []
    block = 0
    while len(numbers) < dimensions:
        digest = hashlib.sha256(f"{block}:{text}".encode()).digest()
        numbers += [(value - 2**31) / 2**31 for value in struct.unpack(">8I", digest)]
        block += 1
    return [struct.unpack("<f", struct.pack("<f", number / dimensions**0.5))[0] for number in numbers[:dimensions]]


def base64_floats(numbers: list[float]) -> str:
    """base64 of little-endian float32, as the OpenAI API has it."""
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def signature(*parts: str) -> str:
    """What this mock signs a thought with, so that it knows its own when they come back: changed ones do not match."""
    return b64encode(hashlib.sha256("\x1f".join(("nulpoint mock", *parts)).encode()).digest()).decode()
