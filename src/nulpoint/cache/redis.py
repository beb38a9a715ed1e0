"""The cache that replicas share in Redis.

A value in Redis contains its key and its version, and is only used if both match: a value that another program, another
version or a broken connection left there counts as a miss.
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

VERSION = b"np1"  # to be changed with every change of CacheEntry, of CachedVector or of the fingerprint
PREFIX = b"nulpoint:cache:"
_PLAIN, _COMPRESSED = b"-", b"z"
_HEADER = len(VERSION) + 32 + 1
_MIN_COMPRESSED = 512  # bytes; shorter values are not compressed
_MAX_BYTES = 16 * 1024 * 1024  # the size of a decompressed value
# The limits for one command: what Redis and the event loop can handle in a few milliseconds, with vectors of 30 kB.
KEYS_AT_ONCE = 128
BYTES_AT_ONCE = 1024 * 1024


def seal(key: bytes, payload: bytes, compress: bool = True) -> bytes:
    """Return the value to store in Redis. With `compress` it is compressed if that saves a tenth or more."""
    if compress and len(payload) >= _MIN_COMPRESSED:
        compressed = zlib.compress(payload, 1)
        if len(compressed) <= len(payload) * 0.9:
            return VERSION + key + _COMPRESSED + compressed
    return VERSION + key + _PLAIN + payload


def unseal(key: bytes, value: object) -> bytes | None:
    """Return the payload of the value that Redis has for `key`; None if it is not such a value."""
    if not isinstance(value, bytes) or not value.startswith(VERSION + key):
        return None
    kind, payload = value[_HEADER - 1 : _HEADER], value[_HEADER:]
    if kind == _PLAIN:
        return payload
    return _decompressed(payload) if kind == _COMPRESSED else None


def _decompressed(payload: bytes) -> bytes | None:
    decoder = zlib.decompressobj()
    try:
        plain = decoder.decompress(payload, _MAX_BYTES)
    except zlib.error:
        return None
    return plain if decoder.eof and not decoder.unused_data else None


class RedisCache:
    """Stores entries and vectors in Redis."""

    memory = None

    def __init__(self, redis: RedisConnection, counts: CacheCounts | None = None) -> None:
        """Use a connection. `counts` are the ones to continue with."""
        self._redis = redis
        self.counts = counts or CacheCounts()

    def get(self, keys: Sequence[bytes], kind: type[T], now: float) -> "_Lookup[T]":
        """Look keys up, in several round trips if there are many, within the timeout of a single one."""
        return _Lookup(self, keys, kind)

    def send_get(self, keys: Sequence[bytes]) -> "asyncio.Future[Any]":
        return self._redis.call("MGET", *map(_name, keys))

    def read_reply(self, keys: Sequence[bytes], reply: object, kind: type[T]) -> dict[bytes, T]:
        """Return the valid values of a reply by key. An invalid value is counted as garbage, and as a miss."""
        values = {}
        for key, value in zip(keys, reply if isinstance(reply, list) else [], strict=False):
            if value is not None:
                decoded = _decoded(key, value, kind)
                if decoded is not None:
                    values[key] = decoded
                else:
                    self._count("get", "garbage")
        self._count("get", "hit", len(values))
        self._count("get", "miss", len(keys) - len(values))
        return values

    def lookup_failed(self) -> None:
        """Count a lookup that got no reply."""
        self._count("get", "error")

    def put(self, values: Mapping[bytes, T], ttl: float, now: float) -> None:
        self._put([*values.items()], max(1, int(ttl * 1000)))

    def _put(self, values: list[tuple[bytes, T]], milliseconds: int) -> None:
        """Send as many values as one batch may have, and the others when Redis has replied to the batch."""
        size = 0
        last = None
        while values and size < BYTES_AT_ONCE:
            key, value = values.pop()
            # Vectors are not compressed: they are random digits, and a third of a millisecond saves only a quarter.
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
    """A lookup that starts when it is made. The reply is read when it is awaited."""

    __slots__ = ("_cache", "_keys", "_kind", "_reply")

    def __init__(self, cache: RedisCache, keys: Sequence[bytes], kind: type[T]) -> None:
        self._cache = cache
        self._keys = keys
        self._kind: type[T] = kind
        self._reply = cache.send_get(keys[:KEYS_AT_ONCE])

    def __await__(self) -> Generator[Any, None, dict[bytes, T]]:
        cache, keys = self._cache, self._keys
        values: dict[bytes, T] = {}
        time = asyncio.get_running_loop().time
        end = time() + TIMEOUT
        for start in range(0, len(keys), KEYS_AT_ONCE):
            batch = keys[start : start + KEYS_AT_ONCE]
            if start:
                if time() > end:
                    break
                self._reply = cache.send_get(batch)
            reply = yield from self._reply.__await__()
            if isinstance(reply, RedisUnavailable):
                cache.lookup_failed()
                break
            values |= cache.read_reply(batch, reply, self._kind)
        return values


def _decoded(key: bytes, value: object, kind: type[T]) -> T | None:
    """Return the entry or vector in a value from Redis; None if the value is invalid."""
    payload = unseal(key, value)
    try:
        decoded = msgspec.msgpack.decode(payload or b"", type=kind)
    except MALFORMED:
        return None
    return decoded if math.isfinite(decoded.stored) else None


def _name(key: bytes) -> bytes:
    return PREFIX + key.hex().encode()
