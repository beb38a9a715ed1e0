"""The course of a request along its targets: tables of what was tried, and anything in any order."""

import itertools
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nulpoint.errors import Failure, Kind
from nulpoint.routing.attempt_planner import AttemptPlanner, AttemptRules, plan_first_attempt, record_failure
from nulpoint.routing.breaker import State
from nulpoint.routing.provider_health import Lease
from support.routing_targets import FAILURES, standings, target

A, B, C, D = "openai/gpt-4o", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-pro", "mistral/mistral-large-latest"
A2 = "openai/gpt-4.1"
OWN = b"digest of a caller's key"
OK = "ok"


class Travelled(NamedTuple):
    """`tried` as `target` or `target#credential`, with `+wait`; `end` is "ok" or the last word's status."""

    tried: list
    end: object
    retry_after: float | None
    legs: list
    passed: list


def travel(
    targets,
    outcomes,
    world=None,
    *,
    own=None,
    unfit=(),
    until=600.0,
    attempts=3,
    timeout=30.0,
    took=1.0,
    chance=1.0,
    now=0.0,
):
    """Every attempt takes `took` seconds; `outcomes` are those of the attempts in order, the last one of all others."""
    targets = [target(name) for name in targets]
    world = world or standings()
    rules = AttemptRules(attempts=attempts, provider_timeout=timeout)
    outcomes = itertools.chain(outcomes, itertools.repeat(outcomes[-1]))
    legs, course = [], None

    def end(what, retry_after=None):
        several = {leg.target.name for leg in legs if leg.lease.credential not in (0, OWN)}
        tried = [
            leg.target.name
            + (f"#{leg.lease.credential}" if leg.target.name in several else "")
            + (f"+{leg.wait:g}" if leg.wait else "")
            for leg in legs
        ]
        passed = [(one.name, why.reason) for one, why in course.skipped] if course else []
        return Travelled(tried, what, retry_after, legs, passed)

    def fits(one):
        return one.name not in unfit

    leg = plan_first_attempt(targets, world, rules, until, own, now)
    if leg is None:
        course = AttemptPlanner(targets, world, rules, until, own, fits, begun=False)
        try:
            leg = course.first(now)
        except Failure as failure:
            return end(failure.status, failure.retry_after)
    while True:
        legs.append(leg)
        now += leg.wait + took
        outcome = next(outcomes)
        standing = world[leg.target.provider.spec.name]
        if outcome == OK:
            if course is not None:  # one made straight need not be given back
                standing.record(leg.lease, leg.target.model, None, now)
            return end(OK)
        failure = FAILURES[outcome]()
        course = course or AttemptPlanner(targets, world, rules, until, own, fits, begun=True)
        record_failure(leg, world, rules, failure, now)
        leg = course.next_after(leg, failure, now, chance)
        if leg is None:
            last = course.final_error(failure)
            return end(last.status, last.retry_after)


# -- where it goes -----------------------------------------------------------------------------------------------------

TRAVELS = {
    "the first answers": ([A, B], [OK], [A], OK),
    "the next one without a wait": ([A, B], ["500", OK], [A, B], OK),
    "in the order of the chain": ([A, B, C], ["timeout", "connect", OK], [A, B, C], OK),
    "no more attempts than MAX_RETRIES": ([A, B, C, D], ["500"], [A, B, C], 502),
    "the last failure names the status": ([A, B, C], ["500", "429", "timeout"], [A, B, C], 504),
    "same again only when nobody else is left": ([A, B], ["500", "500", OK], [A, B, f"{B}+0.2"], OK),
    "alone, again, each time later": ([A], ["500", "503", OK], [A, f"{A}+0.1", f"{A}+0.2"], OK),
    "alone, with the wait the provider named": ([A], ["429 in 0.5", OK], [A, f"{A}+0.5"], OK),
    "alone, with no wait named": ([A], ["429", OK], [A, f"{A}+0.1"], OK),
    "a longer wait is the caller's": ([A], ["429 in 20"], [A], 429),
    "alone and cut: it may have been paid for": ([A], ["cut"], [A], 502),
    "alone and late": ([A], ["timeout"], [A], 504),
    "nothing was sent": ([A], ["connect", OK], [A, f"{A}+0.1"], OK),
    "our key refused, alone": ([A], ["401"], [A], 401),
    "our key refused": ([A, B], ["401", OK], [A, B], OK),
    "credit used up": ([A, B], ["quota", OK], [A, B], OK),
    "another model of the same provider": ([A, A2], ["500", OK], [A, A2], OK),
    "no room on our side": ([A, B], ["overloaded", OK], [A, B], OK),
}  # fmt: skip


@pytest.mark.parametrize(("targets", "outcomes", "tried", "end"), TRAVELS.values(), ids=TRAVELS)
def test_what_is_tried(targets, outcomes, tried, end):
    travelled = travel(targets, outcomes)
    assert (travelled.tried, travelled.end) == (tried, end)
    assert [leg.number for leg in travelled.legs] == list(range(1, len(tried) + 1))


@pytest.mark.parametrize("name", ["400", "404", "413", "422", "internal", "left"])
def test_what_is_not_tried_again_by_anybody(name):
    travelled = travel([A, B, C], [name])
    assert (travelled.tried, travelled.end) == ([A], FAILURES[name]().status)


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
def test_attempts(attempts):
    assert len(travel([A, B, C, D], ["503"], attempts=attempts).tried) == attempts
    assert len(travel([A], ["503"], attempts=attempts).tried) == min(attempts, 5)  # the fifth opens the breaker


def test_a_target_that_cannot_express_the_request_is_passed_over_but_never_the_one_that_was_asked():
    travelled = travel([A, B, C], ["500", OK], unfit={A, B})
    assert (travelled.tried, travelled.passed) == ([A, C], [(B, "unfit")])
    travelled = travel([A, B], ["cut"], unfit={B})
    assert (travelled.tried, travelled.end, travelled.passed) == ([A], 502, [(B, "unfit")])


# -- callers' own keys -------------------------------------------------------------------------------------------------


def test_a_caller_s_key_goes_to_nobody_else():
    travelled = travel([A, B, A2], ["500", OK], own=OWN)
    assert (travelled.tried, travelled.passed) == ([A, A2], [(B, "foreign")])
    assert {leg.lease.credential for leg in travelled.legs} == {OWN}


@pytest.mark.parametrize("name", ["401", "403", "402", "quota"])
def test_a_caller_s_key_that_is_refused_ends_it(name):
    travelled = travel([A, A2], [name], standings(("openai", 3)), own=OWN)
    assert (travelled.tried, travelled.end) == ([A], FAILURES[name]().status)


def test_a_caller_s_key_that_is_limited_is_not_exchanged_for_ours():
    travelled = travel([A], ["429 in 20"], standings(("openai", 3)), own=OWN)
    assert (travelled.tried, travelled.end, travelled.retry_after) == ([A], 429, 20)


# -- several keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["401", "402", "quota", "429", "429 in 20"])
def test_the_next_key_of_the_same_provider_comes_before_another_provider(name):
    travelled = travel([A, B], [name, name, OK], standings(("openai", 2)))
    assert travelled.tried == [f"{A}#0", f"{A}#1", B]


def test_a_provider_that_is_unwell_is_so_with_every_key():
    assert travel([A, B], ["500", OK], standings(("openai", 2))).tried == [A, B]


def test_keys_that_rest_are_passed_over():
    world = standings(("openai", 2))
    assert travel([A, B], ["401", OK], world).tried == [f"{A}#0", f"{A}#1"]
    assert travel([A, B], [OK], world, now=10.0).tried == [f"{A}#1"]
    assert travel([A, B], [OK], world, now=10.0).tried == [f"{A}#1"]


# -- rests -------------------------------------------------------------------------------------------------------------


def resting(*names, wait="429 in 20", now=0.0):
    """A world in which these have just been limited."""
    world = standings()
    for name in names:
        one = target(name)
        standing = world[one.provider.spec.name]
        standing.record(Lease(0, standing.breaker.unconditional_permit), one.model, FAILURES[wait](), now)
    return world


def test_a_target_that_rests_is_last_but_not_lost():
    travelled = travel([A, B], [OK], resting(A), now=1.0)
    assert (travelled.tried, travelled.passed) == ([B], [(A, "resting")])
    travelled = travel([A, B], ["500", OK], resting(A), now=1.0)
    assert travelled.tried == [B, A]
    travelled = travel([A, B, C, D], ["500", "500", OK], resting(A, C), now=1.0)
    assert (travelled.tried, travelled.passed) == ([B, D, A], [(A, "resting"), (C, "resting")])


def test_a_rest_never_locks_a_sole_target_out():
    assert travel([A], [OK], resting(A), now=1.0).tried == [A]
    assert travel([A, B], [OK], resting(A, B), now=1.0).tried == [A]
    assert travel([A, B], ["429 in 20", OK], resting(A, B), now=1.0).tried == [A, B]
    assert travel([A, B], [OK], resting(A), unfit={B}, now=1.0).tried == [A]
    assert travel([A, B], [OK], resting(A), own=OWN, now=1.0).tried == [A]


def test_a_rest_is_of_one_model_and_ends():
    assert travel([A2, B], [OK], resting(A), now=1.0).tried == [A2]
    assert travel([A, B], [OK], resting(A), now=20.0).tried == [A]


# -- breakers ----------------------------------------------------------------------------------------------------------


def opened(*times_and_providers):
    world = standings()
    for now, name in times_and_providers:
        assert world[name].breaker.open_by_hint(now) is State.OPEN
    return world


def test_an_open_breaker_is_passed_over_and_costs_nothing():
    world = opened((0.0, "openai"))
    travelled = travel([A, B], [OK], world, now=1.0)
    assert (travelled.tried, travelled.passed) == ([B], [(A, "open")])
    assert [leg.number for leg in travelled.legs] == [1]
    assert world["openai"].retry_budget.saved == 0
    assert world["anthropic"].retry_budget.saved > 0


def test_all_open_is_told_at_once_with_the_time_of_the_earliest_probe():
    world = opened((0.0, "openai"), (9.5, "anthropic"))
    travelled = travel([A, B], [OK], world, now=10.0)
    assert (travelled.tried, travelled.end, travelled.retry_after) == ([], 503, 20)
    assert travelled.passed == [(A, "open"), (B, "open")]
    travelled = travel([B, A], [OK], world, now=29.9)
    assert (travelled.end, travelled.retry_after) == (503, 1)
    with pytest.raises(Failure, match="try again in 10 s") as caught:
        AttemptPlanner([target(B)], world, AttemptRules(), 600.0, None, lambda _: True, begun=False).first(30.25)
    assert (caught.value.kind, caught.value.code) == (Kind.OVERLOADED, "no_provider_available")


def test_open_and_unfit_is_all_open():
    travelled = travel([A, B], [OK], opened((0.0, "openai")), unfit={B}, now=25.0)
    assert (travelled.end, travelled.retry_after) == (503, 5)


def test_the_probe_is_somebody_s_request_and_the_others_pass_it_over():
    world = opened((0.0, "openai"))
    course = AttemptPlanner([target(A), target(B)], world, AttemptRules(), 600.0, None, lambda _: True, begun=False)
    probe = course.first(30.0)
    assert probe.target.name == A
    travelled = travel([A, B], [OK], world, now=31.0)
    assert (travelled.tried, travelled.passed) == ([B], [(A, "half_open")])
    failure = FAILURES["500"]()
    assert record_failure(probe, world, AttemptRules(), failure, 31.0) is State.OPEN
    assert course.next_after(probe, failure, 31.0, 1.0).target.name == B


def test_a_breaker_that_may_be_probed_by_now_is_looked_at_again():
    world = opened((0.0, "anthropic"))
    travelled = travel([A, B], ["503 in 1", "500", OK], world, now=27.5)
    assert (travelled.tried, travelled.passed) == ([A, f"{A}+1", B], [(B, "open")])


def test_a_wait_that_outlasts_the_opening_ends_in_a_probe():
    travelled = travel([A], ["503 in 1", OK], standings(threshold=1, half_open_timeout=0.75))
    assert (travelled.tried, travelled.end) == ([A, f"{A}+1"], OK)
    assert travelled.legs[1].lease.permit.probe
    assert travel([A], ["503 in 1", OK], standings(threshold=1, half_open_timeout=1.25)).tried == [A]


def test_the_failure_that_opens_the_breaker_is_not_followed_by_the_same_target():
    world = standings(threshold=2)
    assert travel([A], ["500"], world).tried == [A, f"{A}+0.1"]
    assert world["openai"].breaker.state is State.OPEN


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "until", "attempts", "timeouts"),
    [
        ([A, B], 600, 3, [30, 30]),  # PROVIDER_TIMEOUT is the shorter
        ([A, B], 10, 3, [6, 4]),
        ([A, B], 40, 3, [24, 16]),
        ([A, B], 10, 1, [10]),  # no other attempt is possible
        ([A, B], 10, 2, [6, 4]),
        ([A], 10, 3, [10]),
        ([A, B, C], 20, 3, [12, 8]),  # the second takes all that is left
    ],
)
def test_the_deadline_is_shared_so_that_a_fallback_keeps_a_usable_part(targets, until, attempts, timeouts):
    offered, now, world, rules = [], 1000.0, standings(), AttemptRules(attempts=attempts)
    targets, until = [target(name) for name in targets], now + until
    course = AttemptPlanner(targets, world, rules, until, None, lambda _: True, begun=False)
    assert course.first(now).timeout == pytest.approx(timeouts[0])
    leg = plan_first_attempt(targets, world, rules, until, None, now)
    course = AttemptPlanner(targets, world, rules, until, None, lambda _: True, begun=True)
    while leg is not None:
        offered.append(leg.timeout)
        now += leg.timeout  # it stalls to its limit
        failure = FAILURES["timeout"]()
        record_failure(leg, world, rules, failure, now)
        leg = course.next_after(leg, failure, now, 1.0)
    assert offered == pytest.approx(timeouts)
    assert now <= until


@given(until=st.floats(1.5, 1000), timeout=st.floats(0.1, 1000))
def test_the_second_target_is_offered_two_fifths_of_the_deadline(until, timeout):
    rules = AttemptRules(provider_timeout=timeout)
    for begun in (True, False):
        world = standings()
        targets = [target(A), target(B)]
        course = AttemptPlanner(targets, world, rules, until, None, lambda _: True, begun=begun)
        first = plan_first_attempt(targets, world, rules, until, None, 0.0) if begun else course.first(0.0)
        assert first.timeout == pytest.approx(min(timeout, 0.6 * until))
        second = course.next_after(first, FAILURES["timeout"](), first.timeout, 1.0)
        if until - first.timeout > 1:
            assert second.timeout >= min(timeout, 0.4 * until) - 1e-9


def test_a_caller_s_key_has_no_fallback_to_keep_time_for():
    for names, share in [([A, B], 1.0), ([A, B, A2], 0.6)]:
        targets, rules = [target(name) for name in names], AttemptRules()
        assert plan_first_attempt(targets, standings(), rules, 10.0, OWN, 0.0).timeout == pytest.approx(10 * share)
        course = AttemptPlanner(targets, standings(), rules, 10.0, OWN, lambda _: True, begun=False)
        assert course.first(0.0).timeout == pytest.approx(10 * share)


@pytest.mark.parametrize(("took", "tried"), [(8.9, [A, B]), (9.0, [A]), (9.5, [A])])
def test_with_a_second_left_nothing_more_is_begun(took, tried):
    assert travel([A, B], ["500"], until=10.0, took=took, attempts=2).tried == tried


@pytest.mark.parametrize(("until", "tried"), [(2.6, [A, f"{A}+0.5"]), (2.5, [A, f"{A}+0.5"]), (2.4, [A])])
def test_a_wait_must_leave_time_for_the_attempt(until, tried):
    assert travel([A], ["429 in 0.5"], until=until, attempts=2).tried == tried


def test_the_wait_is_not_part_of_the_attempt_s_time():
    first, second = travel([A], ["429 in 0.5", OK], until=10.0).legs
    assert (first.timeout, second.timeout) == pytest.approx((10.0, 8.5))


def test_a_timer_that_a_short_deadline_cut_says_nothing_about_the_provider():
    world = standings(threshold=1)
    travel([A], ["timeout"], world, until=10.0)
    assert world["openai"].breaker.state is State.CLOSED
    travel([A], ["timeout"], world, until=30.0)
    assert world["openai"].breaker.state is State.OPEN
    world = standings(threshold=1)
    travel([A], ["500"], world, until=10.0)
    assert world["openai"].breaker.state is State.OPEN


# -- the last word -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "end", "retry_after"),
    [
        (["429 in 20", "429 in 900"], 429, 20),
        (["429 in 900", "429 in 20"], 429, 20),
        (["429 in 900", "429"], 429, 60),
        (["429", "429"], 429, 60),
        (["429 in 900"], 429, 900),  # what a caller is told is not clamped
        (["429 in 20", "500"], 502, None),
        (["500", "429 in 900"], 429, 900),
        (["429 in 20", "503 in 9"], 502, 9),
        (["quota", "429 in 900"], 429, 900),
    ],
)
def test_the_shortest_wait_if_all_were_limits_else_the_last_failure(outcomes, end, retry_after):
    targets = [A, B, C][: len(outcomes)]
    travelled = travel(targets, outcomes, attempts=len(outcomes))
    assert (travelled.end, travelled.retry_after) == (end, retry_after)


# -- the budget --------------------------------------------------------------------------------------------------------


def failed_at_once(world, targets, many):
    """So many requests whose first attempts are all under way when the provider dies: which targets come next?"""
    targets, rules, following = [target(name) for name in targets], AttemptRules(), []
    legs = [plan_first_attempt(targets, world, rules, 600.0, None, 0.0) for _ in range(many)]
    for leg in legs:
        failure = FAILURES["cut"]()
        record_failure(leg, world, rules, failure, 1.0)
        course = AttemptPlanner(targets, world, rules, 600.0, None, lambda _: True, begun=True)
        following.append(course.next_after(leg, failure, 1.0, 1.0))
    return [leg for leg in following if leg is not None]


def test_an_outage_is_not_answered_with_a_multiple_of_the_load():
    world = standings()
    following = failed_at_once(world, [A, B], 200)
    assert len(following) == 20 + 3
    for leg in following:
        world["anthropic"].record(leg.lease, leg.target.model, None, 2.0)
    assert world["openai"].retry_budget.running == 0


def test_a_provider_that_only_stands_in_for_others_is_there_when_they_all_fail_at_once():
    world = standings()
    for _ in range(1000):
        travel([A, B], [OK], world)
    assert len(failed_at_once(world, [A, B], 90)) == 90


def test_what_the_budget_refuses_leaves_nothing_behind():
    world = standings()
    for _ in range(3):
        world["openai"].retry_budget.take()
    world["openai"].retry_budget.saved = 0.0
    world["anthropic"].breaker.open_by_hint(-30.0)
    travelled = travel([A, B], ["500"], world)
    assert (travelled.tried, travelled.end) == ([A], 502)
    assert world["anthropic"].breaker.state is State.OPEN  # the probe's place is free again
    assert world["openai"].retry_budget.running == 3


# -- anything ----------------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(data=st.data())
def test_anything_in_any_order(data):
    """Many requests over one world of providers, whatever they answer, with callers who leave."""
    names = [A, A2, B, C, D]
    world = standings(("openai", 2), ("gemini", 3), threshold=2, half_open_timeout=5.0)
    now = 0.0
    for _ in range(data.draw(st.integers(1, 6), "requests")):
        targets = [target(name) for name in data.draw(st.permutations(names))[: data.draw(st.integers(1, 4))]]
        unfit = data.draw(st.sets(st.sampled_from(names), max_size=2))
        own = data.draw(st.sampled_from([None, None, OWN]))
        rules = AttemptRules(attempts=data.draw(st.integers(1, 4)), provider_timeout=30.0)
        until = now + data.draw(st.sampled_from([2.0, 10.0, 600.0]))
        course = AttemptPlanner(
            targets, world, rules, until, own, lambda one, unfit=unfit: one.name not in unfit, begun=False
        )
        made = []
        try:
            leg = course.first(now)
        except Failure:
            assert all(why.reason in ("open", "half_open", "unfit", "foreign") for _, why in course.skipped)
            leg = None
        while leg is not None:
            made.append(leg)
            assert leg.number == len(made) <= rules.attempts
            assert leg.timeout <= min(30.0, until - now - leg.wait) + 1e-9
            assert len(made) == 1 or leg.timeout >= 1.0
            assert leg.target is targets[0] or leg.target.name not in unfit
            assert (leg.lease.credential == OWN) == (own is not None)
            assert own is None or leg.target.provider is targets[0].provider
            assert leg.wait == 0 or leg.target is made[-2].target
            standing = world[leg.target.provider.spec.name]
            now += leg.wait + data.draw(st.sampled_from([0.0, 0.5, 4.0]))
            outcome = data.draw(st.sampled_from([OK, "caller leaves", *FAILURES]), "outcome")
            if outcome == OK:
                standing.record(leg.lease, leg.target.model, None, now)
                break
            if outcome == "caller leaves":
                standing.release(leg.lease, now)
                break
            failure = FAILURES[outcome]()
            record_failure(leg, world, rules, failure, now)
            leg = course.next_after(leg, failure, now, data.draw(st.sampled_from([0.0, 0.5, 1.0])))
        noted = [(one.name, why.reason) for one, why in course.skipped]
        assert len(noted) == len(set(noted))
        now += data.draw(st.sampled_from([0.0, 6.0, 301.0]))
    for standing in world.values():  # all has been given back
        assert standing.retry_budget.running == 0
        assert standing.breaker.state is not State.HALF_OPEN
