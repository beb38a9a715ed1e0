"""What was tried for one request: for its log record, its error, and callers who want to know."""

from time import perf_counter
from typing import Any

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.routing.chains import Target
from nulpoint.routing.provider_health import SkipReason
from nulpoint.telemetry.request_log.record import AttemptRecord

OK = "ok"


class AttemptHistory:
    """In order. `started`: when the request had come, in `perf_counter` seconds."""

    __slots__ = ("_all", "made", "started")

    def __init__(self) -> None:
        self._all: list[AttemptRecord] = []
        self.started = 0.0
        self.made = 0  # those that reached for a provider

    def failed(self, target: Target, failure: Failure, seconds: float) -> None:
        self.made += 1
        self._add(target, failure.kind.value, seconds, failure.code or "")

    def succeeded(self, target: Target, seconds: float) -> None:
        self.made += 1
        self._add(target, OK, seconds)

    def abandoned(self, target: Target, seconds: float) -> None:
        """It was under way, or about to be, when nobody waited for it any more."""
        self._add(target, Kind.CLIENT_DISCONNECTED.value, seconds)

    def skipped(self, skipped: list[tuple[Target, SkipReason]]) -> None:
        for target, why in skipped:
            self._add(target, why.reason, 0.0)

    def _add(self, target: Target, outcome: str, seconds: float, code: str = "") -> None:
        name, at = target.provider.spec.name, perf_counter() - seconds - self.started
        self._all.append(
            AttemptRecord(name, target.model[:200], outcome, int(seconds * 1000), code, max(0, int(at * 1000)))
        )

    def __len__(self) -> int:
        return len(self._all)

    def as_list(self) -> list[AttemptRecord]:
        return list(self._all)

    def as_builtins(self) -> list[dict[str, Any]]:
        """For the error envelope, which has had no use for `at`."""
        return [msgspec.to_builtins(msgspec.structs.replace(one, at=0)) for one in self._all]

    def trace(self) -> bytes:
        """For the answer field `x-nulpoint-trace`: `provider;outcome;ms`, comma-separated."""
        return ", ".join(f"{one.provider};{one.outcome};{one.ms}" for one in self._all).encode("ascii")
