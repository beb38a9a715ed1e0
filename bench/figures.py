"""Paired rounds to one figure: every subject runs once in each round, and only figures of one round are compared."""

import contextlib
import random
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple, TypeVar

Row = tuple[str, str, str]  # what, figure, target
T = TypeVar("T")


def interval(values: list[float]) -> tuple[float, float, float]:
    """Median with its 95 % bootstrap interval."""
    chance = random.Random(1)
    medians = sorted(median(chance.choices(values, k=len(values))) for _ in range(2000))
    return medians[50], median(values), medians[1949]


def ratios(rounds: list[dict[str, float]], subject: str, reference: str) -> list[float]:
    """The subject's figure over the reference's, one a round."""
    return [one[subject] / one[reference] for one in rounds if subject in one and reference in one]


def passed_row(what: str, name: str, rounds: list[dict[str, float]], target: str) -> Row:
    """What another host of OpenAI's format costs the gateway beside OpenAI's own."""
    low, mid, high = interval(ratios(rounds, name, "nulpoint"))
    return f"CPU a {what}: {name} passed on / OpenAI passed on", f"{mid:.2f} ({low:.2f} to {high:.2f})", target


def translated_row(what: str, name: str, rounds: list[dict[str, float]], target: str) -> Row:
    """What a format of its own costs the gateway beside one that it passes on."""
    low, mid, high = interval(ratios(rounds, name, "nulpoint"))
    return f"CPU a {what}: {name} translated / passed on", f"{mid:.2f} ({low:.2f} to {high:.2f})", target


def undisturbed(measure: Callable[[], T], tries: int = 5) -> T:
    """The result of a measurement, which is made anew where it raises RuntimeError: a busy machine can starve a turn.

    Raises the error of the last try.
    """
    for _ in range(tries - 1):
        with contextlib.suppress(RuntimeError):
            return measure()
    return measure()


def there_and_back(subjects: Sequence[T], number: int) -> Sequence[T]:
    """The order of the subjects in a round: forward in even rounds, backward in odd ones.

    Two neighbours then run as A B, B A, A B: what drifts steadily adds as much to one as to the other.
    """
    return subjects[::-1] if number % 2 else subjects


class Comparison(NamedTuple):
    """What a row costs in two trees, and the ratio of head to base with its 95 % interval."""

    name: str
    base: float  # median, microseconds
    head: float
    low: float
    ratio: float
    high: float

    def verdict(self, limit: float) -> str:
        """Says whether the ratio is above the limit: surely if the whole interval is, and otherwise perhaps."""
        if self.low > limit:
            return f"ABOVE {limit:g}"
        return f"perhaps above {limit:g}" if self.ratio > limit else ""


def compare(name: str, rounds: list[dict[str, float]], base: str, head: str) -> Comparison:
    """Compare two subjects pair by pair: only figures of one round are divided by each other."""
    low, ratio, high = interval(ratios(rounds, head, base))
    costs = (median(one[subject] for one in rounds) for subject in (base, head))
    return Comparison(name, *costs, low, ratio, high)


def comparison_table(comparisons: list[Comparison], limit: float) -> str:
    """A Markdown table with a line for each comparison."""
    lines = [
        f"| {one.name} | {one.base:.1f} us | {one.head:.1f} us | {one.ratio:.3f} ({one.low:.3f} to {one.high:.3f}) "
        f"| {one.verdict(limit)} |"
        for one in comparisons
    ]
    return "\n".join(["| CPU | Base | Head | Head / base | |", "|---|---|---|---|---|", *lines])
