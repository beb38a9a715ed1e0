"""The `prices` part of the configuration: what models cost, before the built-in price list."""

from collections.abc import Mapping
from typing import Any

import msgspec

from nulpoint.config.sections.endpoints import Found
from nulpoint.config.sections.providers import FILE
from nulpoint.config.sections.targets import remedy_for
from nulpoint.providers.prices import Price
from nulpoint.providers.spec import ProviderSpec

SECTION = "prices"
_EXAMPLE = "for example {input: 2.5, output: 10, cached: 1.25}, in dollars a million tokens"


def read_prices(section: Any, known: Mapping[str, ProviderSpec]) -> tuple[dict[str, Price], Found]:
    """The user's prices by `provider/model`, and what is wrong with them."""
    found: Found = []
    if section is None:
        return {}, found
    if not isinstance(section, dict):
        found.append((SECTION, f"({FILE})", f"must be a mapping of provider/model to prices, {_EXAMPLE}"))
        return {}, found
    prices = {}
    for name, given in section.items():
        price = _price(str(name), given, known, found)
        if price is not None:
            prices[str(name)] = price
    return prices, found


def _price(name: str, given: Any, known: Mapping[str, ProviderSpec], found: Found) -> Price | None:
    where = f"{SECTION}.{name}"
    if remedy := remedy_for(name, known):
        found.append((where, f"({FILE})", remedy))
        return None
    try:
        price = msgspec.convert(given, Price)
    except msgspec.ValidationError as error:
        found.append((where, f"({FILE})", f"{error}; {_EXAMPLE}"))
        return None
    if (price.over is None) != (price.beyond is None):
        found.append((where, f"({FILE})", "over and beyond belong together: the price of prompts above so many tokens"))
        return None
    if not _are_sound(price):
        found.append((where, f"({FILE})", f"prices must be numbers from 0 to 1000000, {_EXAMPLE}"))
        return None
    return price


def _are_sound(price: Price) -> bool:
    numbers = (price.input, price.output, price.cached, price.written, price.written_1h)
    sound = all(number is None or 0 <= number <= 1_000_000 for number in numbers)
    return sound and (price.beyond is None or _are_sound(price.beyond))
