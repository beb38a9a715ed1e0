"""The table of metric families, and the numbers behind them. Every label has a closed set of values: no model name, key
or path of a caller is ever one, so the page cannot grow with what callers send.

The families that the first nulpoint, in Go, had are here under its names.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

Labels = tuple[str, ...]
Join = Literal["sum", "highest", "lowest"]

# Upper bounds of the buckets.
SECONDS = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    120,
    300,
    600,
)
ADDED = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1)  # seconds
BYTES = tuple(256 << 2 * step for step in range(9))  # 256 B to 16 MiB


class Buckets(msgspec.Struct):
    """A histogram's counts, one a bound and one beyond the last, and the sum of what was observed."""

    counts: list[int]
    total: float = 0.0


class MetricValues(msgspec.Struct):
    """Everything one process has counted. Keys are label values in the order of `FAMILIES`."""

    http: dict[Labels, int] = {}
    http_seconds: dict[Labels, Buckets] = {}
    request_bytes: dict[Labels, Buckets] = {}
    response_bytes: dict[Labels, Buckets] = {}
    requests: dict[Labels, int] = {}
    milliseconds: dict[Labels, float] = {}
    request_seconds: dict[Labels, Buckets] = {}
    attempts: dict[Labels, int] = {}
    attempt_seconds: dict[Labels, Buckets] = {}
    first_byte: dict[Labels, Buckets] = {}
    first_token: dict[Labels, Buckets] = {}
    added: dict[Labels, Buckets] = {}
    tokens: dict[Labels, int] = {}
    cost: dict[Labels, float] = {}
    saved: dict[Labels, float] = {}
    errors: dict[Labels, int] = {}
    dropped_fields: dict[Labels, int] = {}
    failovers: dict[Labels, int] = {}
    failover_successes: dict[Labels, int] = {}
    failovers_exhausted: dict[Labels, int] = {}
    transitions: dict[Labels, int] = {}
    rejections: dict[Labels, int] = {}
    coalesced: dict[Labels, int] = {}
    replays: dict[Labels, int] = {}
    cache_hits: dict[Labels, int] = {}
    cache_misses: dict[Labels, int] = {}
    cache_operations: Mapping[Labels, int] = {}
    cache_evictions: dict[Labels, int] = {}
    rate_limits: dict[Labels, int] = {}
    redis_failures: dict[Labels, int] = {}
    log_dropped: dict[Labels, int] = {}
    inflight: dict[Labels, int] = {}
    breakers: dict[Labels, int] = {}
    health: dict[Labels, int] = {}
    cache_bytes: dict[Labels, int] = {}
    cache_entries: dict[Labels, int] = {}
    redis_up: dict[Labels, int] = {}
    config_reads: dict[Labels, int] = {}
    config_refused: dict[Labels, int] = {}
    build: dict[Labels, int] = {}


class MetricFamily(msgspec.Struct, frozen=True):
    """Where a family's numbers are, and what the page calls it.

    `bounds` makes it a histogram. `join` makes it a gauge and says how those of several workers become one.
    """

    values: str
    name: str
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()
    join: Join | None = None

    @property
    def kind(self) -> str:
        if self.bounds:
            return "histogram"
        return "counter" if self.join is None else "gauge"


def _histogram(values: str, name: str, text: str, labels: Labels, bounds: tuple[float, ...] = SECONDS) -> MetricFamily:
    return MetricFamily(values, name, text, labels, bounds)


def _gauge(values: str, name: str, text: str, labels: Labels = (), join: Join = "sum") -> MetricFamily:
    return MetricFamily(values, name, text, labels, join=join)


FAMILIES = (
    _gauge("inflight", "gateway_inflight_requests", "Requests being answered"),
    MetricFamily("http", "gateway_http_requests_total", "Requests answered", ("route", "status")),
    _histogram("http_seconds", "gateway_http_request_duration_seconds", "Until an answer had gone out", ("route",)),
    _histogram("request_bytes", "gateway_http_request_size_bytes", "Bodies of requests", ("route",), BYTES),
    _histogram("response_bytes", "gateway_http_response_size_bytes", "Bodies of answers", ("route", "status"), BYTES),
    MetricFamily("requests", "gateway_requests_total", "Requests sent to a provider", ("provider", "status")),
    MetricFamily("milliseconds", "gateway_latency_ms_total", "Milliseconds these took in all", ("provider",)),
    _histogram(
        "request_seconds",
        "gateway_request_duration_seconds",
        "Requests of a provider's models",
        ("provider", "route", "cache"),
    ),
    MetricFamily(
        "attempts", "gateway_upstream_attempts_total", "Attempts at a provider", ("provider", "route", "outcome")
    ),
    _histogram(
        "attempt_seconds",
        "gateway_upstream_attempt_duration_seconds",
        "What these took",
        ("provider", "route", "outcome"),
    ),
    _histogram("first_byte", "gateway_first_byte_seconds", "Until a provider began to answer", ("provider",)),
    _histogram(
        "first_token",
        "gateway_time_to_first_token_seconds",
        "Until a stream's first content went out",
        ("provider", "route"),
    ),
    _histogram(
        "added", "gateway_added_seconds", "Spent in the gateway itself before the first byte", ("route",), ADDED
    ),
    MetricFamily("tokens", "gateway_tokens_total", "Tokens reported", ("provider", "route", "direction", "cache")),
    MetricFamily(
        "cost", "gateway_cost_dollars_total", "What was bought, where its price is known", ("provider", "route")
    ),
    MetricFamily(
        "saved", "gateway_saved_dollars_total", "What cache and shared calls did not have to buy", ("provider", "route")
    ),
    MetricFamily(
        "errors",
        "provider_errors_total",
        "Requests that failed, by the provider asked last",
        ("provider", "error_type"),
    ),
    MetricFamily(
        "dropped_fields", "gateway_dropped_fields_total", "Request fields a provider cannot take", ("provider",)
    ),
    _gauge(
        "health",
        "gateway_provider_health",
        "1 well, 0 its breaker is not closed; of several workers the lowest",
        ("provider",),
        "lowest",
    ),
    _gauge(
        "breakers",
        "circuit_breaker_state",
        "0 closed, 1 open, 2 half-open; of several workers the highest",
        ("provider",),
        "highest",
    ),
    MetricFamily(
        "transitions",
        "gateway_circuit_breaker_transitions_total",
        "Changes of a breaker's state",
        ("provider", "to_state"),
    ),
    MetricFamily(
        "rejections",
        "gateway_circuit_breaker_rejections_total",
        "Calls a breaker did not let through",
        ("provider", "state"),
    ),
    MetricFamily(
        "failovers", "gateway_failover_events_total", "Attempts after a failed one", ("primary", "from", "to", "reason")
    ),
    MetricFamily(
        "failover_successes", "gateway_failover_success_total", "Answers by another target", ("primary", "to")
    ),
    MetricFamily(
        "failovers_exhausted", "gateway_failover_exhausted_total", "Requests no target answered", ("primary",)
    ),
    MetricFamily("coalesced", "gateway_coalesced_requests_total", "Requests that shared another's call", ("route",)),
    MetricFamily("replays", "gateway_upstream_replays_total", "Requests sent again after a stale connection"),
    MetricFamily("cache_hits", "cache_hits_total", "Requests answered by the cache"),
    MetricFamily("cache_misses", "cache_misses_total", "Requests the cache could not answer, or not in full"),
    MetricFamily("cache_operations", "gateway_cache_operations_total", "Values looked up and kept", ("op", "result")),
    MetricFamily("cache_evictions", "gateway_cache_evictions_total", "Values that had to go for others"),
    _gauge("cache_bytes", "gateway_cache_bytes", "Memory the cache takes"),
    _gauge("cache_entries", "gateway_cache_entries", "Values in the cache"),
    MetricFamily("rate_limits", "gateway_ratelimit_total", "What the limits said", ("result",)),
    _gauge("redis_up", "gateway_redis_up", "Workers that Redis answers"),
    MetricFamily("redis_failures", "gateway_redis_failures_total", "Commands without a reply", ("reason",)),
    MetricFamily("log_dropped", "gateway_log_dropped_total", "Request log records dropped"),
    MetricFamily("config_reads", "gateway_config_reloads_total", "Times the configuration was read again", ("result",)),
    _gauge("config_refused", "gateway_config_refused", "Workers that do not take the configuration as it is written"),
    _gauge("build", "gateway_build_info", "Always 1", ("version",), "highest"),
)


def count(values: dict[Labels, int], labels: Labels, amount: int = 1) -> None:
    values[labels] = values.get(labels, 0) + amount


def add_histogram(histograms: dict[Labels, Buckets], labels: Labels, counts: list[int], total: float) -> None:
    """Add to a histogram."""
    buckets = histograms.get(labels)
    if buckets is None:
        histograms[labels] = Buckets(list(counts), total)
    else:
        buckets.counts = [one + other for one, other in zip(buckets.counts, counts, strict=True)]
        buckets.total += total


def merge(total: MetricValues, other: MetricValues) -> None:
    """Add another process's numbers to the total's; gauges as their family says."""
    for family in FAMILIES:
        into, more = getattr(total, family.values), getattr(other, family.values)
        for labels, value in more.items():
            if isinstance(value, Buckets):
                add_histogram(into, labels, value.counts, value.total)
            elif labels not in into:
                into[labels] = value
            elif family.join == "highest":
                into[labels] = max(into[labels], value)
            elif family.join == "lowest":
                into[labels] = min(into[labels], value)
            else:
                into[labels] += value


def forget_gauges(values: MetricValues) -> None:
    """What was so in a process that has ended is so no more; what it counted stays counted."""
    for family in FAMILIES:
        if family.join is not None:
            getattr(values, family.values).clear()
