"""What goes on when rules or keys change: breakers, rests, limits. Scripts of (time, event, what it gives)."""

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
def test_failures_are_counted_on_under_the_new_rules(before, threshold, more, state):
    rules = BreakerRules(threshold=threshold, window=60.0)
    assert failed(failed(Breaker(RULES), before).updated(rules), more, 1.0).state is state


def test_an_open_one_stays_open_since_the_same_moment():
    old = failed(Breaker(RULES), 3, 10.0)
    new = old.updated(BreakerRules(threshold=3, half_open_timeout=50.0))
    assert (new.state, new.seconds_to_probe(20.0)) == (State.OPEN, 40.0)
    assert new.acquire(59.0) is None
    assert new.acquire(60.0).probe
    assert old.acquire(40.0).probe  # for itself


def test_a_probe_of_the_old_one_decides_nothing_in_the_new_one():
    old = failed(Breaker(RULES), 3)
    probe = old.acquire(30.0)
    new = old.updated(RULES)
    assert new.state is State.OPEN
    assert new.acquire(30.0).probe
    assert old.record(probe, Outcome.FAILURE, 31.0) is State.OPEN
    assert new.state is State.HALF_OPEN


def test_the_share_of_failures_goes_on_too():
    rules = BreakerRules(threshold=2, ratio=0.5)
    old = Breaker(rules)
    for _ in range(30):
        old.record(old.unconditional_permit, Outcome.SUCCESS, 0.0)
    new = failed(old.updated(rules), 20, 1.0)
    assert new.state is State.CLOSED
    assert failed(new, 10, 1.0).state is State.OPEN


def test_a_standing_is_itself_as_long_as_nothing_changes():
    for count in (0, 1, 3):
        standing = ProviderHealth(RULES, count)
        assert standing.updated(RULES, list(range(count))) is standing
        assert standing.updated(RULES, [None, *range(count)]) is not standing
        assert standing.updated(BreakerRules(threshold=9), list(range(count))) is not standing


@pytest.mark.parametrize(
    ("kept", "resting"), [([0, 1], {0}), ([1, 0], {1}), ([None, None, 0], {2}), ([1], set()), ([None], set())]
)
def test_rests_follow_their_key(kept, resting):
    standing = ProviderHealth(RULES, 2)
    standing.record(Lease(0, standing.breaker.unconditional_permit), "m", Failure(Kind.AUTH, 502, "no"), 0.0)
    after = standing.updated(RULES, kept)
    assert {one for one in range(len(kept)) if after.cooldowns.end_of(one, "m", 1.0)} == resting
    assert (after.preview("m", 1.0) is not None) == (resting == set(range(len(kept))))


def test_rests_of_keys_that_callers_bring_stay():
    rests = Cooldowns()
    rests.rate_limited(b"digest", "m", 20.0, 0.0)
    assert rests.remapped({}).end_of(b"digest", "m", 1.0) == 20.0


def test_outlook_takes_nothing():
    standing = ProviderHealth(RULES, 1)
    assert standing.preview("m", 0.0) is None
    failed(standing.breaker, 3)
    for _ in range(3):
        assert standing.preview("m", 10.0).wait == 20.0
        assert standing.preview("m", 30.0) is None
    assert standing.acquire("m", 30.0, None, last_resort=False).permit.probe
    assert standing.preview("m", 30.0).reason == "half_open"
    standing.cooldowns.rate_limited(0, "m", 5.0, 30.0)
    assert standing.preview("m", 31.0) == (COOLING_DOWN, 4.0)


def taken(limiter, times, now, tokens=1):
    return sum(limiter.admit(b"a", tokens, now).refusal is None for _ in range(times))


@pytest.mark.parametrize(
    ("before", "after", "first", "then"),
    [
        (LimitRules(requests=3), LimitRules(requests=5), 3, 2),
        (LimitRules(requests=5), LimitRules(requests=3), 5, 0),
        (LimitRules(requests_per_key=3), LimitRules(requests_per_key=4), 3, 1),
        (LimitRules(requests=3), LimitRules(requests_per_key=2), 3, 2),  # another limit begins with what it sees
        (LimitRules(tokens=3), LimitRules(tokens=5), 3, 2),
        (LimitRules(tokens=5), LimitRules(tokens=3), 2, 1),
        (LimitRules(tokens=5), LimitRules(tokens=3), 4, 0),  # a debt
        (LimitRules(parallel_per_key=2), LimitRules(parallel_per_key=3), 2, 1),
        (LimitRules(requests=3), LimitRules(tokens_per_key=3, requests=4), 3, 1),
        (LimitRules(requests=3, tokens=9), LimitRules(requests=3), 3, 0),
    ],
)
def test_limits_that_change_know_what_was_taken(before, after, first, then):
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
def test_under_a_lower_limit_who_waits_as_long_as_told_gets_in_and_nobody_waits_for_hours(before, after, tokens):
    limiter = RateLimiter(before, 0.0)
    assert [limiter.admit(b"a", tokens, float(second)).refusal for second in range(9)] == [None] * 9
    limiter.update(after, 9.0)
    refusal = limiter.admit(b"a", 1, 9.0).refusal
    assert 0 < refusal.wait <= 61
    assert limiter.admit(b"a", 1, 9.0 + refusal.wait - 0.001).refusal is not None
    assert limiter.admit(b"a", 1, 9.0 + refusal.wait + 0.001).refusal is None


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=30))
def test_no_row_of_changes_ever_gives_more_than_the_highest_limit(steps):
    limiter, now, admitted = RateLimiter(LimitRules(requests=40), 0.0), 0.0, []
    for limit, seconds in steps:
        now += seconds
        limiter.update(LimitRules(requests=limit or 40), now)
        admitted += [now] * taken(limiter, 50, now)
        assert sum(at > now - 60 for at in admitted) <= 40
    limiter.update(LimitRules(), now)
    assert taken(limiter, 50, now) == 50
