"""Decodes AWS event streams (`application/vnd.amazon.eventstream`) into messages with typed headers. Pure.

A message consists of a prelude of 12 bytes (the total length, the length of the headers and a CRC of these two), the
headers, the payload and a CRC of everything before it. Sources: the Amazon Event Stream Specification of Smithy, and
the limits of aws-c-event-stream.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID
from zlib import crc32

import msgspec

CONTENT_TYPE = b"application/vnd.amazon.eventstream"
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_HEADER_BYTES = 128 * 1024
_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_LEAST_BYTES = _PRELUDE.size + _CRC.size
_LENGTH = struct.Struct(">H")
_NUMBERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q"),
            8: struct.Struct(">q")}  # fmt: skip
_UUID_BYTES = 16
_MAX_CACHED_HEADERS = 64  # blocks of headers; a stream repeats a few of them again and again

Value = bool | int | bytes | str | UUID  # a time is an int, in milliseconds since 1970


class EventStreamMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of a stream. Messages with equal headers share one `headers` object."""

    headers: Mapping[str, Value]
    payload: bytes


class _BrokenStreamError(Exception):
    """The bytes are not a valid event stream."""


class EventStreamDecoder:
    """Decodes a stream from reads of any size.

    After invalid bytes `error` says what is wrong, and no more messages are decoded, because lengths can no longer be
    trusted.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._headers: dict[bytes, Mapping[str, Value]] = {}
        self.error: str | None = None

    def feed(self, data: bytes) -> list[EventStreamMessage]:
        """Return the messages that are complete after this read, up to the first invalid one."""
        if self.error is not None:
            return []
        pending = self._pending
        if pending:  # this is rare, since most reads contain complete messages
            pending += data
            data = bytes(pending) if self._should_decode() else b""
            if not data:
                return []
            pending.clear()
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
            pending += data[start:]
        return messages

    def _should_decode(self) -> bool:
        """Return whether to decode the pending bytes now, so that an incomplete message is not copied in every read."""
        pending = self._pending
        if len(pending) < _PRELUDE.size:
            return False
        try:
            return len(pending) >= _lengths(pending, 0)[0]
        except _BrokenStreamError:
            return True

    def inside_message(self) -> bool:
        """Return whether a message has begun and is incomplete."""
        return bool(self._pending)

    def _message(self, data: bytes, start: int, length: int, headers_length: int, checksum: int) -> EventStreamMessage:
        """Return the message at `start`. Its checksum continues `checksum`, which is that of its first eight bytes."""
        end = start + length - _CRC.size
        if crc32(data[start + 8 : end], checksum) != _CRC.unpack_from(data, end)[0]:
            raise _BrokenStreamError("the checksum of a message is wrong")
        headers_start = start + _PRELUDE.size
        payload_start = headers_start + headers_length
        block = data[headers_start:payload_start]
        headers = self._headers.get(block)
        if headers is None:
            headers = MappingProxyType(read_headers(block))
            if len(self._headers) < _MAX_CACHED_HEADERS:
                self._headers[block] = headers
        return EventStreamMessage(headers, data[payload_start:end])


def _lengths(pending: bytes | bytearray, start: int) -> tuple[int, int, int]:
    """Return the length of a message, the length of its headers, and the checksum of the two.

    The lengths are checked before the gateway waits for that many bytes.
    """
    length, headers_length, checksum = _PRELUDE.unpack_from(pending, start)
    if crc32(pending[start : start + 8]) != checksum:
        raise _BrokenStreamError("the checksum of a message's beginning is wrong")
    if not _LEAST_BYTES <= length <= MAX_MESSAGE_BYTES:
        raise _BrokenStreamError(f"a message has an invalid length of {length} bytes")
    if headers_length > min(MAX_HEADER_BYTES, length - _LEAST_BYTES):
        raise _BrokenStreamError(f"a message of {length} bytes has {headers_length} bytes of headers")
    return length, headers_length, checksum


def read_headers(block: bytes) -> dict[str, Value]:
    """Return the headers in a block. Raises _BrokenStreamError, which ends the stream, if they are invalid."""
    headers: dict[str, Value] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name = _exactly(block, at + 1, name_end).decode()
            kind = block[name_end]
            if not name or name in headers:
                raise _BrokenStreamError("a header has no name, or the same name as another")
            headers[name], at = _value(block, kind, name_end + 1)
    except (IndexError, struct.error, UnicodeDecodeError):
        raise _BrokenStreamError("the headers of a message are cut") from None
    return headers


def _value(block: bytes, kind: int, at: int) -> tuple[Value, int]:
    """Return the value of a header, and the position of the next header."""
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
    raise _BrokenStreamError(f"a header has the unknown type {kind}")


def _exactly(block: bytes, start: int, end: int) -> bytes:
    if end > len(block):
        raise IndexError
    return block[start:end]
