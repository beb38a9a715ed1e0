"""Reads the body of a provider's response, decompresses it if necessary, and checks that it is a response at all."""

import msgspec

from nulpoint.errors import ClientCause, Failure
from nulpoint.formats.content_coding import (
    ContentDecoder,
    ContentTooLongError,
    DamagedContentError,
    coding_of,
    decoder_for,
)
from nulpoint.formats.json_nodes import DEFAULT_MAX_JSON_NODES, exceeds_node_count
from nulpoint.formats.malformed import malformed_response, unusable_response
from nulpoint.http.client.connection import UpstreamConnection
from nulpoint.http.message import Headers
from nulpoint.protocols.error_body import has_embedded_error
from nulpoint.protocols.provider_errors import embedded_failure
from nulpoint.redaction.credential_matcher import CredentialMatcher


class ResponseDecompressor:
    """Decompresses a response that a provider compressed although it was asked not to."""

    __slots__ = ("_decoder",)

    def __init__(self, decoder: ContentDecoder) -> None:
        self._decoder = decoder

    @property
    def complete(self) -> bool:
        return self._decoder.complete

    def feed(self, data: bytes, limit: int) -> bytes:
        """Decompress the next piece. Raises Failure (502) if it is invalid or becomes longer than `limit` bytes."""
        try:
            return self._decoder.feed(data, limit)
        except DamagedContentError:
            raise unusable_response("its compression is invalid") from None
        except ContentTooLongError:
            raise unusable_response(f"it is over {limit} bytes when decompressed", ClientCause.OVER_LIMIT) from None


def decompressor_for(headers: Headers) -> ResponseDecompressor | None:
    """Return what decompresses a response with these headers; None if it is not compressed. Raises Failure (502)."""
    coding = coding_of(headers)
    if coding is None:
        return None
    decoder = decoder_for(coding)
    if decoder is None:
        raise unusable_response(
            f"it is compressed with {coding.decode('latin-1')[:20]}, which the gateway did not ask for"
        )
    return ResponseDecompressor(decoder)


async def read_body(connection: UpstreamConnection, limit: int) -> bytes:
    """Read the whole body, and decompress it to at most `limit` bytes. Raises Failure."""
    body = await connection.body()
    decompressor = decompressor_for(connection.headers)
    if decompressor is None:
        return body
    plain = decompressor.feed(body, limit)
    if not decompressor.complete:
        raise unusable_response("its compressed body is incomplete")
    return plain


class _Object(msgspec.Struct):
    """Any JSON object, and its member `error`."""

    error: msgspec.Raw = msgspec.Raw()


def check_response(
    provider: str, body: bytes, credential: CredentialMatcher | None, max_json_nodes: int = DEFAULT_MAX_JSON_NODES
) -> None:
    """Raise Failure if the body of a successful response is not a JSON object, or is an error.

    Of a long body, such as a batch of vectors, only the member `error` is checked.
    """
    long = exceeds_node_count(body, max_json_nodes)
    if not long and has_embedded_error(body):
        raise embedded_failure(provider, body, credential)
    try:
        error = bytes(msgspec.json.decode(body, type=_Object).error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unusable_response("it is not a JSON object") from None
    if long and error not in (b"", b"null"):
        raise unusable_response(
            f"it has an error among more than {max_json_nodes} JSON names and values (MAX_JSON_NODES)"
        )


def unrecognised_response(
    provider: str, body: bytes, credential: CredentialMatcher | None, max_json_nodes: int
) -> Failure:
    """Return the failure for a JSON object that is not a response, and so an error in a form of the provider's own."""
    if exceeds_node_count(body, max_json_nodes):
        return unusable_response("it is not a response to this request")
    return embedded_failure(provider, body, credential)


def stream_mismatch(requested: str, sent: str) -> Failure:
    """Return the failure for a stream in place of a body, or the reverse."""
    return malformed_response(f"the provider was asked for {requested} and sent {sent}", ClientCause.STREAM_MISMATCH)
