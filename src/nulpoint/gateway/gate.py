"""How much may be in flight at once. Beyond it requests wait a short while for a place, and then are refused."""

import asyncio
from collections import deque

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.http.strand import Signal
from nulpoint.http.ticker import NEVER, Ticker
from nulpoint.routing.overload import LagWatch, Pace

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

    def __init__(self, limits: GateLimits, ticker: Ticker) -> None:
        self._limits = limits
        self._ticker = ticker
        self._loop = asyncio.get_running_loop()
        self._lag = LagWatch()
        self._waiting: deque[_Waiter] = deque()
        self._pace = Pace()
        ticker.on_tick = self._sample
        self.closed = False  # requests wait already, or the event loop cannot keep up: `take` must not be asked
        self.requests = 0  # in flight, streams not included
        self.streams = 0
        self.held_bytes = 0

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

        Raises Failure (503) when that is not soon: at once where it can be foreseen, or while the event loop cannot
        keep up.
        """
        if self._lag.overloaded:
            raise _full("the gateway cannot keep up with its requests")
        ahead, longest, now = len(self._waiting), self._limits.wait, self._loop.time()
        if ahead >= WAITERS or longest <= 0 or self._pace.wait(ahead, now) > longest * _HOPE:
            raise _full("too many requests are in flight")
        if not ahead:
            self._pace.begin(now)
        waiter = _Waiter(size, stream, now + longest)
        self._waiting.append(waiter)
        self.closed = True
        self._ticker.watch(waiter)
        try:
            while not waiter.inside and not waiter.expired:
                await waiter.signal
        except BaseException:
            if waiter.inside:
                self.leave(size, stream)
            raise
        finally:
            self._ticker.forget(waiter)
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            self._open_or_close()
        if not waiter.inside:
            raise _full("too many requests are in flight")

    def leave(self, size: int, stream: bool) -> None:
        self.held_bytes -= size
        if stream:
            self.streams -= 1
        else:
            self.requests -= 1
        while self._waiting and self.take(self._waiting[0].size, self._waiting[0].stream):
            waiter = self._waiting.popleft()
            self._pace.freed(self._loop.time())
            waiter.inside = True
            waiter.signal.wake()

    def _sample(self, lag: float) -> None:
        self._lag.sample(lag)
        self._open_or_close()

    def _open_or_close(self) -> None:
        self.closed = bool(self._waiting) or self._lag.overloaded


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
