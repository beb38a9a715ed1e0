"""Where kept answers and vectors are: in this process, in Redis, or nowhere.

A key belongs to one kind of value for ever: the fingerprint it is made of holds the route.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from nulpoint.stores.memory import Memory
from nulpoint.wire.answer import Answer
from nulpoint.wire.embedding_batch import Vector

T = TypeVar("T", Answer, Vector)


class Cache(Protocol):
    """`now` and `ttl` are in seconds of the loop's clock."""

    async def get(self, keys: Sequence[bytes], kind: type[T], now: float) -> dict[bytes, T]:
        """Those of the values that are there. May be awaited in a strand and never raises."""

    def put(self, values: Mapping[bytes, T], ttl: float, now: float) -> None:
        """Keep the values, at some time soon."""


class NoCache:
    async def get(self, keys: Sequence[bytes], kind: type[T], now: float) -> dict[bytes, T]:
        return {}

    def put(self, values: Mapping[bytes, T], ttl: float, now: float) -> None:
        pass


class MemoryCache:
    def __init__(self, max_bytes: int) -> None:
        self.memory = Memory(max_bytes)

    async def get(self, keys: Sequence[bytes], kind: type[T], now: float) -> dict[bytes, T]:
        found = {}
        for key in keys:
            value = self.memory.get(key, now)
            if value is not None:
                found[key] = value
        return found

    def put(self, values: Mapping[bytes, T], ttl: float, now: float) -> None:
        for key, value in values.items():
            self.memory.put(key, value, value.size, ttl, now)
