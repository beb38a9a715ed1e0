"""What a caller asks for: the request as far as the gateway acts on it."""

import hashlib
import math

import msgspec

from nulpoint.errors import rejected
from nulpoint.gateway.admission import check_content_type
from nulpoint.gateway.rules import AskRules
from nulpoint.http.message import Headers, Request
from nulpoint.wire.envelope import Envelope, read_envelope


class Asked(msgspec.Struct, frozen=True):
    """`own_key`: the key the caller brought, `own` its digest; `until`: the request's deadline (loop time)."""

    request: Request
    envelope: Envelope
    stream: bool
    own_key: str | None
    own: bytes | None
    strict: bool
    until: float


def read_request(request: Request, rules: AskRules, now: float) -> Asked:
    """`now` in loop time. Raises Failure (400, 415) naming what is wrong."""
    headers = request.headers
    check_content_type(headers)
    envelope = read_envelope(request.body)
    own_key = own_key_of(headers) if rules.forward_keys else None
    return Asked(
        request,
        envelope,
        bool(envelope.stream),
        own_key,
        hashlib.sha256(own_key.encode()).digest() if own_key else None,
        rules.strict or headers.get(b"x-nulpoint-strict", b"").lower() == b"true",
        now + (_timeout(headers, rules.request_timeout) if b"x-nulpoint-timeout" in headers else rules.request_timeout),
    )


def own_key_of(headers: Headers) -> str | None:
    """The caller's credential: a bearer token, else `x-api-key`."""
    authorization = headers.get(b"authorization", b"")
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() == b"bearer" and token.strip():
        return token.strip().decode("ascii")
    return headers.get(b"x-api-key", b"").decode("ascii") or None


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
