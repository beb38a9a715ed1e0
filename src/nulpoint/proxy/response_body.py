"""A provider's whole answer: read, decompressed where need be, and looked at before it counts as one."""

import zlib

import msgspec

from nulpoint.errors import ClientCause, Failure
from nulpoint.formats.json_nodes import DEFAULT_MAX_JSON_NODES, exceeds_node_count
from nulpoint.formats.malformed import malformed_response, unusable_response
from nulpoint.http.client.connection import UpstreamConnection
from nulpoint.protocols.provider_errors import embedded_error, embedded_failure
from nulpoint.redaction.credential_matcher import CredentialMatcher

AUTOMATIC = 32 + zlib.MAX_WBITS  # gzip or zlib, told by the first bytes


async def read_body(connection: UpstreamConnection, limit: int) -> bytes:
    """The body of an answer, decoded where the provider compressed it unasked. Raises Failure."""
    body = await connection.body()
    encoding = connection.headers.get(b"content-encoding", b"identity").lower()
    return body if encoding == b"identity" else _inflate(body, encoding, limit)


def _inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise unusable_response(f"it is compressed with {encoding.decode('latin-1')[:20]}, which nobody asked for")
    decoder = zlib.decompressobj(AUTOMATIC)
    try:
        plain = decoder.decompress(body, limit)
    except zlib.error:
        raise unusable_response("its compression is broken") from None
    if decoder.unconsumed_tail:
        raise unusable_response(f"it is over {limit} bytes when decompressed", ClientCause.OVER_BOUND)
    if not decoder.eof:
        raise unusable_response("its compressed body is cut")
    return plain


class _Object(msgspec.Struct):
    """Any JSON object, and the error in it."""

    error: msgspec.Raw = msgspec.Raw()


def check_response(
    provider: str, body: bytes, credential: CredentialMatcher | None, max_json_nodes: int = DEFAULT_MAX_JSON_NODES
) -> None:
    """Raise Failure for a good status over something that is no answer: no JSON object, or an error.

    Of a long answer, such as a batch of vectors, only its own `error` is looked at.
    """
    long = exceeds_node_count(body, max_json_nodes)
    if not long and embedded_error(body):
        raise embedded_failure(provider, body, credential)
    try:
        error = bytes(msgspec.json.decode(body, type=_Object).error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unusable_response("it is no JSON object") from None
    if long and error not in (b"", b"null"):
        raise unusable_response(
            f"it has an error among more than {max_json_nodes} JSON names and values (MAX_JSON_NODES)"
        )


def other_form(asked: str, sent: str) -> Failure:
    """The failure for an answer in the form that was not asked for."""
    return malformed_response(f"the provider was asked for {asked} and sent {sent}", ClientCause.OTHER_FORM)
