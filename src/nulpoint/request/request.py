"""What a caller asks for: the request as far as the gateway acts on it."""

import math

import msgspec

from nulpoint.errors import rejected
from nulpoint.http.message import Headers, HttpRequest
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.envelope import Envelope, read_envelope
from nulpoint.request.client_auth import ClientAuthenticator, ClientIdentity
from nulpoint.request.content_type import check_content_type
from nulpoint.request.rules import RequestRules


class ProxyRequest(msgspec.Struct, frozen=True):
    """One request's wishes.

    Fields:
        body: what is to be answered; of embeddings it may be less than the caller sent.
        own_key: the provider's key that the caller brought, `own` a digest of it.
        strict: members that a provider cannot take are refused.
        callers: says which header values no provider may see.
        until: the deadline, in loop time.
        max_json_nodes: names and values of the body, or of an answer to it, that may be decoded as a whole.
        translation: what the request may hold where it is translated.
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
    max_json_nodes: int
    translation: TranslationLimits


def parse_request(request: HttpRequest, rules: RequestRules, now: float) -> ProxyRequest:
    """`now` in loop time. Raises Failure (401, before anything else is looked at; 400, 415) naming what is wrong."""
    headers = request.headers
    caller = rules.authenticator.authenticate(headers)
    check_content_type(headers)
    envelope = read_envelope(request.body)
    return ProxyRequest(
        request,
        request.body,
        envelope,
        bool(envelope.stream),
        caller,
        caller.api_key.decode("ascii") or None,
        caller.cache_namespace if caller.api_key else None,
        rules.strict or headers.get(b"x-nulpoint-strict", b"").lower() == b"true",
        now + (_timeout(headers, rules.request_timeout) if b"x-nulpoint-timeout" in headers else rules.request_timeout),
        rules.authenticator,
        rules.translation.json_nodes,
        rules.translation,
    )


def _timeout(headers: Headers, longest: float) -> float:
    """The seconds this request may take; a caller may ask for less than REQUEST_TIMEOUT, never for more."""
    try:
        seconds = float(headers[b"x-nulpoint-timeout"])
    except ValueError:
        seconds = math.nan
    if not seconds > 0 or math.isinf(seconds):
        text = "x-nulpoint-timeout must be a number of seconds over 0, for example 30"
        raise rejected(text, param="x-nulpoint-timeout", code="invalid_header")
    return min(seconds, longest)
