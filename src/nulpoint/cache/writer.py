"""Stores responses in the cache: only complete and successful ones, from targets that may be cached for the plan."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from nulpoint.cache.backend import Cache
from nulpoint.cache.embeddings import CachedVector, EmbeddingBatch, VectorMismatchError, join, read_vectors
from nulpoint.cache.entry import CacheEntry, entry_from_stream
from nulpoint.cache.policy import CacheLookup
from nulpoint.cache.recorder import StreamRecorder
from nulpoint.conversation.usage import Usage
from nulpoint.errors import ClientCause
from nulpoint.formats.malformed import unusable_response
from nulpoint.protocols.openai.stream import StreamTransformer
from nulpoint.routing.chains import Target, TargetPlan

MAX_RESPONSE_BYTES = 1024 * 1024  # longer responses are not stored


class ResponseOrigin(msgspec.Struct, frozen=True):
    """Which target sent a response, and what the headers and the log report about it."""

    target: Target
    response_model: str
    usage: Usage | None
    dropped: Sequence[str]
    ended: bool = False  # the response is complete, up to its own end or the requested limit

    @property
    def provider(self) -> str:
        return self.target.provider.spec.name


class CacheWriter(msgspec.Struct):
    """Stores the response to one request.

    `now` returns the event loop's time, and `unix` the time of day in Unix seconds.
    """

    cache: Cache
    lookup: CacheLookup
    plan: TargetPlan
    now: Callable[[], float]
    unix: Callable[[], float]

    def record(self, inner: StreamTransformer, hide_usage: bool) -> StreamRecorder:
        return StreamRecorder(inner, hide_usage, MAX_RESPONSE_BYTES)

    def complete(self, body: bytes, origin: ResponseOrigin) -> bytes:
        """Return the body for the client, given the provider's. Raises Failure if that does not fit the request."""
        return body

    def store_body(self, body: bytes, origin: ResponseOrigin) -> None:
        if origin.ended and len(body) <= MAX_RESPONSE_BYTES and self._is_cacheable(origin):
            self._put(body, b"", False, origin)

    def store_stream(self, stream_recorder: StreamRecorder, origin: ResponseOrigin) -> None:
        wire = stream_recorder.record()
        contents = entry_from_stream(wire) if wire is not None and self._is_cacheable(origin) else None
        if contents is not None:
            self._put(*contents, True, origin)

    def _is_cacheable(self, origin: ResponseOrigin) -> bool:
        return self.lookup.ttl > 0 and origin.target.name in self.plan.cacheable

    def _put(self, content: bytes, usage_event: bytes, streamed: bool, origin: ResponseOrigin) -> None:
        target = origin.target
        entry = CacheEntry(  # positional arguments take a third of the time of keyword arguments
            content,
            usage_event,
            streamed,
            target.provider.spec.name,
            target.model,
            origin.usage,
            self.unix(),
            origin.response_model,
            ",".join(origin.dropped) if origin.dropped else "",
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

    def complete(self, body: bytes, origin: ResponseOrigin) -> bytes:
        batch = self.lookup.batch
        assert batch is not None
        if len(self.requested) == len(batch.inputs):
            return body
        try:
            self.received = self._read(body, batch, origin)
            return join(batch, {**self.cached, **self.received}, body)
        except VectorMismatchError:
            raise unusable_response(
                "it does not have one vector for each input", ClientCause.VECTOR_COUNT_MISMATCH
            ) from None

    def store_body(self, body: bytes, origin: ResponseOrigin) -> None:
        batch = self.lookup.batch
        if batch is None or not self._is_cacheable(origin):
            return
        with contextlib.suppress(VectorMismatchError):
            self.cache.put(self.received or self._read(body, batch, origin), self.lookup.ttl, self.now())

    def _read(self, body: bytes, batch: EmbeddingBatch, origin: ResponseOrigin) -> dict[bytes, CachedVector]:
        dropped = ",".join(origin.dropped)
        return read_vectors(body, batch, self.requested, origin.provider, self.unix(), origin.target.model, dropped)
