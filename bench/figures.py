"""Paired rounds to one figure: every subject runs once in each round, and only figures of one round are compared."""

import random
from statistics import median

Row = tuple[str, str, str]  # what, figure, target


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
