"""Tests the attempt planner with tables of the targets tried, and with random requests."""

import itertools
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nulpoint.errors import Failure, Kind
from nulpoint.models.facts import ModelFacts
from nulpoint.routing.attempt_planner import AttemptPlanner, AttemptRules, plan_first_attempt, record_failure
from nulpoint.routing.breaker import State
from nulpoint.routing.provider_health import Lease
from support.routing_targets import FAILURES, all_providers_health, target

A, B, C, D = "openai/gpt-4o", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-pro", "mistral/mistral-large-latest"
A2 = "openai/gpt-4.1"
CLIENT_KEY = b"digest of a caller's key"
OK = "ok"


class Simulation(NamedTuple):
    """The attempts made, as `target` or `target#credential` with `+wait`, and "ok" or the status of the final error."""

    tried: list
    end: object
    retry_after: float | None
    planned_attempts: list
    skipped: list


def simulate(
    targets,
    outcomes,
    provider_health=None,
    *,
    client_key=None,
    unfit=(),
    deadline=600.0,
    attempts=3,
    timeout=30.0,
    took=1.0,
    random=1.0,
    now=0.0,
):
    """Simulate one request. Every attempt takes `took` seconds; the last of `outcomes` applies to all further attempts."""
    targets = [target(name) for name in targets]
    provider_health = provider_health or all_providers_health()
    rules = AttemptRules(attempts=attempts, provider_timeout=timeout)
    outcomes = itertools.chain(outcomes, itertools.repeat(outcomes[-1]))
    planned_attempts, planner = [], None

    def end(what, retry_after=None):
        several = {
            planned.target.name for planned in planned_attempts if planned.lease.credential not in (0, CLIENT_KEY)
        }
        tried = [
            planned.target.name
            + (f"#{planned.lease.credential}" if planned.target.name in several else "")
            + (f"+{planned.wait:g}" if planned.wait else "")
            for planned in planned_attempts
        ]
        skipped = [(one.name, why.reason) for one, why in planner.skipped] if planner else []
        return Simulation(tried, what, retry_after, planned_attempts, skipped)

    def fits(one):
        return one.name not in unfit

    planned = plan_first_attempt(targets, provider_health, rules, deadline, client_key, now)
    if planned is None:
        planner = AttemptPlanner(targets, provider_health, rules, deadline, client_key, fits, first_attempt_made=False)
        try:
            planned = planner.first(now)
        except Failure as failure:
            return end(failure.status, failure.retry_after)
    while True:
        planned_attempts.append(planned)
        now += planned.wait + took
        outcome = next(outcomes)
        health = provider_health[planned.target.provider.spec.name]
        if outcome == OK:
            if planner is not None:  # a first attempt from the fast path need not be recorded
                health.record(planned.lease, planned.target.model, None, now)
            return end(OK)
        failure = FAILURES[outcome]()
        planner = planner or AttemptPlanner(
            targets, provider_health, rules, deadline, client_key, fits, first_attempt_made=True
        )
        record_failure(planned, provider_health, rules, failure, now)
        planned = planner.next_after(planned, failure, now, random)
        if planned is None:
            last = planner.final_error(failure)
            return end(last.status, last.retry_after)


# -- which targets are tried -------------------------------------------------------------------------------------------

TRAVELS = {
    "the first answers": ([A, B], [OK], [A], OK),
    "the next one without a wait": ([A, B], ["500", OK], [A, B], OK),
    "in the order of the chain": ([A, B, C], ["timeout", "connect", OK], [A, B, C], OK),
    "no more attempts than MAX_RETRIES": ([A, B, C, D], ["500"], [A, B, C], 502),
    "the first failure names the status": ([A, B, C], ["timeout", "429", "500"], [A, B, C], 504),
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
def test_which_targets_are_tried(targets, outcomes, tried, end):
    simulation = simulate(targets, outcomes)
    assert (simulation.tried, simulation.end) == (tried, end)
    assert [planned.number for planned in simulation.planned_attempts] == list(range(1, len(tried) + 1))


@pytest.mark.parametrize("name", ["400", "422", "internal", "left"])
def test_failures_after_which_no_target_is_tried(name):
    simulation = simulate([A, B, C], [name])
    assert (simulation.tried, simulation.end) == ([A], FAILURES[name]().status)


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
def test_the_number_of_attempts_is_limited(attempts):
    assert len(simulate([A, B, C, D], ["503"], attempts=attempts).tried) == attempts
    assert len(simulate([A], ["503"], attempts=attempts).tried) == min(attempts, 5)  # the fifth opens the breaker


def test_unfit_targets_are_skipped_but_never_the_primary():
    simulation = simulate([A, B, C], ["500", OK], unfit={A, B})
    assert (simulation.tried, simulation.skipped) == ([A, C], [(B, "unfit")])
    simulation = simulate([A, B], ["cut"], unfit={B})
    assert (simulation.tried, simulation.end, simulation.skipped) == ([A], 502, [(B, "unfit")])


# -- client keys -------------------------------------------------------------------------------------------------------


def test_a_client_key_goes_to_no_other_provider():
    simulation = simulate([A, B, A2], ["500", OK], client_key=CLIENT_KEY)
    assert (simulation.tried, simulation.skipped) == ([A, A2], [(B, "foreign")])
    assert {planned.lease.credential for planned in simulation.planned_attempts} == {CLIENT_KEY}


@pytest.mark.parametrize("name", ["401", "403", "402", "quota"])
def test_a_refused_client_key_ends_the_attempts(name):
    simulation = simulate([A, A2], [name], all_providers_health(("openai", 3)), client_key=CLIENT_KEY)
    assert (simulation.tried, simulation.end) == ([A], FAILURES[name]().status)


def test_a_rate_limited_client_key_is_not_replaced_by_a_configured_one():
    simulation = simulate([A], ["429 in 20"], all_providers_health(("openai", 3)), client_key=CLIENT_KEY)
    assert (simulation.tried, simulation.end, simulation.retry_after) == ([A], 429, 20)


# -- several keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["401", "402", "quota", "429", "429 in 20"])
def test_the_next_key_of_the_same_provider_comes_before_another_provider(name):
    simulation = simulate([A, B], [name, name, OK], all_providers_health(("openai", 2)))
    assert simulation.tried == [f"{A}#0", f"{A}#1", B]


def test_a_failing_provider_is_not_retried_with_another_key():
    assert simulate([A, B], ["500", OK], all_providers_health(("openai", 2))).tried == [A, B]


def test_a_retry_of_a_conversation_uses_the_next_key_in_its_order():
    provider_health = all_providers_health(("openai", 4))
    health, key = provider_health["openai"], b"a conversation"
    targets, rules, used = [target(A)], AttemptRules(attempts=4), []
    planned = plan_first_attempt(targets, provider_health, rules, 600.0, None, 0.0, lambda: key)
    planner = AttemptPlanner(
        targets, provider_health, rules, 600.0, None, lambda _: True, lambda: key, first_attempt_made=True
    )
    while planned is not None:
        used.append(planned.lease.credential)
        failure = FAILURES["500"]()
        record_failure(planned, provider_health, rules, failure, 0.0)
        planned = planner.next_after(planned, failure, 0.0, 0.5)
    assert used == health._preferences.order(key)


def test_keys_in_cooldown_are_skipped():
    provider_health = all_providers_health(("openai", 2))
    assert simulate([A, B], ["401", OK], provider_health).tried == [f"{A}#0", f"{A}#1"]
    assert simulate([A, B], [OK], provider_health, now=10.0).tried == [f"{A}#1"]
    assert simulate([A, B], [OK], provider_health, now=10.0).tried == [f"{A}#1"]


# -- cooldowns ---------------------------------------------------------------------------------------------------------


def resting(*names, wait="429 in 20", now=0.0):
    """Return the health of providers of which these have just hit a rate limit."""
    provider_health = all_providers_health()
    for name in names:
        one = target(name)
        health = provider_health[one.provider.spec.name]
        health.record(Lease(0, health.breaker.unconditional_permit), one.model, FAILURES[wait](), now)
    return provider_health


def test_a_target_in_cooldown_is_tried_last():
    simulation = simulate([A, B], [OK], resting(A), now=1.0)
    assert (simulation.tried, simulation.skipped) == ([B], [(A, "resting")])
    simulation = simulate([A, B], ["500", OK], resting(A), now=1.0)
    assert simulation.tried == [B, A]
    simulation = simulate([A, B, C, D], ["500", "500", OK], resting(A, C), now=1.0)
    assert (simulation.tried, simulation.skipped) == ([B, D, A], [(A, "resting"), (C, "resting")])


def test_a_cooldown_never_blocks_the_only_target():
    assert simulate([A], [OK], resting(A), now=1.0).tried == [A]
    assert simulate([A, B], [OK], resting(A, B), now=1.0).tried == [A]
    assert simulate([A, B], ["429 in 20", OK], resting(A, B), now=1.0).tried == [A, B]
    assert simulate([A, B], [OK], resting(A), unfit={B}, now=1.0).tried == [A]
    assert simulate([A, B], [OK], resting(A), client_key=CLIENT_KEY, now=1.0).tried == [A]


def test_a_cooldown_is_for_one_model_and_ends():
    assert simulate([A2, B], [OK], resting(A), now=1.0).tried == [A2]
    assert simulate([A, B], [OK], resting(A), now=20.0).tried == [A]


# -- breakers ----------------------------------------------------------------------------------------------------------


def opened(*times_and_providers):
    provider_health = all_providers_health()
    for now, name in times_and_providers:
        assert provider_health[name].breaker.open_by_hint(now) is State.OPEN
    return provider_health


def test_skipping_an_open_breaker_costs_no_attempt():
    provider_health = opened((0.0, "openai"))
    simulation = simulate([A, B], [OK], provider_health, now=1.0)
    assert (simulation.tried, simulation.skipped) == ([B], [(A, "open")])
    assert [planned.number for planned in simulation.planned_attempts] == [1]
    assert provider_health["openai"].retry_budget.saved == 0
    assert provider_health["anthropic"].retry_budget.saved > 0


def test_if_all_breakers_are_open_the_error_names_the_earliest_probe():
    provider_health = opened((0.0, "openai"), (9.5, "anthropic"))
    simulation = simulate([A, B], [OK], provider_health, now=10.0)
    assert (simulation.tried, simulation.end, simulation.retry_after) == ([], 503, 20)
    assert simulation.skipped == [(A, "open"), (B, "open")]
    simulation = simulate([B, A], [OK], provider_health, now=29.9)
    assert (simulation.end, simulation.retry_after) == (503, 1)
    with pytest.raises(Failure, match="try again in 10 s") as caught:
        AttemptPlanner(
            [target(B)], provider_health, AttemptRules(), 600.0, None, lambda _: True, first_attempt_made=False
        ).first(30.25)
    assert (caught.value.kind, caught.value.code) == (Kind.OVERLOADED, "no_provider_available")


def test_open_and_unfit_targets_count_as_all_open():
    simulation = simulate([A, B], [OK], opened((0.0, "openai")), unfit={B}, now=25.0)
    assert (simulation.end, simulation.retry_after) == (503, 5)


def test_one_request_is_the_probe_and_others_skip_the_target():
    provider_health = opened((0.0, "openai"))
    planner = AttemptPlanner(
        [target(A), target(B)], provider_health, AttemptRules(), 600.0, None, lambda _: True, first_attempt_made=False
    )
    probe = planner.first(30.0)
    assert probe.target.name == A
    simulation = simulate([A, B], [OK], provider_health, now=31.0)
    assert (simulation.tried, simulation.skipped) == ([B], [(A, "half_open")])
    failure = FAILURES["500"]()
    assert record_failure(probe, provider_health, AttemptRules(), failure, 31.0) is State.OPEN
    assert planner.next_after(probe, failure, 31.0, 1.0).target.name == B


def test_a_breaker_that_becomes_ready_for_a_probe_is_tried_again():
    provider_health = opened((0.0, "anthropic"))
    simulation = simulate([A, B], ["503 in 1", "500", OK], provider_health, now=27.5)
    assert (simulation.tried, simulation.skipped) == ([A, f"{A}+1", B], [(B, "open")])


def test_a_retry_after_the_breaker_opened_is_a_probe():
    simulation = simulate([A], ["503 in 1", OK], all_providers_health(threshold=1, half_open_timeout=0.75))
    assert (simulation.tried, simulation.end) == ([A, f"{A}+1"], OK)
    assert simulation.planned_attempts[1].lease.permit.probe
    assert simulate([A], ["503 in 1", OK], all_providers_health(threshold=1, half_open_timeout=1.25)).tried == [A]


def test_no_retry_at_a_target_whose_breaker_has_just_opened():
    provider_health = all_providers_health(threshold=2)
    assert simulate([A], ["500"], provider_health).tried == [A, f"{A}+0.1"]
    assert provider_health["openai"].breaker.state is State.OPEN


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "deadline", "attempts", "timeouts"),
    [
        ([A, B], 600, 3, [30, 30]),  # PROVIDER_TIMEOUT is shorter
        ([A, B], 10, 3, [6, 4]),
        ([A, B], 40, 3, [24, 16]),
        ([A, B], 10, 1, [10]),  # no further attempt is possible
        ([A, B], 10, 2, [6, 4]),
        ([A], 10, 3, [10]),
        ([A, B, C], 20, 3, [12, 8]),  # the second attempt gets all the remaining time
    ],
)
def test_the_first_attempt_leaves_time_for_a_fallback(targets, deadline, attempts, timeouts):
    offered, now, provider_health, rules = [], 1000.0, all_providers_health(), AttemptRules(attempts=attempts)
    targets, deadline = [target(name) for name in targets], now + deadline
    planner = AttemptPlanner(targets, provider_health, rules, deadline, None, lambda _: True, first_attempt_made=False)
    assert planner.first(now).timeout == pytest.approx(timeouts[0])
    planned = plan_first_attempt(targets, provider_health, rules, deadline, None, now)
    planner = AttemptPlanner(targets, provider_health, rules, deadline, None, lambda _: True, first_attempt_made=True)
    while planned is not None:
        offered.append(planned.timeout)
        now += planned.timeout  # the attempt uses all its time
        failure = FAILURES["timeout"]()
        record_failure(planned, provider_health, rules, failure, now)
        planned = planner.next_after(planned, failure, now, 1.0)
    assert offered == pytest.approx(timeouts)
    assert now <= deadline


@given(deadline=st.floats(1.5, 1000), timeout=st.floats(0.1, 1000))
def test_the_second_target_gets_two_fifths_of_the_deadline(deadline, timeout):
    rules = AttemptRules(provider_timeout=timeout)
    for first_attempt_made in (True, False):
        provider_health = all_providers_health()
        targets = [target(A), target(B)]
        planner = AttemptPlanner(
            targets, provider_health, rules, deadline, None, lambda _: True, first_attempt_made=first_attempt_made
        )
        first = (
            plan_first_attempt(targets, provider_health, rules, deadline, None, 0.0)
            if first_attempt_made
            else planner.first(0.0)
        )
        assert first.timeout == pytest.approx(min(timeout, 0.6 * deadline))
        second = planner.next_after(first, FAILURES["timeout"](), first.timeout, 1.0)
        if deadline - first.timeout > 1:
            assert second.timeout >= min(timeout, 0.4 * deadline) - 1e-9


def test_with_a_client_key_no_time_is_left_for_a_fallback():
    for names, share in [([A, B], 1.0), ([A, B, A2], 0.6)]:
        targets, rules = [target(name) for name in names], AttemptRules()
        assert plan_first_attempt(
            targets, all_providers_health(), rules, 10.0, CLIENT_KEY, 0.0
        ).timeout == pytest.approx(10 * share)
        planner = AttemptPlanner(
            targets, all_providers_health(), rules, 10.0, CLIENT_KEY, lambda _: True, first_attempt_made=False
        )
        assert planner.first(0.0).timeout == pytest.approx(10 * share)


@pytest.mark.parametrize(("took", "tried"), [(8.9, [A, B]), (9.0, [A]), (9.5, [A])])
def test_no_attempt_begins_in_the_last_second(took, tried):
    assert simulate([A, B], ["500"], deadline=10.0, took=took, attempts=2).tried == tried


@pytest.mark.parametrize(("deadline", "tried"), [(2.6, [A, f"{A}+0.5"]), (2.5, [A, f"{A}+0.5"]), (2.4, [A])])
def test_a_wait_must_leave_time_for_the_attempt(deadline, tried):
    assert simulate([A], ["429 in 0.5"], deadline=deadline, attempts=2).tried == tried


def test_the_wait_is_not_part_of_the_attempt_s_time():
    first, second = simulate([A], ["429 in 0.5", OK], deadline=10.0).planned_attempts
    assert (first.timeout, second.timeout) == pytest.approx((10.0, 8.5))


def test_a_timeout_shortened_by_the_deadline_is_no_evidence():
    provider_health = all_providers_health(threshold=1)
    simulate([A], ["timeout"], provider_health, deadline=10.0)
    assert provider_health["openai"].breaker.state is State.CLOSED
    simulate([A], ["timeout"], provider_health, deadline=30.0)
    assert provider_health["openai"].breaker.state is State.OPEN
    provider_health = all_providers_health(threshold=1)
    simulate([A], ["500"], provider_health, deadline=10.0)
    assert provider_health["openai"].breaker.state is State.OPEN


# -- the final error ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "end", "retry_after"),
    [
        (["429 in 20", "429 in 900"], 429, 20),
        (["429 in 900", "429 in 20"], 429, 20),
        (["429 in 900", "429"], 429, 60),
        (["429", "429"], 429, 60),
        (["429 in 900"], 429, 900),  # the wait reported to the client is not limited
        # The first failure is told,
        (["429 in 20", "500"], 429, 20),
        (["500", "429 in 900"], 502, None),
        (["503 in 9", "429 in 20"], 502, 9),
        (["quota", "429 in 900"], 429, 60),
        (["404", "500", "429"], 404, None),
        (["too long", "500"], 400, None),
        # but never that a fallback rejected what the primary had accepted.
        (["500", "400"], 502, None),
        (["500", "400", "422"], 502, None),
        (["500", "422", "429 in 20"], 502, None),
        (["429 in 20", "400"], 429, 20),
        (["429 in 900", "400", "429 in 20"], 429, 20),
        (["404", "400"], 404, None),
        (["400"], 400, None),
    ],
)
def test_the_final_error(outcomes, end, retry_after):
    targets = [A, B, C][: len(outcomes)]
    simulation = simulate(targets, outcomes, attempts=len(outcomes))
    assert (simulation.end, simulation.retry_after) == (end, retry_after)


def test_a_fallback_that_rejects_the_request_is_passed_over():
    simulation = simulate([A, B, C], ["500", "400", OK])
    assert (simulation.tried, simulation.end) == ([A, B, C], OK)


@pytest.mark.parametrize("name", ["400", "422"])
def test_a_request_that_the_primary_rejects_goes_nowhere_else(name):
    simulation = simulate([A, B, C], [name])
    assert (simulation.tried, simulation.end) == ([A], 400)


def test_a_rejection_by_the_primary_after_another_failure_is_told():
    simulation = simulate([A], ["503", "400"])
    assert (len(simulation.tried), simulation.end) == (2, 400)


def resting_provider(name):
    """Return the health of all providers, with all keys of one cooling down."""
    provider_health = all_providers_health()
    lease = provider_health[name].acquire_unconditionally(None)
    provider_health[name].record(lease, target(A).model, FAILURES["429 in 900"](), 0.0)
    return provider_health


def test_a_primary_that_was_left_out_is_asked_when_all_others_have_rejected_the_request():
    simulation = simulate([A, B], ["400", "429 in 20"], resting_provider("openai"), now=1.0)
    assert (simulation.tried, simulation.end, simulation.retry_after) == ([B, A], 429, 20)
    simulation = simulate([A, B], ["422", OK], resting_provider("openai"), now=1.0)
    assert (simulation.tried, simulation.end) == ([B, A], OK)


def test_if_only_fallbacks_were_tried_and_all_rejected_the_request_the_first_of_them_is_told():
    provider_health = all_providers_health(threshold=1)
    probe = provider_health["openai"].acquire_unconditionally(None)
    provider_health["openai"].record(probe, target(A).model, FAILURES["500"](), 0.0)
    simulation = simulate([A, B, C], ["422", "413"], provider_health, attempts=2, now=1.0)
    assert (simulation.tried, simulation.end, simulation.skipped[0]) == ([B, C], 413, (A, "open"))
    provider_health = all_providers_health(threshold=1)
    provider_health["openai"].record(probe, target(A).model, FAILURES["500"](), 0.0)
    simulation = simulate([A, B, C], ["422", "400"], provider_health, now=1.0)
    assert (simulation.tried, simulation.end) == ([B, C], 400)


# -- a missing model, a long prompt, no credit -------------------------------------------------------------------------


def test_a_missing_model_rests_with_the_key_and_the_next_request_goes_elsewhere_at_once():
    provider_health = all_providers_health()
    assert simulate([A, B], ["no model", OK], provider_health).tried == [A, B]
    assert simulate([A, B], [OK], provider_health, now=2.0).tried == [B]
    assert simulate([A2, B], [OK], provider_health, now=2.0).tried == [A2]


def test_a_missing_model_that_has_no_alternative_does_not_rest():
    health = all_providers_health()
    planned = plan_first_attempt([target(A)], health, AttemptRules(), 600.0, None, 0.0)
    record_failure(planned, health, AttemptRules(), FAILURES["no model"](), 0.0, has_alternative=False)
    assert not health["openai"].cooldowns.maybe_active


def test_a_key_without_credit_rests_for_all_models():
    provider_health = all_providers_health()
    assert simulate([A, B], ["no credit", OK], provider_health).tried == [A, B]
    assert simulate([A2, B], [OK], provider_health, now=2.0).tried == [B]


def test_a_request_that_is_too_long_goes_to_targets_that_may_have_a_larger_context():
    small, same, large = (
        target(name)._replace(facts=ModelFacts(context=context)) for name, context in ((A, 1000), (B, 1000), (C, 2000))
    )
    unknown = target(D)._replace(facts=ModelFacts())
    for following, tried in (((same, large), C), ((unknown,), D)):
        health = all_providers_health()
        targets = [small, *following]
        planned = plan_first_attempt(targets, health, AttemptRules(), 600.0, None, 0.0)
        planner = AttemptPlanner(targets, health, AttemptRules(), 600.0, None, lambda _: True, first_attempt_made=True)
        failure = FAILURES["too long"]()
        record_failure(planned, health, AttemptRules(), failure, 1.0)
        assert planner.next_after(planned, failure, 1.0, 1.0).target.name == tried


# -- the budget --------------------------------------------------------------------------------------------------------


def failed_at_once(provider_health, targets, many):
    """Return the next targets of requests whose first attempts are all in flight when the provider dies."""
    targets, rules, following = [target(name) for name in targets], AttemptRules(), []
    planned_attempts = [plan_first_attempt(targets, provider_health, rules, 600.0, None, 0.0) for _ in range(many)]
    for planned in planned_attempts:
        failure = FAILURES["cut"]()
        record_failure(planned, provider_health, rules, failure, 1.0)
        planner = AttemptPlanner(targets, provider_health, rules, 600.0, None, lambda _: True, first_attempt_made=True)
        following.append(planner.next_after(planned, failure, 1.0, 1.0))
    return [planned for planned in following if planned is not None]


def test_an_outage_does_not_multiply_the_load():
    provider_health = all_providers_health()
    following = failed_at_once(provider_health, [A, B], 200)
    assert len(following) == 20 + 3
    for planned in following:
        provider_health["anthropic"].record(planned.lease, planned.target.model, None, 2.0)
    assert provider_health["openai"].retry_budget.running == 0


def test_a_fallback_provider_serves_all_requests_of_a_failing_one():
    provider_health = all_providers_health()
    for _ in range(1000):
        simulate([A, B], [OK], provider_health)
    assert len(failed_at_once(provider_health, [A, B], 90)) == 90


def test_an_attempt_refused_by_the_budget_releases_its_lease():
    provider_health = all_providers_health()
    for _ in range(3):
        provider_health["openai"].retry_budget.acquire()
    provider_health["openai"].retry_budget.saved = 0.0
    provider_health["anthropic"].breaker.open_by_hint(-30.0)
    simulation = simulate([A, B], ["500"], provider_health)
    assert (simulation.tried, simulation.end) == ([A], 502)
    assert provider_health["anthropic"].breaker.state is State.OPEN  # another probe may be made
    assert provider_health["openai"].retry_budget.running == 3


# -- random requests ---------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(data=st.data())
def test_random_requests(data):
    """Simulates many requests over the same providers, with any outcomes and with clients that disconnect."""
    names = [A, A2, B, C, D]
    provider_health = all_providers_health(("openai", 2), ("gemini", 3), threshold=2, half_open_timeout=5.0)
    now = 0.0
    for _ in range(data.draw(st.integers(1, 6), "requests")):
        targets = [target(name) for name in data.draw(st.permutations(names))[: data.draw(st.integers(1, 4))]]
        unfit = data.draw(st.sets(st.sampled_from(names), max_size=2))
        client_key = data.draw(st.sampled_from([None, None, CLIENT_KEY]))
        rules = AttemptRules(attempts=data.draw(st.integers(1, 4)), provider_timeout=30.0)
        deadline = now + data.draw(st.sampled_from([2.0, 10.0, 600.0]))
        planner = AttemptPlanner(
            targets,
            provider_health,
            rules,
            deadline,
            client_key,
            lambda one, unfit=unfit: one.name not in unfit,
            first_attempt_made=False,
        )
        made = []
        try:
            planned = planner.first(now)
        except Failure:
            assert all(why.reason in ("open", "half_open", "unfit", "foreign") for _, why in planner.skipped)
            planned = None
        while planned is not None:
            made.append(planned)
            assert planned.number == len(made) <= rules.attempts
            assert planned.timeout <= min(30.0, deadline - now - planned.wait) + 1e-9
            assert len(made) == 1 or planned.timeout >= 1.0
            assert planned.target is targets[0] or planned.target.name not in unfit
            assert (planned.lease.credential == CLIENT_KEY) == (client_key is not None)
            assert client_key is None or planned.target.provider is targets[0].provider
            assert planned.wait == 0 or planned.target is made[-2].target
            health = provider_health[planned.target.provider.spec.name]
            now += planned.wait + data.draw(st.sampled_from([0.0, 0.5, 4.0]))
            outcome = data.draw(st.sampled_from([OK, "caller leaves", *FAILURES]), "outcome")
            if outcome == OK:
                health.record(planned.lease, planned.target.model, None, now)
                break
            if outcome == "caller leaves":
                health.release(planned.lease, now)
                break
            failure = FAILURES[outcome]()
            record_failure(planned, provider_health, rules, failure, now)
            planned = planner.next_after(planned, failure, now, data.draw(st.sampled_from([0.0, 0.5, 1.0])))
        noted = [(one.name, why.reason) for one, why in planner.skipped]
        assert len(noted) == len(set(noted))
        now += data.draw(st.sampled_from([0.0, 6.0, 301.0]))
    for health in provider_health.values():  # everything has been released
        assert health.retry_budget.running == 0
        assert health.breaker.state is not State.HALF_OPEN
