"""Tests the circuit breaker with scripts of (time, event, expected result), and against a simple model of it."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nulpoint.routing.breaker import Breaker, BreakerRules, Outcome, State

OUTCOMES = {"succeeds": Outcome.SUCCESS, "fails": Outcome.FAILURE, "leaves": Outcome.NEUTRAL}
CLOSED, OPEN = State.CLOSED, State.OPEN


def play(script, **rules):
    """Run a script and check the result of each event.

    The result of `admit NAME` is `normal`, `probe` or None. That of `NAME succeeds`, `NAME fails` and `NAME leaves` is
    the new state or None. `one OUTCOME` is a call that is let through and ends at once, with the same results. That of
    `wait` is the seconds to the next probe.
    """
    breaker, permits = Breaker(BreakerRules(**rules)), {}
    for step, (now, event, expected) in enumerate(script):
        first, _, second = event.partition(" ")
        if first == "admit":
            permit = permits[second] = breaker.acquire(now)
            result = None if permit is None else "probe" if permit.probe else "normal"
        elif first == "one":
            result = breaker.record(breaker.acquire(now), OUTCOMES[second], now)
        elif first == "wait":
            result = breaker.seconds_to_probe(now)
        elif first == "hint":
            result = breaker.open_by_hint(now)
        else:
            result = breaker.record(permits.pop(first), OUTCOMES[second], now)
        assert result == expected, f"step {step}: {now} {event}"


def failures(*times):
    """Return the events of failed calls, the last of which opens the breaker."""
    return [*((time, "one fails", None) for time in times[:-1]), (times[-1], "one fails", OPEN)]


OPENED_AT_4 = failures(0, 1, 2, 3, 4)

SCRIPTS = {
    "the fifth failure within the window opens it": [
        *OPENED_AT_4, (4, "admit a", None), (4, "wait", 30), (33.9, "admit a", None), (33.5, "wait", 0.5),
    ],
    "four are not enough, and those that have left the window do not count": [
        *((time, "one fails", None) for time in (0, 1, 2, 3)),
        (60.5, "one fails", None), (61.5, "one fails", None), (61.5, "admit a", "normal"),
    ],
    "the edge of the window still counts": failures(0, 1, 2, 3, 60),
    "a success in between erases nothing": [
        (0, "one fails", None), (1, "one succeeds", None), (2, "one fails", None), (3, "one succeeds", None),
        (4, "one fails", None), (5, "one fails", None), (6, "one succeeds", None), (7, "one fails", OPEN),
    ],
    "what the caller did wrong, and who left, do not count": [
        *((time, "one leaves", None) for time in range(1000)), (1000, "wait", 0),
    ],
    "one probe at a time": [
        *OPENED_AT_4, (34, "wait", 0), (34, "admit a", "probe"), (34, "admit b", None), (40, "wait", 24), (63.9, "admit c", None),
    ],
    "a probe that does not end keeps others out no longer than an opening does": [
        *OPENED_AT_4, (34, "admit a", "probe"), (64, "wait", 0), (64, "admit b", "probe"), (65, "admit c", None), (65, "wait", 29),
        (66, "b succeeds", CLOSED), (70, "a fails", None), (70, "admit d", "normal"),
    ],
    "of two probes the first one that ends decides": [
        *OPENED_AT_4, (34, "admit a", "probe"), (64, "admit b", "probe"), (70, "a fails", OPEN), (71, "b succeeds", None),
        (71, "wait", 29), (100, "admit c", "probe"), (101, "c succeeds", CLOSED),
    ],
    "of two probes one that is neither says nothing": [
        *OPENED_AT_4, (34, "admit a", "probe"), (64, "admit b", "probe"), (65, "b leaves", OPEN), (66, "a succeeds", CLOSED),
    ],
    "nor does it in the other order": [
        *OPENED_AT_4, (34, "admit a", "probe"), (64, "admit b", "probe"), (65, "b leaves", OPEN), (66, "a leaves", None),
        (66, "admit c", "probe"), (67, "c fails", OPEN), (67, "wait", 30),
    ],
    "a probe that succeeds closes it, and the failures are forgotten": [
        *OPENED_AT_4, (34, "admit a", "probe"), (35, "a succeeds", CLOSED), (35, "wait", 0),
        *((time, "one fails", None) for time in (36, 37, 38, 39)), (40, "one fails", OPEN),
    ],
    "a probe that fails opens it for the same time again, however often": [
        *OPENED_AT_4, (34, "admit a", "probe"), (40, "a fails", OPEN), (69.5, "admit b", None),
        (70, "admit b", "probe"), (71, "b fails", OPEN), (100.5, "admit c", None), (101, "admit c", "probe"),
    ],
    "a probe whose caller left frees its place at once": [
        *OPENED_AT_4, (34, "admit a", "probe"), (35, "admit b", None), (35, "a leaves", OPEN), (35, "wait", 0),
        (35, "admit b", "probe"), (36, "b succeeds", CLOSED),
    ],
    "late results of calls admitted before the opening decide nothing": [
        (0, "admit a", "normal"), (0, "admit b", "normal"), (0, "admit c", "normal"), *OPENED_AT_4,
        (5, "a fails", None), (5, "b succeeds", None), (34, "admit p", "probe"), (35, "c fails", None), (36, "p succeeds", CLOSED),
    ],
    "nor do they when it has closed again": [
        *((0, f"admit {name}", "normal") for name in "abcdefg"), *OPENED_AT_4, (34, "admit p", "probe"), (34, "p succeeds", CLOSED),
        *((35, f"{name} fails", None) for name in "abcdefg"), (36, "admit x", "normal"), *failures(36, 36, 36, 36, 36),
    ],
    "another replica's opening is taken over, once": [
        (0, "hint", OPEN), (5, "hint", None), (10, "admit a", None), (30, "admit a", "probe"), (30, "hint", None),
        (31, "a succeeds", CLOSED), *failures(31, 31, 31, 31, 31),
    ],
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_the_documented_transitions(script):
    play(script)


def test_every_setting_takes_effect():
    script = [*failures(0, 1), (7.9, "admit a", None), (8, "admit a", "probe"), (8, "a leaves", OPEN)]
    play(script, threshold=2, window=1, half_open_timeout=7)
    play([(0, "one fails", None), (1.1, "one fails", None), (2.2, "one fails", None)], threshold=2, window=1)
    play([(0, "one fails", OPEN)], threshold=1)


# -- the ratio of failed calls ----------------------------------------------------------------------------------------


def calls(now, good, bad):
    return [*((now, "one succeeds", None) for _ in range(good)), *((now, "one fails", None) for _ in range(bad))]


RATIO_SCRIPTS = {
    "half of twenty calls": [*calls(0, 10, 9), (1, "one fails", OPEN)],
    "less than half is fine, however many": [*calls(0, 500, 400), (1, "wait", 0)],
    "nineteen calls say nothing": [*calls(0, 0, 19), (0, "wait", 0), (0, "one fails", OPEN)],
    "callers' own mistakes are no calls": [*calls(0, 0, 19), *((0, "one leaves", None) for _ in range(50)), (0, "wait", 0)],
    "calls of ten seconds ago are forgotten": [*calls(0, 0, 19), *calls(10, 0, 19), (10, "one fails", OPEN)],
    "good calls of nine seconds ago are not": [*calls(1, 40, 0), *calls(10, 0, 39), (10, "one fails", OPEN)],
    "old failures beside good calls of now": [*calls(0, 0, 19), *calls(30, 40, 5), (30, "wait", 0)],
    "when it closes, the calls are forgotten too": [
        *calls(0, 0, 19), (0, "one fails", OPEN), (1, "admit a", "probe"), (1, "a succeeds", CLOSED), *calls(2, 0, 19), (2, "wait", 0),
    ],
}  # fmt: skip


@pytest.mark.parametrize("script", RATIO_SCRIPTS.values(), ids=RATIO_SCRIPTS)
def test_opens_only_above_the_ratio(script):
    play(script, ratio=0.5, half_open_timeout=1)


def test_the_threshold_also_applies_with_a_ratio():
    play([*calls(0, 0, 39), (0, "one fails", OPEN)], threshold=40, ratio=0.5)


def test_successes_are_recorded_only_with_a_ratio():
    assert Breaker(BreakerRules(ratio=0.5)).counts_calls
    assert not Breaker(BreakerRules()).counts_calls


# -- compared with a simple model -------------------------------------------------------------------------------------


class AgainstTheDefinition(RuleBasedStateMachine):
    """The model keeps all events, and searches all of them each time."""

    @initialize(threshold=st.integers(1, 4), window=st.sampled_from([2.0, 8.0]), half_open=st.sampled_from([1.0, 5.0]),
                ratio=st.sampled_from([0.0, 0.5]))  # fmt: skip
    def begin(self, threshold, window, half_open, ratio):
        self.rules = BreakerRules(threshold=threshold, window=window, half_open_timeout=half_open, ratio=ratio)
        self.breaker = Breaker(self.rules)
        self.now = 0.0
        self.state, self.opened = State.CLOSED, 0.0
        self.failed, self.ended = [], []  # times; (time, failed)
        self.under_way = []  # (permit, whether its outcome still counts)
        self.probed = 0.0  # when the newest probe was let through

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.75, 10.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def admit(self):
        permit = self.breaker.acquire(self.now)
        since = self.opened if self.state is State.OPEN else self.probed
        waited = self.now >= since + self.rules.half_open_timeout
        if self.state is State.CLOSED:
            assert permit is not None
            assert not permit.probe
        elif waited:
            assert permit is not None
            assert permit.probe
            self.state, self.probed = State.HALF_OPEN, self.now
        else:
            assert permit is None
        if permit is not None:
            self.under_way.append([permit, True])

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def settle(self, data, outcome):
        permit, counts = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        before = self.state
        given = self.breaker.record(permit, outcome, self.now)
        if permit.probe and counts:
            self.probe_ends(outcome)
        elif not permit.probe and counts and self.state is State.CLOSED:
            self.call_ends(outcome)
        assert given == (self.state if self.state is not before else None)

    @rule(good=st.integers(0, 12), bad=st.integers(1, 12))
    def many_at_once(self, good, bad):
        for outcome in [Outcome.SUCCESS] * good + [Outcome.FAILURE] * bad:
            if self.state is State.CLOSED:
                self.breaker.record(self.breaker.acquire(self.now), outcome, self.now)
                self.call_ends(outcome)

    @rule()
    def another_replica_opens(self):
        given = self.breaker.open_by_hint(self.now)
        assert given == (State.OPEN if self.state is State.CLOSED else None)
        if given is not None:
            self.opens()

    def probe_ends(self, outcome):
        if outcome is Outcome.FAILURE:
            self.opens()
        elif outcome is Outcome.SUCCESS:
            self.state, self.failed, self.ended = State.CLOSED, [], []
            for call in self.under_way:  # the other probes
                call[1] = False
        else:
            self.state = State.OPEN

    def call_ends(self, outcome):
        if outcome is not Outcome.NEUTRAL:
            self.ended.append((self.now, outcome is Outcome.FAILURE))
        if outcome is Outcome.FAILURE:
            self.failed.append(self.now)
            recent = [time for time in self.failed if self.now - time <= self.rules.window]
            if len(recent) >= self.rules.threshold and self.bad_ratio():
                self.opens()

    def bad_ratio(self):
        if not self.rules.ratio:
            return True
        recent = [failed for time, failed in self.ended if int(time) > self.now - 10]
        return len(recent) >= 20 and sum(recent) / len(recent) >= self.rules.ratio

    def opens(self):
        self.state, self.opened = State.OPEN, self.now
        for call in self.under_way:
            call[1] = False

    @invariant()
    def agree(self):
        assert self.breaker.state is self.state
        probes = sum(permit.probe and counts for permit, counts in self.under_way)
        assert probes >= (self.state is State.HALF_OPEN)
        assert probes == 0 or self.state is not State.CLOSED
        wait = self.breaker.seconds_to_probe(self.now)
        assert 0 <= wait <= self.rules.half_open_timeout
        if self.state is State.OPEN:
            assert (wait == 0) == (self.now >= self.opened + self.rules.half_open_timeout)


AgainstTheDefinition.TestCase.settings = settings(max_examples=150, stateful_step_count=50)
TestAgainstTheDefinition = AgainstTheDefinition.TestCase
