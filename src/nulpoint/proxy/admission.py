"""How much may be in flight at once. Beyond it requests wait a short while for a place, and then are refused.

Streams and other requests have places, and queues, of their own: streams that fill theirs for hours keep no other
request out. The bytes that are held are of both.
"""

import asyncio
from collections import deque

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.http.coroutine_runner import WakeEvent
from nulpoint.http.deadlines import NEVER, DeadlineSweeper
from nulpoint.proxy.memory_monitor import MemoryMonitor
from nulpoint.proxy.overload import DrainRateEstimator, EventLoopLagMonitor

WAITERS = 1000  # requests that wait for a place; held by the server already, so this bounds memory too
_HOPE = 0.8  # of the longest wait; who would wait longer by today's pace is refused at once, not at the end of it


class AdmissionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`held_bytes`: of the bodies of requests in flight. `wait` in seconds."""

    requests: int = 10_000
    streams: int = 20_000
    held_bytes: int = 512 * 1024 * 1024
    wait: float = 1.0


class AdmissionController:
    """Every request that is let in must leave."""

    def __init__(self, limits: AdmissionLimits, deadlines: DeadlineSweeper, memory: MemoryMonitor) -> None:
        self._limits = limits
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._lag = EventLoopLagMonitor()
        self._memory = memory
        self._waiting: dict[bool, deque[_QueuedRequest]] = {
            False: deque(),
            True: deque(),
        }  # by whether they are streams
        self._drain_rates = {False: DrainRateEstimator(), True: DrainRateEstimator()}
        deadlines.on_tick = self._sample
        self.closed = False  # requests wait already, or nothing is taken at all: `take` must not be asked
        self.requests = 0  # in flight, streams not included
        self.streams = 0
        self.held_bytes = 0

    def update_limits(self, limits: AdmissionLimits) -> None:
        """Other limits count from now on. Whoever is inside stays, whoever waits goes on waiting."""
        self._limits = limits
        self._admit_waiting()
        self._update_closed()

    def try_acquire(self, size: int, stream: bool) -> bool:
        """Take a place if there is one. `size` in bytes. A request larger than the limit itself still passes, alone."""
        limits = self._limits
        if self.held_bytes + size > limits.held_bytes and self.held_bytes:
            return False
        if stream:
            if self.streams >= limits.streams:
                return False
            self.streams += 1
        else:
            if self.requests >= limits.requests:
                return False
            self.requests += 1
        self.held_bytes += size
        return True

    async def acquire(self, size: int, stream: bool) -> None:
        """Take a place as soon as there is one.

        Raises Failure (503) when that is not soon: at once where it can be foreseen, and while the event loop cannot
        keep up or memory is full.
        """
        if self._lag.overloaded:
            raise _full("the gateway cannot keep up with its requests")
        if self._memory.full:
            raise _full("the gateway's memory is nearly full")
        queue = self._waiting[stream]
        if not queue and self.try_acquire(size, stream):
            return
        waiter = self._enqueue(size, stream)
        try:
            while not waiter.inside and not waiter.expired:
                await waiter.signal
        except BaseException:
            if waiter.inside:
                self.release(size, stream)
            raise
        finally:
            self._deadlines.forget(waiter)
            if waiter in queue:
                queue.remove(waiter)
                self._admit_waiting()
            self._update_closed()
        if not waiter.inside:
            raise _full("too many requests are in flight")

    def _enqueue(self, size: int, stream: bool) -> "_QueuedRequest":
        """Raises Failure (503) where nobody more can wait, or would wait in vain."""
        queue, pace, now = self._waiting[stream], self._drain_rates[stream], self._loop.time()
        hopeless = queue and pace.wait(len(queue), now) > self._limits.wait * _HOPE
        if hopeless or sum(map(len, self._waiting.values())) >= WAITERS or self._limits.wait <= 0:
            raise _full("too many requests are in flight")
        if not queue:
            pace.begin(now)
        waiter = _QueuedRequest(size, stream, now + self._limits.wait)
        queue.append(waiter)
        self.closed = True
        self._deadlines.watch(waiter)
        return waiter

    def release(self, size: int, stream: bool) -> None:
        self.held_bytes -= size
        if stream:
            self.streams -= 1
        else:
            self.requests -= 1
        if self.closed:
            self._admit_waiting()

    def _admit_waiting(self) -> None:
        """Those who wait, as far as there is room for them: of each queue in order."""
        for stream, queue in self._waiting.items():
            while queue and self.try_acquire(queue[0].size, stream):
                waiter = queue.popleft()
                self._drain_rates[stream].slot_freed(self._loop.time())
                waiter.inside = True
                waiter.signal.wake()

    def _sample(self, lag: float) -> None:
        self._lag.sample(lag)
        self._memory.sample(self._loop.time())
        self._update_closed()

    def _update_closed(self) -> None:
        self.closed = any(self._waiting.values()) or self._lag.overloaded or self._memory.full


class _QueuedRequest:
    """One request's place in the queue."""

    __slots__ = ("deadline", "expired", "inside", "signal", "size", "stream")

    def __init__(self, size: int, stream: bool, deadline: float) -> None:
        self.size = size
        self.stream = stream
        self.deadline = deadline
        self.signal = WakeEvent()
        self.inside = self.expired = False

    def on_deadline(self, now: float) -> None:
        self.deadline = NEVER
        self.expired = True
        self.signal.wake()


def _full(what: str) -> Failure:
    text = f"{what}; try again in a second"
    return Failure(Kind.OVERLOADED, 503, text, code="overloaded", retry_after=1.0)
