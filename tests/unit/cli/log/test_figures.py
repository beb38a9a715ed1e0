"""Tests of percentiles, and of numbers and tables formatted for a terminal."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.cli.log.formatting import clean, count, dollars, duration, fit, share, width
from nulpoint.cli.log.summary import percentile
from nulpoint.cli.log.table import Table, TableCell, TableColumn


@given(st.lists(st.integers(0, 10**9), min_size=1), st.sampled_from([50, 95, 99, 100]))
def test_a_percentile_is_the_smallest_value_that_covers_the_share(values, percent):
    values.sort()
    result = percentile(values, percent)
    assert result in values
    assert sum(value <= result for value in values) * 100 >= percent * len(values)
    lower = [value for value in values if value < result]
    assert len(lower) * 100 < percent * len(values)


def test_the_median_of_an_odd_number_of_values_agrees_with_statistics():
    values = sorted([5, 1, 9, 7, 3])
    assert percentile(values, 50) == statistics.median(values)
    assert percentile([], 50) is None


@pytest.mark.parametrize(
    ("us", "text"),
    [(None, ""), (0, "0us"), (999, "999us"), (1000, "1.0ms"), (99_949, "99.9ms"), (99_950, "100ms"), (999_499, "999ms"),
     (999_500, "1.00s"), (9_994_000, "9.99s"), (12_345_678, "12.3s"), (99_949_000, "99.9s"), (100_000_000, "1m40s"),
     (3_599_700_000, "60m00s")],
)  # fmt: skip
def test_times(us, text):
    assert duration(us) == text


@given(st.integers(0, 10**10))
def test_times_are_short(us):
    assert len(duration(us)) <= 7


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, ""), (0.0, "$0"), (2e-8, "<$0.000001"), (0.000262, "$0.000262"), (0.001, "$0.0010"), (0.03786, "$0.0379"),
     (1.005, "$1.00"), (12.5, "$12.50"), (12345.6, "$12,346")],
)  # fmt: skip
def test_money(amount, text):
    assert dollars(amount) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (999, "999"), (1000, "1.0k"), (99_940, "99.9k"), (123_456, "123k"),
                                              (4_500_000, "4.5M"), (None, "")])  # fmt: skip
def test_counts(number, text):
    assert count(number) == text


@pytest.mark.parametrize(("part", "whole", "text"), [(0, 0, ""), (0, 5, "0%"), (1, 1000, "0.1%"), (1, 3, "33%")])
def test_shares(part, whole, text):
    assert share(part, whole) == text


@given(st.text(max_size=40), st.integers(1, 40))
def test_shortened_text_fits(text, columns):
    text = clean(text)
    assert text.isprintable()
    cut = fit(text, columns)
    assert width(cut) <= columns
    assert (cut == text) == (width(text) <= columns)


@given(st.integers(20, 200), st.lists(st.tuples(st.text(max_size=60), st.text(max_size=9)), max_size=5))
def test_a_table_fits_whatever_its_cells_contain(columns_available, texts):
    columns = (TableColumn("NAME", min_width=4), TableColumn("VALUE", right_aligned=True, drop_rank=1))
    rows = [[TableCell(clean(name)), TableCell(clean(value))] for name, value in texts]
    table = Table(columns, rows, columns_available, lambda text, _: text)
    assert all(width(line) <= columns_available for line in (table.head(), *map(table.row, rows)))
