"""Counters for requests with the same labels. A request adds to plain numbers without looking anything up by label."""

from bisect import bisect_left

from nulpoint.telemetry.metrics.definitions import (
    ADDED,
    BYTES,
    SECONDS,
    Buckets,
    Labels,
    MetricValues,
    add_histogram,
    count,
)
from nulpoint.telemetry.request_log.record import RequestRecord

HIT, MISS = "HIT", "MISS"  # values of `RequestRecord.cache`
BYPASS = "bypass"  # the value of the label if the record has none
_MICRO = 1e-6
_SECONDS = tuple(int(bound * 1e6) for bound in SECONDS)  # in microseconds, as in records
_ADDED = tuple(int(bound * 1e6) for bound in ADDED)


class RequestCounters:
    """Counts the requests with the same route, provider, status and cache result."""

    __slots__ = (
        "_added",
        "_attempt",
        "_bytes_in",
        "_bytes_out",
        "_coalesced",
        "_completion",
        "_cost",
        "_errors",
        "_first_byte",
        "_first_token",
        "_is_hit",
        "_key",
        "_microseconds",
        "_prompt",
        "_reached",
        "_saved",
        "_total",
        "_unpriced",
        "_used",
    )

    def __init__(self, route: str, provider: str, status: int, cache: str) -> None:
        self._key = (route, provider, str(status), cache)
        self._is_hit = cache == HIT
        self._total, self._attempt = _empty_histogram(_SECONDS), _empty_histogram(_SECONDS)
        self._first_byte, self._first_token, self._added = (
            _empty_histogram(_SECONDS),
            _empty_histogram(_SECONDS),
            _empty_histogram(_ADDED),
        )
        self._bytes_in, self._bytes_out = _empty_histogram(BYTES), _empty_histogram(BYTES)
        self._reached = self._microseconds = 0  # requests that reached the provider, and their total time
        self._coalesced = 0  # requests that shared the call of another one
        self._used = self._prompt = self._completion = 0  # requests with known usage, and their tokens
        self._cost = self._saved = 0.0  # dollars
        self._unpriced = 0  # requests with known usage and an unknown price, for which a provider was paid
        self._errors: dict[str, int] = {}

    def add(self, record: RequestRecord, attempt_us: int) -> None:
        """Count one request. `attempt_us` is the duration of the attempt that served it.

        This runs for every request, so it calls no other Python functions.
        """
        self._total[bisect_left(_SECONDS, record.total_us)] += 1
        self._total[-1] += record.total_us
        self._bytes_in[bisect_left(BYTES, record.bytes_in)] += 1
        self._bytes_in[-1] += record.bytes_in
        self._bytes_out[bisect_left(BYTES, record.bytes_out)] += 1
        self._bytes_out[-1] += record.bytes_out
        if record.cost:
            self._cost += record.cost
        if record.saved:
            self._saved += record.saved
        if record.coalesced:  # the call to the provider is counted with the request that made it
            self._coalesced += 1
            return
        if not self._key[1]:
            return
        usage = record.usage
        if usage is not None:
            self._used += 1
            self._unpriced += record.cost is None  # it is 0 if no provider was paid
            self._prompt += usage.prompt
            self._completion += usage.completion
        if self._is_hit:  # no provider was called
            return
        self._reached += 1
        self._microseconds += record.total_us
        if record.first_byte_us is not None:
            self._first_byte[bisect_left(_SECONDS, record.first_byte_us)] += 1
            self._first_byte[-1] += record.first_byte_us
            self._added[bisect_left(_ADDED, record.added_us)] += 1
            self._added[-1] += record.added_us
        if record.first_token_us is not None:
            self._first_token[bisect_left(_SECONDS, record.first_token_us)] += 1
            self._first_token[-1] += record.first_token_us
        if record.error:
            self._errors[record.error] = self._errors.get(record.error, 0) + 1
        else:
            self._attempt[bisect_left(_SECONDS, attempt_us)] += 1
            self._attempt[-1] += attempt_us

    def flush_into(self, values: MetricValues) -> None:
        """Add the counts to the metrics, and reset them."""
        route, provider, status, cache = self._key
        cache_label = cache.lower() or BYPASS
        targets: list[tuple[dict[Labels, Buckets], Labels]] = [(values.http_seconds, (route,))]
        if provider:
            targets.append((values.request_seconds, (provider, route, cache_label)))
        requests = _flush(self._total, _MICRO, *targets)
        _count(values.http, (route, status), requests)
        if self._is_hit:
            _count(values.cache_hits, (), requests)
        elif cache == MISS:
            _count(values.cache_misses, (), requests)
        _flush(self._bytes_in, 1, (values.request_bytes, (route,)))
        _flush(self._bytes_out, 1, (values.response_bytes, (route, status)))
        _count(values.coalesced, (route,), self._coalesced)
        self._coalesced = 0
        if provider:
            self._flush_calls(values, provider, route, status)
            self._flush_tokens(values, provider, route, cache_label)

    def _flush_calls(self, values: MetricValues, provider: str, route: str, status: str) -> None:
        if self._reached:
            count(values.requests, (provider, status), self._reached)
            before = values.milliseconds.get((provider,), 0.0)
            values.milliseconds[(provider,)] = before + self._microseconds * 1e-3
            self._reached = self._microseconds = 0
        succeeded = (provider, route, "success")
        attempts = _flush(self._attempt, _MICRO, (values.attempt_seconds, succeeded))
        _count(values.attempts, succeeded, attempts)
        _flush(self._first_byte, _MICRO, (values.first_byte, (provider,)))
        _flush(self._first_token, _MICRO, (values.first_token, (provider, route)))
        _flush(self._added, _MICRO, (values.added, (route,)))
        for error, requests in self._errors.items():
            count(values.errors, (provider, error), requests)
        self._errors.clear()

    def _flush_tokens(self, values: MetricValues, provider: str, route: str, cache: str) -> None:
        for totals, dollars in ((values.cost, self._cost), (values.saved, self._saved)):
            if dollars:
                totals[(provider, route)] = totals.get((provider, route), 0.0) + dollars
        self._cost = self._saved = 0.0
        _count(values.unpriced, (provider, route), self._unpriced)
        self._unpriced = 0
        if not self._used:
            return
        directions = {"input": self._prompt, "output": self._completion, "total": self._prompt + self._completion}
        for direction, tokens in directions.items():
            count(values.tokens, (provider, route, direction, cache), tokens)
        self._used = self._prompt = self._completion = 0


def _empty_histogram(bounds: tuple[float, ...]) -> list[int]:
    """Return an empty histogram: a count for each bound, one for values beyond the last bound, and the sum."""
    return [0] * (len(bounds) + 2)


def _flush(histogram: list[int], unit: float, *targets: tuple[dict[Labels, Buckets], Labels]) -> int:
    """Add a histogram, its sum times `unit`, to all targets and reset it. Return the number of its values."""
    *counts, total = histogram
    number = sum(counts)
    if number:
        for histograms, labels in targets:
            add_histogram(histograms, labels, counts, total * unit)
        histogram[:] = [0] * len(histogram)
    return number


def _count(values: dict[Labels, int], labels: Labels, amount: int) -> None:
    if amount:
        count(values, labels, amount)
