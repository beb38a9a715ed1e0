"""Decompresses the body of a request, within the limit for bodies that are not compressed."""

from nulpoint.errors import Failure, rejected
from nulpoint.formats.content_coding import CODINGS, DamagedContentError, decoder_for, decompress

BRIEF_BYTES = 256 * 1024  # decompressing up to this many bytes takes about a millisecond


def decompress_body(body: bytes, coding: bytes, limit: int) -> bytes:
    """Return the body without its content coding.

    Raises Failure: 415 for an unknown coding, and 400 for a body that is damaged or incomplete. Raises
    ContentTooLongError for one that is over `limit` bytes when it is decompressed.
    """
    decoder = decoder_for(coding)
    if decoder is None:
        text = (
            f"the Content-Encoding {coding.decode('latin-1')[:20]!r} is not known; send the body with one of {CODINGS}"
        )
        raise rejected(text, status=415, code="unsupported_media_type")
    try:
        return decompress(decoder, body, limit)
    except DamagedContentError:
        text = (
            f"the request body is not valid {coding.decode()}, as its Content-Encoding says; send it whole, or as it is"
        )
        raise rejected(text, code="invalid_content_encoding") from None


def body_too_large(limit: int) -> Failure:
    """Return the failure (413) for a body that is over MAX_BODY_BYTES when it is decompressed."""
    text = f"the request body is over {limit} bytes when it is decompressed; raise MAX_BODY_BYTES to allow more"
    return rejected(text, status=413, code="request_too_large")
