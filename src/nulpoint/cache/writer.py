"""Stores responses in the cache: only complete and successful ones, from targets that may be cached for the plan."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from nulpoint.cache.backend import Cache
from nulpoint.cache.embeddings import CachedVector, EmbeddingBatch, VectorMismatchError, join, read_vectors
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.policy import CacheLookup
from nulpoint.cache.recorder import StreamRecorder
from nulpoint.errors import ClientCause
from nulpoint.formats.malformed import unusable_response
from nulpoint.protocols.client_protocol import ConversationFormat
from nulpoint.protocols.stream_transformer import StreamTransformer
from nulpoint.request.context import RequestContext
from nulpoint.routing.chains import Target, TargetPlan

MAX_RESPONSE_BYTES = 1024 * 1024  # longer responses are not stored


class CacheWriter(msgspec.Struct):
    """Stores the response to one request.

    `now` returns the event loop's time, and `unix` the time of day in Unix seconds. `format` is that of responses which
    may be streams.
    """

    cache: Cache
    lookup: CacheLookup
    plan: TargetPlan
    now: Callable[[], float]
    unix: Callable[[], float]
    format: ConversationFormat | None

    def record(self, inner: StreamTransformer, hide_usage: bool) -> StreamRecorder:
        strip = self.format.without_usage if hide_usage and self.format is not None else None
        return StreamRecorder(inner, strip, MAX_RESPONSE_BYTES)

    def complete(self, body: bytes, target: Target, dropped: Sequence[str]) -> bytes:
        """Return the body for the client, given the provider's. Raises Failure if that does not fit the request."""
        return body

    def store_body(
        self, body: bytes, target: Target, dropped: Sequence[str], context: RequestContext, *, ended: bool
    ) -> None:
        """Store a response, unless it has not `ended` by itself or at the requested limit."""
        if ended and len(body) <= MAX_RESPONSE_BYTES and self._is_cacheable(target):
            self._put(body, b"", False, target, dropped, context)

    def store_stream(
        self, stream_recorder: StreamRecorder, target: Target, dropped: Sequence[str], context: RequestContext
    ) -> None:
        stream = stream_recorder.record()
        assert self.format is not None
        contents = self.format.stored.from_stream(stream) if stream is not None and self._is_cacheable(target) else None
        if contents is not None:
            self._put(*contents, True, target, dropped, context)

    def _is_cacheable(self, target: Target) -> bool:
        return self.lookup.ttl > 0 and target.name in self.plan.cacheable

    def _put(
        self,
        content: bytes,
        usage_event: bytes,
        streamed: bool,
        target: Target,
        dropped: Sequence[str],
        context: RequestContext,
    ) -> None:
        entry = CacheEntry(  # positional arguments take a third of the time of keyword arguments
            content,
            usage_event,
            streamed,
            target.provider.spec.name,
            target.model,
            context.usage,
            self.unix(),
            context.response_model,
            ",".join(dropped) if dropped else "",
        )
        self.cache.put({self.lookup.key: entry}, self.lookup.ttl, self.now())


class VectorCacheWriter(CacheWriter):
    """Stores embeddings, each one separately.

    `cached` has the vectors that were cached, `requested` the positions of the inputs requested from the provider, and
    `received` the vectors of its response.
    """

    cached: Mapping[bytes, CachedVector]
    requested: Sequence[int]
    received: Mapping[bytes, CachedVector] = {}

    def complete(self, body: bytes, target: Target, dropped: Sequence[str]) -> bytes:
        batch = self.lookup.batch
        assert batch is not None
        if len(self.requested) == len(batch.inputs):
            return body
        try:
            self.received = self._read(body, batch, target, dropped)
            return join(batch, {**self.cached, **self.received}, body)
        except VectorMismatchError:
            raise unusable_response(
                "it does not have one vector for each input", ClientCause.VECTOR_COUNT_MISMATCH
            ) from None

    def store_body(
        self, body: bytes, target: Target, dropped: Sequence[str], context: RequestContext, *, ended: bool
    ) -> None:
        batch = self.lookup.batch
        if batch is None or not self._is_cacheable(target):
            return
        with contextlib.suppress(VectorMismatchError):
            received = self.received or self._read(body, batch, target, dropped)
            self.cache.put(received, self.lookup.ttl, self.now())

    def _read(
        self, body: bytes, batch: EmbeddingBatch, target: Target, dropped: Sequence[str]
    ) -> dict[bytes, CachedVector]:
        provider, names = target.provider.spec.name, ",".join(dropped)
        return read_vectors(body, batch, self.requested, provider, self.unix(), target.model, names)
