"""What every mock provider says: deterministic text, vectors and tool arguments, and the shape of an answer."""

import hashlib
import struct
from base64 import b64encode
from typing import Any

import msgspec

CREATED = 1_790_000_000  # Unix time; fixed, so that equal requests get equal answers
_TEXT = """a mock answer made of plain words that mean nothing and are always the same so that tests can compare
them byte by byte and people can see at once where they come from"""
_WORDS = _TEXT.split()


class Call(msgspec.Struct):
    """A request as the providers' code sees it. `number` counts the requests of this server, from 1."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    number: int
    words: int


class Answer(msgspec.Struct):
    """A whole body, or the events of a stream as they go onto the wire."""

    status: int = 200
    body: bytes = b""
    events: list[bytes] | None = None
    headers: dict[str, str] = {}


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status=status, body=msgspec.json.encode(value), headers=headers or {})


def event(value: Any, name: str = "", end: bytes = b"\n") -> bytes:
    """One server-sent event."""
    head = b"event: " + name.encode() + end if name else b""
    return head + b"data: " + msgspec.json.encode(value) + end + end


def words(count: int) -> list[str]:
    """Pieces that join to a text of `count` words."""
    return [_WORDS[i % len(_WORDS)] if i == 0 else " " + _WORDS[i % len(_WORDS)] for i in range(count)]


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


def packed(numbers: list[float]) -> str:
    """base64 of little-endian float32, as the OpenAI API has it."""
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def example(schema: Any) -> Any:
    """The simplest value a JSON Schema accepts, as far as tests need it."""
    if not isinstance(schema, dict):
        return {}
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for union in ("anyOf", "oneOf", "allOf"):
        if schema.get(union):
            return example(schema[union][0])
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        wanted = schema.get("required") or list(schema.get("properties", {}))
        return {name: example(schema.get("properties", {}).get(name)) for name in wanted}
    return {
        "array": [example(schema.get("items"))],
        "string": "text",
        "integer": 1,
        "number": 1.5,
        "boolean": True,
    }.get(kind)


def text_of(content: Any) -> str:
    """The text of a message's content in any of the providers' shapes."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(text_of(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""
