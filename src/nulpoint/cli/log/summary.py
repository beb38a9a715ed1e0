"""Statistics of requests: in total, and for each model, provider, key or hour.

This module does no input or output.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from nulpoint.models.costs import PICO

GROUPS = ("model", "provider", "key", "hour")
_CLIENT_DISCONNECTED = 499


class LogRow(Protocol):
    """A request record that can be read by field name. Missing fields are None."""

    def __getitem__(self, name: str, /) -> Any: ...


class Statistics(msgspec.Struct):
    """Statistics of a group of requests. Times are in microseconds, money in picodollars.

    Fields:
        errors: Responses with a status from 400 on, and streams that were cut.
        disconnected: Requests whose client disconnected; they are not errors.
        latencies_us: Of successful requests, wherever the response came from.
        first_token_us: Of streams that came from a provider.
        prompt, completion, cached: Tokens that a provider charged for.
        unpriced: Requests that used tokens of a model without a known price.
        cache_lookups, cache_hits: Requests that were looked up in the cache, and that were found there.
    """

    requests: int = 0
    errors: int = 0
    disconnected: int = 0
    latencies_us: list[int] = []
    first_token_us: list[int] = []
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cost: int = 0
    saved: int = 0
    unpriced: int = 0
    cache_lookups: int = 0
    cache_hits: int = 0
    coalesced: int = 0
    failed_over: int = 0

    def add(self, row: LogRow) -> None:
        self.requests += 1
        if row["status"] == _CLIENT_DISCONNECTED:
            self.disconnected += 1
        elif row["status"] >= 400 or row["error"]:
            self.errors += 1
        else:
            self.latencies_us.append(row["total_us"])
        paid = row["cache"] != "HIT" and not row["coalesced"]
        if paid and row["first_token_us"] is not None:
            self.first_token_us.append(row["first_token_us"])
        self.cache_lookups += row["cache"] in ("HIT", "MISS")
        self.cache_hits += row["cache"] == "HIT"
        self.coalesced += row["coalesced"]
        self.failed_over += (row["tries"] or 0) > 1
        if row["prompt"] is not None and paid:
            self.prompt += row["prompt"]
            self.completion += row["completion"] or 0
            self.cached += row["cached"] or 0
            self.unpriced += row["cost"] is None
        self.cost += round((row["cost"] or 0) * PICO)
        self.saved += round((row["saved"] or 0) * PICO)

    def as_json(self) -> dict[str, Any]:
        """Return the statistics, with percentiles, as a JSON object. Money is in dollars."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "callers_left": self.disconnected,
            "latency_us": _percentiles(self.latencies_us),
            "first_token_us": _percentiles(self.first_token_us),
            "tokens": {"prompt": self.prompt, "completion": self.completion, "cached": self.cached},
            "cost": self.cost / PICO,
            "saved": self.saved / PICO,
            "unpriced_requests": self.unpriced,
            "cache": {"asked": self.cache_lookups, "hits": self.cache_hits},
            "coalesced": self.coalesced,
            "failed_over": self.failed_over,
        }


def summarise(rows: Iterable[LogRow], by: str) -> tuple[Statistics, dict[str, Statistics]]:
    """Return the statistics of all rows, and of each group.

    Hours are sorted by time, other groups by their number of requests, largest first. The group "" has the rows
    without a value.
    """
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
    """Return the nearest-rank percentile of the sorted `values`; None if there are none."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)] if values else None


def _percentiles(values: Sequence[int]) -> dict[str, int | None]:
    ordered = sorted(values)
    return {f"p{percent}": percentile(ordered, percent) for percent in (50, 95, 99)}
