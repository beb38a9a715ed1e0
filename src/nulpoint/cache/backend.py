"""Where kept answers and vectors are: in this process, or in Redis.

A key belongs to one kind of value for ever: the fingerprint it is made of holds the route.
"""

from collections.abc import Awaitable, Generator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from nulpoint.cache.embeddings import CachedVector
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.memory import CacheCounts, MemoryStore

T = TypeVar("T", CacheEntry, CachedVector)
V = TypeVar("V")


class Cache(Protocol):
    """`now` and `ttl` are in seconds of the loop's clock. `memory`: where values can be had without waiting."""

    @property
    def memory(self) -> MemoryStore | None: ...

    def get(self, keys: Sequence[bytes], kind: type[T], now: float) -> Awaitable[dict[bytes, T]]:
        """Those of the values that are there. The question is on its way when this returns.

        What it gives may be awaited in a strand, or left alone; it never raises.
        """

    def put(self, values: Mapping[bytes, T], ttl: float, now: float) -> None:
        """Keep the values, at some time soon."""


class CompletedLookup(Generic[V]):
    """An awaitable that has its value already."""

    __slots__ = ("_value",)

    def __init__(self, value: V) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, V]:
        yield from ()
        return self._value


class MemoryCache:
    def __init__(self, max_bytes: int, counts: CacheCounts | None = None) -> None:
        self.memory = MemoryStore(max_bytes, counts)

    def get(self, keys: Sequence[bytes], kind: type[T], now: float) -> CompletedLookup[dict[bytes, T]]:
        found = {}
        for key in keys:
            value = self.memory.get(key, now)
            if value is not None:
                found[key] = value
        return CompletedLookup(found)

    def put(self, values: Mapping[bytes, T], ttl: float, now: float) -> None:
        for key, value in values.items():
            self.memory.put(key, value, value.size, ttl, now)
