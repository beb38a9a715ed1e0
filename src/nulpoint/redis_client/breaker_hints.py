"""Shares the openings of circuit breakers between replicas through Redis, as hints.

A replica whose breaker opens sets a key that expires when its next probe is due. The other replicas read these keys
about once a second, independently of requests, and open their breakers for the remaining lifetime of the key, so none
waits longer than the replica that saw the failures. Each opening is applied once. A breaker that was opened by a hint
is not published again, nor is a failed probe: otherwise one replica that cannot reach a provider for reasons of its own
would switch it off for all others for good.

Without Redis every replica only acts on the failures it sees itself.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from nulpoint.redis_client.connection import RedisConnection, RedisUnavailable
from nulpoint.routing.breaker import Breaker, State

PREFIX = "nulpoint:breaker:"
PERIOD = 1.0  # seconds between two exchanges


class BreakerHints:
    """Publishes and applies the hints of one replica.

    `breakers` are by provider, and `timeout` is their half-open timeout in seconds. `replica` is a name that no other
    replica has. `on_open` is called with the provider of every breaker that a hint has opened.
    """

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
        self._states = {name: breaker.state for name, breaker in breakers.items()}  # at the last exchange
        self._unreported: set[str] = set()
        self._handled: dict[str, bytes] = {}  # the newest opening by another replica that was applied, by provider

    def update(self, breakers: Mapping[str, Breaker], timeout: float) -> None:
        """Replace the breakers. The state of providers that stay is kept."""
        self._note_openings()
        self._breakers = breakers
        self._timeout = timeout
        self._keys = [PREFIX + name for name in breakers]
        self._states = {name: self._states.get(name, breaker.state) for name, breaker in breakers.items()}
        self._unreported &= breakers.keys()
        self._handled = {name: opening for name, opening in self._handled.items() if name in breakers}

    def start(self) -> None:
        """Start the exchange in the background, unless it is running."""
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
        """Publish the openings of this replica and apply those of others."""
        self._note_openings()
        if self._redis.up:
            await self._publish()
            await self._read_hints()

    def _note_openings(self) -> None:
        """Note the breakers that have opened by themselves since the last exchange."""
        for name, breaker in self._breakers.items():
            before, self._states[name] = self._states[name], breaker.state
            if before is State.CLOSED and breaker.state is State.OPEN:
                self._unreported.add(name)

    async def _publish(self) -> None:
        for name in tuple(self._unreported):
            breaker = self._breakers.get(name)
            if breaker is None:  # it was removed while the previous one was published
                continue
            remaining = int(breaker.seconds_to_probe(self._loop.time()) * 1000) if breaker.state is State.OPEN else 0
            opening = f"{self._replica}:{breaker.unconditional_permit.openings}"
            if remaining == 0 or not _failed(await self._redis.call("SET", PREFIX + name, opening, "PX", remaining)):
                self._unreported.discard(name)

    async def _read_hints(self) -> None:
        breakers = self._breakers  # the reply is about these, even if they are replaced meanwhile
        values = await self._redis.call("MGET", *self._keys)
        if not isinstance(values, list):
            return
        own_prefix = self._replica.encode() + b":"
        for name, value in zip(breakers, values, strict=False):
            if isinstance(value, bytes) and not value.startswith(own_prefix) and value != self._handled.get(name):
                await self._apply_hint(name, value)

    async def _apply_hint(self, name: str, opening: bytes) -> None:
        remaining = await self._redis.call("PTTL", PREFIX + name)
        if not isinstance(remaining, int):
            return  # try again at the next exchange
        self._handled[name] = opening
        if remaining <= 0:  # it has expired, or never expires and so was not set by a replica
            return
        since = self._loop.time() - self._timeout + min(remaining, self._timeout * 1000) / 1000
        breaker = self._breakers.get(name)
        if breaker is not None and breaker.open_by_hint(since) is not None:
            self._states[name] = State.OPEN
            self._on_open(name)


def _failed(reply: Any) -> bool:
    return isinstance(reply, RedisUnavailable | Exception)
