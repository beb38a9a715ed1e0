"""The cache as one route uses it: what is asked of it, what it knows, and what is to be done where it does not."""

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
from nulpoint.providers.spec import Route
from nulpoint.request.request import ProxyRequest
from nulpoint.routing.chains import TargetPlan

CachedValues = Mapping[bytes, Any]  # answers or vectors, whichever the route has
_NOTHING: CachedValues = {}


class CacheableSink(Protocol):
    """Where a response goes that may be stored: its writer, and headers for every client that shares it."""

    cache_writer: CacheWriter | None
    shared_headers: bytes


class CacheServices(NamedTuple):
    """What all routes share. `ttl` in seconds; `now` and `unix` give seconds of the loop's clock and the calendar."""

    cache: Cache
    exclusions: CacheExclusions | None
    ttl: float
    now: Callable[[], float]
    unix: Callable[[], float]


class CacheLayer:
    """Chat and completions: answers are kept as wholes."""

    def __init__(self, route: Route, services: CacheServices) -> None:
        self.policy = CachePolicy(route, services.exclusions, services.ttl)
        self.replayer = CacheReplayer(route, services.unix)
        self._services = services

    def peek(
        self, lookup: CacheLookup, proxy_request: ProxyRequest
    ) -> tuple[CachedResponse | None, CachedValues | None]:
        """The answer, if it is known; else what is known of it, or None where one has to wait to hear that."""
        memory = self._services.cache.memory
        if memory is None:
            return None, None
        answer = memory.get(lookup.key, self._services.now())
        if answer is None:
            return None, _NOTHING
        return self.replayer.response(answer, lookup, proxy_request), {lookup.key: answer}

    def lookup(self, lookup: CacheLookup) -> Awaitable[CachedValues]:
        """What is known, to be waited for; the question is on its way when this returns."""
        return self._services.cache.get([lookup.key], CacheEntry, self._services.now())

    def cached_response(
        self, values: CachedValues, lookup: CacheLookup, proxy_request: ProxyRequest
    ) -> CachedResponse | None:
        """The answer, if it is known and may be given."""
        answer = values.get(lookup.key)
        return None if answer is None else self.replayer.response(answer, lookup, proxy_request)

    def on_miss(
        self,
        sink: CacheableSink,
        values: CachedValues,
        lookup: CacheLookup,
        plan: TargetPlan,
        proxy_request: ProxyRequest,
    ) -> ProxyRequest:
        """It is not known, or only in part: the answer that is to come is kept. Gives what is to be asked for."""
        parts = self._services
        sink.cache_writer = CacheWriter(parts.cache, lookup, plan, parts.now, parts.unix)
        return proxy_request


class VectorCacheLayer(CacheLayer):
    """Embeddings: vectors are kept one by one."""

    def peek(
        self, lookup: CacheLookup, proxy_request: ProxyRequest
    ) -> tuple[CachedResponse | None, CachedValues | None]:
        memory, now = self._services.cache.memory, self._services.now()
        if memory is None or lookup.batch is None:
            return None, None
        values = ((key, memory.get(key, now)) for key in lookup.batch.keys)
        found = {key: value for key, value in values if value is not None}
        return self.cached_response(found, lookup, proxy_request), found

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
        batch, parts = lookup.batch, self._services
        assert batch is not None
        fresh = self.replayer.drop_stale(values, lookup)
        missing = batch.missing(fresh)
        sink.cache_writer = VectorCacheWriter(parts.cache, lookup, plan, parts.now, parts.unix, fresh, missing)
        if len(missing) == len(batch.inputs):
            return proxy_request
        known = sum(key in fresh for key in batch.keys)
        sink.shared_headers = header(b"x-nulpoint-cached-inputs", b"%d" % known) if known else b""
        return msgspec.structs.replace(proxy_request, body=batch.request(missing))


def cache_layer(route: Route, services: CacheServices) -> CacheLayer:
    return VectorCacheLayer(route, services) if route == "embeddings" else CacheLayer(route, services)
