"""Limits how much is in flight at once (admission control).

Further requests wait for a short time and are then rejected. Streams have a limit and a queue of their own, so that
streams which run for hours do not keep other requests out. The limit on bytes applies to both together.
"""

import asyncio
from collections import deque

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.http.coroutine_runner import WakeEvent
from nulpoint.http.deadlines import NEVER, DeadlineSweeper
from nulpoint.proxy.admission.memory_monitor import MemoryMonitor
from nulpoint.proxy.admission.overload import DrainRateEstimator, EventLoopLagMonitor

MAX_QUEUED = 1000  # requests that wait; the server holds them already, so this limits memory too
_MAX_EXPECTED_WAIT = 0.8  # of the longest wait; a request that is expected to wait longer is rejected at once


class AdmissionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits what is in flight. The fields have the names of the settings that they hold.

    `max_held_bytes` applies to all request bodies together. `queue_timeout` is in seconds.
    """

    max_requests: int = 10_000
    max_streams: int = 20_000
    max_held_bytes: int = 512 * 1024 * 1024
    queue_timeout: float = 1.0


class AdmissionController:
    """Admits requests up to the limits. Each admitted request must be released."""

    def __init__(self, limits: AdmissionLimits, deadlines: DeadlineSweeper, memory: MemoryMonitor) -> None:
        self._limits = limits
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._lag = EventLoopLagMonitor()
        self._memory = memory
        # The queues and their rates are kept by whether the requests are streams.
        self._waiting: dict[bool, deque[_QueuedRequest]] = {False: deque(), True: deque()}
        self._drain_rates = {False: DrainRateEstimator(), True: DrainRateEstimator()}
        deadlines.on_tick = self._sample
        self.closed = False  # if true, call `acquire`: other requests wait already, or none is admitted
        self.requests = 0  # in flight, without streams
        self.streams = 0
        self.held_bytes = 0

    def update_limits(self, limits: AdmissionLimits) -> None:
        """Apply new limits. Requests in flight stay, and queued ones continue to wait."""
        self._limits = limits
        self._admit_waiting()
        self._update_closed()

    def try_acquire(self, size: int, stream: bool) -> bool:
        """Admit a request if there is capacity. `size` is in bytes. One over the limit is admitted if it is alone."""
        limits = self._limits
        if self.held_bytes + size > limits.max_held_bytes and self.held_bytes:
            return False
        if stream:
            if self.streams >= limits.max_streams:
                return False
            self.streams += 1
        else:
            if self.requests >= limits.max_requests:
                return False
            self.requests += 1
        self.held_bytes += size
        return True

    async def acquire(self, size: int, stream: bool) -> None:
        """Wait until there is capacity, and admit the request.

        Raises Failure (503) if that takes too long. It is raised at once if a long wait is foreseeable, if the event
        loop is overloaded, or if memory is full.
        """
        if self._lag.overloaded:
            raise _overloaded("the gateway cannot keep up with its requests")
        if self._memory.full:
            raise _overloaded("the gateway's memory is nearly full")
        queue = self._waiting[stream]
        if not queue and self.try_acquire(size, stream):
            return
        waiter = self._enqueue(size, stream)
        try:
            while not waiter.admitted and not waiter.expired:
                await waiter.wakeup
        except BaseException:
            if waiter.admitted:
                self.release(size, stream)
            raise
        finally:
            self._deadlines.forget(waiter)
            if waiter in queue:
                queue.remove(waiter)
                self._admit_waiting()
            self._update_closed()
        if not waiter.admitted:
            raise _overloaded("too many requests are in flight")

    def _enqueue(self, size: int, stream: bool) -> "_QueuedRequest":
        """Put a request into the queue. Raises Failure (503) if the queue is full, or if it would wait in vain."""
        queue, rate, now = self._waiting[stream], self._drain_rates[stream], self._loop.time()
        hopeless = queue and rate.expected_wait(len(queue), now) > self._limits.queue_timeout * _MAX_EXPECTED_WAIT
        if hopeless or sum(map(len, self._waiting.values())) >= MAX_QUEUED or self._limits.queue_timeout <= 0:
            raise _overloaded("too many requests are in flight")
        if not queue:
            rate.start(now)
        waiter = _QueuedRequest(size, stream, now + self._limits.queue_timeout)
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
        """Admit as many queued requests as there is capacity for, in the order of each queue."""
        for stream, queue in self._waiting.items():
            while queue and self.try_acquire(queue[0].size, stream):
                waiter = queue.popleft()
                self._drain_rates[stream].slot_freed(self._loop.time())
                waiter.admitted = True
                waiter.wakeup.wake()

    def _sample(self, lag: float) -> None:
        self._lag.sample(lag)
        self._memory.sample(self._loop.time())
        self._update_closed()

    def _update_closed(self) -> None:
        self.closed = any(self._waiting.values()) or self._lag.overloaded or self._memory.full


class _QueuedRequest:
    """A request in the queue."""

    __slots__ = ("admitted", "deadline", "expired", "size", "stream", "wakeup")

    def __init__(self, size: int, stream: bool, deadline: float) -> None:
        self.size = size
        self.stream = stream
        self.deadline = deadline
        self.wakeup = WakeEvent()
        self.admitted = self.expired = False

    def on_deadline(self, now: float) -> None:
        self.expired = now >= self.deadline
        self.deadline = NEVER
        self.wakeup.wake()


def _overloaded(reason: str) -> Failure:
    text = f"{reason}; try again in a second"
    return Failure(Kind.OVERLOADED, 503, text, code="overloaded", retry_after=1.0)
