"""Says when a model retires at its host. The date of today is always an argument."""

from datetime import date

from nulpoint.models.facts import ModelFacts

SOON = 30  # days before its retirement from which operators are warned of a model
NO_DAY = date.min  # a day on which no model has retired


def has_retired(facts: ModelFacts, today: date) -> bool:
    """Return whether the host has turned the model off. It does so at the beginning of the day that it names."""
    return facts.retires is not None and facts.retires <= today


def days_left(retires: date, today: date) -> int:
    """Return the days until a model retires; 0 or less if it has retired."""
    return (retires - today).days


def describe(facts: ModelFacts, today: date) -> str:
    """Return when the model retires or has retired, and what replaces it; empty if no date is known."""
    if facts.retires is None:
        return ""
    days = days_left(facts.retires, today)
    when = f"retired on {facts.retires}" if days <= 0 else f"retires on {facts.retires}, in {_days(days)}"
    return f"{when}; its host recommends {facts.replacement}" if facts.replacement else when


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days:,} days"
