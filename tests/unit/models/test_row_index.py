"""The index finds the same rows as trying every pattern, in the same order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.models.catalog import built_in_rows
from nulpoint.models.row_index import RowIndex
from nulpoint.models.rows import ModelRow
from nulpoint.providers.catalog import CATALOG

SUFFIXES = (
    "", "-20250929", "@20250929", "-2025-09-29", "-latest", "@default", "-v1:0", "-v2:0:200k", "-20250929-v1:0", "-v1-v2",
    "-latest-latest", "x", "-2025",
)  # fmt: skip


def defined(rows, name):
    return [row for row in rows if row.names(name)]


@pytest.mark.parametrize("host", CATALOG)
def test_every_name_of_the_data(host):
    rows = [row for row in built_in_rows() if row.is_of((host,))]
    index = RowIndex(rows)
    for pattern in {pattern for row in rows for pattern in row.origin.models}:
        for suffix in SUFFIXES:
            name = pattern.replace("*", "x") + suffix
            assert list(index.about((name,))) == defined(rows, name), name


_words = st.lists(st.sampled_from(("a", "A", "b", "-v1", ":0", "-20250929", "-latest", "*", "-", "@")), max_size=5).map(
    "".join
)


@given(st.lists(st.lists(_words, min_size=1, max_size=3), max_size=5), _words)
def test_any_patterns(patterns, name):
    rows = [ModelRow.read({"hosts": ["x"], "models": models}) for models in patterns]
    assert list(RowIndex(rows).about((name,))) == defined(rows, name)
