"""Whether the gateway itself is overloaded, told by how late its event loop runs, and how long a queue is. Pure.

The latency of providers says nothing about that: it measures how long their answers are.
"""

from collections import deque

LATE = 0.1  # seconds; a loop that is later than this cannot keep up
SAMPLES = 10  # in a row must be late; at ten a second, a second


class EventLoopLagMonitor:
    """Fed with every tick's lateness."""

    __slots__ = ("_samples", "overloaded")

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self.overloaded = False

    def sample(self, lag: float) -> None:
        """`lag`: seconds by which the tick came late. One tick in time ends an overload."""
        self._samples.append(lag)
        self.overloaded = len(self._samples) == SAMPLES and min(self._samples) > LATE


KNOWN = 8  # places must have come free before a pace is known
_REMEMBERED = 256  # places; then the older half counts less and less


class DrainRateEstimator:
    """How fast places come free, since somebody waits for one."""

    __slots__ = ("_freed", "_since")

    def __init__(self) -> None:
        self._since = 0.0
        self._freed = 0

    def begin(self, now: float) -> None:
        """The first one waits."""
        self._since = now
        self._freed = 0

    def slot_freed(self, now: float) -> None:
        """Somebody who waited has got a place."""
        self._freed += 1
        if self._freed >= _REMEMBERED:
            self._freed //= 2
            self._since = (self._since + now) / 2

    def wait(self, ahead: int, now: float) -> float:
        """About how many seconds one will wait who has so many `ahead`; 0 while that is not known."""
        if self._freed < KNOWN:
            return 0.0
        return (ahead + 1) * (now - self._since) / self._freed
