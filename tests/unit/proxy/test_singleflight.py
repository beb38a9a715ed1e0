"""Single flight's bookkeeping: joining, leaving, who goes on for whom, how much is kept. And which requests share."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nulpoint.cache.policy import CachePolicy
from nulpoint.errors import Failure, Kind
from nulpoint.http.coroutine_runner import CoroutineRunner
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.operations import OPERATIONS
from nulpoint.providers.spec import Provider
from nulpoint.proxy import shared_call as module
from nulpoint.proxy.response_sink import ResponseSink
from nulpoint.proxy.shared_call import SharedCall
from nulpoint.proxy.singleflight import SingleFlight, call_key
from nulpoint.request.context import RequestContext
from nulpoint.routing.chains import Target, TargetPlan
from support.proxy_requests import BODY, parsed_request

PIECE = b"x" * 1024


class Leader:
    """As much of a reply as a flight needs of its leader's."""

    def __init__(self):
        self.audience = None
        self.written = []
        self.cancelled = 0

    def write(self, data):
        self.written.append(data)

    def cancel(self):
        self.cancelled += 1


def entry():
    return RequestContext(b"id", "chat", 0.0)


def led():
    leader = Leader()
    return leader, SharedCall(leader, entry())


# -- one flight --------------------------------------------------------------------------------------------------------


def test_who_joins_late_gets_what_has_come_and_then_follows():
    leader, flight = led()
    early = flight.join()
    flight.start(200, b"fields")
    flight.write(b"a")
    assert flight.read(early) == b"a"
    flight.write(b"b")
    late = flight.join()
    assert flight.has_unread(late)
    assert (flight.read(late), flight.read(early)) == (b"ab", b"b")
    assert not flight.has_unread(late)
    assert flight.read(late) == b""
    flight.add(b"c")  # the leader's caller gets it in another way
    flight.finish(None)
    assert flight.has_unread(early)
    assert (flight.read(late), flight.read(early)) == (b"c", b"c")
    assert flight.has_unread(early)  # that it has ended
    assert leader.written == [b"a", b"b"]
    assert leader.audience is None
    assert flight.head == (200, b"fields")


def test_followers_are_woken_by_every_piece_and_by_the_end():
    _, flight = led()
    follower, seen = flight.join(), []

    async def following():
        while flight.head is None:
            await follower.wakeup
        seen.append("head")
        while not flight.ended:
            seen.append(flight.read(follower))
            if not flight.has_unread(follower):
                await follower.wakeup
        seen.append(flight.read(follower))

    CoroutineRunner(following(), lambda crash: seen.append(crash)).resume()
    flight.start(200, b"")
    flight.write(b"a")
    flight.write(b"b")
    flight.add(b"c")
    flight.finish(None)
    assert seen == ["head", b"", b"a", b"b", b"c", b"", None]


def test_the_last_who_leaves_cancels_the_call():
    leader, flight = led()
    one, other = flight.join(), flight.join()
    flight.leave(one)
    assert not leader.cancelled
    assert flight.has_followers()  # the leader's caller has left, another still waits
    assert not leader.cancelled
    flight.leave(other)
    assert leader.cancelled == 1
    assert not flight.joinable


def test_a_leader_who_leaves_with_nobody_there_ends_it():
    leader, flight = led()
    flight.leave(flight.join())
    assert not leader.cancelled
    assert not flight.has_followers()
    assert not leader.cancelled  # its own strand is cancelled by whoever asked


def test_leaving_after_the_end_cancels_nothing():
    leader, flight = led()
    follower = flight.join()
    assert flight.has_followers()
    flight.finish(None)
    flight.leave(follower)
    assert not leader.cancelled


def test_what_nobody_can_want_is_not_kept():
    leader, flight = led()
    for _ in range(module.MAX_KEPT_BYTES // len(PIECE) + 1):
        flight.write(PIECE)
    assert not flight.joinable
    assert flight._bytes == len(flight._pieces) == 0
    flight.write(PIECE)
    assert flight._bytes == len(flight._pieces) == 0
    assert len(leader.written) == module.MAX_KEPT_BYTES // len(PIECE) + 2


def test_a_long_answer_is_kept_only_for_followers_who_are_near():
    _, flight = led()
    near, far = flight.join(), flight.join()
    for _ in range(module.MAX_KEPT_BYTES // len(PIECE) * 3):
        flight.write(PIECE)
        assert flight._bytes <= module.MAX_KEPT_BYTES
        assert flight.read(near) == PIECE
    assert not flight.joinable
    with pytest.raises(Failure, match="faster than you read it") as caught:
        flight.read(far)
    assert (caught.value.kind, caught.value.code) == (Kind.OVERLOADED, "reader_too_slow")


# -- all of them -------------------------------------------------------------------------------------------------------


def outlet():
    return ResponseSink(Leader(), entry(), b"")


def test_a_flight_is_made_when_the_second_caller_comes_and_found_while_it_can_be_joined():
    flights, leader = SingleFlight(), outlet()
    assert flights.find(b"k") is None
    assert flights.join_or_lead(b"k", leader) is None
    assert (len(flights), leader.shared_call) == (1, None)
    flight = flights.find(b"k")
    assert flight is leader.shared_call is flights.find(b"k")
    flight.joinable = False
    assert flights.find(b"k") is None
    leader.close()
    assert len(flights) == 0
    failure = Failure(Kind.UPSTREAM, 502, "x")
    flight.finish(failure)
    assert (flight.ended, flight.failure) == (True, failure)


def test_one_that_nobody_joined_leaves_nothing():
    flights, leader = SingleFlight(), outlet()
    flights.join_or_lead(b"k", leader)
    leader.close()
    assert (len(flights), leader.shared_call) == (0, None)


def test_an_identical_request_joins():
    flights, leader, second = SingleFlight(), outlet(), outlet()
    flights.join_or_lead(b"k", leader)
    assert flights.join_or_lead(b"k", second) is leader.shared_call
    second.close()
    assert flights.join_or_lead(b"k", second) is leader.shared_call


def test_one_that_cannot_be_joined_any_more_makes_room_for_the_next():
    flights, first, second = SingleFlight(), outlet(), outlet()
    flights.join_or_lead(b"k", first)
    flights.find(b"k").joinable = False
    assert flights.find(b"k") is None
    assert flights.join_or_lead(b"k", second) is None
    first.close()
    assert flights.find(b"k") is second.shared_call
    second.close()
    assert len(flights) == 0


class AnyCrowd(RuleBasedStateMachine):
    """Everybody who stays gets every byte, in order; the call is cancelled exactly when nobody is left."""

    @initialize()
    def begin(self):
        self.leader, self.flight = led()
        self.sent, self.number = b"", 0
        self.got = {}

    def ended(self):
        return self.flight.ended or self.leader.cancelled

    @precondition(lambda self: not self.ended())
    @rule()
    def a_piece_comes(self):
        self.number += 1
        piece = b"%d," % self.number
        self.sent += piece
        self.flight.write(piece)

    @precondition(lambda self: self.flight.joinable)
    @rule()
    def somebody_joins(self):
        self.got[self.flight.join()] = b""

    @precondition(lambda self: self.got)
    @rule(data=st.data())
    def somebody_reads(self, data):
        follower = data.draw(st.sampled_from(list(self.got)))
        self.got[follower] += self.flight.read(follower)
        assert self.got[follower] == self.sent

    @precondition(lambda self: self.got)
    @rule(data=st.data())
    def somebody_leaves(self, data):
        follower = data.draw(st.sampled_from(list(self.got)))
        del self.got[follower]
        self.flight.leave(follower)

    @precondition(lambda self: not self.flight.leader_left and not self.flight.ended)
    @rule()
    def the_leader_leaves(self):
        goes_on = self.flight.has_followers()
        assert goes_on == bool(self.got)
        if not goes_on:
            self.flight.finish(None)

    @precondition(lambda self: not self.ended())
    @rule()
    def it_lands(self):
        self.flight.finish(None)

    @rule()
    def nothing_happens(self):
        pass

    @invariant()
    def agree(self):
        if self.leader.cancelled:
            assert self.flight.leader_left
            assert not self.got
        assert self.leader.cancelled <= 1
        assert not (self.flight.joinable and self.ended())


AnyCrowd.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestAnyCrowd = AnyCrowd.TestCase


# -- which requests share ----------------------------------------------------------------------------------------------

OPENAI = Provider(spec=CATALOG["openai"], base_url="http://x")
PLAN = TargetPlan(Target.at(OPENAI, "m"), [[(Target.at(OPENAI, "m"), 1)]])
OTHER_PLAN = TargetPlan(Target.at(OPENAI, "n"), [[(Target.at(OPENAI, "n"), 1)]])


def key(headers=(), *, body=BODY, route="chat", plan=PLAN, own=None):
    if own:
        headers = {**dict(headers), b"authorization": b"Bearer " + own}
    one = parsed_request(headers, body=body, forward_keys=own is not None, route=route)
    question = CachePolicy(OPERATIONS[route], None, 60.0).lookup_for(one, plan)
    return call_key(one, question) if question is not None and question.may_read else None


def test_the_same_question_is_the_same_however_it_is_spelt():
    assert key() == key(body=b'{ "messages": [], "model": "gpt-4o" }')
    assert key() == key({b"user-agent": b"x", b"x-request-id": b"y", b"x-nulpoint-trace": b"1"})


STREAMED = BODY[:-1] + b',"stream":true}'

OTHERS = {
    "another question": {"body": b'{"model":"gpt-4o","messages":[],"seed":1}'},
    "another route": {"route": "completions"},
    "other targets": {"plan": OTHER_PLAN},
    "a stream": {"body": STREAMED},
    "a stream with usage": {"body": BODY[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'},
    "a caller's own key": {"own": b"a"},
    "another caller's own key": {"own": b"b"},
    "a shorter deadline": {"headers": {b"x-nulpoint-timeout": b"5"}},
    "strict": {"headers": {b"x-nulpoint-strict": b"true"}},
    "a beta": {"headers": {b"openai-beta": b"x"}},
    "another beta": {"headers": {b"anthropic-beta": b"x"}},
    "an idempotency key": {"headers": {b"idempotency-key": b"x"}},
    "two of them": {"headers": {b"idempotency-key": b"x", b"x-title": b"y"}},
    "two of them the other way": {"headers": {b"idempotency-key": b"y", b"x-title": b"x"}},
}


def test_what_makes_another_question():
    keys = [key(), *(key(**other) for other in OTHERS.values())]
    assert None not in keys
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("value", [b"no-store", b"no-cache", b"max-age=0, no-store", b"No-Cache"])
def test_who_wants_an_answer_of_his_own(value):
    assert key({b"cache-control": value}) is None
    assert key({b"cache-control": b"max-age=60"}) is not None


def test_a_body_that_can_be_read_in_two_ways_is_not_shared():
    assert key(body=b'{"model":"gpt-4o","messages":[],"seed":1,"seed":2}') is None
