"""Prices of models, as providers list them. `models/costs.py` calculates with them."""

from collections.abc import Iterable
from datetime import date

import msgspec


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dollars per million tokens.

    Fields:
        input: prompt tokens that were not cached.
        output: completion tokens, reasoning included.
        cached: prompt tokens read from the provider's own cache.
        written: prompt tokens written to that cache.
        written_1h: prompt tokens written to that cache for an hour.
        over: the number of prompt tokens above which `beyond` is the price of all tokens of the request.
        beyond: the price of requests with more than `over` prompt tokens.
        per_image, per_minute, per_search: dollars for each image, minute of audio, or search. Providers do not report
            these numbers with the usage, so the cost of such a request is not known.
    """

    input: float
    output: float
    cached: float | None = None
    written: float | None = None
    written_1h: float | None = None
    over: int | None = None
    beyond: "Price | None" = None
    per_image: float | None = None
    per_minute: float | None = None
    per_search: float | None = None


class PriceChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price from a day on."""

    on: date
    price: Price


def price_on(today: date, price: Price | None, changes: Iterable[PriceChange]) -> Price | None:
    """Return the price of a day. `changes` are in the order of their dates."""
    for change in changes:
        if change.on <= today:
            price = change.price
    return price
