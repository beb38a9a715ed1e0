"""How much may be in flight at once. Beyond it requests wait a short while for a place, and then are refused.

Streams and other requests have places, and queues, of their own: streams that fill theirs for hours keep no other
request out. The bytes that are held are of both.
"""

import asyncio
from collections import deque

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.proxy.memory_monitor import MemoryWatch
from nulpoint.http.coroutine_runner import Signal
from nulpoint.http.deadlines import NEVER, Ticker
from nulpoint.proxy.overload import LagWatch, Pace

WAITERS = 1000  # requests that wait for a place; held by the server already, so this bounds memory too
_HOPE = 0.8  # of the longest wait; who would wait longer by today's pace is refused at once, not at the end of it


class GateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`held_bytes`: of the bodies of requests in flight. `wait` in seconds."""

    requests: int = 10_000
    streams: int = 20_000
    held_bytes: int = 512 * 1024 * 1024
    wait: float = 1.0


class Gate:
    """Every request that is let in must leave."""

    def __init__(self, limits: GateLimits, ticker: Ticker, memory: MemoryWatch) -> None:
        self._limits = limits
        self._ticker = ticker
        self._loop = asyncio.get_running_loop()
        self._lag = LagWatch()
        self._memory = memory
        self._waiting: dict[bool, deque[_Waiter]] = {False: deque(), True: deque()}  # by whether they are streams
        self._paces = {False: Pace(), True: Pace()}
        ticker.on_tick = self._sample
        self.closed = False  # requests wait already, or nothing is taken at all: `take` must not be asked
        self.requests = 0  # in flight, streams not included
        self.streams = 0
        self.held_bytes = 0

    def renew(self, limits: GateLimits) -> None:
        """Other limits count from now on. Whoever is inside stays, whoever waits goes on waiting."""
        self._limits = limits
        self._let_in()
        self._open_or_close()

    def take(self, size: int, stream: bool) -> bool:
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

    async def wait(self, size: int, stream: bool) -> None:
        """Take a place as soon as there is one.

        Raises Failure (503) when that is not soon: at once where it can be foreseen, and while the event loop cannot
        keep up or memory is full.
        """
        if self._lag.overloaded:
            raise _full("the gateway cannot keep up with its requests")
        if self._memory.full:
            raise _full("the gateway's memory is nearly full")
        queue = self._waiting[stream]
        if not queue and self.take(size, stream):
            return
        waiter = self._line_up(size, stream)
        try:
            while not waiter.inside and not waiter.expired:
                await waiter.signal
        except BaseException:
            if waiter.inside:
                self.leave(size, stream)
            raise
        finally:
            self._ticker.forget(waiter)
            if waiter in queue:
                queue.remove(waiter)
                self._let_in()
            self._open_or_close()
        if not waiter.inside:
            raise _full("too many requests are in flight")

    def _line_up(self, size: int, stream: bool) -> "_Waiter":
        """Raises Failure (503) where nobody more can wait, or would wait in vain."""
        queue, pace, now = self._waiting[stream], self._paces[stream], self._loop.time()
        hopeless = queue and pace.wait(len(queue), now) > self._limits.wait * _HOPE
        if hopeless or sum(map(len, self._waiting.values())) >= WAITERS or self._limits.wait <= 0:
            raise _full("too many requests are in flight")
        if not queue:
            pace.begin(now)
        waiter = _Waiter(size, stream, now + self._limits.wait)
        queue.append(waiter)
        self.closed = True
        self._ticker.watch(waiter)
        return waiter

    def leave(self, size: int, stream: bool) -> None:
        self.held_bytes -= size
        if stream:
            self.streams -= 1
        else:
            self.requests -= 1
        if self.closed:
            self._let_in()

    def _let_in(self) -> None:
        """Those who wait, as far as there is room for them: of each queue in order."""
        for stream, queue in self._waiting.items():
            while queue and self.take(queue[0].size, stream):
                waiter = queue.popleft()
                self._paces[stream].freed(self._loop.time())
                waiter.inside = True
                waiter.signal.wake()

    def _sample(self, lag: float) -> None:
        self._lag.sample(lag)
        self._memory.look(self._loop.time())
        self._open_or_close()

    def _open_or_close(self) -> None:
        self.closed = any(self._waiting.values()) or self._lag.overloaded or self._memory.full


class _Waiter:
    """One request's place in the queue."""

    __slots__ = ("deadline", "expired", "inside", "signal", "size", "stream")

    def __init__(self, size: int, stream: bool, deadline: float) -> None:
        self.size = size
        self.stream = stream
        self.deadline = deadline
        self.signal = Signal()
        self.inside = self.expired = False

    def expire(self, now: float) -> None:
        self.deadline = NEVER
        self.expired = True
        self.signal.wake()


def _full(what: str) -> Failure:
    text = f"{what}; try again in a second"
    return Failure(Kind.OVERLOADED, 503, text, code="overloaded", retry_after=1.0)
