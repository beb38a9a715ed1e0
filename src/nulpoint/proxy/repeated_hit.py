"""A request whose answer is in memory, when it comes again byte for byte."""

from datetime import UTC, datetime
from time import perf_counter

from nulpoint.cache.layer import CacheParts
from nulpoint.request.recorder import Journal, new_id
from nulpoint.cache.policy import Question
from nulpoint.cache.replay import Replay, own_fields_of_a_hit
from nulpoint.http.message import Request
from nulpoint.http.server.response import Reply
from nulpoint.cache.memory import Memory
from nulpoint.telemetry.request_log.record import Record
from nulpoint.cache.entry import Answer


class RepeatedHit:
    """Everything about it that stays the same was found out when it was answered first.

    The answer itself belongs to the cache, which may let it go or renew it: then this is of no use any more.
    """

    __slots__ = ("_fields", "_given_id", "_journal", "_memory", "_number", "_parts", "_question", "_record", "_replay",
                 "_with_usage", "request")  # fmt: skip

    def __init__(
        self, memory: Memory, parts: CacheParts, replay: Replay, journal: Journal, question: Question,
        with_usage: bool, fields: bytes, given_id: bytes | None, record: Record, request: Request,
    ) -> None:  # fmt: skip
        """`fields`: of the answer's head, those that are the same every time; `record`: of the first, to be changed."""
        self._memory = memory
        self._replay = replay
        self._with_usage = with_usage
        self._parts = parts
        self._question = question
        self._number = memory.number(question.key)
        self._fields = fields
        self._record = record
        self._given_id = given_id
        self._journal = journal
        self.request = Request(request.method, b"/", {}, request.version, request.keep_alive, 0.0)

    def answer(self, reply: Reply) -> bool:
        started = perf_counter()
        answer: Answer | None = self._memory.same(self._question.key, self._number, self._parts.now())
        if answer is None:
            return False
        age = self._parts.unix() - answer.stored
        if age > self._question.max_age:
            return False
        own_id, record = self._given_id or new_id(), self._record
        head = self._fields + own_fields_of_a_hit(age, own_id)
        record.added_us = int((perf_counter() - started) * 1e6)
        body = self._replay.form(answer, record.stream, self._with_usage)
        if record.stream:
            reply.start(200, head)
            reply.end(body)
        else:
            reply.send(200, head, body)
        record.time = datetime.now(UTC)
        record.id = own_id.decode("ascii")
        record.total_us = int((perf_counter() - started) * 1e6)
        self._journal.note(record)
        return True
