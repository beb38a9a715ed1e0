"""The circuit breaker of one provider: a pure state machine, `now` is monotonic seconds.

    closed     --threshold failures within the window-->  open
    open       --half_open_timeout has passed-->          half-open: one probe is let through
    half-open  --the probe succeeds-->                    closed, failures forgotten
    half-open  --the probe fails-->                       open, for the same time again
    half-open  --the probe is neither (caller left)-->    the place is free for the next probe
    half-open  --half_open_timeout, and no end of it-->   another probe is let through beside it

A success does not erase failures: an answer in between says little about a provider that fails half of the time.
What was let through before the breaker opened and ends later decides nothing any more, not even when the breaker has
closed again by then: a stream may end minutes after it began. For the same reason a probe keeps its place only so long:
one caller whose stream does not end would keep the provider from all others.
"""

from collections import deque
from enum import IntEnum, StrEnum
from typing import NamedTuple

import msgspec

RATIO_SECONDS = 10  # the failure ratio is that of so many whole seconds
RATIO_CALLS = 20  # fewer calls than this say nothing about a ratio


class State(IntEnum):
    """The values of the metric `circuit_breaker_state`."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2

    @property
    def label(self) -> str:
        """Its name in logs, metrics and answers."""
        return self.name.lower()


class Outcome(StrEnum):
    """What a call says about the provider; NEUTRAL is nothing: the caller's own mistake, or the caller left."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"


class Permit(NamedTuple):
    """Leave to make one call, to be given back with `settle`, exactly once.

    `opening`: how often the breaker had opened when it was given.
    """

    probe: bool
    openings: int


class BreakerRules(msgspec.Struct, frozen=True, kw_only=True):
    """`window` and `half_open_timeout` in seconds. `ratio` over 0 also asks for this share of failed calls."""

    threshold: int = 5
    window: float = 60.0
    half_open_timeout: float = 30.0
    ratio: float = 0.0


class Breaker:
    """One provider's."""

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
        self._failures: deque[float] = deque(maxlen=rules.threshold)  # when the newest ones happened
        self._calls = _CallCounts() if rules.ratio else None
        self.counts_calls = bool(rules.ratio)  # successes matter too
        self._opened_at = 0.0
        self._probed_at = 0.0  # when the newest probe was let through
        self.unconditional_permit = Permit(False, 0)  # what every call gets while the breaker is closed
        self.state = State.CLOSED

    def updated(self, rules: BreakerRules) -> "Breaker":
        """Another that stands as this one does, under other rules. A probe that is under way says nothing to it."""
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
        """Leave to call the provider, or None. In half-open state only the first who asks gets it."""
        if self.state is State.CLOSED:
            return self.unconditional_permit
        since = self._opened_at if self.state is State.OPEN else self._probed_at
        if now < since + self._rules.half_open_timeout:
            return None
        self.state = State.HALF_OPEN
        self._probed_at = now
        return Permit(True, self.unconditional_permit.openings)

    def seconds_to_probe(self, now: float) -> float:
        """Seconds until a call may be let through; while a probe is under way, until another one may be."""
        if self.state is State.CLOSED:
            return 0.0
        since = self._probed_at if self.state is State.HALF_OPEN else self._opened_at
        return max(0.0, since + self._rules.half_open_timeout - now)

    def record(self, permit: Permit, outcome: Outcome, now: float) -> State | None:
        """The call has ended. Gives the new state where that changes it."""
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
        """Another replica has opened its breaker for this provider: open as well, as if at the same moment."""
        return self._open(since) if self.state is State.CLOSED else None

    def _record_probe(self, outcome: Outcome, now: float) -> State | None:
        before = self.state  # open already if another probe beside this one was neither
        if outcome is Outcome.SUCCESS:
            self._failures.clear()
            if self._calls is not None:
                self._calls = _CallCounts()
            self.state = State.CLOSED
        elif outcome is Outcome.FAILURE:
            self._open(now)
        else:
            self.state = State.OPEN  # since the same moment as before, so the next request is the probe
        return self.state if self.state is not before else None

    def _should_open(self, now: float) -> bool:
        failures = self._failures
        enough = len(failures) == self._rules.threshold and now - failures[0] <= self._rules.window
        return enough and (self._calls is None or self._calls.ratio(now) >= self._rules.ratio)

    def _open(self, now: float) -> State:
        self._opened_at = now
        self.unconditional_permit = Permit(False, self.unconditional_permit.openings + 1)
        self.state = State.OPEN
        return State.OPEN


class _CallCounts:
    """Calls and failures of the last seconds, counted by whole seconds."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int, int]] = deque(maxlen=RATIO_SECONDS + 1)  # second, calls, failures

    def copy(self) -> "_CallCounts":
        same = _CallCounts()
        same._seconds.extend(self._seconds)
        return same

    def add(self, failed: bool, now: float) -> None:
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            _, calls, failures = self._seconds.pop()
        else:
            calls = failures = 0
        self._seconds.append((second, calls + 1, failures + failed))

    def ratio(self, now: float) -> float:
        """The share of calls that failed; 0 where there were too few to tell."""
        recent = [one for one in self._seconds if one[0] > now - RATIO_SECONDS]
        calls = sum(one[1] for one in recent)
        return sum(one[2] for one in recent) / calls if calls >= RATIO_CALLS else 0.0
