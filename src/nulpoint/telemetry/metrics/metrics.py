"""Prometheus metrics.

A request adds to plain numbers (a counter object of prometheus_client costs several times more); the page is made of
them when it is asked for. The families are in `families`, several workers in `snapshots`.
"""

from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

from nulpoint.telemetry.metrics.exposition import page
from nulpoint.telemetry.metrics.definitions import SECONDS, Labels, Numbers, count, merge, pour
from nulpoint.telemetry.request_log.record import Record
from nulpoint.telemetry.metrics.multiprocess import Snapshots
from nulpoint.telemetry.metrics.counters import Tally


class Metrics:
    """Counts requests and makes the page. `directory` is shared by the workers; None where there is only one."""

    def __init__(self, version: str, directory: Path | None = None) -> None:
        self._numbers = Numbers(build={(version,): 1})
        self._snapshots = Snapshots(directory) if directory is not None else None
        self._tallies: dict[tuple[str, str, int, str], Tally] = {}

    @property
    def numbers(self) -> Numbers:
        """All that has been counted until now."""
        for tally in self._tallies.values():
            tally.hand_over(self._numbers)
        return self._numbers

    def settle(self, record: Record, attempt_us: int = 0) -> None:
        """Count one request, whatever became of it. `attempt_us`: what the attempt took that answered it."""
        key = (record.route, record.provider, record.status, record.cache)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(*key)
        tally.add(record, attempt_us)
        if record.limit:
            count(self._numbers.rate_limits, (record.limit,))

    def configuration_read(self, result: str) -> None:
        """Again: `changed`, `unchanged` or `refused`."""
        count(self._numbers.config_reads, (result,))
        self._numbers.config_refused[()] = int(result == "refused")

    def log_dropped(self) -> None:
        count(self._numbers.log_dropped, ())

    def replayed(self) -> None:
        count(self._numbers.replays, ())

    def attempt_failed(self, provider: str, route: str, outcome: str, seconds: float) -> None:
        """Attempts that succeed are counted with their request."""
        labels = (provider, route, outcome)
        count(self._numbers.attempts, labels)
        _observe(self._numbers, labels, seconds)

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
        """0 closed, 1 open, 2 half-open, by provider; a provider is well while it is closed."""
        self._numbers.breakers = {(provider,): int(state) for provider, state in states.items()}
        self._numbers.health = {(provider,): int(not state) for provider, state in states.items()}

    def page(self) -> bytes:
        """The text exposition, of all workers where there are several. Raises OSError: never a part of it."""
        numbers = self.numbers
        if self._snapshots is None:
            return page(numbers)
        self._snapshots.publish(numbers)
        total = self._snapshots.of_others()
        merge(total, numbers)
        return page(total)

    def publish(self) -> None:
        """Leave a snapshot for the other workers. Raises OSError."""
        if self._snapshots is not None:
            self._snapshots.publish(self.numbers)


def _observe(numbers: Numbers, labels: Labels, seconds: float) -> None:
    counts = [0] * (len(SECONDS) + 1)
    counts[bisect_left(SECONDS, seconds)] = 1
    pour(numbers.attempt_seconds, labels, counts, seconds)
