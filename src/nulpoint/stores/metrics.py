"""Prometheus metrics. Every label has a closed set of values: no model name, key or path of a caller is ever one.

A request adds to plain numbers (a counter object of prometheus_client costs several times more); the page is made of
them when it is asked for, in the library's exposition format. Several workers each keep a snapshot of their numbers in
a directory they share, and the worker that is asked adds them up: what a dead worker counted stays counted, save the
last second.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from nulpoint.stores.record import Record

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
ADDED = (50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 0.25, 1.0)
HIT, MISS, BYPASS = "HIT", "MISS", "BYPASS"  # values of the `cache` label

_STATES = "breakers"  # of `Numbers`: no counts

Labels = tuple[str, ...]


class Buckets(msgspec.Struct):
    """A histogram's counts, one a bound and one beyond the last, and the sum of what was observed."""

    counts: list[int]
    total: float = 0.0


class Numbers(msgspec.Struct):
    """Everything one process has counted. Keys are label values in the order of `FAMILIES`."""

    http: dict[Labels, int] = {}
    http_seconds: dict[Labels, Buckets] = {}
    requests: dict[Labels, int] = {}
    first_byte: dict[Labels, Buckets] = {}
    added: dict[Labels, Buckets] = {}
    tokens: dict[Labels, int] = {}
    errors: dict[Labels, int] = {}
    dropped_fields: dict[Labels, int] = {}
    log_dropped: dict[Labels, int] = {}
    replays: dict[Labels, int] = {}
    attempts: dict[Labels, int] = {}
    failovers: dict[Labels, int] = {}
    failover_successes: dict[Labels, int] = {}
    failovers_exhausted: dict[Labels, int] = {}
    transitions: dict[Labels, int] = {}
    rejections: dict[Labels, int] = {}
    coalesced: dict[Labels, int] = {}
    cache_hits: dict[Labels, int] = {}
    cache_misses: dict[Labels, int] = {}
    cache_operations: Mapping[Labels, int] = {}
    cache_evictions: dict[Labels, int] = {}
    rate_limits: dict[Labels, int] = {}
    redis_failures: dict[Labels, int] = {}
    cache_bytes: dict[Labels, int] = {}
    cache_entries: dict[Labels, int] = {}
    redis_up: dict[Labels, int] = {}
    inflight: dict[Labels, int] = {}
    breakers: dict[Labels, int] = {}


class Family(msgspec.Struct, frozen=True):
    """Where a family's numbers are, and what the page calls it."""

    numbers: str
    name: str
    text: str
    labels: Labels
    bounds: tuple[float, ...] = ()


FAMILIES = (
    Family("http", "gateway_http_requests", "Requests answered", ("route", "status")),
    Family("http_seconds", "gateway_http_request_duration_seconds", "Whole answers", ("route",), SECONDS),
    Family("requests", "gateway_requests", "Requests sent to a provider", ("provider", "status")),
    Family("first_byte", "gateway_first_byte_seconds", "Until a provider began to answer", ("provider",), SECONDS),
    Family("added", "gateway_added_seconds", "Spent in the gateway before the first byte", ("route",), ADDED),
    Family("tokens", "gateway_tokens", "Tokens reported", ("provider", "route", "direction", "cache")),
    Family("errors", "provider_errors", "Failed requests", ("provider", "error_type")),
    Family("dropped_fields", "gateway_dropped_fields", "Request fields a provider cannot take", ("provider",)),
    Family("log_dropped", "gateway_log_dropped", "Request log records dropped", ()),
    Family("attempts", "gateway_upstream_attempts", "Attempts at a provider", ("provider", "route", "outcome")),
    Family("failovers", "gateway_failover_events", "Attempts after a failed one", ("primary", "from", "to", "reason")),
    Family("failover_successes", "gateway_failover_success", "Answers by another target", ("primary", "to")),
    Family("failovers_exhausted", "gateway_failover_exhausted", "Requests no target answered", ("primary",)),
    Family(
        "transitions", "gateway_circuit_breaker_transitions", "Changes of a breaker's state", ("provider", "to_state")
    ),
    Family(
        "rejections", "gateway_circuit_breaker_rejections", "Calls a breaker did not let through", ("provider", "state")
    ),
    Family("coalesced", "gateway_coalesced_requests", "Requests that shared another's call", ("route",)),
    Family("replays", "gateway_upstream_replays", "Requests sent again after a stale connection", ()),
    Family("cache_hits", "cache_hits", "Requests answered by the cache", ()),
    Family("cache_misses", "cache_misses", "Requests the cache could not answer, or not in full", ()),
    Family("cache_operations", "gateway_cache_operations", "Values looked up and kept", ("op", "result")),
    Family("cache_evictions", "gateway_cache_evictions", "Values that had to go for others", ()),
    Family("rate_limits", "gateway_ratelimit", "What the limits said", ("result",)),
    Family("redis_failures", "gateway_redis_failures", "Commands without a reply", ("reason",)),
)
GAUGES = (
    Family("cache_bytes", "gateway_cache_bytes", "Memory the cache takes", ()),
    Family("cache_entries", "gateway_cache_entries", "Values in the cache", ()),
    Family("redis_up", "gateway_redis_up", "Workers that Redis answers", ()),
)


class Metrics:
    """Counts requests and makes the page. `directory` is shared by the workers; None where there is only one."""

    def __init__(self, version: str, directory: Path | None = None) -> None:
        self._numbers = Numbers()
        self._version = version
        self._directory = directory
        self._tallies: dict[tuple[str, str, int, str], Tally] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    @property
    def numbers(self) -> Numbers:
        """All that has been counted until now."""
        for tally in self._tallies.values():
            tally.hand_over(self._numbers)
        return self._numbers

    def settle(self, record: Record) -> None:
        """Count one request, whatever became of it."""
        key = (record.route, record.provider, record.status, record.cache)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(self._numbers, *key)
        tally.add(record, self._numbers)
        if record.limit:
            count(self._numbers.rate_limits, (record.limit,))

    def log_dropped(self) -> None:
        count(self._numbers.log_dropped, ())

    def replayed(self) -> None:
        count(self._numbers.replays, ())

    def attempt_failed(self, provider: str, route: str, outcome: str) -> None:
        """Attempts that succeed are counted with their request."""
        count(self._numbers.attempts, (provider, route, outcome))

    def failed_over(self, primary: str, provider: str, to: str, reason: str) -> None:
        """A failed attempt at `provider` is followed by one at `to`, which may be the same."""
        count(self._numbers.failovers, (primary, provider, to, reason))

    def failover_succeeded(self, primary: str, to: str) -> None:
        """Another target than the one asked first has answered."""
        count(self._numbers.failover_successes, (primary, to))

    def failover_exhausted(self, primary: str) -> None:
        """No target could answer what another one might have."""
        count(self._numbers.failovers_exhausted, (primary,))

    def breaker_rejected(self, provider: str, state: str) -> None:
        count(self._numbers.rejections, (provider, state))

    def breaker_changed(self, provider: str, state: str) -> None:
        count(self._numbers.transitions, (provider, state))

    def fields_dropped(self, provider: str, fields: int) -> None:
        count(self._numbers.dropped_fields, (provider,), fields)

    def set_inflight(self, requests: int) -> None:
        self._numbers.inflight[()] = requests

    def set_breakers(self, states: Mapping[str, int]) -> None:
        """0 closed, 1 open, 2 half-open, by provider."""
        self._numbers.breakers = {(provider,): int(state) for provider, state in states.items()}

    def page(self) -> bytes:
        """The text exposition, of all workers where there are several."""
        return generate_latest(self._registry)

    def publish(self) -> None:
        """Leave a snapshot for the other workers. Raises OSError."""
        if self._directory is not None:
            path = self._directory / f"{os.getpid()}.snapshot"
            fresh = path.with_suffix(".new")
            fresh.write_bytes(msgspec.msgpack.encode(self.numbers))
            fresh.replace(path)

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks a collector for."""
        total = self._sum()
        for family in FAMILIES:
            yield _shown(family, getattr(total, family.numbers))
        for family in GAUGES:
            gauge = GaugeMetricFamily(family.name, family.text, labels=family.labels)
            for labels, value in getattr(total, family.numbers).items():
                gauge.add_metric(list(labels), value)
            yield gauge
        inflight = GaugeMetricFamily("gateway_inflight_requests", "Requests being answered")
        inflight.add_metric([], total.inflight.get((), 0))
        yield inflight
        breakers = GaugeMetricFamily(
            "circuit_breaker_state",
            "0 closed, 1 open, 2 half-open; of several workers the highest",
            labels=["provider"],
        )
        for labels, state in total.breakers.items():
            breakers.add_metric(list(labels), state)
        yield breakers
        build = GaugeMetricFamily("gateway_build_info", "Always 1", labels=["version"])
        build.add_metric([self._version], 1)
        yield build

    def _sum(self) -> Numbers:
        if self._directory is None:
            return self.numbers
        total = Numbers()
        merge(total, self.numbers)
        for path in self._directory.glob("*.snapshot"):
            if path.stem != str(os.getpid()):
                other = msgspec.msgpack.decode(path.read_bytes(), type=Numbers)
                if not _alive(int(path.stem)):
                    other.inflight.clear()
                    other.breakers.clear()
                    for gauge in GAUGES:
                        getattr(other, gauge.numbers).clear()
                merge(total, other)
        return total


class Tally:
    """What one (route, provider, status, cache) has counted since its numbers were last wanted."""

    __slots__ = ("_added", "_answered", "_coalesced", "_completion", "_first_byte", "_is_hit", "_key", "_prompt",
                 "_reached", "_seconds", "_succeeded", "_used")  # fmt: skip

    def __init__(self, numbers: Numbers, route: str, provider: str, status: int, cache: str) -> None:
        self._key = (route, provider, str(status), cache)
        self._is_hit = cache == HIT
        self._seconds = numbers.http_seconds.setdefault((route,), Buckets([0] * (len(SECONDS) + 1)))
        if provider and not self._is_hit:
            self._first_byte = numbers.first_byte.setdefault((provider,), Buckets([0] * (len(SECONDS) + 1)))
            self._added = numbers.added.setdefault((route,), Buckets([0] * (len(ADDED) + 1)))
        self._clear()

    def _clear(self) -> None:
        self._answered = self._coalesced = self._reached = self._succeeded = 0
        self._used = self._prompt = self._completion = 0

    def add(self, record: Record, numbers: Numbers) -> None:
        self._answered += 1
        observe(self._seconds, SECONDS, record.total_us * 1e-6)
        if record.coalesced:  # what the provider did is counted where the call was made
            self._coalesced += 1
            return
        provider = self._key[1]
        if not provider:
            return
        usage = record.usage
        if usage is not None:
            self._used += 1
            self._prompt += usage.prompt
            self._completion += usage.completion
        if self._is_hit:  # no provider had to do anything
            return
        self._reached += 1
        if record.first_byte_us is not None:
            observe(self._first_byte, SECONDS, record.first_byte_us * 1e-6)
            observe(self._added, ADDED, record.added_us * 1e-6)
        if record.error:
            count(numbers.errors, (provider, record.error))
        else:
            self._succeeded += 1

    def hand_over(self, numbers: Numbers) -> None:
        """Add what has been counted to the numbers, and begin anew."""
        route, provider, status, cache = self._key
        shown = cache or BYPASS
        for into, labels, amount in (
            (numbers.http, (route, status), self._answered),
            (numbers.cache_hits, (), self._answered if self._is_hit else 0),
            (numbers.cache_misses, (), self._answered if cache == MISS else 0),
            (numbers.coalesced, (route,), self._coalesced),
            (numbers.requests, (provider, status), self._reached),
            (numbers.attempts, (provider, route, "success"), self._succeeded),
        ):
            if amount:
                count(into, labels, amount)
        if self._used:
            count(numbers.tokens, (provider, route, "input", shown), self._prompt)
            count(numbers.tokens, (provider, route, "output", shown), self._completion)
        self._clear()


def count(numbers: dict[Labels, int], labels: Labels, amount: int = 1) -> None:
    numbers[labels] = numbers.get(labels, 0) + amount


def observe(buckets: Buckets, bounds: tuple[float, ...], value: float) -> None:
    buckets.counts[bisect_left(bounds, value)] += 1
    buckets.total += value


def merge(total: Numbers, other: Numbers) -> None:
    """Add the other's numbers to the total's; of states the highest counts."""
    for name in Numbers.__struct_fields__:
        into: dict[Labels, int | Buckets] = getattr(total, name)
        for labels, value in getattr(other, name).items():
            known = into.get(labels)
            if isinstance(value, Buckets):
                counts = known.counts if isinstance(known, Buckets) else [0] * len(value.counts)
                sums = known.total if isinstance(known, Buckets) else 0.0
                into[labels] = Buckets([a + b for a, b in zip(counts, value.counts, strict=True)], sums + value.total)
            else:
                counted = known if isinstance(known, int) else 0
                into[labels] = max(value, counted) if name == _STATES else value + counted


def _shown(family: Family, numbers: Mapping[Labels, int | Buckets]) -> Metric:
    if not family.bounds:
        counter = CounterMetricFamily(family.name, family.text, labels=family.labels)
        for labels, value in numbers.items() or ([((), 0)] if not family.labels else []):
            counter.add_metric(list(labels), value)  # type: ignore[arg-type]  # never Buckets here
        return counter
    histogram = HistogramMetricFamily(family.name, family.text, labels=family.labels)
    for labels, buckets in numbers.items():
        assert isinstance(buckets, Buckets)
        running, shown = 0, []
        for bound, number in zip((*family.bounds, float("inf")), buckets.counts, strict=True):
            running += number
            shown.append(("+Inf" if bound == float("inf") else repr(bound), float(running)))
        histogram.add_metric(list(labels), shown, buckets.total)
    return histogram


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
