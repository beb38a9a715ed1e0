"""How much may be in flight: bounds, a bounded wait in order, and shedding while the event loop cannot keep up."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nulpoint.errors import Failure, Kind
from nulpoint.http.coroutine_runner import CoroutineRunner
from nulpoint.http.deadlines import NEVER
from nulpoint.proxy.admission import controller as module
from nulpoint.proxy.admission.controller import AdmissionController, AdmissionLimits
from support.event_loop import run


class Clock:
    """A ticker that ticks when it is told to."""

    def __init__(self):
        self.watched = set()
        self.watch, self.forget = self.watched.add, self.watched.discard

    def pass_by(self, now):
        for timed in tuple(self.watched):
            if timed.deadline <= now:
                timed.on_deadline(now)


class Memory:
    """A watch of the memory that sees what it is told to."""

    full = False

    def sample(self, now):
        pass


class Loop:
    """An event loop's clock, without the loop."""

    now = 0.0

    def time(self):
        return self.now


@pytest.fixture
def make(monkeypatch):
    return lambda **limits: Scene(monkeypatch, **limits)


class Scene:
    """A gate, and strands that want to be let in."""

    def __init__(self, monkeypatch=None, **limits):
        self.clock, self.loop, self.memory = Clock(), Loop(), Memory()
        loop, asyncio.get_running_loop = asyncio.get_running_loop, lambda: self.loop
        try:
            self.gate = AdmissionController(AdmissionLimits(**limits), self.clock, self.memory)
        finally:
            asyncio.get_running_loop = loop
        self.told = {}  # by name: "in", a Failure
        self.strands = {}

    def come(self, name, size=1, stream=False):
        """As the proxy does it. Gives what became of it, None while it waits."""

        async def request():
            try:
                if self.gate.closed or not self.gate.try_acquire(size, stream):
                    await self.gate.acquire(size, stream)
                self.told[name] = "in"
            except Failure as failure:
                self.told[name] = failure

        strand = self.strands[name] = CoroutineRunner(request(), lambda crash: self.told.setdefault(name, crash))
        strand.resume()
        return self.told.get(name)

    def refused(self, name):
        failure = self.told[name]
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.status, failure.code, failure.retry_after) == (
            Kind.OVERLOADED,
            503,
            "overloaded",
            1.0,
        )
        return failure.message

    def tick(self, seconds):
        self.loop.now += seconds
        self.clock.pass_by(self.loop.now)


def test_bounds_of_requests_and_streams_are_apart(make):
    scene = make(max_requests=2, max_streams=1)
    assert [scene.come(name) for name in "abc"] == ["in", "in", None]
    assert scene.come("s", stream=True) == "in"
    assert scene.come("t", stream=True) is None
    assert (scene.gate.requests, scene.gate.streams, scene.gate.held_bytes) == (2, 1, 3)
    scene.gate.release(1, True)
    assert (scene.told.get("t"), scene.told.get("c")) == ("in", None)
    scene.gate.release(1, False)
    assert scene.told["c"] == "in"
    assert not scene.gate.closed


def test_streams_that_fill_their_places_keep_no_other_request_out(make):
    scene = make(max_requests=5, max_streams=1)
    assert [scene.come(name, stream=True) for name in "sxyz"] == ["in", None, None, None]
    assert scene.gate.closed
    assert [scene.come(name) for name in "abcde"] == ["in"] * 5
    assert scene.come("f") is None


def test_bytes_of_both_count_together(make):
    scene = make(max_held_bytes=100)
    assert scene.come("a", 60) == "in"
    assert scene.come("s", 40, stream=True) == "in"
    assert scene.come("b", 1) is None
    scene.gate.release(40, True)
    assert scene.told["b"] == "in"
    assert scene.gate.held_bytes == 61


def test_a_request_larger_than_the_limit_passes_alone(make):
    scene = make(max_held_bytes=100)
    assert scene.come("huge", 500) == "in"
    assert scene.come("a") is None
    scene.gate.release(500, False)
    assert scene.told["a"] == "in"
    assert scene.come("huge again", 500) is None
    scene.gate.release(1, False)
    assert scene.told["huge again"] == "in"


def test_they_are_let_in_in_the_order_they_came(make):
    scene = make(max_requests=1)
    scene.come("first")
    for name in "abc":
        scene.come(name)
    for name in "abc":
        assert name not in scene.told
        scene.gate.release(1, False)
        assert scene.told[name] == "in"
    assert scene.gate.requests == 1


def test_nobody_overtakes_in_his_own_queue(make):
    scene = make(max_held_bytes=100)
    scene.come("a", 90)
    assert scene.come("large", 50) is None
    assert scene.come("small", 5) is None
    scene.gate.release(90, False)
    assert (scene.told["large"], scene.told["small"]) == ("in", "in")


def test_the_wait_is_bounded(make):
    scene = make(max_requests=1, queue_timeout=1.0)
    scene.come("a")
    scene.come("b")
    scene.tick(0.5)
    scene.come("c")
    scene.tick(0.4)
    assert "b" not in scene.told
    scene.tick(0.1)
    assert "too many requests are in flight" in scene.refused("b")
    assert "c" not in scene.told
    scene.gate.release(1, False)
    assert scene.told["c"] == "in"
    assert (scene.gate.requests, scene.gate.held_bytes, scene.gate.closed) == (1, 1, False)
    assert not scene.clock.watched


def test_who_gives_up_at_the_head_lets_those_behind_him_in(make):
    scene = make(max_held_bytes=100, queue_timeout=1.0)
    scene.come("a", 90)
    assert scene.come("large", 50) is None
    scene.tick(0.5)
    assert scene.come("small", 5) is None
    scene.tick(0.5)
    assert scene.refused("large")
    assert scene.told["small"] == "in"


def test_no_wait_at_all(make):
    scene = make(max_requests=1, queue_timeout=0.0)
    scene.come("a")
    scene.come("b")
    assert scene.refused("b")


def test_the_queue_is_bounded(make, monkeypatch):
    monkeypatch.setattr(module, "MAX_QUEUED", 3)
    scene = make(max_requests=1, max_streams=1)
    scene.come("a")
    scene.come("s", stream=True)
    assert [scene.come(name, stream=name == "t") for name in "bct"] == [None] * 3
    scene.come("d")
    assert scene.refused("d")
    assert "b" not in scene.told


def test_a_caller_who_leaves_while_he_waits(make):
    scene = make(max_requests=1)
    for name in "abc":
        scene.come(name)
    scene.strands["b"].cancel()
    assert scene.strands["b"].done
    scene.gate.release(1, False)
    assert scene.told["c"] == "in"
    scene.gate.release(1, False)
    assert (scene.gate.requests, scene.gate.held_bytes, scene.gate.closed) == (0, 0, False)
    assert not scene.clock.watched


def test_a_place_that_comes_as_the_caller_leaves_is_given_back(make):
    async def main():
        scene = make(max_requests=1)
        scene.come("a")

        async def request():
            strand.cancel()  # by something it calls itself: it hears of that at its next wait
            await scene.gate.acquire(1, False)

        strand = CoroutineRunner(request(), lambda crash: None)
        strand.resume()
        scene.gate.release(1, False)
        assert scene.gate.requests == 1  # it has been let in
        await asyncio.sleep(0)
        assert strand.done
        assert (scene.gate.requests, scene.gate.held_bytes, scene.gate.closed) == (0, 0, False)

    run(main())


def test_shedding_while_the_event_loop_is_late(make):
    scene = make()
    for _ in range(10):
        scene.clock.on_tick(0.2)
    scene.come("a")
    assert "cannot keep up" in scene.refused("a")
    scene.clock.on_tick(0.0)
    assert scene.come("b") == "in"


def test_shedding_while_the_memory_is_nearly_full(make):
    scene = make()
    scene.memory.full = True
    scene.clock.on_tick(0.0)
    scene.come("a")
    assert "memory is nearly full" in scene.refused("a")
    scene.memory.full = False
    scene.clock.on_tick(0.0)
    assert scene.come("b") == "in"


def test_who_waits_already_is_served_while_it_sheds(make):
    scene = make(max_requests=1)
    scene.come("a")
    scene.come("b")
    for _ in range(10):
        scene.clock.on_tick(0.2)
    scene.come("c")
    assert scene.refused("c")
    scene.gate.release(1, False)
    assert scene.told["b"] == "in"
    assert scene.gate.closed
    scene.clock.on_tick(0.0)
    assert not scene.gate.closed


class AnyCrowd(RuleBasedStateMachine):
    """Whatever happens, nobody is inside who was not counted, nobody waits where there is room, and all add up."""

    @initialize(requests=st.integers(1, 3), streams=st.integers(1, 2), held_bytes=st.sampled_from([10, 1000]))
    def begin(self, requests, streams, held_bytes):
        self.limits = {
            "max_requests": requests, "max_streams": streams, "max_held_bytes": held_bytes, "queue_timeout": 1.0,
        }  # fmt: skip
        self.scene = Scene(**self.limits)
        self.known = {}  # name: (size, stream)
        self.gone = set()

    def inside(self):
        return [name for name, what in self.scene.told.items() if what == "in" and name not in self.gone]

    def waiting(self):
        return [name for name in self.known if name not in self.scene.told and name not in self.gone]

    @rule(size=st.sampled_from([1, 4, 20]), stream=st.booleans())
    def somebody_comes(self, size, stream):
        name = len(self.known)
        self.known[name] = (size, stream)
        self.scene.come(name, size, stream)

    @precondition(lambda self: self.inside())
    @rule(data=st.data())
    def somebody_has_his_answer(self, data):
        name = data.draw(st.sampled_from(self.inside()))
        self.gone.add(name)
        self.scene.gate.release(*self.known[name])

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def somebody_gives_up(self, data):
        name = data.draw(st.sampled_from(self.waiting()))
        self.gone.add(name)
        self.scene.strands[name].cancel()

    @rule(seconds=st.sampled_from([0.25, 0.5]), late=st.booleans())
    def time_passes(self, seconds, late):
        self.scene.tick(seconds)
        for _ in range(10):
            self.scene.clock.on_tick(0.2 * late)

    @invariant()
    def agree(self):
        gate, inside, waiting = self.scene.gate, self.inside(), self.waiting()
        sizes = [self.known[name][0] for name in inside]
        streams = sum(self.known[name][1] for name in inside)
        assert (gate.requests, gate.streams, gate.held_bytes) == (len(inside) - streams, streams, sum(sizes))
        assert gate.requests <= self.limits["max_requests"]
        assert gate.streams <= self.limits["max_streams"]
        assert gate.held_bytes <= self.limits["max_held_bytes"] or len(inside) == 1
        assert len(self.scene.clock.watched) == len(waiting)
        assert gate.closed == bool(waiting or gate._lag.overloaded)
        for stream in (False, True):  # the first of each queue waits for a reason
            heads = [name for name in waiting if self.known[name][1] == stream]
            if heads:
                assert not gate.try_acquire(*self.known[heads[0]])


AnyCrowd.TestCase.settings = settings(max_examples=80, stateful_step_count=40)
TestAnyCrowd = AnyCrowd.TestCase


def test_a_waiter_that_has_expired_is_not_looked_at_again(make):
    scene = make(max_requests=1)
    scene.come("a")
    scene.come("b")
    (waiter,) = scene.clock.watched
    waiter.on_deadline(1.0)
    assert waiter.deadline == NEVER
