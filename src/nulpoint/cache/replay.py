"""Serves cached responses as a JSON body or as a stream, whichever of the two was stored."""

from collections.abc import Callable, Mapping
from urllib.parse import quote

import msgspec

from nulpoint.cache.embeddings import CachedVector, join
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.policy import CacheLookup
from nulpoint.conversation.usage import Usage
from nulpoint.http.message import JSON_TYPE, STREAM_HEADERS, header
from nulpoint.http.server.response import ResponseWriter
from nulpoint.protocols.client_protocol import IncompleteStreamError
from nulpoint.protocols.openai.envelope import asks_for_usage
from nulpoint.providers.operations import Operation
from nulpoint.request.context import RequestContext
from nulpoint.request.headers import provider_headers
from nulpoint.request.request import ProxyRequest

PIECE = 64 * 1024  # bytes of a stream that are sent in one write; a longer one waits for the client between writes
_MAX_ATTRIBUTIONS = 1024


class CachedResponse(msgspec.Struct, frozen=True):
    """A cached response in the requested form, with what the headers and the log report. `stored`: Unix seconds."""

    body: bytes
    provider: str
    model: str
    response_model: str
    usage: Usage | None
    stored: float
    dropped: str


class CacheReplayer:
    """Serves the cached responses of one operation. `unix` returns the time of day in Unix seconds."""

    def __init__(self, operation: Operation, unix: Callable[[], float]) -> None:
        self._by_vector = operation.cached == "vectors"
        conversations = operation.client_protocol.conversations
        self._forms = conversations.stored if conversations is not None else None
        self._unix = unix
        self._attributions: dict[tuple[str, str], bytes] = {}

    def response(self, entry: CacheEntry, lookup: CacheLookup, proxy_request: ProxyRequest) -> CachedResponse | None:
        """Return a cache entry as a response.

        Return None if it is older than the client allows, or cannot be converted to the requested form.
        """
        if self._unix() - entry.stored > lookup.max_age or self._by_vector:
            return None
        try:
            body = self.render(entry, proxy_request.stream, asks_for_usage(proxy_request.envelope))
        except IncompleteStreamError:
            return None
        return CachedResponse(
            body, entry.provider, entry.model, entry.response_model, entry.usage, entry.stored, entry.dropped
        )

    def render(self, entry: CacheEntry, stream: bool, with_usage: bool) -> bytes:
        """Return the body or the events of a cache entry. Raises IncompleteStreamError."""
        if self._forms is None:  # responses of this operation are never streams
            return entry.content
        return entry.as_stream(self._forms, with_usage) if stream else entry.as_body(self._forms)

    def drop_stale(self, vectors: Mapping[bytes, CachedVector], lookup: CacheLookup) -> Mapping[bytes, CachedVector]:
        """Return the vectors that are not older than the client allows."""
        oldest = self._unix() - lookup.max_age
        return {key: vector for key, vector in vectors.items() if vector.stored >= oldest}

    def vectors(self, vectors: Mapping[bytes, CachedVector], lookup: CacheLookup) -> CachedResponse | None:
        """Return the response to a batch, made of the cached vectors; None if one is missing."""
        batch = lookup.batch
        if batch is None or not all(key in vectors for key in batch.keys):
            return None
        first = vectors[batch.keys[0]]
        dropped = dict.fromkeys(name for vector in vectors.values() for name in vector.dropped.split(",") if name)
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
    ) -> None:
        """Send the response in one write."""
        head = self._cached_headers(cached, proxy_request) + client_headers + self._record_hit(cached, context)
        if proxy_request.stream:
            response.start(200, head)
            response.end(cached.body)
        else:
            response.send(200, head, cached.body)

    async def send_paced(
        self,
        cached: CachedResponse,
        proxy_request: ProxyRequest,
        response: ResponseWriter,
        context: RequestContext,
        client_headers: bytes,
    ) -> None:
        """Send the response. A long stream is sent only as fast as the client reads it."""
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
        """Return the headers that are the same for every hit on this entry, such as the provider's name."""
        attribution = self._attributions.get((cached.provider, cached.model))
        if attribution is None:
            attribution = self._attribution(cached.provider, cached.model)
        dropped = header(b"x-nulpoint-dropped", _escaped(cached.dropped)) if cached.dropped else b""
        return b"%b%b%b" % (STREAM_HEADERS if proxy_request.stream else JSON_TYPE, attribution, dropped)

    def _record_hit(self, cached: CachedResponse, context: RequestContext) -> bytes:
        """Record the hit in the request's context. Return the headers that are for this hit alone."""
        context.cache_hit(cached.provider, cached.model, cached.response_model, cached.usage)
        age = self._unix() - cached.stored  # it may be negative, because the replicas' clocks may differ
        return b"age: %d\r\nx-request-id: %b\r\nx-nulpoint-request-id: %b\r\n" % (
            age if age > 0 else 0,
            context.id,
            context.id,
        )

    def _attribution(self, provider: str, model: str) -> bytes:
        if len(self._attributions) >= _MAX_ATTRIBUTIONS:
            self._attributions.clear()
        headers = provider_headers(_escaped(provider), model) + b"x-cache: HIT\r\n"
        self._attributions[provider, model] = headers
        return headers


def _escaped(text: str) -> bytes:
    """Escape text for use in a header, because a value in Redis may contain anything."""
    return quote(text, safe=",.[]_- ").encode("ascii")
