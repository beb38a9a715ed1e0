"""The cache that replicas share.

A value in Redis says which key it belongs to and of what version it is, and is believed only if both are right: what
another program, another version or a broken connection left there is a miss.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from nulpoint.stores.redis_link import RedisLink, Unavailable
from nulpoint.wire.answer import Answer
from nulpoint.wire.embedding_batch import Vector

T = TypeVar("T", Answer, Vector)

VERSION = b"np1"  # a change of Answer, of Vector or of the fingerprint is another version
PREFIX = b"nulpoint:cache:"
_PLAIN, _PACKED = b"-", b"z"
_HEADER = len(VERSION) + 32 + 1
_WORTH_PACKING = 512  # bytes; a second stream chunk or a few sentences
_MAX_BYTES = 16 * 1024 * 1024  # of a value when unpacked


def seal(key: bytes, payload: bytes) -> bytes:
    """The value as it stands in Redis: compressed where that saves a tenth or more."""
    if len(payload) >= _WORTH_PACKING:
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
    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self.garbage = 0  # values that were none of ours, each a miss

    async def get(self, keys: Sequence[bytes], kind: type[T], now: float) -> dict[bytes, T]:
        """One round trip, whatever the number of keys."""
        names = [_name(key) for key in keys]
        reply = await self._link.call("MGET" if len(names) > 1 else "GET", *names)
        if isinstance(reply, Unavailable):
            return {}
        values = reply if len(names) > 1 and isinstance(reply, list) else [reply]
        found = {}
        for key, value in zip(keys, values, strict=False):
            if value is not None:
                decoded = self._decoded(key, value, kind)
                if decoded is not None:
                    found[key] = decoded
        return found

    def _decoded(self, key: bytes, value: object, kind: type[T]) -> T | None:
        payload = unseal(key, value)
        try:
            return msgspec.msgpack.decode(payload or b"", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.garbage += 1
            return None

    def put(self, values: Mapping[bytes, T], ttl: float, now: float) -> None:
        milliseconds = max(1, int(ttl * 1000))
        for key, value in values.items():
            self._link.call("SET", _name(key), seal(key, msgspec.msgpack.encode(value)), "PX", milliseconds)


def _name(key: bytes) -> bytes:
    return PREFIX + key.hex().encode()
