"""Which requests may share one call, and how a caller follows the call of another."""

from nulpoint.errors import Failure, Kind
from nulpoint.request.request import Asked
from nulpoint.proxy.shared_call import Flight, Follower
from nulpoint.request.recorder import Entry
from nulpoint.proxy.response_sink import Outlet
from nulpoint.cache.policy import Question
from nulpoint.proxy.stream_response import StreamAnswer
from nulpoint.http.message import field
from nulpoint.protocols.openai.envelope import asks_for_usage

_TIMEOUT = b"x-nulpoint-timeout"


def identity(asked: Asked, question: Question) -> bytes:
    """What is the same for requests that may share a call: the question, and how the answer is to be delivered."""
    delivery = (b"stream" if asked.stream else b"whole") + (b"+usage" if asks_for_usage(asked.envelope) else b"")
    return question.key + delivery + asked.request.headers.get(_TIMEOUT, b"")


class Flights:
    """The calls under way that can be joined: their callers' outlets, by what identifies their requests."""

    def __init__(self) -> None:
        self._leaders: dict[bytes, Outlet] = {}

    def find(self, key: bytes) -> Flight | None:
        leader = self._leaders.get(key)
        if leader is None:
            return None
        flight = leader.share()
        return flight if flight.joinable else None

    def lead(self, key: bytes, leader: Outlet) -> None:
        """Begin one; it must be given to `land`. An answer that comes whole needs nothing until others come."""
        self._leaders[key] = leader
        if leader.stream is not None:
            leader.stream.share(leader.share())

    def land(self, key: bytes, leader: Outlet, failure: Failure | None) -> None:
        if self._leaders.get(key) is leader:
            del self._leaders[key]
        if leader.flight is not None:
            leader.flight.land(failure)

    def __len__(self) -> int:
        return len(self._leaders)


async def follow(flight: Flight, outlet: Outlet) -> None:
    """Give a caller the answer of another's call. Raises Failure, the same for everybody, when there is none."""
    entry, follower = outlet.entry, flight.join()
    try:
        while flight.head is None and not flight.ended:
            await follower.news
        if flight.head is None:
            raise flight.failure or Failure(Kind.INTERNAL, 500, "the shared call ended without an answer")
        if outlet.stream is None:
            await _whole(flight, follower, outlet, entry)
        else:
            await _stream(flight, follower, outlet.stream, entry)
    finally:
        outlet.close()
        flight.leave(follower)
        _note(flight.entry, entry)


async def _whole(flight: Flight, follower: Follower, outlet: Outlet, entry: Entry) -> None:
    while not flight.ended:
        await follower.news
    if flight.failure is not None:
        raise flight.failure
    assert flight.head is not None
    status, fields = flight.head
    outlet.reply.send(status, fields + _own_fields(fields, outlet.own_fields, entry), flight.next_for(follower))


async def _stream(flight: Flight, follower: Follower, answer: StreamAnswer, entry: Entry) -> None:
    assert flight.head is not None
    fields = flight.head[1]
    answer.offer(fields, _own_fields(fields, answer.own_fields, entry), flight.entry.provider.encode())
    answer.commit()
    while not flight.ended:
        answer.write(flight.next_for(follower))
        await answer.drain()
        if not flight.has_news(follower):
            await follower.news
    last = flight.next_for(follower)
    if flight.failure is None:
        answer.end(last)
        return
    answer.write(last)
    raise flight.failure


def _own_fields(shared: bytes, own: bytes, entry: Entry) -> bytes:
    own += b"x-nulpoint-coalesced: 1\r\n"
    return own if b"x-request-id:" in shared else own + field(b"x-request-id", entry.id)


def _note(leader: Entry, entry: Entry) -> None:
    entry.provider = leader.provider
    entry.answered_model = leader.answered_model
    entry.asked_model = leader.asked_model
    entry.usage = leader.usage
