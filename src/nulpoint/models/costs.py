"""Calculates what a request costs by the prices of models. This module does no I/O.

Money is counted in whole picodollars so that sums are exact: $0.0028 per million tokens is 2,800 picodollars per token.
Nothing is guessed: the cost is None for a model without a known price, or for kinds of tokens that have no price.
"""

from collections.abc import Mapping
from datetime import date

import msgspec

from nulpoint.conversation.usage import Usage
from nulpoint.models.catalog import Models
from nulpoint.models.prices import Price, price_on

PICO = 10**12  # picodollars per dollar
_PER_TOKEN = 10**6  # picodollars per token for each dollar per million tokens
_MAX_CACHED_MODELS = 4096  # the limit is needed because clients can send any number of different names


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


_NOT_LOOKED_UP = _Rates(0, 0, None, None, None, None, None)


class Prices:
    """The prices of all models at all providers.

    `models` has the providers' list prices and `hosts` the host of each provider whose name is another one (see
    `Models.of`). `configured` are the user's prices by `provider/model`, which take precedence.
    """

    def __init__(self, models: Models, hosts: Mapping[str, str] = {}, configured: Mapping[str, Price] = {}) -> None:
        self._models = models
        self._hosts = hosts
        self._configured = {tuple(name.split("/", 1)): _rates(price) for name, price in configured.items()}
        self._found: dict[tuple[str, str, str, date], _Rates | None] = {}

    def cost(self, provider: str, response_model: str, requested_model: str, usage: Usage, today: date) -> float | None:
        """Return the cost in dollars: by the model named in the response, or else by the requested model."""
        rates = self._found.get((provider, response_model, requested_model, today), _NOT_LOOKED_UP)
        if rates is _NOT_LOOKED_UP:
            rates = self._look_up(provider, response_model, requested_model, today)
        if rates is None:
            return None
        cost = rates.cost(usage)
        return None if cost is None else cost / PICO

    def _look_up(self, provider: str, response_model: str, requested_model: str, today: date) -> _Rates | None:
        if len(self._found) >= _MAX_CACHED_MODELS:
            self._found.clear()
        rates = self._rates(provider, response_model, today) or self._rates(provider, requested_model, today)
        self._found[provider, response_model, requested_model, today] = rates
        return rates

    def _rates(self, provider: str, model: str, today: date) -> _Rates | None:
        if (provider, model) in self._configured:
            return self._configured[provider, model]
        facts = self._models.of(self._hosts.get(provider, provider), model, provider)
        price = price_on(today, facts.price, facts.price_changes)
        return None if price is None else _rates(price, facts.price_factor)


def _rates(price: Price, factor: float = 1.0) -> _Rates | None:
    """Return the rates of a price, or None if it is not by tokens alone."""
    if (price.per_image, price.per_minute, price.per_search) != (None, None, None):
        return None

    def rate(dollars: float | None) -> int | None:
        return None if dollars is None else round(dollars * factor * _PER_TOKEN)

    return _Rates(
        round(price.input * factor * _PER_TOKEN),
        round(price.output * factor * _PER_TOKEN),
        rate(price.cached),
        rate(price.written),
        rate(price.written_1h),
        price.over,
        None if price.beyond is None else _rates(price.beyond, factor),
    )
