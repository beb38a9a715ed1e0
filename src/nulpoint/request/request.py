"""A client's request as the gateway understands it."""

import math
from urllib.parse import unquote

import msgspec

from nulpoint.errors import rejected
from nulpoint.http.message import Headers, HttpRequest
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.envelope import Envelope, with_model
from nulpoint.providers.operations import Operation
from nulpoint.request.client_auth import ClientAuthenticator, ClientIdentity
from nulpoint.request.content_type import check_content_type
from nulpoint.request.headers import session_id
from nulpoint.request.rules import RequestRules


class ProxyRequest(msgspec.Struct, frozen=True):
    """A parsed request.

    Fields:
        body: the body to send to a provider. It names the model, wherever the client did. For embeddings it may have
            fewer inputs than the client sent.
        operation: the operation that the client asks for.
        client_api_key: the provider's key that the client sent, or None.
        client_key_digest: a digest of that key.
        strict: whether members that a provider does not support are rejected.
        authenticator: knows which header values no provider may see.
        deadline: in loop time.
        translation: the limits on what is translated, the request or its response.
    """

    request: HttpRequest
    body: bytes
    envelope: Envelope
    stream: bool
    client: ClientIdentity
    client_api_key: str | None
    client_key_digest: bytes | None
    strict: bool
    deadline: float
    authenticator: ClientAuthenticator
    translation: TranslationLimits
    operation: Operation

    def conversation_key(self) -> bytes | None:
        """Return what all requests of this conversation have in common, and those of others rarely.

        It is the session that the client's program names in a header, or else what the body says. Return None if the
        request is not part of a conversation. Clients with keys of their own never share a conversation.
        """
        conversations = self.operation.client_protocol.conversations
        if conversations is None:
            return None
        key = session_id(self.request.headers) or conversations.conversation_key(self.body, self.envelope)
        return self.client.identity + key if key is not None else None


def parse_request(
    request: HttpRequest,
    rules: RequestRules,
    operation: Operation,
    now: float,
    *,
    path_model: str | None = None,
    canonical: bool = False,
) -> ProxyRequest:
    """Parse a request. `now` is in loop time.

    `path_model` is the model's name in the path, percent-encoded; it takes precedence over one in the body. With
    `canonical`, make the canonical text of a short request too.

    Raises Failure: 401 before anything else is checked, then 415 or 400.
    """
    headers = request.headers
    client = rules.authenticator.authenticate(headers, request.query)
    check_content_type(headers)
    body = request.body
    if path_model is not None:
        body = with_model(body, _decoded(path_model))
    elif operation.default_model is not None:
        body = with_model(body, operation.default_model, as_default=True)
    envelope = operation.client_protocol.read_envelope(body, canonical=canonical)
    if envelope.stream and not operation.streams:
        envelope = msgspec.structs.replace(envelope, stream=None)  # such a member means something else, or nothing
    return ProxyRequest(
        request,
        body,
        envelope,
        bool(envelope.stream),
        client,
        client.api_key.decode("ascii") or None,
        client.cache_namespace if client.api_key else None,
        rules.strict or headers.get(b"x-nulpoint-strict", b"").lower() == b"true",
        now + (_timeout(headers, rules.request_timeout) if b"x-nulpoint-timeout" in headers else rules.request_timeout),
        rules.authenticator,
        rules.translation,
        operation,
    )


def _decoded(path_model: str) -> str:
    """Return the name of a model in a path. Raises Failure (400) if it is not UTF-8."""
    try:
        return unquote(path_model, errors="strict")
    except UnicodeDecodeError:
        text = "the name of the model in the path is not valid UTF-8; percent-encode its UTF-8 bytes"
        raise rejected(text, param="model", code="invalid_value") from None


def _timeout(headers: Headers, maximum: float) -> float:
    """Return the seconds that the request may take: what the client asks for, but at most REQUEST_TIMEOUT."""
    try:
        seconds = float(headers[b"x-nulpoint-timeout"])
    except ValueError:
        seconds = math.nan
    if not seconds > 0 or math.isinf(seconds):
        text = "x-nulpoint-timeout must be a number of seconds over 0, for example 30"
        raise rejected(text, param="x-nulpoint-timeout", code="invalid_header")
    return min(seconds, maximum)
