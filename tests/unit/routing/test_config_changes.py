"""Tests what continues when rules or keys change: breakers, cooldowns and limits.

Scripts are lists of (time, event, expected result).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.errors import Failure, Kind
from nulpoint.ratelimit.limiter import LimitRules, RateLimiter
from nulpoint.routing.breaker import Breaker, BreakerRules, Outcome, State
from nulpoint.routing.cooldowns import Cooldowns
from nulpoint.routing.provider_health import COOLING_DOWN, Lease, ProviderHealth

RULES = BreakerRules(threshold=3, window=60.0, half_open_timeout=30.0)
DOWN = Failure(Kind.UPSTREAM, 502, "down")


def failed(breaker, times, now=0.0):
    for _ in range(times):
        breaker.record(breaker.unconditional_permit, Outcome.FAILURE, now)
    return breaker


@pytest.mark.parametrize(
    ("before", "threshold", "more", "state"),
    [(2, 3, 0, State.CLOSED), (2, 3, 1, State.OPEN), (2, 5, 2, State.CLOSED), (2, 5, 3, State.OPEN), (2, 1, 1, State.OPEN)],
)  # fmt: skip
def test_failures_still_count_under_the_new_rules(before, threshold, more, state):
    rules = BreakerRules(threshold=threshold, window=60.0)
    assert failed(failed(Breaker(RULES), before).updated(rules), more, 1.0).state is state


def test_an_open_breaker_stays_open_since_the_same_time():
    old = failed(Breaker(RULES), 3, 10.0)
    new = old.updated(BreakerRules(threshold=3, half_open_timeout=50.0))
    assert (new.state, new.seconds_to_probe(20.0)) == (State.OPEN, 40.0)
    assert new.acquire(59.0) is None
    assert new.acquire(60.0).probe
    assert old.acquire(40.0).probe  # the old breaker still works by itself


def test_a_probe_of_the_old_breaker_does_not_affect_the_new_one():
    old = failed(Breaker(RULES), 3)
    probe = old.acquire(30.0)
    new = old.updated(RULES)
    assert new.state is State.OPEN
    assert new.acquire(30.0).probe
    assert old.record(probe, Outcome.FAILURE, 31.0) is State.OPEN
    assert new.state is State.HALF_OPEN


def test_the_failure_ratio_is_kept():
    rules = BreakerRules(threshold=2, ratio=0.5)
    old = Breaker(rules)
    for _ in range(30):
        old.record(old.unconditional_permit, Outcome.SUCCESS, 0.0)
    new = failed(old.updated(rules), 20, 1.0)
    assert new.state is State.CLOSED
    assert failed(new, 10, 1.0).state is State.OPEN


def test_the_provider_health_is_the_same_object_if_nothing_changes():
    for count in (0, 1, 3):
        health = ProviderHealth(RULES, count)
        assert health.updated(RULES, list(range(count))) is health
        assert health.updated(RULES, [None, *range(count)]) is not health
        assert health.updated(BreakerRules(threshold=9), list(range(count))) is not health


@pytest.mark.parametrize(
    ("kept", "resting"), [([0, 1], {0}), ([1, 0], {1}), ([None, None, 0], {2}), ([1], set()), ([None], set())]
)
def test_cooldowns_follow_their_key(kept, resting):
    health = ProviderHealth(RULES, 2)
    health.record(Lease(0, health.breaker.unconditional_permit), "m", Failure(Kind.AUTH, 502, "no"), 0.0)
    after = health.updated(RULES, kept)
    assert {one for one in range(len(kept)) if after.cooldowns.end_of(one, "m", 1.0)} == resting
    assert (after.preview("m", 1.0) is not None) == (resting == set(range(len(kept))))


def test_cooldowns_of_client_keys_are_kept():
    rests = Cooldowns()
    rests.rate_limited(b"digest", "m", 20.0, 0.0)
    assert rests.remapped({}).end_of(b"digest", "m", 1.0) == 20.0


def test_a_preview_takes_nothing():
    health = ProviderHealth(RULES, 1)
    assert health.preview("m", 0.0) is None
    failed(health.breaker, 3)
    for _ in range(3):
        assert health.preview("m", 10.0).wait == 20.0
        assert health.preview("m", 30.0) is None
    assert health.acquire("m", 30.0, None, last_resort=False).permit.probe
    assert health.preview("m", 30.0).reason == "half_open"
    health.cooldowns.rate_limited(0, "m", 5.0, 30.0)
    assert health.preview("m", 31.0) == (COOLING_DOWN, 4.0)


def taken(limiter, times, now, tokens=1):
    return sum(limiter.admit(b"a", tokens, now).refusal is None for _ in range(times))


@pytest.mark.parametrize(
    ("before", "after", "first", "then"),
    [
        (LimitRules(requests=3), LimitRules(requests=5), 3, 2),
        (LimitRules(requests=5), LimitRules(requests=3), 5, 0),
        (LimitRules(requests_per_key=3), LimitRules(requests_per_key=4), 3, 1),
        (LimitRules(requests=3), LimitRules(requests_per_key=2), 3, 2),  # a new limit starts empty
        (LimitRules(tokens=3), LimitRules(tokens=5), 3, 2),
        (LimitRules(tokens=5), LimitRules(tokens=3), 2, 1),
        (LimitRules(tokens=5), LimitRules(tokens=3), 4, 0),  # a debt
        (LimitRules(parallel_per_key=2), LimitRules(parallel_per_key=3), 2, 1),
        (LimitRules(requests=3), LimitRules(tokens_per_key=3, requests=4), 3, 1),
        (LimitRules(requests=3, tokens=9), LimitRules(requests=3), 3, 0),
    ],
)
def test_changed_limits_keep_what_was_taken(before, after, first, then):
    limiter = RateLimiter(before, 0.0)
    assert taken(limiter, first, 0.0) == first
    limiter.update(after, 0.0)
    assert taken(limiter, 10, 0.0) == then


@pytest.mark.parametrize(
    ("before", "after", "tokens"),
    [
        (LimitRules(requests=9), LimitRules(requests=2), 1),
        (LimitRules(requests_per_key=9), LimitRules(requests_per_key=3), 1),
        (LimitRules(tokens=1_000_000), LimitRules(tokens=1000), 100_000),
        (LimitRules(tokens_per_key=1_000_000), LimitRules(tokens_per_key=1000), 100_000),
    ],
)
def test_after_a_lower_limit_the_named_wait_is_enough_and_not_hours(before, after, tokens):
    limiter = RateLimiter(before, 0.0)
    assert [limiter.admit(b"a", tokens, float(second)).refusal for second in range(9)] == [None] * 9
    limiter.update(after, 9.0)
    refusal = limiter.admit(b"a", 1, 9.0).refusal
    assert 0 < refusal.wait <= 61
    assert limiter.admit(b"a", 1, 9.0 + refusal.wait - 0.001).refusal is not None
    assert limiter.admit(b"a", 1, 9.0 + refusal.wait + 0.001).refusal is None


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=30))
def test_changes_never_admit_more_than_the_highest_limit(steps):
    limiter, now, admitted = RateLimiter(LimitRules(requests=40), 0.0), 0.0, []
    for limit, seconds in steps:
        now += seconds
        limiter.update(LimitRules(requests=limit or 40), now)
        admitted += [now] * taken(limiter, 50, now)
        assert sum(at > now - 60 for at in admitted) <= 40
    limiter.update(LimitRules(), now)
    assert taken(limiter, 50, now) == 50
