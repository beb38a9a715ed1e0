"""AWS event streams (`application/vnd.amazon.eventstream`): messages with typed headers, out of bytes. Pure.

A message is a prelude of 12 bytes (its whole length, the length of its headers, a CRC of these two), headers, payload
and a CRC of all that. Facts: the Amazon Event Stream Specification of Smithy, and the bounds of aws-c-event-stream.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID
from zlib import crc32

import msgspec

CONTENT_TYPE = b"application/vnd.amazon.eventstream"
MAX_MESSAGE_BYTES = 16 * 1024 * 1024  # of a message
MAX_HEADER_BYTES = 128 * 1024
_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_LEAST_BYTES = _PRELUDE.size + _CRC.size
_LENGTH = struct.Struct(">H")
_NUMBERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q"),
            8: struct.Struct(">q")}  # fmt: skip
_UUID_BYTES = 16
_REMEMBERED = 64  # blocks of headers; a stream has a few, said again and again

Value = bool | int | bytes | str | UUID  # a time is in milliseconds since 1970


class EventStreamMessage(msgspec.Struct, frozen=True, gc=False):
    """One of a stream. Where its headers are, byte for byte, those of an earlier one, `headers` is the same object."""

    headers: Mapping[str, Value]
    payload: bytes


class _BrokenStreamError(Exception):
    """The bytes are no event stream."""


class EventStreamDecoder:
    """Fed with reads of any size. `broken` says why no more messages will come: lengths cannot be trusted after it."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._headers: dict[bytes, Mapping[str, Value]] = {}
        self.error: str | None = None

    def feed(self, data: bytes) -> list[EventStreamMessage]:
        """The messages that are whole now, up to the first that is broken."""
        if self.error is not None:
            return []
        held = self._held
        if held:  # seldom: a read holds whole messages
            held += data
            data = bytes(held) if self._is_whole() else b""
            if not data:
                return []
            held.clear()
        messages: list[EventStreamMessage] = []
        start, end = 0, len(data)
        try:
            while end - start >= _PRELUDE.size:
                length, headers_length, checksum = _lengths(data, start)
                if end - start < length:
                    break
                messages.append(self._message(data, start, length, headers_length, checksum))
                start += length
        except _BrokenStreamError as error:
            self.error = str(error)
            return messages
        if start < end:
            held += data[start:]
        return messages

    def _is_whole(self) -> bool:
        """Whether what is held is worth reading: a message whose end has not come is copied once, when it has."""
        held = self._held
        if len(held) < _PRELUDE.size:
            return False
        try:
            return len(held) >= _lengths(held, 0)[0]
        except _BrokenStreamError:
            return True

    def inside_message(self) -> bool:
        """Whether a message has begun whose end has not come."""
        return bool(self._held)

    def _message(self, data: bytes, start: int, length: int, headers_length: int, checksum: int) -> EventStreamMessage:
        """`checksum` is that of the first eight bytes, which the message's own goes on from."""
        end = start + length - _CRC.size
        if crc32(data[start + 8 : end], checksum) != _CRC.unpack_from(data, end)[0]:
            raise _BrokenStreamError("the checksum of a message is wrong")
        headers_start = start + _PRELUDE.size
        payload_start = headers_start + headers_length
        block = data[headers_start:payload_start]
        headers = self._headers.get(block)
        if headers is None:
            headers = MappingProxyType(read_headers(block))
            if len(self._headers) < _REMEMBERED:
                self._headers[block] = headers
        return EventStreamMessage(headers, data[payload_start:end])


def _lengths(held: bytes | bytearray, start: int) -> tuple[int, int, int]:
    """Of a message and of its headers, and the checksum of these. They are looked at before that many bytes are waited
    for."""
    length, headers_length, checksum = _PRELUDE.unpack_from(held, start)
    if crc32(held[start : start + 8]) != checksum:
        raise _BrokenStreamError("the checksum of a message's beginning is wrong")
    if not _LEAST_BYTES <= length <= MAX_MESSAGE_BYTES:
        raise _BrokenStreamError(f"a message of {length} bytes")
    if headers_length > min(MAX_HEADER_BYTES, length - _LEAST_BYTES):
        raise _BrokenStreamError(f"{headers_length} bytes of headers in a message of {length} bytes")
    return length, headers_length, checksum


def read_headers(block: bytes) -> dict[str, Value]:
    """Raises an error that `Decoder` takes for the end of the stream where they are not what they should be."""
    headers: dict[str, Value] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name = _exactly(block, at + 1, name_end).decode()
            kind = block[name_end]
            if not name or name in headers:
                raise _BrokenStreamError("a header has no name, or that of another")
            headers[name], at = _value(block, kind, name_end + 1)
    except (IndexError, struct.error, UnicodeDecodeError):
        raise _BrokenStreamError("the headers of a message are cut") from None
    return headers


def _value(block: bytes, kind: int, at: int) -> tuple[Value, int]:
    """A header's value, and where the next header begins."""
    if kind in (0, 1):
        return kind == 0, at
    number = _NUMBERS.get(kind)
    if number is not None:
        return number.unpack_from(block, at)[0], at + number.size
    if kind in (6, 7):
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(block, at)[0]
        text = _exactly(block, start, end)
        return (text if kind == 6 else text.decode()), end
    if kind == 9:
        return UUID(bytes=_exactly(block, at, at + _UUID_BYTES)), at + _UUID_BYTES
    raise _BrokenStreamError(f"a header of type {kind}")


def _exactly(block: bytes, start: int, end: int) -> bytes:
    if end > len(block):
        raise IndexError
    return block[start:end]
