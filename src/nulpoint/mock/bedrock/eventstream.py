"""AWS's framing of events, written only: `application/vnd.amazon.eventstream`."""

import struct
from binascii import crc32
from typing import Any

import msgspec

MEDIA_TYPE = "application/vnd.amazon.eventstream"
_TEXT = 7  # of header values
_PADS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def event(name: str, value: dict[str, Any]) -> bytes:
    """Padded as Bedrock does it, so that the length of a text cannot be told from that of its message."""
    length = 3 + len(msgspec.json.encode(value)) % 40
    return _message({":event-type": name, ":message-type": "event"}, {**value, "p": _PADS[:length]})


def exception(name: str, message: str) -> bytes:
    return _message({":exception-type": name, ":message-type": "exception"}, {"message": message})


def _message(headers: dict[str, str], value: dict[str, Any]) -> bytes:
    pieces = []
    for key, text in {**headers, ":content-type": "application/json"}.items():
        name, encoded = key.encode(), text.encode()
        pieces.append(struct.pack(f">B{len(name)}sBH{len(encoded)}s", len(name), name, _TEXT, len(encoded), encoded))
    block, payload = b"".join(pieces), msgspec.json.encode(value)
    prelude = struct.pack(">II", len(block) + len(payload) + 16, len(block))
    message = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return message + struct.pack(">I", crc32(message))
