"""Calculate what a request costs according to the price list. This module does no I/O.

Money is counted in whole picodollars so that sums are exact: $0.0028 per million tokens is 2,800 picodollars per token.
Nothing is guessed: the cost is None for a model that is not listed, or for kinds of tokens that have no price.
"""

from collections.abc import Iterable, Mapping
from datetime import date

import msgspec

from nulpoint.conversation.usage import Usage

PICO = 10**12  # picodollars per dollar
_PER_TOKEN = 10**6  # picodollars per token for each dollar per million tokens


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dollars per million tokens, as providers list them.

    Fields:
        input: prompt tokens that were not cached.
        output: completion tokens, reasoning included.
        cached: prompt tokens read from the provider's own cache.
        written: prompt tokens written to that cache.
        written_1h: prompt tokens written to that cache for an hour.
        over: the number of prompt tokens above which `beyond` is the price of all tokens of the request.
        beyond: the price of requests with more than `over` prompt tokens.
        per_image, per_minute, per_search: dollars for each image, minute of audio, or search.
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


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a provider's price list.

    `names` lists every model with this price in full. `seen` is the date when the source gave it, as far as known.
    """

    provider: str
    names: tuple[str, ...]
    price: Price
    source: str
    seen: str


class _Rates(msgspec.Struct, frozen=True):
    """A price in picodollars per token."""

    input: int
    output: int
    cached: int | None
    written: int | None
    written_1h: int | None
    over: int | None
    beyond: "_Rates | None"

    def cost(self, usage: Usage) -> int | None:
        if self.over is not None and usage.prompt > self.over:
            return self.beyond.cost(usage) if self.beyond is not None else None
        cached, written = usage.cached, usage.written
        if cached + written > usage.prompt:  # they are not part of the prompt here, so the cost is unknown
            return None
        cost = (usage.prompt - cached - written) * self.input + usage.completion * self.output
        if cached:
            if self.cached is None:
                return None
            cost += cached * self.cached
        if written:
            write_cost = self._write_cost(usage)
            return None if write_cost is None else cost + write_cost
        return cost

    def _write_cost(self, usage: Usage) -> int | None:
        hour = usage.written_1h
        if (hour and self.written_1h is None) or (usage.written > hour and self.written is None):
            return None
        return (usage.written - hour) * (self.written or 0) + hour * (self.written_1h or 0)


class Prices:
    """A price list. `configured` are the user's prices by `provider/model`, which take precedence over the rows."""

    def __init__(self, rows: Iterable[PriceRow], configured: Mapping[str, Price] = {}) -> None:
        self._rates = {(row.provider, name): _rates(row.price) for row in rows for name in row.names}
        for name, price in configured.items():
            provider, _, model = name.partition("/")
            self._rates[provider, model] = _rates(price)

    def cost(self, provider: str, response_model: str, requested_model: str, usage: Usage) -> float | None:
        """Return the cost in dollars: by the model named in the response, or else by the requested model."""
        rates = self._rates.get((provider, response_model)) or self._rates.get((provider, requested_model))
        if rates is None:
            return None
        cost = rates.cost(usage)
        return None if cost is None else cost / PICO


def _rates(price: Price) -> _Rates:
    return _Rates(
        round(price.input * _PER_TOKEN),
        round(price.output * _PER_TOKEN),
        None if price.cached is None else round(price.cached * _PER_TOKEN),
        None if price.written is None else round(price.written * _PER_TOKEN),
        None if price.written_1h is None else round(price.written_1h * _PER_TOKEN),
        price.over,
        None if price.beyond is None else _rates(price.beyond),
    )
