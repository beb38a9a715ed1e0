"""A request whose answer is in memory, when it comes again byte for byte."""

from datetime import UTC, datetime
from time import perf_counter

from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.layer import CacheServices
from nulpoint.cache.memory import MemoryStore
from nulpoint.cache.policy import CacheLookup
from nulpoint.cache.replay import CacheReplayer, hit_headers
from nulpoint.http.message import HttpRequest
from nulpoint.http.server.response import ResponseWriter
from nulpoint.request.recorder import RequestRecorder, new_id
from nulpoint.telemetry.request_log.record import RequestRecord


class RepeatedHit:
    """Everything about it that stays the same was found out when it was answered first.

    The answer itself belongs to the cache, which may let it go or renew it: then this is of no use any more.
    """

    __slots__ = (
        "_fields",
        "_given_id",
        "_lookup",
        "_memory",
        "_number",
        "_parts",
        "_record",
        "_recorder",
        "_replay",
        "_with_usage",
        "request",
    )

    def __init__(
        self,
        memory: MemoryStore,
        parts: CacheServices,
        replay: CacheReplayer,
        recorder: RequestRecorder,
        lookup: CacheLookup,
        with_usage: bool,
        fields: bytes,
        given_id: bytes | None,
        record: RequestRecord,
        request: HttpRequest,
    ) -> None:
        """`fields`: of the answer's head, those that are the same every time; `record`: of the first, to be changed."""
        self._memory = memory
        self._replay = replay
        self._with_usage = with_usage
        self._parts = parts
        self._lookup = lookup
        self._number = memory.number(lookup.key)
        self._fields = fields
        self._record = record
        self._given_id = given_id
        self._recorder = recorder
        self.request = HttpRequest(request.method, b"/", {}, request.version, request.keep_alive, 0.0)

    def answer(self, response: ResponseWriter) -> bool:
        started = perf_counter()
        answer: CacheEntry | None = self._memory.same(self._lookup.key, self._number, self._parts.now())
        if answer is None:
            return False
        age = self._parts.unix() - answer.stored
        if age > self._lookup.max_age:
            return False
        own_id, record = self._given_id or new_id(), self._record
        head = self._fields + hit_headers(age, own_id)
        record.added_us = int((perf_counter() - started) * 1e6)
        body = self._replay.render(answer, record.stream, self._with_usage)
        if record.stream:
            response.start(200, head)
            response.end(body)
        else:
            response.send(200, head, body)
        record.time = datetime.now(UTC)
        record.id = own_id.decode("ascii")
        record.total_us = int((perf_counter() - started) * 1e6)
        self._recorder.record_finished(record)
        return True
