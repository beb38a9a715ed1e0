"""Decompresses HTTP content by its `Content-Encoding` (RFC 9110, 8.4.1; RFC 7932; RFC 9659), within a limit.

A few kilobytes can decompress to gigabytes. So nothing here produces more than the caller allows, and no decoder keeps
a window of more than 16 MiB.
"""

import sys
import zlib
from collections.abc import Callable, Mapping
from functools import partial
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


class _PartDecoder(Protocol):
    """Decodes one gzip member or zstd frame. `unused_data` is what follows its end."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _PartsDecoder:
    """Decodes bodies that may have several parts: gzip members (RFC 1952, 2.2) or zstd frames (RFC 8878, 3.1)."""

    __slots__ = ("_new", "_part", "_parts")

    def __init__(self, new: Callable[[bytes, bool], _PartDecoder]) -> None:
        """`new` returns the decoder of a part, given its first bytes and whether it is the first part."""
        self._new = new
        self._part: _PartDecoder | None = None
        self._parts = 0

    @property
    def complete(self) -> bool:
        return self._part is not None and self._part.eof

    def feed(self, data: bytes, limit: int) -> bytes:
        pieces: list[bytes] = []
        while data:
            part = self._part
            if part is None or part.eof:
                part = self._next_part(data)
            pieces.append(_decompress(part, data, limit - sum(map(len, pieces))))
            data = part.unused_data if part.eof else b""
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _next_part(self, data: bytes) -> _PartDecoder:
        """Begin a part. Raises DamagedContentError if there are too many."""
        if self._parts >= _MAX_PARTS:
            raise DamagedContentError
        self._parts += 1
        self._part = self._new(data, self._parts == 1)
        return self._part


def _decompress(part: _PartDecoder, data: bytes, limit: int) -> bytes:
    try:
        plain = part.decompress(data, limit + 1)
    except (zlib.error, zstd.ZstdError) as error:
        raise DamagedContentError from error
    if len(plain) > limit:
        raise ContentTooLongError
    return plain


def _zlib(data: bytes, is_first: bool) -> _PartDecoder:
    """Return a decoder for gzip or deflate, which some clients send without the header of zlib that it should have."""
    has_header = data[:1] == b"\x1f" or data[0] & 0x0F == zlib.DEFLATED
    return zlib.decompressobj(_RAW_DEFLATE if is_first and not has_header else _GZIP_OR_ZLIB)


def _zstd(_data: bytes, _is_first: bool) -> _PartDecoder:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _MAX_ZSTD_WINDOW_LOG})


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


_DECODERS: Mapping[bytes, Callable[[], ContentDecoder]] = MappingProxyType(
    {
        b"gzip": partial(_PartsDecoder, _zlib),
        b"x-gzip": partial(_PartsDecoder, _zlib),  # means the same (RFC 9110, 8.4.1.3)
        b"deflate": partial(_PartsDecoder, _zlib),
        b"br": _BrotliDecoder,
        b"zstd": partial(_PartsDecoder, _zstd),
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
