"""The cache of one process: bounded in bytes, the least recently used goes first."""

from collections import Counter, OrderedDict
from typing import Any

import msgspec

# What one entry takes besides the bytes it holds: key, place in the order, records, numbers (measured, and a test).
OVERHEAD = 700


class CacheCounts(msgspec.Struct):
    """Of all the caches that a process has, one after another: what has been counted never becomes less."""

    hits: int = 0
    misses: int = 0
    puts: int = 0
    evicted: int = 0
    replies: Counter[tuple[str, ...]] = msgspec.field(default_factory=Counter)  # of Redis, by operation and result

    def operations(self) -> Counter[tuple[str, ...]]:
        """How often what has happened: by operation (`get`, `set`) and result."""
        total: Counter[tuple[str, ...]] = Counter(self.replies)
        total.update({("get", "hit"): self.hits, ("get", "miss"): self.misses, ("set", "ok"): self.puts})
        return total


class _Entry(msgspec.Struct, gc=False):
    """`gc`: it is part of no cycle, and a million of them would be walked again and again."""

    value: Any
    expires: float
    size: int
    number: int  # of the `put` that made it


class MemoryStore:
    """Values by key. An operation takes the same time, however many there are. Times in seconds, of any one clock."""

    def __init__(self, max_bytes: int, counts: CacheCounts | None = None) -> None:
        """`counts`: those to go on with."""
        self.max_bytes = max_bytes
        self.counts = counts or CacheCounts()
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self.bytes = 0
        self._numbers = 0  # given out

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> Any:
        """The value, or None. An entry that has expired goes when it is asked for, or when its turn comes."""
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

    def number(self, key: bytes) -> int:
        """Tells the value of a key from all others it ever has; 0 for none."""
        entry = self._entries.get(key)
        return 0 if entry is None else entry.number

    def same(self, key: bytes, number: int, now: float) -> Any:
        """The value that has this number, if it is still there; None does not count as a miss."""
        entry = self._entries.get(key)
        if entry is None or entry.number != number or entry.expires <= now:
            return None
        self.counts.hits += 1
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: bytes, value: Any, size: int, ttl: float, now: float) -> None:
        """Keep a value of `size` bytes for `ttl` seconds; one larger than the whole cache is not kept."""
        if key in self._entries:
            self._remove(key)
        size += OVERHEAD
        if size > self.max_bytes:
            return
        self.bytes += size
        self.counts.puts += 1
        self._numbers += 1
        self._entries[key] = _Entry(value, now + ttl, size, self._numbers)
        if self.bytes > self.max_bytes:
            self._make_room()

    def resize(self, max_bytes: int) -> None:
        """Another bound from now on; what is beyond it goes."""
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
