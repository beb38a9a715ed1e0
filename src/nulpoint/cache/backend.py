"""The interface of a cache backend, and the backend in the memory of this process.

The other backend, in Redis, is in `redis.py`. A key always belongs to the same type of value, because the route is part
of the fingerprint it is made from.
"""

from collections.abc import Awaitable, Generator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from nulpoint.cache.embeddings import CachedVector
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.memory import CacheCounts, MemoryStore

T = TypeVar("T", CacheEntry, CachedVector)
V = TypeVar("V")


class Cache(Protocol):
    """Stores responses and vectors by key.

    `now` and `ttl` are in seconds of the event loop's clock. `memory` has the values if they can be read without
    waiting, else it is None.
    """

    @property
    def memory(self) -> MemoryStore | None: ...

    def get(self, keys: Sequence[bytes], kind: type[T], now: float) -> Awaitable[dict[bytes, T]]:
        """Return the stored values by key. The lookup has started when this returns.

        The result may be awaited, also in a CoroutineRunner, or ignored. It never raises.
        """

    def put(self, values: Mapping[bytes, T], ttl: float, now: float) -> None:
        """Store the values, at once or soon."""


class CompletedLookup(Generic[V]):
    """An awaitable that yields its value without waiting."""

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
        values = {}
        for key in keys:
            value = self.memory.get(key, now)
            if value is not None:
                values[key] = value
        return CompletedLookup(values)

    def put(self, values: Mapping[bytes, T], ttl: float, now: float) -> None:
        for key, value in values.items():
            self.memory.put(key, value, value.size, ttl, now)
