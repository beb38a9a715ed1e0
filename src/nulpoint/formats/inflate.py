"""Decompresses responses that a provider compressed although it was asked not to, within a limit."""

import zlib
from collections.abc import Mapping

from nulpoint.errors import ClientCause
from nulpoint.formats.malformed import unusable_response

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib tells them apart by the first bytes


class Inflater:
    """Decompresses one response."""

    __slots__ = ("_decoder",)

    def __init__(self, encoding: bytes) -> None:
        """`encoding` is the value of `Content-Encoding`. Raises Failure (502) if it is not supported."""
        if encoding not in (b"gzip", b"x-gzip", b"deflate"):
            raise unusable_response(
                f"it is compressed with {encoding.decode('latin-1')[:20]}, which the gateway did not ask for"
            )
        self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)

    def feed(self, data: bytes, limit: int) -> bytes:
        """Decompress the next piece. Raises Failure (502) if it is invalid or becomes longer than `limit` bytes."""
        try:
            plain = self._decoder.decompress(data, limit)
        except zlib.error:
            raise unusable_response("its compression is invalid") from None
        if self._decoder.unconsumed_tail:
            raise unusable_response(f"it is over {limit} bytes when decompressed", ClientCause.OVER_LIMIT)
        return plain

    @property
    def complete(self) -> bool:
        return self._decoder.eof


def inflater_for(headers: Mapping[bytes, bytes]) -> Inflater | None:
    """Return what decompresses a response with these headers; None if it is not compressed. Raises Failure (502)."""
    encoding = headers.get(b"content-encoding", b"identity").lower()
    return None if encoding == b"identity" else Inflater(encoding)
