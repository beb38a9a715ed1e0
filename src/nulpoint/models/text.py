"""Writes facts about models as text, for terminals and documentation."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from nulpoint.models.facts import ModelFacts
from nulpoint.models.prices import Price, PriceChange


def reasoning_text(facts: ModelFacts) -> str:
    """Return how much a model can be asked to reason: its levels, `budget`, `switch` or `none`; empty if not known."""
    if facts.reasoning == "effort" and facts.efforts:
        first, last = facts.efforts[0], facts.efforts[-1]
        levels = first if first == last else f"{first} to {last}"
        return f"none, {levels}" if facts.thinking_off == "effort" else levels
    return facts.reasoning or ""


def price_text(price: Price) -> str:
    """Return a price in full, for example `$2.5 in, $15 out, $0.25 cached`."""
    amounts = {
        "in": price.input,
        "out": price.output,
        "cached": price.cached,
        "written": price.written,
        "written for 1h": price.written_1h,
        "an image": price.per_image,
        "a minute": price.per_minute,
        "a search": price.per_search,
    }
    text = ", ".join(f"{dollars(amount)} {what}" for what, amount in amounts.items() if amount is not None)
    beyond = f"; over {price.over:,} tokens: {price_text(price.beyond)}" if price.over and price.beyond else ""
    return text + beyond


def dollars(amount: float) -> str:
    return f"${amount:.6f}".rstrip("0").rstrip(".")


def value_text(value: Any) -> str:
    """Return the value of a fact as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Price):
        return price_text(value)
    if isinstance(value, PriceChange):
        return f"from {value.on}: {price_text(value.price)}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return _join(value)
    return "not known" if value is None else str(value)


def _join(values: Iterable[Any]) -> str:
    return ", ".join(map(value_text, values)) or "none"
