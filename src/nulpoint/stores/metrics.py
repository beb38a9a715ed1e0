"""Prometheus metrics. Every label has a closed set of values: no model name, key or path of a caller is ever one.

With several workers prometheus_client keeps the values in files shared by them (PROMETHEUS_MULTIPROC_DIR, set before
the workers start), and any worker's page adds them up.
"""

import os
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from nulpoint.stores.record import Record

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_ADDED = (50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 0.25, 1)
_NO_CACHE = "BYPASS"  # the value of the `cache` label of answers no cache was asked for

Observe = Callable[[float], None]


class Metrics:
    """The counters, and the page that shows them."""

    def __init__(self, version: str) -> None:
        self._registry = registry = CollectorRegistry()
        self._http = Counter("gateway_http_requests", "Requests answered", ["route", "status"], registry=registry)
        self._http_seconds = Histogram(
            "gateway_http_request_duration_seconds", "Whole answers", ["route"], buckets=_SECONDS, registry=registry
        )
        self._requests = Counter(
            "gateway_requests", "Requests answered by a provider", ["provider", "status"], registry=registry
        )
        self._first_byte = Histogram(
            "gateway_first_byte_seconds", "Until the provider began to answer", ["provider"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._added = Histogram(
            "gateway_added_seconds", "Time spent in the gateway before the first byte", ["route"],
            buckets=_ADDED, registry=registry,
        )  # fmt: skip
        self._tokens = Counter(
            "gateway_tokens", "Tokens reported", ["provider", "route", "direction", "cache"], registry=registry
        )
        self._errors = Counter("provider_errors", "Failed attempts", ["provider", "error_type"], registry=registry)
        self.log_dropped = Counter("gateway_log_dropped", "Request log records dropped", registry=registry)
        self.dropped_fields = Counter(
            "gateway_dropped_fields", "Request fields a provider cannot take", ["provider"], registry=registry
        )
        self.replays = Counter("gateway_upstream_replays", "Requests replayed after a stale connection",
                               registry=registry)  # fmt: skip
        self._inflight = Gauge("gateway_inflight_requests", "Requests being answered", registry=registry,
                              multiprocess_mode="livesum")  # fmt: skip
        build = Gauge("gateway_build_info", "Always 1", ["version"], registry=registry, multiprocess_mode="max")
        build.labels(version).set(1)
        self._children: dict[tuple[str, int, str], tuple[Callable[[], None], Observe, Observe]] = {}
        self._answered: dict[tuple[str, str, int], tuple[Callable[[], None], Observe, Observe, Observe]] = {}

    def settle(self, record: Record) -> None:
        """Count one request, whatever became of it."""
        http, seconds, added = self._for_route(record)
        http()
        seconds(record.total_ms / 1000)
        if record.provider:
            self._settle_provider(record)
            added(record.added_ms / 1000)

    def _for_route(self, record: Record) -> tuple[Callable[[], None], Observe, Observe]:
        key = (record.route, record.status, "")
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = (
                self._http.labels(record.route, str(record.status)).inc,
                self._http_seconds.labels(record.route).observe,
                self._added.labels(record.route).observe,
            )
        return children

    def _settle_provider(self, record: Record) -> None:
        key = (record.provider, record.route, record.status)
        children = self._answered.get(key)
        if children is None:
            tokens = self._tokens
            children = self._answered[key] = (
                self._requests.labels(record.provider, str(record.status)).inc,
                self._first_byte.labels(record.provider).observe,
                tokens.labels(record.provider, record.route, "input", _NO_CACHE).inc,
                tokens.labels(record.provider, record.route, "output", _NO_CACHE).inc,
            )
        answered, first_byte, tokens_in, tokens_out = children
        answered()
        if record.first_byte_ms is not None:
            first_byte(record.first_byte_ms / 1000)
        if record.usage is not None:
            tokens_in(record.usage.prompt)
            tokens_out(record.usage.completion)
        if record.error:
            self._errors.labels(record.provider, record.error).inc()

    def set_inflight(self, requests: int) -> None:
        self._inflight.set(requests)

    def page(self) -> bytes:
        """The text exposition, of all workers where there are several."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        merged = CollectorRegistry()
        MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
        return generate_latest(merged)
