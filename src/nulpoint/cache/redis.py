"""The cache that replicas share.

A value in Redis says which key it belongs to and of what version it is, and is believed only if both are right: what
another program, another version or a broken connection left there is a miss.
"""

import asyncio
import math
import zlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from nulpoint.cache.embeddings import CachedVector
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.memory import CacheCounts
from nulpoint.formats.malformed import MALFORMED
from nulpoint.redis_client.connection import TIMEOUT, RedisConnection, RedisUnavailable

T = TypeVar("T", CacheEntry, CachedVector)

VERSION = b"np1"  # a change of Answer, of Vector or of the fingerprint is another version
PREFIX = b"nulpoint:cache:"
_PLAIN, _PACKED = b"-", b"z"
_HEADER = len(VERSION) + 32 + 1
_WORTH_PACKING = 512  # bytes; a second stream chunk or a few sentences
_MAX_BYTES = 16 * 1024 * 1024  # of a value when unpacked
# Of one command: what Redis and the event loop can do in a few milliseconds, with vectors of 30 kB.
KEYS_AT_ONCE = 128
BYTES_AT_ONCE = 1024 * 1024


def seal(key: bytes, payload: bytes, compress: bool = True) -> bytes:
    """The value as it stands in Redis: with `pack` compressed where that saves a tenth or more."""
    if compress and len(payload) >= _WORTH_PACKING:
        packed = zlib.compress(payload, 1)
        if len(packed) <= len(payload) * 0.9:
            return VERSION + key + _PACKED + packed
    return VERSION + key + _PLAIN + payload


def unseal(key: bytes, value: object) -> bytes | None:
    """The payload of what Redis gave for `key`; None where it is anything else."""
    if not isinstance(value, bytes) or not value.startswith(VERSION + key):
        return None
    kind, payload = value[_HEADER - 1 : _HEADER], value[_HEADER:]
    if kind == _PLAIN:
        return payload
    return _unpacked(payload) if kind == _PACKED else None


def _unpacked(payload: bytes) -> bytes | None:
    decoder = zlib.decompressobj()
    try:
        plain = decoder.decompress(payload, _MAX_BYTES)
    except zlib.error:
        return None
    return plain if decoder.eof and not decoder.unused_data else None


class RedisCache:
    memory = None

    def __init__(self, redis: RedisConnection, counts: CacheCounts | None = None) -> None:
        """`counts`: those to go on with."""
        self._redis = redis
        self.counts = counts or CacheCounts()

    def get(self, keys: Sequence[bytes], kind: type[T], now: float) -> "_Lookup[T]":
        """One round trip; several where there are many keys, but never longer than a single one may take."""
        return _Lookup(self, keys, kind)

    def send_get(self, keys: Sequence[bytes]) -> "asyncio.Future[Any]":
        return self._redis.call("MGET", *map(_name, keys))

    def read_reply(self, keys: Sequence[bytes], reply: object, kind: type[T]) -> dict[bytes, T]:
        """The values of a reply that are there and ours. What is there and none of ours is a miss, counted."""
        found = {}
        for key, value in zip(keys, reply if isinstance(reply, list) else [], strict=False):
            if value is not None:
                decoded = _decoded(key, value, kind)
                if decoded is not None:
                    found[key] = decoded
                else:
                    self._count("get", "garbage")
        self._count("get", "hit", len(found))
        self._count("get", "miss", len(keys) - len(found))
        return found

    def lookup_failed(self) -> None:
        """A lookup had no reply."""
        self._count("get", "error")

    def put(self, values: Mapping[bytes, T], ttl: float, now: float) -> None:
        self._put([*values.items()], max(1, int(ttl * 1000)))

    def _put(self, values: list[tuple[bytes, T]], milliseconds: int) -> None:
        """As much as goes at once; the rest when that has been done."""
        size = 0
        last = None
        while values and size < BYTES_AT_ONCE:
            key, value = values.pop()
            # Vectors are digits without a pattern: a third of a millisecond of each would save a quarter of it.
            sealed = seal(key, msgspec.msgpack.encode(value), compress=not isinstance(value, CachedVector))
            size += len(sealed)
            last = self._redis.call("SET", _name(key), sealed, "PX", milliseconds)
            last.add_done_callback(self._count_put)
        if values and last is not None:
            last.add_done_callback(lambda last: self._put_rest(last.result(), values, milliseconds))

    def _put_rest(self, reply: object, values: list[tuple[bytes, T]], milliseconds: int) -> None:
        if not isinstance(reply, RedisUnavailable):
            self._put(values, milliseconds)

    def _count_put(self, done: "asyncio.Future[Any]") -> None:
        self._count("set", "error" if isinstance(done.result(), RedisUnavailable) else "ok")

    def _count(self, operation: str, result: str, times: int = 1) -> None:
        self.counts.replies[operation, result] += times


class _Lookup(Generic[T]):
    """On its way from the beginning; its reply is read when it is awaited."""

    __slots__ = ("_cache", "_keys", "_kind", "_reply")

    def __init__(self, cache: RedisCache, keys: Sequence[bytes], kind: type[T]) -> None:
        self._cache = cache
        self._keys = keys
        self._kind: type[T] = kind
        self._reply = cache.send_get(keys[:KEYS_AT_ONCE])

    def __await__(self) -> Generator[Any, None, dict[bytes, T]]:
        cache, keys = self._cache, self._keys
        found: dict[bytes, T] = {}
        time = asyncio.get_running_loop().time
        end = time() + TIMEOUT
        for start in range(0, len(keys), KEYS_AT_ONCE):
            some = keys[start : start + KEYS_AT_ONCE]
            if start:
                if time() > end:
                    break
                self._reply = cache.send_get(some)
            reply = yield from self._reply.__await__()
            if isinstance(reply, RedisUnavailable):
                cache.lookup_failed()
                break
            found |= cache.read_reply(some, reply, self._kind)
        return found


def _decoded(key: bytes, value: object, kind: type[T]) -> T | None:
    """What was kept; None where it is anything else."""
    payload = unseal(key, value)
    try:
        decoded = msgspec.msgpack.decode(payload or b"", type=kind)
    except MALFORMED:
        return None
    return decoded if math.isfinite(decoded.stored) else None


def _name(key: bytes) -> bytes:
    return PREFIX + key.hex().encode()
