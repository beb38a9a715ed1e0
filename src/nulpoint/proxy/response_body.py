"""Reads the body of a provider's response, decompresses it if necessary, and checks that it is a response at all."""

import msgspec

from nulpoint.errors import ClientCause, Failure
from nulpoint.formats.inflate import inflater_for
from nulpoint.formats.json_nodes import DEFAULT_MAX_JSON_NODES, exceeds_node_count
from nulpoint.formats.malformed import malformed_response, unusable_response
from nulpoint.http.client.connection import UpstreamConnection
from nulpoint.protocols.provider_errors import embedded_failure, has_embedded_error
from nulpoint.redaction.credential_matcher import CredentialMatcher


async def read_body(connection: UpstreamConnection, limit: int) -> bytes:
    """Read the whole body, and decompress it to at most `limit` bytes. Raises Failure."""
    body = await connection.body()
    inflater = inflater_for(connection.headers)
    if inflater is None:
        return body
    plain = inflater.feed(body, limit)
    if not inflater.complete:
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


def stream_mismatch(requested: str, sent: str) -> Failure:
    """Return the failure for a stream in place of a body, or the reverse."""
    return malformed_response(f"the provider was asked for {requested} and sent {sent}", ClientCause.STREAM_MISMATCH)
