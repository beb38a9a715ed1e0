"""Keeping answers: only whole and good ones, and of a chain only those that may stand for it."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from nulpoint.errors import CallerCause
from nulpoint.cache.policy import Question
from nulpoint.proxy.response_body import unreadable
from nulpoint.routing.chains import Plan, Target
from nulpoint.cache.backend import Cache
from nulpoint.cache.entry import Answer, recorded
from nulpoint.cache.embeddings import Batch, Mismatch, Vector, join, read_vectors
from nulpoint.cache.recorder import Recorder
from nulpoint.protocols.openai.stream import Watcher
from nulpoint.protocols.openai.usage import Usage

MOST_BYTES = 1024 * 1024  # of one answer


class Source(msgspec.Struct, frozen=True):
    """Who answered, and how: what an answer's header and log record say of it."""

    target: Target
    answered_model: str
    usage: Usage | None
    dropped: Sequence[str]
    ended: bool = False  # a whole answer, by itself or at the limit that was asked for

    @property
    def provider(self) -> str:
        return self.target.provider.spec.name


class Keeper(msgspec.Struct):
    """Keeps the answer to one question. `now` and `unix` give seconds of the loop's clock and of the calendar."""

    cache: Cache
    question: Question
    plan: Plan
    now: Callable[[], float]
    unix: Callable[[], float]

    def record(self, inner: Watcher, hide_usage: bool) -> Recorder:
        return Recorder(inner, hide_usage, MOST_BYTES)

    def whole(self, body: bytes, source: Source) -> bytes:
        """What the caller gets for a provider's answer. Raises Failure where it is none to what was asked."""
        return body

    def keep_whole(self, body: bytes, source: Source) -> None:
        if source.ended and len(body) <= MOST_BYTES and self._keeps(source):
            self._put(body, b"", False, source)

    def keep_stream(self, recorder: Recorder, source: Source) -> None:
        wire = recorder.record()
        found = recorded(wire) if wire is not None and self._keeps(source) else None
        if found is not None:
            self._put(*found, True, source)

    def _keeps(self, source: Source) -> bool:
        return self.question.ttl > 0 and source.target.name in self.plan.keeps

    def _put(self, content: bytes, usage_event: bytes, streamed: bool, source: Source) -> None:
        answer = Answer(
            content, usage_event, streamed, source.provider, source.target.model, source.usage, self.unix(),
            source.answered_model, ",".join(source.dropped),
        )  # fmt: skip
        self.cache.put({self.question.key: answer}, self.question.ttl, self.now())


class VectorKeeper(Keeper):
    """Keeps embeddings, each by itself. `found`: those that are there already; the provider is asked for the others."""

    found: Mapping[bytes, Vector]
    asked: Sequence[int]
    fresh: Mapping[bytes, Vector] = {}

    def whole(self, body: bytes, source: Source) -> bytes:
        batch = self.question.batch
        assert batch is not None
        if len(self.asked) == len(batch.inputs):
            return body
        try:
            self.fresh = self._read(body, batch, source)
            return join(batch, {**self.found, **self.fresh}, body)
        except Mismatch:
            raise unreadable("it has not one vector for each input", CallerCause.INPUTS_UNMATCHED) from None

    def keep_whole(self, body: bytes, source: Source) -> None:
        batch = self.question.batch
        if batch is None or not self._keeps(source):
            return
        with contextlib.suppress(Mismatch):
            self.cache.put(self.fresh or self._read(body, batch, source), self.question.ttl, self.now())

    def _read(self, body: bytes, batch: Batch, source: Source) -> dict[bytes, Vector]:
        dropped = ",".join(source.dropped)
        return read_vectors(body, batch, self.asked, source.provider, self.unix(), source.target.model, dropped)
