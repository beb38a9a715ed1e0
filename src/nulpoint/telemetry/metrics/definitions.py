"""The table of metric families, and the values behind them.

Every label has a fixed set of values. A model name, key or path that a client sends is never a label value, so the page
cannot grow with what clients send.
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
    """The values of a histogram: a count per bound, one for values beyond the last bound, and the sum of all."""

    counts: list[int]
    total: float = 0.0


class MetricValues(msgspec.Struct):
    """The values of all metrics in one process. Keys are label values, in the order of the labels in `FAMILIES`."""

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
    unpriced: dict[Labels, int] = {}
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
    model_retires: dict[Labels, int] = {}
    build: dict[Labels, int] = {}


class MetricFamily(msgspec.Struct, frozen=True):
    """A family of metrics with the same name.

    Fields:
        values: the attribute of MetricValues that has its values.
        name: its name on the metrics page.
        help: its help text on the metrics page.
        labels: the names of its labels.
        bounds: the bounds of its buckets; if there are any, it is a histogram.
        join: how the values of several workers are combined; if set, it is a gauge.
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
    _gauge("inflight", "gateway_inflight_requests", "Requests in flight"),
    MetricFamily("http", "gateway_http_requests_total", "HTTP requests answered", ("route", "status")),
    _histogram(
        "http_seconds", "gateway_http_request_duration_seconds", "Seconds until a response was sent in full", ("route",)
    ),
    _histogram("request_bytes", "gateway_http_request_size_bytes", "Bytes of request bodies", ("route",), BYTES),
    _histogram(
        "response_bytes", "gateway_http_response_size_bytes", "Bytes of response bodies", ("route", "status"), BYTES
    ),
    MetricFamily("requests", "gateway_requests_total", "Requests sent to a provider", ("provider", "status")),
    MetricFamily(
        "milliseconds", "gateway_latency_ms_total", "Total milliseconds of requests sent to a provider", ("provider",)
    ),
    _histogram(
        "request_seconds",
        "gateway_request_duration_seconds",
        "Seconds of requests to a provider's models, hits of the cache included",
        ("provider", "route", "cache"),
    ),
    MetricFamily(
        "attempts", "gateway_upstream_attempts_total", "Attempts at a provider", ("provider", "route", "outcome")
    ),
    _histogram(
        "attempt_seconds",
        "gateway_upstream_attempt_duration_seconds",
        "Seconds of attempts at a provider",
        ("provider", "route", "outcome"),
    ),
    _histogram(
        "first_byte",
        "gateway_first_byte_seconds",
        "Seconds until the first byte of a provider's response",
        ("provider",),
    ),
    _histogram(
        "first_token",
        "gateway_time_to_first_token_seconds",
        "Seconds until the first content of a stream was sent",
        ("provider", "route"),
    ),
    _histogram(
        "added",
        "gateway_added_seconds",
        "Seconds spent in the gateway itself before the first byte of a response",
        ("route",),
        ADDED,
    ),
    MetricFamily(
        "tokens", "gateway_tokens_total", "Tokens that providers reported", ("provider", "route", "direction", "cache")
    ),
    MetricFamily(
        "cost", "gateway_cost_dollars_total", "Dollars spent, where the price is known", ("provider", "route")
    ),
    MetricFamily(
        "saved", "gateway_saved_dollars_total", "Dollars saved by the cache and by shared calls", ("provider", "route")
    ),
    MetricFamily(
        "unpriced",
        "gateway_unpriced_requests_total",
        "Requests that used tokens without a known price, so that their cost is missing in the sum",
        ("provider", "route"),
    ),
    MetricFamily(
        "errors",
        "provider_errors_total",
        "Failed requests by the provider tried last",
        ("provider", "error_type"),
    ),
    MetricFamily(
        "dropped_fields",
        "gateway_dropped_fields_total",
        "Request fields dropped because a provider does not support them",
        ("provider",),
    ),
    _gauge(
        "health",
        "gateway_provider_health",
        "1 if the circuit breaker is closed, else 0; the lowest value of all workers",
        ("provider",),
        "lowest",
    ),
    _gauge(
        "breakers",
        "circuit_breaker_state",
        "0 closed, 1 open, 2 half-open; the highest value of all workers",
        ("provider",),
        "highest",
    ),
    MetricFamily(
        "transitions",
        "gateway_circuit_breaker_transitions_total",
        "Changes of a circuit breaker's state",
        ("provider", "to_state"),
    ),
    MetricFamily(
        "rejections",
        "gateway_circuit_breaker_rejections_total",
        "Calls that a circuit breaker rejected",
        ("provider", "state"),
    ),
    MetricFamily(
        "failovers",
        "gateway_failover_events_total",
        "Attempts that followed a failed one",
        ("primary", "from", "to", "reason"),
    ),
    MetricFamily(
        "failover_successes",
        "gateway_failover_success_total",
        "Requests served by another target than the first one",
        ("primary", "to"),
    ),
    MetricFamily(
        "failovers_exhausted", "gateway_failover_exhausted_total", "Requests that no target could serve", ("primary",)
    ),
    MetricFamily(
        "coalesced", "gateway_coalesced_requests_total", "Requests that shared the call of another request", ("route",)
    ),
    MetricFamily(
        "replays", "gateway_upstream_replays_total", "Requests sent again because a kept-alive connection was stale"
    ),
    MetricFamily("cache_hits", "cache_hits_total", "Requests served from the cache"),
    MetricFamily("cache_misses", "cache_misses_total", "Requests that the cache could not serve in full"),
    MetricFamily("cache_operations", "gateway_cache_operations_total", "Cache lookups and stores", ("op", "result")),
    MetricFamily("cache_evictions", "gateway_cache_evictions_total", "Cache entries removed to make room"),
    _gauge("cache_bytes", "gateway_cache_bytes", "Bytes of memory used by the cache"),
    _gauge("cache_entries", "gateway_cache_entries", "Entries in the cache"),
    MetricFamily("rate_limits", "gateway_ratelimit_total", "Decisions of the rate limits", ("result",)),
    _gauge("redis_up", "gateway_redis_up", "Workers whose Redis connection works"),
    MetricFamily("redis_failures", "gateway_redis_failures_total", "Redis commands without a reply", ("reason",)),
    MetricFamily("log_dropped", "gateway_log_dropped_total", "Request log records dropped"),
    MetricFamily("config_reads", "gateway_config_reloads_total", "Reloads of the configuration", ("result",)),
    _gauge("config_refused", "gateway_config_refused", "Workers that rejected the present configuration"),
    _gauge(
        "model_retires",
        "gateway_model_retires_days",
        "Days until the model of a fallback target or configured alias retires; the lowest value of all workers",
        ("model",),
        "lowest",
    ),
    _gauge("build", "gateway_build_info", "Always 1", ("version",), "highest"),
)


def count(values: dict[Labels, int], labels: Labels, amount: int = 1) -> None:
    values[labels] = values.get(labels, 0) + amount


def add_histogram(histograms: dict[Labels, Buckets], labels: Labels, counts: list[int], total: float) -> None:
    """Add counts, and the sum of their values, to the histogram with these labels."""
    buckets = histograms.get(labels)
    if buckets is None:
        histograms[labels] = Buckets(list(counts), total)
    else:
        buckets.counts = [count + added for count, added in zip(buckets.counts, counts, strict=True)]
        buckets.total += total


def merge(total: MetricValues, other: MetricValues) -> None:
    """Add the values of another process to the total. Gauges are combined as their family says."""
    for family in FAMILIES:
        values, added = getattr(total, family.values), getattr(other, family.values)
        for labels, value in added.items():
            if isinstance(value, Buckets):
                add_histogram(values, labels, value.counts, value.total)
            elif labels not in values:
                values[labels] = value
            elif family.join == "highest":
                values[labels] = max(values[labels], value)
            elif family.join == "lowest":
                values[labels] = min(values[labels], value)
            else:
                values[labels] += value


def forget_gauges(values: MetricValues) -> None:
    """Remove the gauges of a process that has ended. Its counters and histograms stay."""
    for family in FAMILIES:
        if family.join is not None:
            getattr(values, family.values).clear()
