"""Tests the health of a provider: which credential is used, which failures count, and which start a cooldown."""

import collections

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nulpoint.errors import ClientCause
from nulpoint.routing.breaker import BreakerRules, State
from nulpoint.routing.provider_health import Lease, ProviderHealth, SkipReason
from nulpoint.routing.retry import RetryBudget
from support.routing_targets import FAILURES

OWN = b"digest of a caller's key"


def provider_health(keys=1, **rules):
    return ProviderHealth(BreakerRules(**rules), keys)


def admit(health, now=0.0, own=None, *, model="m", last_resort=False):
    return health.acquire(model, now, own, last_resort=last_resort)


def used(health, times, now=0.0, **how):
    """Return the credentials of several calls in a row."""
    return [admit(health, now, **how).credential for _ in range(times)]


def fails(health, name, now=0.0, *, credential=0, model="m"):
    """Make a call with that credential that fails in this way."""
    return health.record(Lease(credential, health.breaker.unconditional_permit), model, FAILURES[name](), now)


# -- turns -------------------------------------------------------------------------------------------------------------


def test_keys_are_used_in_turn_on_the_fast_and_the_slow_path():
    health = provider_health(3)
    assert [health.acquire_unconditionally(None).credential for _ in range(4)] == [0, 1, 2, 0]
    assert used(health, 4) == [1, 2, 0, 1]
    assert used(provider_health(1), 3) == [0, 0, 0]
    assert used(provider_health(0), 2) == [0, 0]  # a provider that needs no key
    assert health.acquire_unconditionally(OWN).credential == OWN


def test_a_key_in_cooldown_is_skipped_and_its_share_is_spread():
    health = provider_health(4)
    fails(health, "429", credential=1)
    assert health.acquire_unconditionally(None) is None
    shares = collections.Counter(used(health, 30, 1.0))
    assert shares == {0: 10, 2: 10, 3: 10}
    assert collections.Counter(used(health, 40, 1.0, model="other")) == {0: 10, 1: 10, 2: 10, 3: 10}
    assert collections.Counter(used(health, 40, 60.0)) == {0: 10, 1: 10, 2: 10, 3: 10}


def test_only_the_last_resort_uses_a_key_in_cooldown():
    health = provider_health(2)
    fails(health, "429 in 20", credential=0)
    fails(health, "429 in 0.5", credential=1)
    fails(health, "429", 0.25, credential=1)
    assert admit(health, 0.25) == SkipReason("resting", 19.75)
    assert used(health, 3, 0.25, last_resort=True) == [0, 0, 0]
    assert used(health, 2, 20.0) == [0, 0]
    assert health.has_available_credential("m", 20.0)
    assert not health.has_available_credential("m", 19.9)
    assert health.has_available_credential("other", 19.9)


def test_a_client_key_is_identified_by_its_digest():
    health = provider_health()
    fails(health, "429", credential=OWN)
    assert admit(health, 1.0, OWN) == SkipReason("resting", 59.0)
    assert admit(health, 1.0, b"another").credential == b"another"
    assert admit(health, 1.0).credential == 0
    assert admit(health, 1.0, OWN, last_resort=True).credential == OWN


# -- conversations -----------------------------------------------------------------------------------------------------

DIGESTS = [b"digest %d" % number for number in range(4)]


def talk(number):
    """Return what a request of a conversation is known by."""
    return lambda: b"conversation %d" % number


def several_keys(digests=DIGESTS):
    return ProviderHealth(BreakerRules(), len(digests), digests)


def key_of(health, number, now=0.0, model="m", **how):
    return health.acquire(model, now, None, talk(number), last_resort=False, **how).credential


def test_a_conversation_keeps_its_key_on_the_fast_and_the_slow_path():
    health = several_keys()
    for number in range(50):
        first = health.acquire_unconditionally(None, talk(number)).credential
        health.acquire_unconditionally(None)  # requests without a conversation take their turns in between
        assert health.acquire_unconditionally(None, talk(number)).credential == first == key_of(health, number)


def test_many_conversations_load_all_keys_alike():
    health = several_keys()
    shares = collections.Counter(
        health.acquire_unconditionally(None, talk(number)).credential for number in range(8000)
    )
    assert sorted(shares) == [0, 1, 2, 3]
    assert all(1800 < share < 2200 for share in shares.values())


def test_only_the_conversations_of_a_lost_key_move_evenly_and_they_return():
    health = several_keys()
    before = {number: key_of(health, number) for number in range(4000)}
    fails(health, "401", credential=2)
    after = {number: key_of(health, number, 1.0) for number in before}
    assert {number for number in before if before[number] != after[number]} == {
        number for number in before if before[number] == 2
    }
    moved = collections.Counter(after[number] for number in before if before[number] == 2)
    assert sorted(moved) == [0, 1, 3]
    assert max(moved.values()) < 1.3 * min(moved.values())
    assert {number: key_of(health, number, 301.0) for number in before} == before


def test_the_next_key_in_the_order_of_the_conversation_is_used_after_a_failure():
    health, used = several_keys(), []
    for now in range(4):
        used.append(key_of(health, 7, float(now)))
        fails(health, "429", float(now), credential=used[-1])
    assert used == health._preferences.order(talk(7)())
    assert health.acquire("m", 4.0, None, talk(7), last_resort=False).reason == "resting"
    assert health.acquire("m", 4.0, None, talk(7), last_resort=True).credential == used[0]  # its cooldown ends first
    assert key_of(health, 7, 4.0, "other") == used[0]


def test_a_failure_that_is_not_about_the_key_changes_nothing():
    health = several_keys()
    first = key_of(health, 3)
    for name in ("500", "connect", "timeout"):
        fails(health, name, credential=first)
        assert key_of(health, 3, 1.0) == first


def test_a_call_that_is_tried_again_gets_the_next_key_of_its_conversation_and_later_ones_the_first():
    health = several_keys()
    order = health._preferences.order(talk(5)())
    used = [health.acquire("m", 0.0, None, talk(5), last_resort=True).credential]
    for _ in range(4):
        used.append(health.acquire("m", 0.0, None, talk(5), last_resort=True, after=used[-1]).credential)
    assert used == [*order, order[0]]
    assert key_of(health, 5) == order[0]
    fails(health, "429", credential=order[1])
    assert health.acquire("m", 1.0, None, talk(5), last_resort=False, after=order[0]).credential == order[2]
    assert health.acquire("m", 1.0, None, last_resort=False, after=0).credential != order[1]


def test_a_reload_with_keys_in_another_order_keeps_the_keys_of_conversations():
    health = several_keys()
    order = [2, 0, 3, 1]
    other = health.updated(BreakerRules(), order, [DIGESTS[position] for position in order])
    fewer = health.updated(BreakerRules(), [0, 1, 3], [DIGESTS[0], DIGESTS[1], DIGESTS[3]])
    for number in range(200):
        first = key_of(health, number)
        assert order[key_of(other, number)] == first
        assert first == 2 or [0, 1, 3][key_of(fewer, number)] == first


def test_a_single_key_and_a_client_key_need_no_conversation():
    def unexpected():
        raise AssertionError

    health = provider_health(1)
    assert health.acquire_unconditionally(None, unexpected).credential == 0
    assert health.acquire("m", 0.0, None, unexpected, last_resort=False).credential == 0
    fails(health, "429")
    assert health.acquire("m", 0.0, None, unexpected, last_resort=True).credential == 0
    assert several_keys().acquire_unconditionally(OWN, unexpected).credential == OWN
    assert several_keys().acquire("m", 0.0, OWN, unexpected, last_resort=False).credential == OWN


# -- the evidence of a call --------------------------------------------------------------------------------------------

# Whether the failure counts against the provider, and the cooldown of a configured key for the model and for others.
ENDS = {
    "connect": (True, 0, 0), "timeout": (True, 0, 0), "cut": (True, 0, 0), "500": (True, 0, 0), "501": (True, 0, 0),
    "502": (True, 0, 0), "503": (True, 0, 0), "503 in 9": (True, 0, 0), "504": (True, 0, 0),
    "529": (True, 60, 0), "529 in 5": (True, 5, 0),
    "400": (False, 0, 0), "404": (False, 0, 0), "408": (False, 0, 0), "413": (False, 0, 0), "422": (False, 0, 0), "499": (False, 0, 0),
    "401": (False, 300, 300), "403": (False, 300, 0), "402": (False, 300, 0), "quota": (False, 300, 0),
    "429": (False, 60, 0), "429 in 0.5": (False, 0.5, 0), "429 in 20": (False, 20, 0), "429 in 900": (False, 300, 0),
    "overloaded": (False, 0, 0), "internal": (False, 0, 0), "left": (False, 0, 0),
    # Failures that a client can cause at will at a healthy provider.
    "stream_mismatch": (False, 0, 0), "over_limit": (False, 0, 0), "deadline": (False, 0, 0), "no_free_connection": (False, 0, 0),
    "request_unread": (False, 0, 0), "no_output": (False, 0, 0), "vector_count_mismatch": (False, 0, 0), "424": (False, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), ENDS.items(), ids=ENDS)
def test_the_evidence_of_each_outcome(name, expected):
    counts, same, other = expected
    health = provider_health(threshold=1)
    changed = fails(health, name, 100.0)
    assert changed == (State.OPEN if counts else None)
    assert health.cooldowns.end_of(0, "m", 100.0) == (100 + same if same else 0)
    assert health.cooldowns.end_of(0, "other", 100.0) == (100 + other if other else 0)


@pytest.mark.parametrize("name", ENDS)
def test_a_client_key_cools_down_only_after_rate_limits(name):
    health = provider_health(threshold=1)
    fails(health, name, 100.0, credential=OWN)
    limited = name.startswith(("429", "529"))
    assert bool(health.cooldowns.end_of(OWN, "m", 100.0)) == limited
    assert health.cooldowns.active(100.0) == limited


def test_every_client_cause_has_a_row():
    assert {cause.value for cause in ClientCause} <= ENDS.keys()


@pytest.mark.parametrize("name", ENDS)
def test_with_a_client_key_only_a_failed_connection_counts(name):
    health = provider_health(threshold=1)
    assert fails(health, name, 100.0, credential=OWN) == (State.OPEN if name == "connect" else None)


def test_successes_of_client_keys_do_not_hide_failures():
    health = provider_health(threshold=1, ratio=0.5)
    for number in range(500):
        health.record(admit(health, 100.0, OWN), "m", None, 100.0)
        if number < 19:
            assert fails(health, "500", 100.0) is None  # too few calls with configured keys
    assert fails(health, "500", 100.0) is State.OPEN


@pytest.mark.parametrize(
    ("end", "state"),
    [(None, State.CLOSED), ("500", State.OPEN), ("timeout", State.OPEN), ("401", State.OPEN), ("connect", State.OPEN)],
)
def test_a_probe_with_a_client_key(end, state):
    """Its success closes the breaker, since a gateway without keys has no other evidence; only `connect` reopens it."""
    health = provider_health(threshold=1)
    fails(health, "connect")
    probe = admit(health, 30.0, OWN)
    assert health.record(probe, "m", FAILURES[end]() if end else None, 31.0) is state
    following = admit(health, 31.0)
    assert isinstance(following, SkipReason) == (end == "connect")


@pytest.mark.parametrize("name", ["400", "401", "404", "408", "422", "429", "quota", "left", "500", "timeout", "cut"])
def test_ten_thousand_client_failures_never_open_the_breaker(name):
    health = provider_health()
    for number in range(10_000):
        assert fails(health, name, number / 100, credential=OWN) is None
    assert health.breaker.state is State.CLOSED


def test_a_success_and_a_call_that_was_not_made():
    health = provider_health(threshold=1)
    budget = RetryBudget()
    budget.acquire()
    fails(health, "500", 0.0)
    assert admit(health, 1.0) == SkipReason("open", 29.0)
    assert not SkipReason("resting", 1.0).by_breaker
    lease = admit(health, 30.0)
    probe = Lease(lease.credential, lease.permit, budget)
    assert admit(health, 30.0) == SkipReason("half_open", 30.0)
    assert admit(health, 30.0).by_breaker
    assert health.release(probe, 31.0) is State.OPEN
    assert budget.running == 0
    probe = admit(health, 31.0)
    assert health.record(probe, "m", None, 32.0) is State.CLOSED
    assert health.acquire_unconditionally(None) is not None


def test_a_further_attempt_returns_to_its_budget():
    for end in (None, FAILURES["500"](), FAILURES["400"]()):
        health, budget = provider_health(), RetryBudget()
        budget.acquire()
        health.record(Lease(0, health.breaker.unconditional_permit, budget), "m", end, 0.0)
        assert (budget.running, health.retry_budget.running) == (0, 0)


def test_when_a_lease_is_unconditional():
    health = provider_health(threshold=1)
    assert health.acquire_unconditionally(None) is not None
    stale = health.acquire_unconditionally(None)
    fails(health, "500")
    assert health.acquire_unconditionally(None) is None
    health.record(admit(health, 30.0), "m", None, 30.0)
    assert health.acquire_unconditionally(None) is not None
    # This call was let through before the breaker opened.
    assert health.record(stale, "m", FAILURES["500"](), 31.0) is None
    assert health.record(health.acquire_unconditionally(None), "m", FAILURES["500"](), 32.0) is State.OPEN
    health.record(admit(health, 62.0), "m", None, 62.0)
    assert health.record(health.acquire_unconditionally(OWN), "m", FAILURES["connect"](), 63.0) is State.OPEN
    assert provider_health(ratio=0.5).acquire_unconditionally(None) is None  # successes have to be recorded too


# -- random sequences --------------------------------------------------------------------------------------------------


class AnythingInAnyOrder(RuleBasedStateMachine):
    """Checks that no credential in cooldown is used while another is available, and that no permit is lost."""

    @initialize(keys=st.integers(1, 3))
    def begin(self, keys):
        self.keys, self.now = keys, 0.0
        self.health = provider_health(keys, threshold=2, half_open_timeout=5.0)
        self.under_way = []

    @rule(seconds=st.sampled_from([0.25, 6.0, 61.0, 301.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(own=st.sampled_from([None, None, OWN]), model=st.sampled_from("ab"), last_resort=st.booleans())
    def admit(self, own, model, last_resort):
        rests = self.health.cooldowns
        free = [key for key in range(self.keys) if not rests.end_of(key, model, self.now)]
        admitted = self.health.acquire(model, self.now, own, last_resort=last_resort)
        if isinstance(admitted, SkipReason):
            assert admitted.wait >= 0
            assert admitted.reason in ("resting", "open", "half_open")
            assert admitted.by_breaker == (admitted.reason != "resting")
            if admitted.reason == "resting":
                assert not last_resort
                assert rests.end_of(OWN, model, self.now) if own else not free
            return
        self.under_way.append((admitted, model))
        if own:
            assert admitted.credential == own
        else:
            assert admitted.credential in (free or range(self.keys))

    @rule(own=st.sampled_from([None, OWN]))
    def admit_plainly(self, own):
        admitted = self.health.acquire_unconditionally(own)
        if admitted is not None:
            assert self.health.breaker.state is State.CLOSED
            assert self.health.cooldowns.active(self.now) == 0
            self.under_way.append((admitted, "a"))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), name=st.sampled_from([None, "forgone", *FAILURES]))
    def ends(self, data, name):
        admitted, model = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        if name == "forgone":
            self.health.release(admitted, self.now)
        else:
            self.health.record(admitted, model, FAILURES[name]() if name else None, self.now)

    @invariant()
    def a_half_open_breaker_has_a_probe_under_way(self):
        probes = sum(admitted.permit.probe for admitted, _ in self.under_way)
        assert probes >= (self.health.breaker.state is State.HALF_OPEN)

    def teardown(self):
        """Check that a call is let through when all calls have ended and time has passed."""
        for admitted, _ in self.under_way:
            self.health.release(admitted, self.now)
        assert isinstance(admit(self.health, self.now + 400), Lease)


AnythingInAnyOrder.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestAnythingInAnyOrder = AnythingInAnyOrder.TestCase
