"""The cache as one operation uses it: looks up a request, serves a cached response, or has the coming one stored."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from nulpoint.cache.backend import Cache
from nulpoint.cache.embeddings import CachedVector
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.exclusions import CacheExclusions
from nulpoint.cache.policy import CacheLookup, CachePolicy
from nulpoint.cache.replay import CachedResponse, CacheReplayer
from nulpoint.cache.writer import CacheWriter, VectorCacheWriter
from nulpoint.http.message import header
from nulpoint.providers.operations import Operation
from nulpoint.request.request import ProxyRequest
from nulpoint.routing.chains import TargetPlan

CachedValues = Mapping[bytes, Any]  # entries or vectors by key, depending on the operation
_NOTHING: CachedValues = {}


class CacheableSink(Protocol):
    """The sink of a response that may be cached: it has a cache writer, and headers for all clients that share it."""

    cache_writer: CacheWriter | None
    shared_headers: bytes


class CacheServices(NamedTuple):
    """The objects that the cache layers of all operations share.

    `ttl` is in seconds. `now` returns the event loop's time, and `unix` the time of day in Unix seconds.
    """

    cache: Cache
    exclusions: CacheExclusions | None
    ttl: float
    now: Callable[[], float]
    unix: Callable[[], float]


class CacheLayer:
    """The cache of operations other than embeddings, which stores whole responses."""

    needs_canonical_text = True  # of a request, because its fingerprint is made of it

    def __init__(self, operation: Operation, services: CacheServices) -> None:
        self.policy = CachePolicy(operation, services.exclusions, services.ttl)
        self.replayer = CacheReplayer(operation, services.unix)
        self._services = services
        self._format = operation.client_protocol.conversations

    def peek(
        self, lookup: CacheLookup, proxy_request: ProxyRequest
    ) -> tuple[CachedResponse | None, CachedValues | None]:
        """Look a request up without waiting.

        Return the cached response, or None if it is missing or incomplete, and the cached values that belong to it.
        These are None if the lookup has to wait; then `lookup` must be used.
        """
        memory = self._services.cache.memory
        if memory is None:
            return None, None
        entry = memory.get(lookup.key, self._services.now())
        if entry is None:
            return None, _NOTHING
        return self.replayer.response(entry, lookup, proxy_request), {lookup.key: entry}

    def lookup(self, lookup: CacheLookup) -> Awaitable[CachedValues]:
        """Look a request up. The lookup has started when this returns; awaiting the result yields the cached values."""
        return self._services.cache.get([lookup.key], CacheEntry, self._services.now())

    def cached_response(
        self, values: CachedValues, lookup: CacheLookup, proxy_request: ProxyRequest
    ) -> CachedResponse | None:
        """Return the response made of the cached values; None if it is incomplete or must not be served."""
        entry = values.get(lookup.key)
        return None if entry is None else self.replayer.response(entry, lookup, proxy_request)

    def on_miss(
        self,
        sink: CacheableSink,
        values: CachedValues,
        lookup: CacheLookup,
        plan: TargetPlan,
        proxy_request: ProxyRequest,
    ) -> ProxyRequest:
        """Have the coming response stored. Return the request to send: for embeddings only the missing inputs."""
        services = self._services
        sink.cache_writer = CacheWriter(services.cache, lookup, plan, services.now, services.unix, self._format)
        return proxy_request


class VectorCacheLayer(CacheLayer):
    """The cache of embeddings, which stores every vector separately."""

    needs_canonical_text = False

    def peek(
        self, lookup: CacheLookup, proxy_request: ProxyRequest
    ) -> tuple[CachedResponse | None, CachedValues | None]:
        memory, now = self._services.cache.memory, self._services.now()
        if memory is None or lookup.batch is None:
            return None, None
        stored = ((key, memory.get(key, now)) for key in lookup.batch.keys)
        values = {key: value for key, value in stored if value is not None}
        return self.cached_response(values, lookup, proxy_request), values

    def lookup(self, lookup: CacheLookup) -> Awaitable[CachedValues]:
        assert lookup.batch is not None
        return self._services.cache.get([*dict.fromkeys(lookup.batch.keys)], CachedVector, self._services.now())

    def cached_response(
        self, values: CachedValues, lookup: CacheLookup, proxy_request: ProxyRequest
    ) -> CachedResponse | None:
        return self.replayer.vectors(self.replayer.drop_stale(values, lookup), lookup)

    def on_miss(
        self,
        sink: CacheableSink,
        values: CachedValues,
        lookup: CacheLookup,
        plan: TargetPlan,
        proxy_request: ProxyRequest,
    ) -> ProxyRequest:
        batch, services = lookup.batch, self._services
        assert batch is not None
        vectors = self.replayer.drop_stale(values, lookup)
        missing = batch.missing(vectors)
        sink.cache_writer = VectorCacheWriter(
            services.cache, lookup, plan, services.now, services.unix, None, vectors, missing
        )
        if len(missing) == len(batch.inputs):
            return proxy_request
        cached = sum(key in vectors for key in batch.keys)
        sink.shared_headers = header(b"x-nulpoint-cached-inputs", b"%d" % cached) if cached else b""
        return msgspec.structs.replace(proxy_request, body=batch.request(missing))


def cache_layer(operation: Operation, services: CacheServices) -> CacheLayer | None:
    """Return the cache of an operation; None if its responses may not be cached."""
    if operation.cached is None:
        return None
    return (VectorCacheLayer if operation.cached == "vectors" else CacheLayer)(operation, services)
