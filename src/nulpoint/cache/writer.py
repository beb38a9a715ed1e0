"""Keeping answers: only whole and good ones, and of a chain only those that may stand for it."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from nulpoint.cache.backend import Cache
from nulpoint.cache.embeddings import CachedVector, EmbeddingBatch, VectorMismatchError, join, read_vectors
from nulpoint.cache.entry import CacheEntry, entry_from_stream
from nulpoint.cache.policy import CacheLookup
from nulpoint.cache.recorder import StreamRecorder
from nulpoint.errors import ClientCause
from nulpoint.formats.malformed import unusable_response
from nulpoint.protocols.openai.stream import StreamTransformer
from nulpoint.protocols.openai.usage import Usage
from nulpoint.routing.chains import Target, TargetPlan

MOST_BYTES = 1024 * 1024  # of one answer


class ResponseOrigin(msgspec.Struct, frozen=True):
    """Who answered, and how: what an answer's header and log record say of it."""

    target: Target
    answered_model: str
    usage: Usage | None
    dropped: Sequence[str]
    ended: bool = False  # a whole answer, by itself or at the limit that was asked for

    @property
    def provider(self) -> str:
        return self.target.provider.spec.name


class CacheWriter(msgspec.Struct):
    """Keeps the answer to one question. `now` and `unix` give seconds of the loop's clock and of the calendar."""

    cache: Cache
    lookup: CacheLookup
    plan: TargetPlan
    now: Callable[[], float]
    unix: Callable[[], float]

    def record(self, inner: StreamTransformer, hide_usage: bool) -> StreamRecorder:
        return StreamRecorder(inner, hide_usage, MOST_BYTES)

    def complete(self, body: bytes, source: ResponseOrigin) -> bytes:
        """What the caller gets for a provider's answer. Raises Failure where it is none to what was asked."""
        return body

    def store_body(self, body: bytes, source: ResponseOrigin) -> None:
        if source.ended and len(body) <= MOST_BYTES and self._is_cacheable(source):
            self._put(body, b"", False, source)

    def store_stream(self, stream_recorder: StreamRecorder, source: ResponseOrigin) -> None:
        wire = stream_recorder.record()
        found = entry_from_stream(wire) if wire is not None and self._is_cacheable(source) else None
        if found is not None:
            self._put(*found, True, source)

    def _is_cacheable(self, source: ResponseOrigin) -> bool:
        return self.lookup.ttl > 0 and source.target.name in self.plan.cacheable

    def _put(self, content: bytes, usage_event: bytes, streamed: bool, source: ResponseOrigin) -> None:
        answer = CacheEntry(
            content, usage_event, streamed, source.provider, source.target.model, source.usage, self.unix(),
            source.answered_model, ",".join(source.dropped),
        )  # fmt: skip
        self.cache.put({self.lookup.key: answer}, self.lookup.ttl, self.now())


class VectorCacheWriter(CacheWriter):
    """Keeps embeddings, each by itself. `found`: those that are there already; the provider is asked for the others."""

    found: Mapping[bytes, CachedVector]
    asked: Sequence[int]
    fresh: Mapping[bytes, CachedVector] = {}

    def complete(self, body: bytes, source: ResponseOrigin) -> bytes:
        batch = self.lookup.batch
        assert batch is not None
        if len(self.asked) == len(batch.inputs):
            return body
        try:
            self.fresh = self._read(body, batch, source)
            return join(batch, {**self.found, **self.fresh}, body)
        except VectorMismatchError:
            raise unusable_response("it has not one vector for each input", ClientCause.VECTOR_COUNT_MISMATCH) from None

    def store_body(self, body: bytes, source: ResponseOrigin) -> None:
        batch = self.lookup.batch
        if batch is None or not self._is_cacheable(source):
            return
        with contextlib.suppress(VectorMismatchError):
            self.cache.put(self.fresh or self._read(body, batch, source), self.lookup.ttl, self.now())

    def _read(self, body: bytes, batch: EmbeddingBatch, source: ResponseOrigin) -> dict[bytes, CachedVector]:
        dropped = ",".join(source.dropped)
        return read_vectors(body, batch, self.asked, source.provider, self.unix(), source.target.model, dropped)
