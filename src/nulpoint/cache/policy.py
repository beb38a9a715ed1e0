"""What a request asks, as far as the cache is concerned: under which key its answer is kept, and what its caller wants.

Callers may ask for less of the cache, never for more: by `Cache-Control` (RFC 9111, 5.2.1) and `x-nulpoint-cache-ttl`.
"""

import math

import msgspec

from nulpoint.cache.embeddings import EmbeddingBatch, read_batch
from nulpoint.cache.exclusions import CacheExclusions
from nulpoint.cache.fingerprint import digest, fingerprint
from nulpoint.errors import rejected
from nulpoint.http.message import Headers
from nulpoint.providers.spec import Route
from nulpoint.request.request import ProxyRequest
from nulpoint.routing.chains import TargetPlan

TTL_HEADER = b"x-nulpoint-cache-ttl"
# Fields of the head that reach the provider or change what is sent: requests that differ in one are not the same.
_KEYED_HEADERS = frozenset(
    {
        b"openai-beta", b"anthropic-beta", b"idempotency-key", b"openai-organization", b"openai-project",
        b"http-referer", b"x-title",
    }
)  # fmt: skip


class CacheLookup(msgspec.Struct, frozen=True):
    """One request's.

    Fields:
        key: of the whole question.
        batch: of embeddings, which are kept one by one.
        look: a kept answer may be given, if it is not older than `max_age` seconds; and others may share the call.
        ttl: seconds for which the answer may be kept; 0: not at all.
    """

    key: bytes
    batch: EmbeddingBatch | None
    may_read: bool
    max_age: float
    ttl: float


class CachePolicy:
    """Reads those of one route. `excluded`: models that are never cached; `ttl`: the longest, in seconds."""

    def __init__(self, route: Route, exclusions: CacheExclusions | None, ttl: float) -> None:
        self._route = route
        self._exclusions = exclusions
        self._ttl = ttl

    def lookup_for(self, proxy_request: ProxyRequest, plan: TargetPlan) -> CacheLookup | None:
        """None where the cache has to be bypassed. Raises Failure (400) for a field that is wrong."""
        headers = proxy_request.request.headers
        look, max_age, ttl = True, math.inf, self._ttl
        if b"cache-control" in headers or TTL_HEADER in headers:
            directives = _directives(headers.get(b"cache-control", b""))
            if b"no-store" in directives:
                return None
            look = b"no-cache" not in directives
            max_age = _seconds(directives[b"max-age"]) if b"max-age" in directives else max_age
            ttl = min(ttl, _requested_ttl(headers[TTL_HEADER])) if TTL_HEADER in headers else ttl
        if self._exclusions is not None and is_excluded(self._exclusions, proxy_request.envelope.model, plan):
            return None
        context = plan.identity
        if proxy_request.strict or not _KEYED_HEADERS.isdisjoint(headers):
            context = digest(context, b"strict" if proxy_request.strict else b"", *_keyed_headers(headers))
        return self._with_key(proxy_request, context, look, max_age, ttl)

    def _with_key(
        self, proxy_request: ProxyRequest, context: bytes, look: bool, max_age: float, ttl: float
    ) -> CacheLookup | None:
        namespace = proxy_request.client.cache_namespace
        if self._route == "embeddings":
            batch = read_batch(proxy_request.body, namespace, context)
            return None if batch is None else CacheLookup(digest(*batch.keys), batch, look, max_age, ttl)
        key = fingerprint(proxy_request.body, self._route, namespace, context)
        return None if key is None else CacheLookup(key, None, look, max_age, ttl)


def is_excluded(exclusions: CacheExclusions, model: str, plan: TargetPlan) -> bool:
    """By the name that was asked for, and by those it leads to: an alias is no way around."""
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
    """Whoever names an age that is none wants a fresh answer (RFC 9111, 4.2.1)."""
    argument = argument.strip(b'"')
    return float(argument) if argument.isdigit() else 0.0


def _requested_ttl(value: bytes) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        text = "x-nulpoint-cache-ttl must be a number of seconds, for example 300; 0 keeps nothing"
        raise rejected(text, param=TTL_HEADER.decode(), code="invalid_header")
    return seconds
