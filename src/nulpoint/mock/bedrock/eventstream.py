"""An encoder for AWS event streams (`application/vnd.amazon.eventstream`)."""

import struct
from binascii import crc32
from typing import Any

import msgspec

MEDIA_TYPE = "application/vnd.amazon.eventstream"
_STRING_TYPE = 7  # the type of string header values
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def event(name: str, value: dict[str, Any]) -> bytes:
    """Encode an event, padded as Bedrock does so that its length does not reveal the length of the text."""
    padding_length = 3 + len(msgspec.json.encode(value)) % 40
    return _encode({":event-type": name, ":message-type": "event"}, {**value, "p": _PADDING[:padding_length]})


def exception(name: str, message: str) -> bytes:
    """Encode an error inside a stream."""
    return _encode({":exception-type": name, ":message-type": "exception"}, {"message": message})


def _encode(headers: dict[str, str], value: dict[str, Any]) -> bytes:
    pieces = []
    for key, text in {**headers, ":content-type": "application/json"}.items():
        name, encoded = key.encode(), text.encode()
        pieces.append(
            struct.pack(f">B{len(name)}sBH{len(encoded)}s", len(name), name, _STRING_TYPE, len(encoded), encoded)
        )
    block, payload = b"".join(pieces), msgspec.json.encode(value)
    prelude = struct.pack(">II", len(block) + len(payload) + 16, len(block))
    message = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return message + struct.pack(">I", crc32(message))
