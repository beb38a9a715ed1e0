"""Openings of circuit breakers, shared between replicas through Redis: a hint, never a dependency.

A replica whose breaker opens leaves a key that lives until its next probe; the others look about once a second, off the
path of requests, and open theirs for as long as that key has left to live, so nobody waits longer than the replica that
saw the failures. Each opening is acted upon once. What was opened by a hint is not told on, nor is a probe that failed:
else one replica that cannot reach a provider, for reasons of its own, would close it to all others for good.

Without Redis every replica goes by what it sees itself, as if this did not exist.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from nulpoint.redis_client.connection import RedisConnection, RedisUnavailable
from nulpoint.routing.breaker import Breaker, State

PREFIX = "nulpoint:breaker:"
PERIOD = 1.0  # seconds between two looks


class BreakerHints:
    """Of one replica, which `replica` names apart from all others. `breakers` by provider; `timeout` is theirs, in
    seconds; `hinted` is told of every breaker that was opened by a hint."""

    def __init__(
        self,
        redis: RedisConnection,
        breakers: Mapping[str, Breaker],
        replica: str,
        timeout: float,
        on_open: Callable[[str], None],
        period: float = PERIOD,
    ) -> None:
        self._redis = redis
        self._breakers = breakers
        self._replica = replica
        self._timeout = timeout
        self._on_open = on_open
        self._period = period
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._keys = [PREFIX + name for name in breakers]
        self._states = {name: breaker.state for name, breaker in breakers.items()}  # at the last look
        self._unreported: set[str] = set()
        self._handled: dict[str, bytes] = {}  # the newest opening of others, by provider

    def update(self, breakers: Mapping[str, Breaker], timeout: float) -> None:
        """Others from now on. What is known of those that stay is kept."""
        self._note_openings()
        self._breakers = breakers
        self._timeout = timeout
        self._keys = [PREFIX + name for name in breakers]
        self._states = {name: self._states.get(name, breaker.state) for name, breaker in breakers.items()}
        self._unreported &= breakers.keys()
        self._handled = {name: opening for name, opening in self._handled.items() if name in breakers}

    def start(self) -> None:
        """Begin, if that has not been done."""
        if self._task is None:
            self._task = self._loop.create_task(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self.exchange()
            await asyncio.sleep(self._period)

    async def exchange(self) -> None:
        """Tell of own openings and act upon those of others."""
        self._note_openings()
        if self._redis.up:
            await self._publish()
            await self._read_hints()

    def _note_openings(self) -> None:
        """Which breakers have opened by themselves since the last look."""
        for name, breaker in self._breakers.items():
            before, self._states[name] = self._states[name], breaker.state
            if before is State.CLOSED and breaker.state is State.OPEN:
                self._unreported.add(name)

    async def _publish(self) -> None:
        for name in tuple(self._unreported):
            breaker = self._breakers.get(name)
            if breaker is None:  # it went while the last one was told
                continue
            left = int(breaker.seconds_to_probe(self._loop.time()) * 1000) if breaker.state is State.OPEN else 0
            opening = f"{self._replica}:{breaker.unconditional_permit.openings}"
            if left == 0 or not _failed(await self._redis.call("SET", PREFIX + name, opening, "PX", left)):
                self._unreported.discard(name)

    async def _read_hints(self) -> None:
        breakers = self._breakers  # the answer is about these, should there be others when it comes
        values = await self._redis.call("MGET", *self._keys)
        if not isinstance(values, list):
            return
        own = self._replica.encode() + b":"
        for name, value in zip(breakers, values, strict=False):
            if isinstance(value, bytes) and not value.startswith(own) and value != self._handled.get(name):
                await self._apply_hint(name, value)

    async def _apply_hint(self, name: str, opening: bytes) -> None:
        left = await self._redis.call("PTTL", PREFIX + name)
        if not isinstance(left, int):
            return  # next time
        self._handled[name] = opening
        if left <= 0:  # gone by now; or without an end, which is none of ours
            return
        since = self._loop.time() - self._timeout + min(left, self._timeout * 1000) / 1000
        breaker = self._breakers.get(name)
        if breaker is not None and breaker.open_by_hint(since) is not None:
            self._states[name] = State.OPEN
            self._on_open(name)


def _failed(reply: Any) -> bool:
    return isinstance(reply, RedisUnavailable | Exception)
