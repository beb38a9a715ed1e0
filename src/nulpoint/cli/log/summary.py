"""Requests in figures: for all of them, and for each model, provider, key or hour. Pure."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from nulpoint.providers.prices import PICO

GROUPS = ("model", "provider", "key", "hour")
_CALLER_LEFT = 499


class LogRow(Protocol):
    """A record's fields by name; what it does not have is None."""

    def __getitem__(self, name: str, /) -> Any: ...


class Statistics(msgspec.Struct):
    """Of some requests. Times in microseconds, money in picodollars.

    Fields:
        errors: answers of 400 and more, and streams that were cut; callers who left are counted apart.
        took: of those that were answered well, whoever answered.
        first_token: of streams a provider answered.
        unpriced: those with tokens of which nobody knows the price.
        asked, hits: those where the cache was asked, and where it answered.
    """

    requests: int = 0
    errors: int = 0
    left: int = 0
    took: list[int] = []
    first_token: list[int] = []
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cost: int = 0
    saved: int = 0
    unpriced: int = 0
    asked: int = 0
    hits: int = 0
    coalesced: int = 0
    failed_over: int = 0

    def add(self, row: LogRow) -> None:
        self.requests += 1
        if row["status"] == _CALLER_LEFT:
            self.left += 1
        elif row["status"] >= 400 or row["error"]:
            self.errors += 1
        else:
            self.took.append(row["total_us"])
        bought = row["cache"] != "HIT" and not row["coalesced"]
        if bought and row["first_token_us"] is not None:
            self.first_token.append(row["first_token_us"])
        self.asked += row["cache"] in ("HIT", "MISS")
        self.hits += row["cache"] == "HIT"
        self.coalesced += row["coalesced"]
        self.failed_over += (row["tries"] or 0) > 1
        if row["prompt"] is not None and bought:
            self.prompt += row["prompt"]
            self.completion += row["completion"] or 0
            self.cached += row["cached"] or 0
            self.unpriced += row["cost"] is None
        self.cost += round((row["cost"] or 0) * PICO)
        self.saved += round((row["saved"] or 0) * PICO)

    def as_json(self) -> dict[str, Any]:
        """With the figures that are made of these. Money in dollars."""
        return {
            "requests": self.requests, "errors": self.errors, "callers_left": self.left,
            "latency_us": _percentiles(self.took), "first_token_us": _percentiles(self.first_token),
            "tokens": {"prompt": self.prompt, "completion": self.completion, "cached": self.cached},
            "cost": self.cost / PICO, "saved": self.saved / PICO, "unpriced_requests": self.unpriced,
            "cache": {"asked": self.asked, "hits": self.hits}, "coalesced": self.coalesced,
            "failed_over": self.failed_over,
        }  # fmt: skip


def summarise(rows: Iterable[LogRow], by: str) -> tuple[Statistics, dict[str, Statistics]]:
    """Of all, and of each group: hours in order, others by their number of requests, most first. "" has none."""
    total = Statistics()
    groups: dict[str, Statistics] = {}
    for row in rows:
        total.add(row)
        name = row["time"][:13] + ":00Z" if by == "hour" else row[by] or ""
        groups.setdefault(name, Statistics()).add(row)
    if by == "hour":
        return total, dict(sorted(groups.items()))
    return total, dict(sorted(groups.items(), key=lambda item: (-item[1].requests, item[0])))


def percentile(values: Sequence[int], percent: int) -> int | None:
    """By nearest rank: the least value that so many percent of all do not exceed. `values` in order."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)] if values else None


def _percentiles(values: Sequence[int]) -> dict[str, int | None]:
    ordered = sorted(values)
    return {f"p{percent}": percentile(ordered, percent) for percent in (50, 95, 99)}
