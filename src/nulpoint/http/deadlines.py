"""Deadlines by one coarse timer instead of one timer a request.

A loop timer costs a heap insertion and a cancellation for each wait (several per cent of a proxied request).
Here every connection just keeps its current deadline in an attribute and one tick, ten times a second, looks at all
of them: 10,000 connections take about half a millisecond a tick. Deadlines are met late by up to `TICK`.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Protocol

TICK = 0.1  # seconds
NEVER = float("inf")


class HasDeadline(Protocol):
    """Something with a deadline in loop time (seconds), and what happens when it passes."""

    deadline: float

    def on_deadline(self, now: float) -> None: ...


def _ignore(lag: float) -> None: ...


class DeadlineSweeper:
    """Watches connections and keeps the `Date` header's value (RFC 9110, 6.6.1), renewed once a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: set[HasDeadline] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._date_at = -1.0
        self.date = b""
        self.unix = 0.0  # seconds of the calendar, at the last tick
        self._expected = loop.time()
        self.on_tick: Callable[[float], None] = _ignore  # told by how many seconds the tick was late
        self._tick()

    def watch(self, timed: HasDeadline) -> None:
        self._watched.add(timed)

    def forget(self, timed: HasDeadline) -> None:
        self._watched.discard(timed)

    def watched(self) -> Iterable[HasDeadline]:
        return tuple(self._watched)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _tick(self) -> None:
        now = self._loop.time()
        self.on_tick(now - self._expected)
        self.unix = datetime.now(UTC).timestamp()
        if now - self._date_at >= 1.0:
            self._date_at = now
            self.date = formatdate(usegmt=True).encode()
        expired = [timed for timed in self._watched if timed.deadline <= now]
        for timed in expired:
            timed.on_deadline(now)
        self._expected = self._loop.time() + TICK
        self._handle = self._loop.call_later(TICK, self._tick)
