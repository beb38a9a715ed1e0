"""How one provider stands: which credential is used, what counts against the provider, what makes a credential rest."""

import collections

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nulpoint.errors import CallerCause
from nulpoint.routing.breaker import BreakerRules, State
from nulpoint.routing.provider_health import Lease, ProviderHealth, SkipReason
from nulpoint.routing.retry import RetryBudget
from support.routing_targets import FAILURES

OWN = b"digest of a caller's key"


def standing(keys=1, **rules):
    return ProviderHealth(BreakerRules(**rules), keys)


def admit(one, now=0.0, own=None, *, model="m", last_resort=False):
    return one.acquire(model, now, own, last_resort=last_resort)


def used(one, times, now=0.0, **how):
    """The credentials of so many calls in a row."""
    return [admit(one, now, **how).credential for _ in range(times)]


def fails(one, name, now=0.0, *, credential=0, model="m"):
    """A call with that credential that ends so."""
    return one.record(Lease(credential, one.breaker.unconditional_permit), model, FAILURES[name](), now)


# -- turns -------------------------------------------------------------------------------------------------------------


def test_keys_are_used_in_turn_on_both_ways():
    one = standing(3)
    assert [one.acquire_unconditionally(None).credential for _ in range(4)] == [0, 1, 2, 0]
    assert used(one, 4) == [1, 2, 0, 1]
    assert used(standing(1), 3) == [0, 0, 0]
    assert used(standing(0), 2) == [0, 0]  # a host that needs no key
    assert one.acquire_unconditionally(OWN).credential == OWN


def test_a_key_that_rests_is_passed_over_and_nobody_gets_its_share_alone():
    one = standing(4)
    fails(one, "429", credential=1)
    assert one.acquire_unconditionally(None) is None
    shares = collections.Counter(used(one, 30, 1.0))
    assert shares == {0: 10, 2: 10, 3: 10}
    assert collections.Counter(used(one, 40, 1.0, model="other")) == {0: 10, 1: 10, 2: 10, 3: 10}
    assert collections.Counter(used(one, 40, 60.0)) == {0: 10, 1: 10, 2: 10, 3: 10}


def test_when_all_keys_rest_only_the_last_resort_uses_one_the_one_that_rests_shortest():
    one = standing(2)
    fails(one, "429 in 20", credential=0)
    fails(one, "429 in 0.5", credential=1)
    fails(one, "429", 0.25, credential=1)
    assert admit(one, 0.25) == SkipReason("resting", 19.75)
    assert used(one, 3, 0.25, last_resort=True) == [0, 0, 0]
    assert used(one, 2, 20.0) == [0, 0]
    assert one.has_available_credential("m", 20.0)
    assert not one.has_available_credential("m", 19.9)
    assert one.has_available_credential("other", 19.9)


def test_a_caller_s_own_key_is_looked_up_by_its_digest():
    one = standing()
    fails(one, "429", credential=OWN)
    assert admit(one, 1.0, OWN) == SkipReason("resting", 59.0)
    assert admit(one, 1.0, b"another").credential == b"another"
    assert admit(one, 1.0).credential == 0
    assert admit(one, 1.0, OWN, last_resort=True).credential == OWN


# -- what an end says --------------------------------------------------------------------------------------------------

# Does it count against the provider; how long does a credential of ours rest for the model, for other models.
ENDS = {
    "connect": (True, 0, 0), "timeout": (True, 0, 0), "cut": (True, 0, 0), "500": (True, 0, 0), "501": (True, 0, 0),
    "502": (True, 0, 0), "503": (True, 0, 0), "503 in 9": (True, 0, 0), "504": (True, 0, 0),
    "529": (True, 60, 0), "529 in 5": (True, 5, 0),
    "400": (False, 0, 0), "404": (False, 0, 0), "408": (False, 0, 0), "413": (False, 0, 0), "422": (False, 0, 0), "499": (False, 0, 0),
    "401": (False, 300, 300), "403": (False, 300, 0), "402": (False, 300, 0), "quota": (False, 300, 0),
    "429": (False, 60, 0), "429 in 0.5": (False, 0.5, 0), "429 in 20": (False, 20, 0), "429 in 900": (False, 300, 0),
    "overloaded": (False, 0, 0), "internal": (False, 0, 0), "left": (False, 0, 0),
    # What a caller can bring about at will at a healthy provider.
    "other_form": (False, 0, 0), "over_bound": (False, 0, 0), "deadline": (False, 0, 0), "no_place": (False, 0, 0),
    "request_unread": (False, 0, 0), "nothing_made": (False, 0, 0), "inputs_unmatched": (False, 0, 0), "424": (False, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), ENDS.items(), ids=ENDS)
def test_what_an_end_says_of_provider_and_credential(name, expected):
    counts, same, other = expected
    one = standing(threshold=1)
    changed = fails(one, name, 100.0)
    assert changed == (State.OPEN if counts else None)
    assert one.cooldowns.end(0, "m", 100.0) == (100 + same if same else 0)
    assert one.cooldowns.end(0, "other", 100.0) == (100 + other if other else 0)


@pytest.mark.parametrize("name", ENDS)
def test_a_caller_s_own_key_rests_only_for_limits(name):
    one = standing(threshold=1)
    fails(one, name, 100.0, credential=OWN)
    limited = name.startswith(("429", "529"))
    assert bool(one.cooldowns.end(OWN, "m", 100.0)) == limited
    assert one.cooldowns.active(100.0) == limited


def test_every_cause_a_caller_can_be_of_has_its_row():
    assert {cause.value for cause in CallerCause} <= ENDS.keys()


@pytest.mark.parametrize("name", ENDS)
def test_of_a_caller_s_own_key_only_that_there_is_no_connection_counts(name):
    one = standing(threshold=1)
    assert fails(one, name, 100.0, credential=OWN) == (State.OPEN if name == "connect" else None)


def test_successes_of_callers_own_keys_do_not_hide_that_the_provider_fails():
    one = standing(threshold=1, ratio=0.5)
    for number in range(500):
        one.record(admit(one, 100.0, OWN), "m", None, 100.0)
        if number < 19:
            assert fails(one, "500", 100.0) is None  # too few calls of configured keys to tell
    assert fails(one, "500", 100.0) is State.OPEN


@pytest.mark.parametrize(
    ("end", "state"),
    [(None, State.CLOSED), ("500", State.OPEN), ("timeout", State.OPEN), ("401", State.OPEN), ("connect", State.OPEN)],
)
def test_a_probe_with_a_caller_s_own_key(end, state):
    """It closes the breaker, since a gateway without keys learns by nothing else; but only `connect` prolongs it."""
    one = standing(threshold=1)
    fails(one, "connect")
    probe = admit(one, 30.0, OWN)
    assert one.record(probe, "m", FAILURES[end]() if end else None, 31.0) is state
    following = admit(one, 31.0)
    assert isinstance(following, SkipReason) == (end == "connect")


@pytest.mark.parametrize("name", ["400", "401", "404", "408", "422", "429", "quota", "left", "500", "timeout", "cut"])
def test_ten_thousand_of_them_never_open_the_breaker(name):
    one = standing()
    for number in range(10_000):
        assert fails(one, name, number / 100, credential=OWN) is None
    assert one.breaker.state is State.CLOSED


def test_success_and_what_was_not_made():
    one = standing(threshold=1)
    budget = RetryBudget()
    budget.take()
    fails(one, "500", 0.0)
    assert admit(one, 1.0) == SkipReason("open", 29.0)
    assert not SkipReason("resting", 1.0).by_breaker
    given = admit(one, 30.0)
    probe = Lease(given.credential, given.permit, budget)
    assert admit(one, 30.0) == SkipReason("half_open", 30.0)
    assert admit(one, 30.0).by_breaker
    assert one.release(probe, 31.0) is State.OPEN
    assert budget.running == 0
    probe = admit(one, 31.0)
    assert one.record(probe, "m", None, 32.0) is State.CLOSED
    assert one.acquire_unconditionally(None) is not None


def test_a_further_attempt_is_given_back_to_the_budget_it_was_taken_from():
    for end in (None, FAILURES["500"](), FAILURES["400"]()):
        one, budget = standing(), RetryBudget()
        budget.take()
        one.record(Lease(0, one.breaker.unconditional_permit, budget), "m", end, 0.0)
        assert (budget.running, one.retry_budget.running) == (0, 0)


def test_the_straight_way_is_for_when_nothing_stands_against_it():
    one = standing(threshold=1)
    assert one.acquire_unconditionally(None) is not None
    stale = one.acquire_unconditionally(None)
    fails(one, "500")
    assert one.acquire_unconditionally(None) is None
    one.record(admit(one, 30.0), "m", None, 30.0)
    assert one.acquire_unconditionally(None) is not None
    assert one.record(stale, "m", FAILURES["500"](), 31.0) is None  # it was let through before the opening
    assert one.record(one.acquire_unconditionally(None), "m", FAILURES["500"](), 32.0) is State.OPEN
    one.record(admit(one, 62.0), "m", None, 62.0)
    assert one.record(one.acquire_unconditionally(OWN), "m", FAILURES["connect"](), 63.0) is State.OPEN
    assert standing(ratio=0.5).acquire_unconditionally(None) is None  # successes need to be told as well


# -- anything in any order ---------------------------------------------------------------------------------------------


class AnythingInAnyOrder(RuleBasedStateMachine):
    """Whatever happens: a credential that rests is not used while another could be, and permits are not lost."""

    @initialize(keys=st.integers(1, 3))
    def begin(self, keys):
        self.keys, self.now = keys, 0.0
        self.standing = standing(keys, threshold=2, half_open_timeout=5.0)
        self.under_way = []

    @rule(seconds=st.sampled_from([0.25, 6.0, 61.0, 301.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(own=st.sampled_from([None, None, OWN]), model=st.sampled_from("ab"), last_resort=st.booleans())
    def admit(self, own, model, last_resort):
        rests = self.standing.cooldowns
        free = [key for key in range(self.keys) if not rests.end(key, model, self.now)]
        admitted = self.standing.acquire(model, self.now, own, last_resort=last_resort)
        if isinstance(admitted, SkipReason):
            assert admitted.wait >= 0
            assert admitted.reason in ("resting", "open", "half_open")
            assert admitted.by_breaker == (admitted.reason != "resting")
            if admitted.reason == "resting":
                assert not last_resort
                assert rests.end(OWN, model, self.now) if own else not free
            return
        self.under_way.append((admitted, model))
        if own:
            assert admitted.credential == own
        else:
            assert admitted.credential in (free or range(self.keys))

    @rule(own=st.sampled_from([None, OWN]))
    def admit_plainly(self, own):
        admitted = self.standing.acquire_unconditionally(own)
        if admitted is not None:
            assert self.standing.breaker.state is State.CLOSED
            assert self.standing.cooldowns.active(self.now) == 0
            self.under_way.append((admitted, "a"))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), name=st.sampled_from([None, "forgone", *FAILURES]))
    def ends(self, data, name):
        admitted, model = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        if name == "forgone":
            self.standing.release(admitted, self.now)
        else:
            self.standing.record(admitted, model, FAILURES[name]() if name else None, self.now)

    @invariant()
    def a_half_open_breaker_has_a_probe_under_way(self):
        probes = sum(admitted.permit.probe for admitted, _ in self.under_way)
        assert probes >= (self.standing.breaker.state is State.HALF_OPEN)

    def teardown(self):
        """It recovers: when all has ended and time has passed, a call is let through."""
        for admitted, _ in self.under_way:
            self.standing.release(admitted, self.now)
        assert isinstance(admit(self.standing, self.now + 400), Lease)


AnythingInAnyOrder.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestAnythingInAnyOrder = AnythingInAnyOrder.TestCase
