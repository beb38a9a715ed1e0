"""The cache in the memory of one process. It is limited in bytes and removes the least recently used entries first."""

from collections import Counter, OrderedDict
from typing import Any

import msgspec

# The bytes of memory one entry takes besides its value: the key, the dictionary and the objects (measured in a test).
OVERHEAD = 700


class CacheCounts(msgspec.Struct):
    """Counts the cache operations of a process.

    Successive caches of a process share it, because a counter must never decrease.
    """

    hits: int = 0
    misses: int = 0
    puts: int = 0
    evicted: int = 0
    replies: Counter[tuple[str, ...]] = msgspec.field(default_factory=Counter)  # for Redis, by operation and result

    def operations(self) -> Counter[tuple[str, ...]]:
        """Return the number of operations by operation (`get`, `set`) and result."""
        total: Counter[tuple[str, ...]] = Counter(self.replies)
        total.update({("get", "hit"): self.hits, ("get", "miss"): self.misses, ("set", "ok"): self.puts})
        return total


class _Entry(msgspec.Struct, gc=False):
    """A stored value and when it expires.

    The garbage collector ignores it (`gc=False`): it is never part of a cycle, and there may be a million of them.
    """

    value: Any
    expires: float
    size: int


class MemoryStore:
    """Stores values by key. Every operation takes constant time. Times are in seconds of one monotonic clock."""

    def __init__(self, max_bytes: int, counts: CacheCounts | None = None) -> None:
        """Make an empty store. `counts` are the ones to continue with."""
        self.max_bytes = max_bytes
        self.counts = counts or CacheCounts()
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> Any:
        """Return the value, or None. An expired entry is removed when it is looked up or when room is needed."""
        entry = self._entries.get(key)
        if entry is None:
            self.counts.misses += 1
            return None
        if entry.expires <= now:
            self._remove(key)
            self.counts.misses += 1
            return None
        self.counts.hits += 1
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: bytes, value: Any, size: int, ttl: float, now: float) -> None:
        """Store a value of `size` bytes for `ttl` seconds, unless it is larger than the whole cache."""
        if key in self._entries:
            self._remove(key)
        size += OVERHEAD
        if size > self.max_bytes:
            return
        self.bytes += size
        self.counts.puts += 1
        self._entries[key] = _Entry(value, now + ttl, size)
        if self.bytes > self.max_bytes:
            self._make_room()

    def resize(self, max_bytes: int) -> None:
        """Change the size limit and remove what exceeds it."""
        self.max_bytes = max_bytes
        self._make_room()

    def _make_room(self) -> None:
        while self.bytes > self.max_bytes:
            self.counts.evicted += 1
            self._remove(next(iter(self._entries)))

    def _remove(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.size
