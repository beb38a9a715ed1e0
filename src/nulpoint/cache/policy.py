"""Decides for each request whether the cache may be used, under which key, and for how long.

Clients can restrict the use of the cache, but never extend it, by the headers `Cache-Control` (RFC 9111, 5.2.1) and
`x-nulpoint-cache-ttl`.
"""

import math

import msgspec

from nulpoint.cache.embeddings import EmbeddingBatch, read_batch
from nulpoint.cache.exclusions import CacheExclusions
from nulpoint.cache.fingerprint import digest, fingerprint
from nulpoint.errors import rejected
from nulpoint.http.message import Headers
from nulpoint.protocols.openai.envelope import has_delivery_members
from nulpoint.providers.operations import Operation
from nulpoint.request.request import ProxyRequest
from nulpoint.routing.chains import TargetPlan

TTL_HEADER = b"x-nulpoint-cache-ttl"
# Headers that reach the provider or change what is sent to it. They are part of the cache key.
_KEYED_HEADERS = frozenset(
    {
        b"openai-beta",
        b"anthropic-beta",
        b"idempotency-key",
        b"openai-organization",
        b"openai-project",
        b"http-referer",
        b"x-title",
    }
)


class CacheLookup(msgspec.Struct, frozen=True):
    """The use that one request makes of the cache.

    Fields:
        key: the cache key of the request.
        batch: the inputs of an embeddings request, which are cached one by one.
        may_read: whether a cached response not older than `max_age` seconds may be served, and the call may be shared
            with other clients.
        ttl: the seconds for which the response may be stored; if 0, it is not stored.
    """

    key: bytes
    batch: EmbeddingBatch | None
    may_read: bool
    max_age: float
    ttl: float


class CachePolicy:
    """Decides how the requests of one operation use the cache. Responses are stored for at most `ttl` seconds."""

    def __init__(self, operation: Operation, exclusions: CacheExclusions | None, ttl: float) -> None:
        self._route = operation.name.encode()
        self._by_vector = operation.cached == "vectors"
        self._exclusions = exclusions
        self._ttl = ttl

    def lookup_for(self, proxy_request: ProxyRequest, plan: TargetPlan) -> CacheLookup | None:
        """Return how the request uses the cache; None if it does not. Raises Failure (400) for a bad header."""
        headers = proxy_request.request.headers
        may_read, max_age, ttl = True, math.inf, self._ttl
        if b"cache-control" in headers or TTL_HEADER in headers:
            directives = _directives(headers.get(b"cache-control", b""))
            if b"no-store" in directives:
                return None
            may_read = b"no-cache" not in directives
            max_age = _seconds(directives[b"max-age"]) if b"max-age" in directives else max_age
            ttl = min(ttl, _requested_ttl(headers[TTL_HEADER])) if TTL_HEADER in headers else ttl
        if self._exclusions is not None and is_excluded(self._exclusions, proxy_request.envelope.model, plan):
            return None
        context = plan.identity
        if proxy_request.strict or not _KEYED_HEADERS.isdisjoint(headers):
            context = digest(context, b"strict" if proxy_request.strict else b"", *_keyed_headers(headers))
        batch, namespace = None, proxy_request.client.cache_namespace
        if self._by_vector:
            batch = read_batch(proxy_request.body, namespace, context)
            key = digest(*batch.keys) if batch is not None else None
        elif proxy_request.envelope.canonical_text is not None:
            key = digest(self._route, namespace, context, proxy_request.envelope.canonical_text)
        else:
            has_delivery = has_delivery_members(proxy_request.envelope)
            key = fingerprint(proxy_request.body, self._route, namespace, context, has_delivery=has_delivery)
        return None if key is None else CacheLookup(key, batch, may_read, max_age, ttl)


def is_excluded(exclusions: CacheExclusions, model: str, plan: TargetPlan) -> bool:
    """Return whether the requested name, or one that it resolves to, is excluded from caching."""
    names = (name for target in plan.all for name in (target.model, target.name))
    return model in exclusions or any(name in exclusions for name in names)


def _keyed_headers(headers: Headers) -> list[bytes]:
    return [part for item in sorted(headers.items()) if item[0] in _KEYED_HEADERS for part in item]


def _directives(value: bytes) -> dict[bytes, bytes]:
    directives = {}
    for part in value.lower().split(b","):
        name, _, argument = part.strip().partition(b"=")
        directives[name] = argument
    return directives


def _seconds(argument: bytes) -> float:
    """Return the value of `max-age`. An invalid one counts as 0, which excludes all responses (RFC 9111, 4.2.1)."""
    argument = argument.strip(b'"')
    return float(argument) if argument.isdigit() else 0.0


def _requested_ttl(value: bytes) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        text = "x-nulpoint-cache-ttl must be a number of seconds, for example 300; with 0 the response is not stored"
        raise rejected(text, param=TTL_HEADER.decode(), code="invalid_header")
    return seconds
