"""Whether the gateway itself is overloaded, told by how late its event loop runs. Pure.

The latency of providers says nothing about that: it measures how long their answers are.
"""

from collections import deque

LATE = 0.1  # seconds; a loop that is later than this cannot keep up
SAMPLES = 10  # in a row must be late; at ten a second, a second


class LagWatch:
    """Fed with every tick's lateness."""

    __slots__ = ("_samples", "overloaded")

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self.overloaded = False

    def sample(self, lag: float) -> None:
        """`lag`: seconds by which the tick came late. One tick in time ends an overload."""
        self._samples.append(lag)
        self.overloaded = len(self._samples) == SAMPLES and min(self._samples) > LATE
