"""The history of one request's attempts: for its log record, for its error, and for clients that ask for a trace."""

from time import perf_counter
from typing import Any

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.routing.chains import Target
from nulpoint.routing.provider_health import SkipReason
from nulpoint.telemetry.request_log.record import AttemptRecord

OK = "ok"
MAX_MODEL_NAME = 200  # characters of a model's name in the log; the provider's own name may be of any length


class AttemptHistory:
    """The attempts and the skipped targets, in order. `started` is when the request had been received."""

    __slots__ = ("_records", "_started", "count")

    def __init__(self, started: float) -> None:
        """`started` is in seconds of `perf_counter`."""
        self._started = started
        self._records: list[AttemptRecord] = []
        self.count = 0  # the attempts that called a provider

    def failed(self, target: Target, failure: Failure, seconds: float) -> None:
        self.count += 1
        self._add(target, failure.kind.value, seconds, failure.code or "")

    def succeeded(self, target: Target, seconds: float) -> None:
        self.count += 1
        self._add(target, OK, seconds)

    def abandoned(self, target: Target, seconds: float) -> None:
        """The attempt was in progress, or about to begin, when the request was cancelled."""
        self._add(target, Kind.CLIENT_DISCONNECTED.value, seconds)

    def skipped(self, skipped: list[tuple[Target, SkipReason]]) -> None:
        for target, why in skipped:
            self._add(target, why.reason, 0.0)

    def _add(self, target: Target, outcome: str, seconds: float, code: str = "") -> None:
        name, at = target.provider.spec.name, perf_counter() - seconds - self._started
        self._records.append(
            AttemptRecord(
                name, target.model[:MAX_MODEL_NAME], outcome, int(seconds * 1000), code, max(0, int(at * 1000))
            )
        )

    def __len__(self) -> int:
        return len(self._records)

    def as_list(self) -> list[AttemptRecord]:
        return list(self._records)

    def as_builtins(self) -> list[dict[str, Any]]:
        """Return the attempts as the error object lists them, which is without `at`."""
        return [msgspec.to_builtins(msgspec.structs.replace(record, at=0)) for record in self._records]

    def trace(self) -> bytes:
        """Return the value of the header `x-nulpoint-trace`: `provider;outcome;ms`, comma-separated."""
        return ", ".join(f"{record.provider};{record.outcome};{record.ms}" for record in self._records).encode("ascii")
