"""A fuzz target: nearly valid inputs for a parser, and a check that must hold for every one of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.strategies import SearchStrategy

from support.paths import ROOT

KEPT = ROOT / ".hypothesis" / "fuzz"


class Target(NamedTuple):
    """A fuzz target. `check` raises if the parser is wrong. `seeds` are inputs that once failed; they always run."""

    name: str
    inputs: SearchStrategy[Any]
    check: Callable[[Any], object]
    seeds: tuple[Any, ...] = ()


def run(target: Target, examples: int, seed: int | None = None) -> None:
    """Try so many inputs: with a seed, those that it gives and those that failed before; else always the same.

    Raises what `check` raised, for the smallest input found that makes it fail.
    """

    def check(value: Any) -> None:
        target.check(value)

    tried = given(target.inputs)(check)
    for value in target.seeds:
        tried = hypothesis.example(value)(tried)
    if seed is not None:
        tried = hypothesis.seed(seed)(tried)
    tried = settings(
        max_examples=examples,
        deadline=None,
        derandomize=seed is None,
        database=None if seed is None else DirectoryBasedExampleDatabase(KEPT / target.name),
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        print_blob=False,
    )(tried)
    tried()
