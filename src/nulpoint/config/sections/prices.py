"""The `prices` section: the user's own prices of models, which override the built-in price list."""

from collections.abc import Mapping
from typing import Any

import msgspec

from nulpoint.config.problems import Problem, Problems
from nulpoint.config.sections.providers import FILE
from nulpoint.config.sections.targets import target_problem
from nulpoint.models.prices import Price
from nulpoint.providers.spec import ProviderSpec

SECTION = "prices"
_EXAMPLE = "for example {input: 2.5, output: 10, cached: 1.25}, in dollars a million tokens"


def read_prices(section: Any, known: Mapping[str, ProviderSpec]) -> tuple[dict[str, Price], Problems]:
    """Return the user's prices by `provider/model`, and the problems found in them."""
    problems: Problems = []
    if section is None:
        return {}, problems
    if not isinstance(section, dict):
        problems.append(Problem(SECTION, f"({FILE})", f"must be a mapping of provider/model to prices, {_EXAMPLE}"))
        return {}, problems
    prices = {}
    for name, record in section.items():
        price = _price(str(name), record, known, problems)
        if price is not None:
            prices[str(name)] = price
    return prices, problems


def _price(name: str, record: Any, known: Mapping[str, ProviderSpec], problems: Problems) -> Price | None:
    location = f"{SECTION}.{name}"
    if remedy := target_problem(name, known):
        problems.append(Problem(location, f"({FILE})", remedy))
        return None
    try:
        price = msgspec.convert(record, Price)
    except msgspec.ValidationError as error:
        problems.append(Problem(location, f"({FILE})", f"{error}; {_EXAMPLE}"))
        return None
    if (price.over is None) != (price.beyond is None):
        problems.append(
            Problem(
                location,
                f"({FILE})",
                "set over and beyond together: the price of prompts with more than `over` tokens is `beyond`",
            )
        )
        return None
    if not _are_sound(price):
        problems.append(Problem(location, f"({FILE})", f"prices must be numbers from 0 to 1000000, {_EXAMPLE}"))
        return None
    return price


def _are_sound(price: Price) -> bool:
    per_token = (price.input, price.output, price.cached, price.written, price.written_1h)
    numbers = (*per_token, price.per_image, price.per_minute, price.per_search)
    sound = all(number is None or 0 <= number <= 1_000_000 for number in numbers)
    return sound and (price.beyond is None or _are_sound(price.beyond))
