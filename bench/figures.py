"""Computes figures from paired rounds.

Every subject runs once in each round, and only figures of the same round are compared.
"""

import contextlib
import random
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple, TypeVar

Row = tuple[str, str, str]  # what was measured, the figure, the target
T = TypeVar("T")


def interval(values: list[float]) -> tuple[float, float, float]:
    """Return the median between the ends of its 95 % bootstrap interval."""
    generator = random.Random(1)
    medians = sorted(median(generator.choices(values, k=len(values))) for _ in range(2000))
    return medians[50], median(values), medians[1949]


def ratios(rounds: list[dict[str, float]], subject: str, reference: str) -> list[float]:
    """Return the subject's figure divided by the reference's, one ratio per round."""
    return [costs[subject] / costs[reference] for costs in rounds if subject in costs and reference in costs]


def pass_through_row(what: str, name: str, rounds: list[dict[str, float]], target: str) -> Row:
    """Compare what the gateway spends on another host of OpenAI's format with what it spends on OpenAI."""
    low, mid, high = interval(ratios(rounds, name, "nulpoint"))
    return f"CPU per {what}: {name} passed on / OpenAI passed on", f"{mid:.2f} ({low:.2f} to {high:.2f})", target


def translated_row(what: str, name: str, rounds: list[dict[str, float]], target: str) -> Row:
    """Compare what the gateway spends on a format that it translates with what it spends on one that it passes on."""
    low, mid, high = interval(ratios(rounds, name, "nulpoint"))
    return f"CPU per {what}: {name} translated / passed on", f"{mid:.2f} ({low:.2f} to {high:.2f})", target


def retry_if_disturbed(measure: Callable[[], T], tries: int = 5) -> T:
    """Return the result of `measure`, and call it again if it raises RuntimeError.

    A busy machine can leave a gateway without CPU time for a whole turn. Raises the error of the last try.
    """
    for _ in range(tries - 1):
        with contextlib.suppress(RuntimeError):
            return measure()
    return measure()


def abba_order(subjects: Sequence[T], number: int) -> Sequence[T]:
    """Return the subjects in the order of a round: forward in even rounds, backward in odd ones.

    Two neighbours then run as A B, B A, A B, so that a steady drift adds as much to one as to the other.
    """
    return subjects[::-1] if number % 2 else subjects


class Comparison(NamedTuple):
    """The costs of one row in two trees, and the ratio of head to base with its 95 % interval."""

    name: str
    base: float  # median, microseconds
    head: float
    low: float
    ratio: float
    high: float

    def verdict(self, limit: float) -> str:
        """Say whether the ratio is above the limit: certainly if the whole interval is, and otherwise perhaps."""
        if self.low > limit:
            return f"ABOVE {limit:g}"
        return f"perhaps above {limit:g}" if self.ratio > limit else ""


def compare(name: str, rounds: list[dict[str, float]], base: str, head: str) -> Comparison:
    """Compare two subjects pair by pair: only figures of one round are divided by each other."""
    low, ratio, high = interval(ratios(rounds, head, base))
    base_cost, head_cost = (median(costs[subject] for costs in rounds) for subject in (base, head))
    return Comparison(name, base_cost, head_cost, low, ratio, high)


def comparison_table(comparisons: list[Comparison], limit: float) -> str:
    """Return a Markdown table with a line for each comparison."""
    lines = [
        f"| {row.name} | {row.base:.1f} us | {row.head:.1f} us | {row.ratio:.3f} ({row.low:.3f} to {row.high:.3f}) "
        f"| {row.verdict(limit)} |"
        for row in comparisons
    ]
    return "\n".join(["| CPU | Base | Head | Head / base | |", "|---|---|---|---|---|", *lines])
