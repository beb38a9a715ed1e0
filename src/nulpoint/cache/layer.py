"""The cache as one route uses it: what is asked of it, what it knows, and what is to be done where it does not."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from nulpoint.request.request import Asked
from nulpoint.cache.writer import Keeper, VectorKeeper
from nulpoint.proxy.response_sink import Outlet
from nulpoint.cache.policy import Question, Questions
from nulpoint.cache.replay import Known, Replay
from nulpoint.http.message import field
from nulpoint.providers.spec import Route
from nulpoint.routing.chains import Plan
from nulpoint.cache.exclusions import Exclusions
from nulpoint.cache.backend import Cache
from nulpoint.cache.entry import Answer
from nulpoint.cache.embeddings import Vector

Found = Mapping[bytes, Any]  # answers or vectors, whichever the route has
_NOTHING: Found = {}


class CacheParts(NamedTuple):
    """What all routes share. `ttl` in seconds; `now` and `unix` give seconds of the loop's clock and the calendar."""

    cache: Cache
    excluded: Exclusions | None
    ttl: float
    now: Callable[[], float]
    unix: Callable[[], float]


class Caching:
    """Chat and completions: answers are kept as wholes."""

    def __init__(self, route: Route, parts: CacheParts) -> None:
        self.questions = Questions(route, parts.excluded, parts.ttl)
        self.replay = Replay(route, parts.unix)
        self._parts = parts

    def now(self, question: Question, asked: Asked) -> tuple[Known | None, Found | None]:
        """The answer, if it is known; else what is known of it, or None where one has to wait to hear that."""
        memory = self._parts.cache.memory
        if memory is None:
            return None, None
        answer = memory.get(question.key, self._parts.now())
        if answer is None:
            return None, _NOTHING
        return self.replay.answer(answer, question, asked), {question.key: answer}

    def find(self, question: Question) -> Awaitable[Found]:
        """What is known, to be waited for; the question is on its way when this returns."""
        return self._parts.cache.get([question.key], Answer, self._parts.now())

    def known(self, found: Found, question: Question, asked: Asked) -> Known | None:
        """The answer, if it is known and may be given."""
        answer = found.get(question.key)
        return None if answer is None else self.replay.answer(answer, question, asked)

    def miss(self, outlet: Outlet, found: Found, question: Question, plan: Plan, asked: Asked) -> Asked:
        """It is not known, or only in part: the answer that is to come is kept. Gives what is to be asked for."""
        parts = self._parts
        outlet.keeper = Keeper(parts.cache, question, plan, parts.now, parts.unix)
        return asked


class VectorCaching(Caching):
    """Embeddings: vectors are kept one by one."""

    def now(self, question: Question, asked: Asked) -> tuple[Known | None, Found | None]:
        memory, now = self._parts.cache.memory, self._parts.now()
        if memory is None or question.batch is None:
            return None, None
        values = ((key, memory.get(key, now)) for key in question.batch.keys)
        found = {key: value for key, value in values if value is not None}
        return self.known(found, question, asked), found

    def find(self, question: Question) -> Awaitable[Found]:
        assert question.batch is not None
        return self._parts.cache.get([*dict.fromkeys(question.batch.keys)], Vector, self._parts.now())

    def known(self, found: Found, question: Question, asked: Asked) -> Known | None:
        return self.replay.vectors(self.replay.fresh(found, question), question)

    def miss(self, outlet: Outlet, found: Found, question: Question, plan: Plan, asked: Asked) -> Asked:
        batch, parts = question.batch, self._parts
        assert batch is not None
        fresh = self.replay.fresh(found, question)
        missing = batch.missing(fresh)
        outlet.keeper = VectorKeeper(parts.cache, question, plan, parts.now, parts.unix, fresh, missing)
        if len(missing) == len(batch.inputs):
            return asked
        known = sum(key in fresh for key in batch.keys)
        outlet.shared_fields = field(b"x-nulpoint-cached-inputs", b"%d" % known) if known else b""
        return msgspec.structs.replace(asked, body=batch.request(missing))


def caching(route: Route, parts: CacheParts) -> Caching:
    return VectorCaching(route, parts) if route == "embeddings" else Caching(route, parts)
