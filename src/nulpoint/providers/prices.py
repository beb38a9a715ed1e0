"""What a request costs by its provider's price list. Pure.

Money is counted in whole picodollars, so that sums are exact: a price of $0.0028 a million tokens is 2,800 of them a
token. Nothing is guessed: a model that is not in the list, or tokens of a kind it has no price for, cost None.
"""

from collections.abc import Iterable, Mapping

import msgspec

from nulpoint.protocols.openai.usage import Usage

PICO = 10**12  # in a dollar
_PER_TOKEN = 10**6  # picodollars a token, of a dollar a million tokens


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dollars a million tokens, as providers list them.

    Fields:
        input: prompt tokens that were not cached.
        output: completion tokens, reasoning included.
        cached: prompt tokens read from the provider's own cache.
        written: prompt tokens written to it; of those that stay an hour, `written_1h`.
        over: where prompts above this many tokens have another price, it is `beyond` for all tokens of the request.
    """

    input: float
    output: float
    cached: float | None = None
    written: float | None = None
    written_1h: float | None = None
    over: int | None = None
    beyond: "Price | None" = None


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a provider's price list.

    `names`: every model it is for, in full; `seen`: when it said so, as exactly as is known.
    """

    provider: str
    names: tuple[str, ...]
    price: Price
    source: str
    seen: str


class _Rates(msgspec.Struct, frozen=True):
    """The same in picodollars a token."""

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
        if cached + written > usage.prompt:  # they are no parts of it here, so what they cost is not known
            return None
        cost = (usage.prompt - cached - written) * self.input + usage.completion * self.output
        if cached:
            if self.cached is None:
                return None
            cost += cached * self.cached
        if written:
            more = self._of_written(usage)
            return None if more is None else cost + more
        return cost

    def _of_written(self, usage: Usage) -> int | None:
        hour = usage.written_1h
        if (hour and self.written_1h is None) or (usage.written > hour and self.written is None):
            return None
        return (usage.written - hour) * (self.written or 0) + hour * (self.written_1h or 0)


class Prices:
    """A price list. `own`: the user's prices, by `provider/model`, which come before the rows."""

    def __init__(self, rows: Iterable[PriceRow], configured: Mapping[str, Price] = {}) -> None:
        self._rates = {(row.provider, name): _rates(row.price) for row in rows for name in row.names}
        for name, price in configured.items():
            provider, _, model = name.partition("/")
            self._rates[provider, model] = _rates(price)

    def cost(self, provider: str, answered: str, asked: str, usage: Usage) -> float | None:
        """Dollars. By the model the provider says has answered, else by the one it was asked for."""
        rates = self._rates.get((provider, answered)) or self._rates.get((provider, asked))
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
