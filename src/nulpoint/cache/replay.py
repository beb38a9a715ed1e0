"""Giving out kept answers, whole or as a stream, whichever way they were kept."""

from collections.abc import Callable, Mapping
from time import perf_counter
from urllib.parse import quote

import msgspec

from nulpoint.request.request import Asked
from nulpoint.request.headers import provider_fields
from nulpoint.request.recorder import Entry
from nulpoint.cache.policy import Question
from nulpoint.proxy.stream_response import FIELDS
from nulpoint.http.message import JSON_TYPE, field
from nulpoint.http.server.response import Reply
from nulpoint.providers.spec import Route
from nulpoint.cache.entry import Answer
from nulpoint.protocols.openai.accumulate import NotWhole
from nulpoint.cache.embeddings import Vector, join
from nulpoint.protocols.openai.envelope import asks_for_usage
from nulpoint.protocols.openai.usage import Usage

PIECE = 64 * 1024  # bytes of a stream that are given out in one write; of more the caller has to take some first
_REMEMBERED = 1024  # introductions


class Known(msgspec.Struct, frozen=True):
    """A kept answer in the form that was asked for, and what is said of it. `stored` in Unix seconds."""

    body: bytes
    provider: str
    model: str
    answered_model: str
    usage: Usage | None
    stored: float
    dropped: str


class Replay:
    """Of one route. `unix` gives seconds of the calendar."""

    def __init__(self, route: Route, unix: Callable[[], float]) -> None:
        self._route = route
        self._unix = unix
        self._introductions: dict[tuple[str, str], bytes] = {}

    def answer(self, answer: Answer, question: Question, asked: Asked) -> Known | None:
        """None where it is too old for this caller, or the form that was asked for is not certain."""
        if self._unix() - answer.stored > question.max_age or self._route == "embeddings":
            return None
        try:
            body = self.form(answer, asked.stream, asks_for_usage(asked.envelope))
        except NotWhole:
            return None
        return Known(
            body, answer.provider, answer.model, answer.answered_model, answer.usage, answer.stored, answer.dropped
        )  # fmt: skip

    def form(self, answer: Answer, stream: bool, with_usage: bool) -> bytes:
        """Raises NotWhole."""
        assert self._route != "embeddings"
        return answer.as_stream(self._route, with_usage) if stream else answer.as_body(self._route)

    def fresh(self, vectors: Mapping[bytes, Vector], question: Question) -> Mapping[bytes, Vector]:
        """Those that are not too old for this caller."""
        oldest = self._unix() - question.max_age
        return {key: vector for key, vector in vectors.items() if vector.stored >= oldest}

    def vectors(self, vectors: Mapping[bytes, Vector], question: Question) -> Known | None:
        """The answer to a batch of which every vector is there; None where one is missing."""
        batch = question.batch
        if batch is None or not all(key in vectors for key in batch.keys):
            return None
        first = vectors[batch.keys[0]]
        dropped = dict.fromkeys(name for one in vectors.values() for name in one.dropped.split(",") if name)
        stored = min(vector.stored for vector in vectors.values())
        usage = Usage(prompt=sum(vectors[key].tokens or 0 for key in batch.keys))
        body = join(batch, vectors, None)
        return Known(body, first.provider, first.target, first.model, usage, stored, ",".join(dropped))

    def give(self, known: Known, asked: Asked, reply: Reply, entry: Entry, own_fields: bytes) -> bytes:
        """All of it, in one write. Gives the header fields that are the same every time."""
        fields = self._fields(known, asked) + own_fields
        head = fields + self._note(known, entry)
        if asked.stream:
            reply.start(200, head)
            reply.end(known.body)
        else:
            reply.send(200, head, known.body)
        return fields

    async def give_slowly(self, known: Known, asked: Asked, reply: Reply, entry: Entry, own_fields: bytes) -> None:
        """The same; a long stream only as fast as the caller reads it."""
        if not asked.stream or len(known.body) <= PIECE:
            self.give(known, asked, reply, entry, own_fields)
            return
        reply.start(200, self._fields(known, asked) + own_fields + self._note(known, entry))
        last = (len(known.body) - 1) // PIECE * PIECE
        for start in range(0, last, PIECE):
            reply.write(known.body[start : start + PIECE])
            await reply.drain()
        reply.end(known.body[last:])

    def _fields(self, known: Known, asked: Asked) -> bytes:
        """Who had answered."""
        introduction = self._introductions.get((known.provider, known.model))
        if introduction is None:
            introduction = self._introduce(known.provider, known.model)
        dropped = field(b"x-nulpoint-dropped", _shown(known.dropped)) if known.dropped else b""
        return b"%b%b%b" % (FIELDS if asked.stream else JSON_TYPE, introduction, dropped)

    def _note(self, known: Known, entry: Entry) -> bytes:
        """Enter into the record who had answered; gives the header fields that are of this time alone."""
        entry.cache = "HIT"
        entry.provider = known.provider
        entry.answered_model = known.answered_model
        entry.asked_model = known.model
        entry.usage = known.usage
        entry.began = perf_counter()
        return own_fields_of_a_hit(self._unix() - known.stored, entry.id)

    def _introduce(self, provider: str, model: str) -> bytes:
        if len(self._introductions) >= _REMEMBERED:
            self._introductions.clear()
        fields = self._introductions[provider, model] = provider_fields(_shown(provider), model) + b"x-cache: HIT\r\n"
        return fields


def own_fields_of_a_hit(age: float, own_id: bytes) -> bytes:
    """`age` in seconds; clocks of replicas may disagree."""
    return b"age: %d\r\nx-request-id: %b\r\nx-nulpoint-request-id: %b\r\n" % (age if age > 0 else 0, own_id, own_id)


def _shown(text: str) -> bytes:
    """Fit for a header field, whatever somebody may have written into Redis."""
    return quote(text, safe=",.[]_- ").encode("ascii")
