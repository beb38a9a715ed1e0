"""Tests of RefreshSchedule: each case is a script of recorded events and the time when the next fetch is due."""

import pytest

from nulpoint.credentials.schedule import MIN_SECONDS_BEFORE_REFUSAL, RefreshSchedule

INFINITE = float("inf")


def schedule_after(*events):
    schedule = RefreshSchedule()
    for name, *arguments in events:
        getattr(schedule, name)(*arguments)
    return schedule


@pytest.mark.parametrize(
    ("left", "wait"),
    [
        (3600, 3300), (1200, 900), (600, 450), (300, 225), (4, 3), (1, 1), (0, 1), (-50, 1), (INFINITE, INFINITE),
    ],
)  # fmt: skip
def test_a_fetch_is_due_before_the_expiry(left, wait):
    assert schedule_after(("record_success", 1000.0, 1000.0 + left)).due == 1000.0 + wait


def test_a_source_that_returns_the_same_credential_is_asked_again():
    schedule, asked = schedule_after(("record_success", 0.0, 3600.0)), []
    while schedule.due < 3600.0:
        asked.append(schedule.due)
        schedule.record_success(schedule.due, 3600.0)
    assert asked[0] == 3300.0
    assert 3598.0 < asked[-1] < 3600.0
    assert len(asked) < 20


FETCHED, FAILED = ("record_success", 100_000.0, 103_600.0), ("record_failure", 100_000.0, 1.0)


@pytest.mark.parametrize(
    ("events", "now", "wait"),
    [
        ([], 5.0, 0.0),
        ([FETCHED], 100_000.0, 3300.0),
        ([FETCHED], 103_300.0, 0.0),
        ([FETCHED], 186_400.0, 0.0),  # the clock was set forward by a day
        ([FETCHED], 99_950.0, 3350.0),  # the clock was set back a little
        ([FETCHED], 13_600.0, 0.0),  # the clock was set back by a day: the fetch must not wait until tomorrow
        ([FAILED], 13_600.0, 0.0),
        ([FETCHED, ("record_success", 13_600.0, 17_200.0)], 13_600.0, 3300.0),
        ([FETCHED, ("record_failure", 13_600.0, 1.0)], 13_600.0, 1.0),
    ],
)
def test_clock_changes(events, now, wait):
    assert schedule_after(*events).wait(now) == wait


@pytest.mark.parametrize("events", [[FETCHED], [FETCHED, ("record_failure", 103_300.0, 1.0)]])
def test_a_rejected_credential_is_replaced_after_the_clock_was_set_back(events):
    schedule = schedule_after(*events)
    assert schedule.record_refusal(13_600.0)
    assert schedule.wait(13_600.0) == 0.0


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 0.5, 1), (2, 1, 2), (3, 2, 4), (6, 16, 32), (7, 30, 60), (500, 30, 60)]
)
def test_backoff_after_failures(failures, least, most):
    assert schedule_after(*[("record_failure", 50.0, 0.0)] * failures).due == 50.0 + least
    assert schedule_after(*[("record_failure", 50.0, 1.0)] * failures).due == 50.0 + most
    assert (
        schedule_after(
            *[("record_failure", 50.0, 1.0)] * failures,
            ("record_success", 60.0, 3660.0),
            ("record_failure", 3400.0, 1.0),
        ).due
        == 3401.0
    )


@pytest.mark.parametrize(
    ("events", "now", "fetches"),
    [
        (
            [("record_success", 0.0, 3600.0)],
            MIN_SECONDS_BEFORE_REFUSAL - 1,
            False,
        ),  # a new one would be rejected too
        ([("record_success", 0.0, 3600.0)], MIN_SECONDS_BEFORE_REFUSAL, True),
        ([("record_success", 0.0, INFINITE)], 500.0, True),
        (
            [("record_success", 0.0, 3600.0), ("record_failure", 3300.0, 1.0)],
            3300.5,
            False,
        ),  # the next attempt is due soon anyway
        ([("record_success", 0.0, 3600.0), ("record_failure", 3300.0, 1.0)], 3301.0, True),
        ([("record_success", 0.0, 3600.0), ("record_refusal", 100.0), ("record_success", 101.0, 3701.0)], 105.0, False),
    ],
)
def test_a_rejected_credential_is_replaced_but_not_repeatedly(events, now, fetches):
    schedule = schedule_after(*events)
    assert schedule.record_refusal(now) is fetches
    assert (schedule.due <= now) is fetches
