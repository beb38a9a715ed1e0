"""Giving out kept answers, whole or as a stream, whichever way they were kept."""

from collections.abc import Callable, Mapping
from time import perf_counter
from urllib.parse import quote

import msgspec

from nulpoint.cache.embeddings import CachedVector, join
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.policy import CacheLookup
from nulpoint.http.message import JSON_TYPE, STREAM_HEADERS, header
from nulpoint.http.server.response import ResponseWriter
from nulpoint.protocols.openai.accumulate import IncompleteStreamError
from nulpoint.protocols.openai.envelope import asks_for_usage
from nulpoint.protocols.openai.usage import Usage
from nulpoint.providers.spec import Route
from nulpoint.request.headers import provider_headers
from nulpoint.request.recorder import RequestContext
from nulpoint.request.request import ProxyRequest

PIECE = 64 * 1024  # bytes of a stream that are given out in one write; of more the caller has to take some first
_REMEMBERED = 1024  # introductions


class CachedResponse(msgspec.Struct, frozen=True):
    """A kept answer in the form that was asked for, and what is said of it. `stored` in Unix seconds."""

    body: bytes
    provider: str
    model: str
    answered_model: str
    usage: Usage | None
    stored: float
    dropped: str


class CacheReplayer:
    """Of one route. `unix` gives seconds of the calendar."""

    def __init__(self, route: Route, unix: Callable[[], float]) -> None:
        self._route = route
        self._unix = unix
        self._attributions: dict[tuple[str, str], bytes] = {}

    def response(self, entry: CacheEntry, lookup: CacheLookup, proxy_request: ProxyRequest) -> CachedResponse | None:
        """None where it is too old for this caller, or the form that was asked for is not certain."""
        if self._unix() - entry.stored > lookup.max_age or self._route == "embeddings":
            return None
        try:
            body = self.render(entry, proxy_request.stream, asks_for_usage(proxy_request.envelope))
        except IncompleteStreamError:
            return None
        return CachedResponse(
            body, entry.provider, entry.model, entry.response_model, entry.usage, entry.stored, entry.dropped
        )  # fmt: skip

    def render(self, entry: CacheEntry, stream: bool, with_usage: bool) -> bytes:
        """Raises IncompleteStreamError."""
        assert self._route != "embeddings"
        return entry.as_stream(self._route, with_usage) if stream else entry.as_body(self._route)

    def drop_stale(self, vectors: Mapping[bytes, CachedVector], lookup: CacheLookup) -> Mapping[bytes, CachedVector]:
        """Those that are not too old for this caller."""
        oldest = self._unix() - lookup.max_age
        return {key: vector for key, vector in vectors.items() if vector.stored >= oldest}

    def vectors(self, vectors: Mapping[bytes, CachedVector], lookup: CacheLookup) -> CachedResponse | None:
        """The answer to a batch of which every vector is there; None where one is missing."""
        batch = lookup.batch
        if batch is None or not all(key in vectors for key in batch.keys):
            return None
        first = vectors[batch.keys[0]]
        dropped = dict.fromkeys(name for one in vectors.values() for name in one.dropped.split(",") if name)
        stored = min(vector.stored for vector in vectors.values())
        usage = Usage(prompt=sum(vectors[key].tokens or 0 for key in batch.keys))
        body = join(batch, vectors, None)
        return CachedResponse(body, first.provider, first.target, first.model, usage, stored, ",".join(dropped))

    def send(
        self,
        cached: CachedResponse,
        proxy_request: ProxyRequest,
        response: ResponseWriter,
        context: RequestContext,
        client_headers: bytes,
    ) -> bytes:
        """All of it, in one write. Gives the header fields that are the same every time."""
        fields = self._cached_headers(cached, proxy_request) + client_headers
        head = fields + self._record_hit(cached, context)
        if proxy_request.stream:
            response.start(200, head)
            response.end(cached.body)
        else:
            response.send(200, head, cached.body)
        return fields

    async def send_paced(
        self,
        cached: CachedResponse,
        proxy_request: ProxyRequest,
        response: ResponseWriter,
        context: RequestContext,
        client_headers: bytes,
    ) -> None:
        """The same; a long stream only as fast as the caller reads it."""
        if not proxy_request.stream or len(cached.body) <= PIECE:
            self.send(cached, proxy_request, response, context, client_headers)
            return
        response.start(
            200, self._cached_headers(cached, proxy_request) + client_headers + self._record_hit(cached, context)
        )
        last = (len(cached.body) - 1) // PIECE * PIECE
        for start in range(0, last, PIECE):
            response.write(cached.body[start : start + PIECE])
            await response.drain()
        response.end(cached.body[last:])

    def _cached_headers(self, cached: CachedResponse, proxy_request: ProxyRequest) -> bytes:
        """Who had answered."""
        introduction = self._attributions.get((cached.provider, cached.model))
        if introduction is None:
            introduction = self._attribution(cached.provider, cached.model)
        dropped = header(b"x-nulpoint-dropped", _escaped(cached.dropped)) if cached.dropped else b""
        return b"%b%b%b" % (STREAM_HEADERS if proxy_request.stream else JSON_TYPE, introduction, dropped)

    def _record_hit(self, cached: CachedResponse, context: RequestContext) -> bytes:
        """Enter into the record who had answered; gives the header fields that are of this time alone."""
        context.cache = "HIT"
        context.provider = cached.provider
        context.response_model = cached.answered_model
        context.upstream_model = cached.model
        context.usage = cached.usage
        context.response_started = perf_counter()
        return hit_headers(self._unix() - cached.stored, context.id)

    def _attribution(self, provider: str, model: str) -> bytes:
        if len(self._attributions) >= _REMEMBERED:
            self._attributions.clear()
        fields = self._attributions[provider, model] = provider_headers(_escaped(provider), model) + b"x-cache: HIT\r\n"
        return fields


def hit_headers(age: float, request_id: bytes) -> bytes:
    """`age` in seconds; clocks of replicas may disagree."""
    return b"age: %d\r\nx-request-id: %b\r\nx-nulpoint-request-id: %b\r\n" % (
        age if age > 0 else 0,
        request_id,
        request_id,
    )


def _escaped(text: str) -> bytes:
    """Fit for a header field, whatever somebody may have written into Redis."""
    return quote(text, safe=",.[]_- ").encode("ascii")
