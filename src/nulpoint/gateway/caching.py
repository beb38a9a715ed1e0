"""The cache as one route uses it: what is asked of it, what it knows, and what is to be done where it does not."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from nulpoint.gateway.asked import Asked
from nulpoint.gateway.keeping import Keeper, VectorKeeper
from nulpoint.gateway.question import Question, Questions
from nulpoint.gateway.replay import Known, Replay
from nulpoint.http.message import field
from nulpoint.providers.spec import Route
from nulpoint.routing.chains import Plan
from nulpoint.routing.exclusions import Exclusions
from nulpoint.stores.cache import Cache
from nulpoint.wire.answer import Answer
from nulpoint.wire.embedding_batch import Vector

Found = Mapping[bytes, Any]  # answers or vectors, whichever the route has


class CacheParts(NamedTuple):
    """What all routes share. `ttl` in seconds; `now` and `unix` give seconds of the loop's clock and the calendar."""

    cache: Cache
    excluded: Exclusions | None
    ttl: float
    now: Callable[[], float]
    unix: Callable[[], float]


class Miss(NamedTuple):
    """What is to be asked of a provider, who keeps its answer, and header fields that tell of it."""

    asked: Asked
    keeper: Keeper
    fields: bytes


class Caching:
    """Chat and completions: answers are kept as wholes."""

    def __init__(self, route: Route, parts: CacheParts) -> None:
        self.questions = Questions(route, parts.excluded, parts.ttl)
        self.replay = Replay(route, parts.unix)
        self._parts = parts

    def find_now(self, question: Question) -> Found | None:
        """What is known; None where one has to wait for it."""
        memory = self._parts.cache.memory
        if memory is None:
            return None
        answer = memory.get(question.key, self._parts.now())
        return {} if answer is None else {question.key: answer}

    def find(self, question: Question) -> Awaitable[Found]:
        """The same, to be waited for; it is on its way when this returns."""
        return self._parts.cache.get([question.key], Answer, self._parts.now())

    def known(self, found: Found, question: Question, asked: Asked) -> Known | None:
        """The answer, if it is known and may be given."""
        answer = found.get(question.key)
        return None if answer is None else self.replay.answer(answer, question, asked)

    def miss(self, found: Found, question: Question, plan: Plan, asked: Asked) -> Miss:
        """It is not known, or only in part."""
        parts = self._parts
        return Miss(asked, Keeper(parts.cache, question, plan, parts.now, parts.unix), b"")


class VectorCaching(Caching):
    """Embeddings: vectors are kept one by one."""

    def find_now(self, question: Question) -> Found | None:
        memory, now = self._parts.cache.memory, self._parts.now()
        if memory is None or question.batch is None:
            return None
        values = ((key, memory.get(key, now)) for key in question.batch.keys)
        return {key: value for key, value in values if value is not None}

    def find(self, question: Question) -> Awaitable[Found]:
        assert question.batch is not None
        return self._parts.cache.get([*dict.fromkeys(question.batch.keys)], Vector, self._parts.now())

    def known(self, found: Found, question: Question, asked: Asked) -> Known | None:
        return self.replay.vectors(self.replay.fresh(found, question), question)

    def miss(self, found: Found, question: Question, plan: Plan, asked: Asked) -> Miss:
        batch, parts = question.batch, self._parts
        assert batch is not None
        fresh = self.replay.fresh(found, question)
        missing = batch.missing(fresh)
        keeper = VectorKeeper(parts.cache, question, plan, parts.now, parts.unix, fresh, missing)
        if len(missing) == len(batch.inputs):
            return Miss(asked, keeper, b"")
        known = sum(key in fresh for key in batch.keys)
        fields = field(b"x-nulpoint-cached-inputs", b"%d" % known) if known else b""
        return Miss(msgspec.structs.replace(asked, body=batch.request(missing)), keeper, fields)


def caching(route: Route, parts: CacheParts) -> Caching:
    return VectorCaching(route, parts) if route == "embeddings" else Caching(route, parts)
