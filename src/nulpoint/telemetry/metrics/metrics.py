"""The Prometheus metrics of this process, and the metrics page of all workers.

A request adds to plain numbers, because a counter object of prometheus_client costs several times more. The page is
made from them on request. `definitions` has the metric families, and `multiprocess` combines several workers.
"""

from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

from nulpoint.telemetry.metrics.counters import RequestCounters
from nulpoint.telemetry.metrics.definitions import SECONDS, Labels, MetricValues, add_histogram, count, merge
from nulpoint.telemetry.metrics.exposition import page
from nulpoint.telemetry.metrics.multiprocess import WorkerSnapshots
from nulpoint.telemetry.request_log.record import RequestRecord


class Metrics:
    """Counts requests and makes the page. `directory` is shared by all workers; it is None if there is only one."""

    def __init__(self, version: str, directory: Path | None = None) -> None:
        self._values = MetricValues(build={(version,): 1})
        self._snapshots = WorkerSnapshots(directory) if directory is not None else None
        self._counters: dict[tuple[str, str, int, str], RequestCounters] = {}

    @property
    def values(self) -> MetricValues:
        """Return the values of all metrics up to now."""
        for counters in self._counters.values():
            counters.flush_into(self._values)
        return self._values

    def request_finished(self, record: RequestRecord, attempt_us: int = 0) -> None:
        """Count one request, successful or not. `attempt_us` is the duration of the attempt that served it."""
        key = (record.route, record.provider, record.status, record.cache)
        counters = self._counters.get(key)
        if counters is None:
            counters = self._counters[key] = RequestCounters(*key)
        counters.add(record, attempt_us)
        if record.limit:
            count(self._values.rate_limits, (record.limit,))

    def configuration_read(self, result: str) -> None:
        """Count a reload of the configuration. The result is `changed`, `unchanged` or `refused`."""
        count(self._values.config_reads, (result,))
        self._values.config_refused[()] = int(result == "refused")

    def log_dropped(self) -> None:
        count(self._values.log_dropped, ())

    def replayed(self) -> None:
        count(self._values.replays, ())

    def attempt_failed(self, provider: str, route: str, outcome: str, seconds: float) -> None:
        """Count a failed attempt. Successful attempts are counted with their request."""
        labels = (provider, route, outcome)
        count(self._values.attempts, labels)
        _observe(self._values, labels, seconds)

    def failed_over(self, primary: str, provider: str, to: str, reason: str) -> None:
        """Count a failed attempt at `provider` that is followed by one at `to`, which may be the same provider."""
        count(self._values.failovers, (primary, provider, to, reason))

    def failover_succeeded(self, primary: str, to: str) -> None:
        """Count a request that was served by another target than the first one."""
        count(self._values.failover_successes, (primary, to))

    def failover_exhausted(self, primary: str) -> None:
        """Count a request that no target could serve although failing over was possible."""
        count(self._values.failovers_exhausted, (primary,))

    def breaker_rejected(self, provider: str, state: str) -> None:
        count(self._values.rejections, (provider, state))

    def breaker_changed(self, provider: str, state: str) -> None:
        count(self._values.transitions, (provider, state))

    def fields_dropped(self, provider: str, fields: int) -> None:
        count(self._values.dropped_fields, (provider,), fields)

    def set_inflight(self, requests: int) -> None:
        self._values.inflight[()] = requests

    def set_breakers(self, states: Mapping[str, int]) -> None:
        """Set the breaker states by provider: 0 closed, 1 open, 2 half-open. A provider is healthy if it is closed."""
        self._values.breakers = {(provider,): int(state) for provider, state in states.items()}
        self._values.health = {(provider,): int(not state) for provider, state in states.items()}

    def set_retirements(self, days: Mapping[str, int]) -> None:
        """Set the days until the models of targets retire, by `provider/model`."""
        self._values.model_retires = {(model,): left for model, left in days.items()}

    def page(self) -> bytes:
        """Return the metrics page of all workers. Raises OSError rather than returning an incomplete page."""
        values = self.values
        if self._snapshots is None:
            return page(values)
        self._snapshots.publish(values)
        total = self._snapshots.sum_of_others()
        merge(total, values)
        return page(total)

    def publish(self) -> None:
        """Write a snapshot for the other workers. Raises OSError."""
        if self._snapshots is not None:
            self._snapshots.publish(self.values)


def _observe(values: MetricValues, labels: Labels, seconds: float) -> None:
    counts = [0] * (len(SECONDS) + 1)
    counts[bisect_left(SECONDS, seconds)] = 1
    add_histogram(values.attempt_seconds, labels, counts, seconds)
