"""The interface between the mock HTTP server and the mock providers, and helpers that all providers use."""

import hashlib
import struct
from base64 import b64encode
from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

import msgspec

from nulpoint.mock.model_table import DATA_DATE

CREATED = 1_790_000_000  # Unix time; fixed, so that equal requests get equal responses


class MockRequest(msgspec.Struct):
    """A request to a mock provider.

    `number` counts the requests to this server, from 1. `body` is the decoded JSON, and None if the body is not JSON.
    `word_count` is the length of the model's usual text, and `token_seconds` is the lifetime of access tokens. `today`
    decides which models have ended.
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
    today: date = DATA_DATE


class MockResponse(msgspec.Struct):
    """A response with a complete body, or with the encoded events of a stream if `events` is set."""

    status: int = 200
    body: bytes = b""
    events: list[bytes] | None = None
    headers: dict[str, str] = {}


class ProviderApi(NamedTuple):
    """The API of one mock provider: how it responds, and how it reports errors."""

    respond: Callable[[MockRequest], MockResponse]
    error: Callable[[int, str], MockResponse]
    rate_limited: Callable[[float], MockResponse]  # takes the seconds to wait; 0 leaves the wait out
    error_event: Callable[[int, str], bytes]  # takes a status and a message; used inside a stream
    api_for_path: Callable[[str], Any] | None = None  # the API whose error format this path uses, if it differs
    is_token_path: Callable[[str], bool] = lambda _: False  # whether the path belongs to the token server


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> MockResponse:
    return MockResponse(status=status, body=msgspec.json.encode(value), headers=headers or {})


def sse_event(value: Any, name: str = "", line_end: bytes = b"\n") -> bytes:
    """Encode one server-sent event."""
    head = b"event: " + name.encode() + line_end if name else b""
    return head + b"data: " + msgspec.json.encode(value) + line_end + line_end


def json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def sorted_json(value: Any) -> str:
    """Encode JSON with sorted keys, so that the text does not depend on their order."""
    return msgspec.json.encode(value, order="sorted").decode()


def token_count(value: Any) -> int:
    """Count tokens roughly: every four bytes of the JSON text count as one token."""
    return max(1, len(msgspec.json.encode(value)) // 4)


def vector(text: str, dimensions: int) -> list[float]:
    """Return an embedding of about unit length that depends only on the text."""
    numbers: list[float] = []
    block = 0
    while len(numbers) < dimensions:
        digest = hashlib.sha256(f"{block}:{text}".encode()).digest()
        numbers += [(value - 2**31) / 2**31 for value in struct.unpack(">8I", digest)]
        block += 1
    return [struct.unpack("<f", struct.pack("<f", number / dimensions**0.5))[0] for number in numbers[:dimensions]]


def base64_floats(numbers: list[float]) -> str:
    """Encode numbers as base64 of little-endian float32, as the OpenAI API does."""
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def signature(*parts: str) -> str:
    """Return a signature over the parts.

    The mocks sign their thoughts with it, and so notice when a client sends a thought back that was changed.
    """
    return b64encode(hashlib.sha256("\x1f".join(("nulpoint mock", *parts)).encode()).digest()).decode()
