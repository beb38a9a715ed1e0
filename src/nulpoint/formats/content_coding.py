"""Decompresses HTTP content by its `Content-Encoding` (RFC 9110, 8.4.1; RFC 7932; RFC 9659), within a limit.

A few kilobytes can decompress to gigabytes. So nothing here produces more than the caller allows, and no decoder keeps
a window of more than 16 MiB.
"""

import sys
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP_OR_ZLIB, _RAW_DEFLATE = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS
_MAX_PARTS = 16  # gzip members or zstd frames of one body; what follows each of them is copied once more
_MAX_ZSTD_WINDOW_LOG = 23  # 8 MiB, the largest window of this content coding (RFC 9659)


class DamagedContentError(Exception):
    """The content is not valid in its coding."""


class ContentTooLongError(Exception):
    """The content is longer than allowed when it is decompressed."""


class ContentDecoder(Protocol):
    """Decompresses one body. `complete` says whether its end has come."""

    @property
    def complete(self) -> bool: ...

    def feed(self, data: bytes, limit: int) -> bytes:
        """Decompress the next piece to at most `limit` bytes. Raises DamagedContentError or ContentTooLongError."""


def _next_part(parts: int) -> int:
    """Return the number of parts with the next one. Raises DamagedContentError if there are too many."""
    if parts >= _MAX_PARTS:
        raise DamagedContentError
    return parts + 1


class _ZlibDecoder:
    """Decodes `gzip` and `deflate`. Several gzip members in a row are one body (RFC 1952, 2.2)."""

    __slots__ = ("_decoder", "_parts")

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._parts = 0

    @property
    def complete(self) -> bool:
        return self._decoder.eof

    def feed(self, data: bytes, limit: int) -> bytes:
        if data and not self._parts:
            self._start(data)
        pieces: list[bytes] = []
        while data:
            if self._decoder.eof:
                self._parts = _next_part(self._parts)
                self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
            pieces.append(self._decompress(data, limit - sum(map(len, pieces))))
            data = self._decoder.unused_data
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _start(self, data: bytes) -> None:
        """Choose the format: some clients send `deflate` without the header of zlib, which it should have."""
        self._parts = 1
        has_header = data[:1] == b"\x1f" or data[0] & 0x0F == zlib.DEFLATED
        if not has_header:
            self._decoder = zlib.decompressobj(_RAW_DEFLATE)

    def _decompress(self, data: bytes, limit: int) -> bytes:
        try:
            plain = self._decoder.decompress(data, limit + 1)
        except zlib.error as error:
            raise DamagedContentError from error
        if len(plain) > limit:
            raise ContentTooLongError
        return plain


class _BrotliDecoder:
    """Decodes `br`."""

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()

    @property
    def complete(self) -> bool:
        return bool(self._decoder.is_finished())

    def feed(self, data: bytes, limit: int) -> bytes:
        try:
            plain: bytes = self._decoder.process(data, output_buffer_limit=limit + 1)
        except brotli.error as error:
            raise DamagedContentError from error
        if len(plain) > limit or not self._decoder.can_accept_more_data():
            raise ContentTooLongError
        return plain


class _ZstdDecoder:
    """Decodes `zstd`. Several frames in a row are one body (RFC 8878, 3.1)."""

    __slots__ = ("_decoder", "_parts")

    def __init__(self) -> None:
        self._decoder = self._new()
        self._parts = 1

    @staticmethod
    def _new() -> zstd.ZstdDecompressor:
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _MAX_ZSTD_WINDOW_LOG})

    @property
    def complete(self) -> bool:
        return bool(self._decoder.eof)

    def feed(self, data: bytes, limit: int) -> bytes:
        pieces: list[bytes] = []
        while data:
            if self._decoder.eof:
                self._parts = _next_part(self._parts)
                self._decoder = self._new()
            pieces.append(self._decompress(data, limit - sum(map(len, pieces))))
            data = self._decoder.unused_data if self._decoder.eof else b""
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _decompress(self, data: bytes, limit: int) -> bytes:
        try:
            plain: bytes = self._decoder.decompress(data, limit + 1)
        except zstd.ZstdError as error:
            raise DamagedContentError from error
        if len(plain) > limit:
            raise ContentTooLongError
        return plain


_DECODERS: Mapping[bytes, Callable[[], ContentDecoder]] = MappingProxyType(
    {
        b"gzip": _ZlibDecoder,
        b"x-gzip": _ZlibDecoder,  # means the same (RFC 9110, 8.4.1.3)
        b"deflate": _ZlibDecoder,
        b"br": _BrotliDecoder,
        b"zstd": _ZstdDecoder,
    }
)
CODINGS = "gzip, deflate, br and zstd"


def coding_of(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return the content coding that the headers name, in lower case; None if the content is not compressed."""
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    return None if coding == b"identity" else coding


def decoder_for(coding: bytes) -> ContentDecoder | None:
    """Return a decoder for a content coding; None if it is not known."""
    make = _DECODERS.get(coding)
    return make() if make is not None else None


def decompress(decoder: ContentDecoder, content: bytes, limit: int) -> bytes:
    """Decompress a whole body to at most `limit` bytes. Raises DamagedContentError or ContentTooLongError."""
    plain = decoder.feed(content, limit)
    if not decoder.complete:
        raise DamagedContentError
    return plain
