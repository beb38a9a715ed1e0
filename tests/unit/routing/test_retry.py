"""Tests whether another attempt may follow a failed one, at which target, when, and how many there may be."""

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nulpoint.errors import Failure, Kind
from nulpoint.routing.retry import BUDGET_FLOOR, BUDGET_SHARE, RetryBudget, backoff_before_retry, can_fail_over
from support.routing_targets import FAILURES

# -- failing over ------------------------------------------------------------------------------------------------------

# Whether another target may succeed: with a configured credential, and with a key of the client.
ELSEWHERE = {
    Kind.REJECTED: (False, False),
    Kind.NOT_FOUND: (True, True),
    Kind.TOO_LONG: (True, True),
    Kind.AUTH: (True, False),
    Kind.QUOTA: (True, False),
    Kind.RATE_LIMIT: (True, True),
    Kind.TIMEOUT: (True, True),
    Kind.CONNECT: (True, True),
    Kind.UPSTREAM: (True, True),
    Kind.OVERLOADED: (True, True),
    Kind.CLIENT_DISCONNECTED: (False, False),
    Kind.INTERNAL: (False, False),
}


@pytest.mark.parametrize("kind", Kind)
def test_failing_over_by_kind_of_failure(kind):
    failure = Failure(kind, 500, "x")
    can = [can_fail_over(failure, has_client_key=has_key, at_primary=True) for has_key in (False, True)]
    assert tuple(can) == ELSEWHERE[kind]


@pytest.mark.parametrize("kind", Kind)
def test_only_the_rejection_of_a_fallback_says_nothing_about_other_targets(kind):
    failure = Failure(kind, 500, "x")
    can = [can_fail_over(failure, has_client_key=has_key, at_primary=False) for has_key in (False, True)]
    assert tuple(can) == ((True, True) if kind is Kind.REJECTED else ELSEWHERE[kind])


STAYS = {"400", "422", "internal", "left"}


@pytest.mark.parametrize("name", FAILURES)
def test_failing_over_by_the_provider_s_status(name):
    assert can_fail_over(FAILURES[name](), has_client_key=False, at_primary=True) == (name not in STAYS)


# -- retrying the same target ------------------------------------------------------------------------------------------

# The longest backoff in seconds after one attempt; None if the same target is not tried again.
AGAIN = {
    "connect": 0.1, "500": 0.1, "502": 0.1, "503": 0.1, "504": 0.1, "529": 0.1, "429": 0.1,
    "429 in 0.5": 0.5, "503 in 1": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_when_the_same_target_is_retried(name):
    assert backoff_before_retry(FAILURES[name](), 1, 1.0) == AGAIN.get(name)


def test_a_failed_connection_is_retried_at_once():
    assert backoff_before_retry(Failure(Kind.CONNECT, 502, "x", retry_after=9), 1, 1.0) is None
    assert backoff_before_retry(Failure(Kind.CONNECT, 502, "x", retry_after=0.7), 1, 1.0) == 0.7


@pytest.mark.parametrize(("attempts", "most"), [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.0), (6, 1.0), (100, 1.0)])
def test_the_wait_doubles_up_to_a_second_with_full_jitter(attempts, most):
    waits = [backoff_before_retry(FAILURES["500"](), attempts, chance) for chance in (0.0, 0.25, 1.0)]
    assert waits == pytest.approx([0.0, most / 4, most])


# -- how many ----------------------------------------------------------------------------------------------------------


def requests(budget, count):
    budget.saved += BUDGET_SHARE * count


def test_a_few_attempts_at_a_time_are_always_allowed():
    budget = RetryBudget()
    assert [budget.acquire() for _ in range(5)] == [True, True, True, False, False]
    budget.release()
    assert [budget.acquire() for _ in range(2)] == [True, False]


def test_a_tenth_of_the_requests_may_be_retried():
    budget = RetryBudget()
    requests(budget, 100)
    assert sum(budget.acquire() for _ in range(100)) == 10 + BUDGET_FLOOR


def test_no_more_than_a_hundred_are_saved_up():
    budget = RetryBudget()
    requests(budget, 1_000_000)
    assert sum(budget.acquire() for _ in range(1000)) == 100 + BUDGET_FLOOR


def storm(rate, seconds, latency):
    """Return the number of further attempts at `rate` requests per second, all attempts of which fail after `latency`."""
    budget, made, events = RetryBudget(), 0, []
    for number in range(rate * seconds):
        heapq.heappush(events, (number / rate, 0, "arrives"))
    while events:
        now, _, what = heapq.heappop(events)
        if what == "arrives":
            requests(budget, 1)
            heapq.heappush(events, (now + latency, 1, "first fails"))
        elif what == "first fails":
            if budget.acquire():
                made += 1
                heapq.heappush(events, (now + latency, 0, "further ends"))
        else:
            budget.release()
    return made


@pytest.mark.parametrize(
    ("rate", "seconds", "latency"), [(100, 60, 0.5), (100, 60, 5.0), (1000, 10, 1.0), (50, 60, 30.0), (20, 60, 0.01)]
)
def test_an_outage_adds_at_most_a_tenth_and_the_floor(rate, seconds, latency):
    further = storm(rate, seconds, latency)
    rounds = seconds / latency + 1  # an attempt within the floor may follow as soon as an earlier one has ended
    assert further <= BUDGET_SHARE * rate * seconds + BUDGET_FLOOR * rounds
    if latency >= 0.5:
        assert further > 0.08 * rate * seconds  # and a tenth is really allowed


def test_failures_all_at_once():
    assert storm(5_000, 1, 10.0) <= 100 + BUDGET_FLOOR
    assert storm(500, 1, 10.0) == 50 + BUDGET_FLOOR


@given(st.lists(st.sampled_from(["request", "take", "done"]), max_size=300))
def test_attempts_above_the_floor_need_saved_budget(events):
    budget, asked, over_the_floor, running = RetryBudget(), 0, 0, 0
    for event in events:
        if event == "request":
            requests(budget, 1)
            asked += 1
        elif event == "take":
            free = running < BUDGET_FLOOR
            if budget.acquire():
                running += 1
                over_the_floor += not free
            else:
                assert not free
        elif running:
            budget.release()
            running -= 1
        assert budget.running == running
        assert over_the_floor <= BUDGET_SHARE * asked + 1e-9


class AgainstTokens(RuleBasedStateMachine):
    """A model of the budget that counts in whole tenths, to avoid rounding."""

    def __init__(self):
        super().__init__()
        self.budget, self.tenths, self.running = RetryBudget(), 0, 0

    @rule(count=st.sampled_from([1, 7, 40, 2000]))
    def requests_come(self, count):
        requests(self.budget, count)
        self.tenths += count

    @rule()
    def take(self):
        taken = self.budget.acquire()
        if self.running < BUDGET_FLOOR:
            assert taken
        else:
            self.tenths = min(self.tenths, 1000)
            if 10 <= self.tenths < 11:
                self.tenths -= 10 * taken  # rounding may go either way
            else:
                assert taken == (self.tenths >= 10)
                self.tenths -= 10 * taken
        self.running += taken

    @precondition(lambda self: self.running)
    @rule()
    def done(self):
        self.budget.release()
        self.running -= 1

    @invariant()
    def agree(self):
        assert self.budget.running == self.running
        assert self.budget.saved == pytest.approx(self.tenths / 10, abs=1e-6)


AgainstTokens.TestCase.settings = settings(max_examples=60, stateful_step_count=50)
TestAgainstTokens = AgainstTokens.TestCase
