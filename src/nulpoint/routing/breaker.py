"""The circuit breaker of one provider: a state machine without I/O. `now` is always in monotonic seconds.

    closed     --threshold failures within the window-->       open
    open       --half_open_timeout has passed-->               half-open: one probe is let through
    half-open  --the probe succeeds-->                         closed, failures are forgotten
    half-open  --the probe fails-->                            open, for the same time again
    half-open  --the probe says nothing (client left)-->       the next request becomes the probe
    half-open  --half_open_timeout passes, probe not done-->   another probe is let through beside it

A success does not erase failures, because one good response says little about a provider that fails half of the time.
A call that was let through before the breaker opened and ends later is ignored, even if the breaker has closed again by
then, because a stream may end minutes after it began. A probe blocks further probes only for a limited time for the
same reason: otherwise one client whose stream does not end would keep the provider from all others.
"""

from collections import deque
from enum import IntEnum, StrEnum
from typing import NamedTuple

import msgspec

RATIO_SECONDS = 10  # the failure ratio covers this many whole seconds
RATIO_CALLS = 20  # with fewer calls than this the ratio counts as 0


class State(IntEnum):
    """The state of a breaker. The numbers are the values of the metric `circuit_breaker_state`."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2

    @property
    def label(self) -> str:
        """Return the name of the state in logs, metrics and responses."""
        return self.name.lower()


class Outcome(StrEnum):
    """The evidence of a call about the provider. NEUTRAL is none: the client made a mistake or disconnected."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"


class Permit(NamedTuple):
    """The permission to make one call. Its holder must call `Breaker.record` exactly once.

    `openings` is how often the breaker had opened when the permit was issued.
    """

    probe: bool
    openings: int


class BreakerRules(msgspec.Struct, frozen=True, kw_only=True):
    """When a breaker opens, and for how long.

    It opens after `threshold` failures within `window` seconds and lets a probe through after `half_open_timeout`
    seconds. If `ratio` is above 0, it opens only if this share of the recent calls has failed as well.
    """

    threshold: int = 5
    window: float = 60.0
    half_open_timeout: float = 30.0
    ratio: float = 0.0


class Breaker:
    __slots__ = (
        "_calls",
        "_failures",
        "_opened_at",
        "_probed_at",
        "_rules",
        "counts_calls",
        "state",
        "unconditional_permit",
    )

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._failures: deque[float] = deque(maxlen=rules.threshold)  # the times of the newest failures
        self._calls = _CallCounts() if rules.ratio else None
        self.counts_calls = bool(rules.ratio)  # then successes have to be recorded too
        self._opened_at = 0.0
        self._probed_at = 0.0  # when the newest probe was let through
        self.unconditional_permit = Permit(False, 0)  # the permit of every call while the breaker is closed
        self.state = State.CLOSED

    def updated(self, rules: BreakerRules) -> "Breaker":
        """Return a breaker with other rules that continues from this one's state. It ignores a probe in flight."""
        successor = Breaker(rules)
        successor._failures.extend(self._failures)
        if successor._calls is not None and self._calls is not None:
            successor._calls = self._calls.copy()
        successor.unconditional_permit = self.unconditional_permit
        if self.state is not State.CLOSED:
            successor._opened_at = self._opened_at
            successor.state = State.OPEN
        return successor

    def acquire(self, now: float) -> Permit | None:
        """Return a permit to call the provider, or None. In half-open state only the probe gets a permit."""
        if self.state is State.CLOSED:
            return self.unconditional_permit
        since = self._opened_at if self.state is State.OPEN else self._probed_at
        if now < since + self._rules.half_open_timeout:
            return None
        self.state = State.HALF_OPEN
        self._probed_at = now
        return Permit(True, self.unconditional_permit.openings)

    def seconds_to_probe(self, now: float) -> float:
        """Return the seconds until a call, or another probe beside one in flight, may be let through."""
        if self.state is State.CLOSED:
            return 0.0
        since = self._probed_at if self.state is State.HALF_OPEN else self._opened_at
        return max(0.0, since + self._rules.half_open_timeout - now)

    def record(self, permit: Permit, outcome: Outcome, now: float) -> State | None:
        """Record how the call with this permit ended. Return the breaker's new state if it changed."""
        if permit.openings != self.unconditional_permit.openings or permit.probe == (self.state is State.CLOSED):
            return None
        if permit.probe:
            return self._record_probe(outcome, now)
        if self._calls is not None and outcome is not Outcome.NEUTRAL:
            self._calls.add(outcome is Outcome.FAILURE, now)
        if outcome is Outcome.FAILURE:
            self._failures.append(now)
            if self._should_open(now):
                return self._open(now)
        return None

    def open_by_hint(self, since: float) -> State | None:
        """Open this breaker, as of `since`, because another replica has opened its breaker for the same provider."""
        return self._open(since) if self.state is State.CLOSED else None

    def _record_probe(self, outcome: Outcome, now: float) -> State | None:
        before = self.state  # already open if another probe ended as neutral
        if outcome is Outcome.SUCCESS:
            self._failures.clear()
            if self._calls is not None:
                self._calls = _CallCounts()
            self.state = State.CLOSED
        elif outcome is Outcome.FAILURE:
            self._open(now)
        else:
            self.state = State.OPEN  # `_opened_at` is unchanged, so the next request becomes the probe
        return self.state if self.state is not before else None

    def _should_open(self, now: float) -> bool:
        failures = self._failures
        too_many = len(failures) == self._rules.threshold and now - failures[0] <= self._rules.window
        return too_many and (self._calls is None or self._calls.ratio(now) >= self._rules.ratio)

    def _open(self, now: float) -> State:
        self._opened_at = now
        self.unconditional_permit = Permit(False, self.unconditional_permit.openings + 1)
        self.state = State.OPEN
        return State.OPEN


class _CallCounts:
    """Counts the calls and failures of the last RATIO_SECONDS, in one entry per whole second."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int, int]] = deque(maxlen=RATIO_SECONDS + 1)  # second, calls, failures

    def copy(self) -> "_CallCounts":
        copied = _CallCounts()
        copied._seconds.extend(self._seconds)
        return copied

    def add(self, failed: bool, now: float) -> None:
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            _, calls, failures = self._seconds.pop()
        else:
            calls = failures = 0
        self._seconds.append((second, calls + 1, failures + failed))

    def ratio(self, now: float) -> float:
        """Return the share of calls that failed; 0 if there were fewer than RATIO_CALLS."""
        recent = [(calls, failures) for second, calls, failures in self._seconds if second > now - RATIO_SECONDS]
        calls = sum(calls for calls, _ in recent)
        return sum(failures for _, failures in recent) / calls if calls >= RATIO_CALLS else 0.0
