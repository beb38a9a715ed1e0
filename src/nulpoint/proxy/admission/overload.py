"""Estimates whether the gateway is overloaded, by the lag of its event loop, and how long requests will queue.

The latency of providers is not used, because it depends on how long their responses are.
"""

from collections import deque

MAX_LAG = 0.1  # seconds; an event loop with more lag is overloaded
SAMPLES = 10  # in a row must exceed that, which is one second at ten samples a second


class EventLoopLagMonitor:
    """Watches the lag of the event loop, as measured at each tick of a timer."""

    __slots__ = ("_samples", "overloaded")

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self.overloaded = False

    def sample(self, lag: float) -> None:
        """Add the lag of one tick in seconds. A single tick in time ends an overload."""
        self._samples.append(lag)
        self.overloaded = len(self._samples) == SAMPLES and min(self._samples) > MAX_LAG


MIN_RELEASES = 8  # before these, the rate is not known
_WINDOW = 256  # releases; after this many, the older ones count half


class DrainRateEstimator:
    """Measures how fast capacity is released while requests wait for it."""

    __slots__ = ("_freed", "_since")

    def __init__(self) -> None:
        self._since = 0.0
        self._freed = 0

    def start(self, now: float) -> None:
        """Start measuring, because the first request is waiting now."""
        self._since = now
        self._freed = 0

    def slot_freed(self, now: float) -> None:
        """Count a request that has left the queue."""
        self._freed += 1
        if self._freed >= _WINDOW:
            self._freed //= 2
            self._since = (self._since + now) / 2

    def expected_wait(self, ahead: int, now: float) -> float:
        """Return the seconds that a request with this many others `ahead` will wait; 0 if that is not known yet."""
        if self._freed < MIN_RELEASES:
            return 0.0
        return (ahead + 1) * (now - self._since) / self._freed
