"""Tests models that are never cached: by name and by RE2 pattern, matched in linear time."""

from time import thread_time

import pytest

from nulpoint.cache.exclusions import CacheExclusions
from nulpoint.config.values import patterns


@pytest.mark.parametrize(
    ("model", "excluded"),
    [("gpt-4o", True), ("gpt-4o-mini", False), ("o1-preview", True), ("openai/o1", False), ("x-search-1", True),
     ("GPT-4O", False), ("", False)],
)  # fmt: skip
def test_names_and_patterns(model, excluded):
    exclusions = CacheExclusions(["gpt-4o"], ["^o1", r"-search-\d"])
    assert (model in exclusions) == excluded
    assert (model in exclusions) == excluded  # this time from the cached results


def test_no_pattern_takes_exponential_time():
    exclusions = CacheExclusions([], ["(a+)+$", "(a|aa)+$", "(.*a){20}$"])
    began = thread_time()
    assert "a" * 65_536 + "!" not in exclusions
    assert thread_time() - began < 2  # for a name of 64 KiB; `re` would never finish


@pytest.mark.parametrize("pattern", ["(", "a(?=b)", r"(a)\1", "(?P<n>a", "[z-a]", "a{1001}"])
def test_patterns_unknown_to_re2_are_rejected_at_start(pattern):
    with pytest.raises(ValueError, match="RE2"):
        patterns(f"fine,{pattern}")


def test_patterns_are_read():
    assert patterns(r"^o1, -search-\d ,") == ("^o1", r"-search-\d")


def test_the_number_of_cached_names_is_limited():
    exclusions = CacheExclusions(["gpt-4o"], ["x$"])
    assert sum(f"{number}x" in exclusions for number in range(5000)) == 5000
    assert len(exclusions._results) <= 1024
