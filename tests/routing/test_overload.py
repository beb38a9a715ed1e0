"""Tests that the gateway counts as overloaded exactly while its event loop was late for a second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.proxy.overload import MAX_LAG, SAMPLES, EventLoopLagMonitor


@pytest.mark.parametrize(
    ("lags", "overloaded"),
    [
        ([], False),
        ([5.0], False),
        ([0.2] * 9, False),
        ([0.2] * 10, True),
        ([0.2] * 100, True),
        ([0.1] * 100, False),  # a tick is late if it is delayed by more than a tenth of a second
        ([0.2] * 9 + [0.05], False),
        ([0.2] * 10 + [0.0], False),  # one tick in time ends the overload
        ([0.0] + [0.2] * 9, False),
        ([0.0] + [0.2] * 10, True),
        ([5.0] + [0.0] * 9, False),
        (([0.2] * 9 + [0.0]) * 20, False),
    ],
)
def test_ten_late_ticks_in_a_row_are_an_overload(lags, overloaded):
    watch = EventLoopLagMonitor()
    for lag in lags:
        watch.sample(lag)
    assert watch.overloaded == overloaded


@given(st.lists(st.sampled_from([0.0, MAX_LAG, 0.11, 3.0]), max_size=40))
def test_only_the_last_samples_count(lags):
    watch = EventLoopLagMonitor()
    for number, lag in enumerate(lags, 1):
        watch.sample(lag)
        last = lags[max(0, number - SAMPLES) : number]
        assert watch.overloaded == (len(last) == SAMPLES and all(lag > MAX_LAG for lag in last))
