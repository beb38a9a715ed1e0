"""Tests the cache in Redis: stored values are found by their key, and everything else in Redis is a counted miss."""

import asyncio
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.cache.backend import MemoryCache
from nulpoint.cache.embeddings import CachedVector
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.redis import PREFIX, VERSION, RedisCache, seal, unseal
from nulpoint.conversation.usage import Usage
from nulpoint.redis_client.connection import RedisConnection, connection_factory
from support.event_loop import run, until
from support.redis_server import needs_redis, redis_server

KEY, OTHER = bytes(range(32)), bytes(32)


def answer(content=b'{"choices":[]}'):
    return CacheEntry(content, b"", False, "openai", "gpt-4o", Usage(prompt=3, completion=4), 1700000000.5)


@given(st.binary(max_size=2000) | st.binary(max_size=3).map(lambda piece: piece * 1000))
def test_a_sealed_value_opens_only_with_its_key(payload):
    value = seal(KEY, payload)
    assert unseal(KEY, value) == payload
    assert unseal(OTHER, value) is None
    assert len(value) <= len(payload) + 36


@pytest.mark.parametrize("payload", [b"a" * 5000, b"short"])
def test_no_part_of_a_sealed_value_opens_as_something_else(payload):
    value = seal(KEY, payload)
    for end in range(len(value)):
        opened = unseal(KEY, value[:end])
        assert opened is None or payload.startswith(opened)  # the decoder of the payload rejects those
    assert unseal(KEY, value + b"x") != payload


@pytest.mark.parametrize(
    "value",
    [b"", b"garbage", 7, [b"x"], "text", VERSION, VERSION + KEY, VERSION + KEY + b"?x", VERSION + KEY + b"znot zlib",
     b"np0" + KEY + b"-x", VERSION + KEY + b"z" + zlib.compress(b"x" * 1000)[:-1],
     VERSION + KEY + b"z" + zlib.compress(bytes(17 << 20))],
)  # fmt: skip
def test_values_of_other_programs_do_not_open(value):
    assert unseal(KEY, value) is None


def with_cache(test):
    async def main():
        with redis_server() as server:
            link = RedisConnection(connection_factory(server.url), timeout=5.0)
            await link.start()
            try:
                await test(server, link, RedisCache(link))
            finally:
                await link.close()

    run(main())


@needs_redis
def test_put_and_get_one_and_many():
    async def test(server, link, cache):
        vectors = {
            bytes([number]) * 32: CachedVector(b'{"embedding":[%d]}' % number, 2, "openai", "m", 1.5)
            for number in range(9)
        }
        cache.put({KEY: answer(b"x" * 5000)}, 60, 0)
        cache.put(vectors, 60, 0)
        assert await cache.get([KEY], CacheEntry, 0) == {KEY: answer(b"x" * 5000)}
        assert await cache.get([*vectors, KEY, b"z" * 32], CachedVector, 0) == vectors
        assert await cache.get([b"z" * 32], CacheEntry, 0) == {}
        assert cache.counts.replies["get", "garbage"] == 1  # a CacheEntry is not a CachedVector

    with_cache(test)


@needs_redis
def test_entries_expire():
    async def test(server, link, cache):
        cache.put({KEY: answer()}, 0.02, 0)
        assert await cache.get([KEY], CacheEntry, 0) != {}
        await asyncio.sleep(0.04)
        assert await cache.get([KEY], CacheEntry, 0) == {}
        cache.put({KEY: answer()}, 90.0, 0)
        assert 89_000 < int(await link.call("PTTL", PREFIX + KEY.hex().encode())) <= 90_000

    with_cache(test)


GOOD = seal(KEY, msgspec.msgpack.encode(answer()))


@needs_redis
@pytest.mark.parametrize(
    "value",
    [b"", b"garbage", GOOD[:-1], GOOD + b"x", GOOD.replace(VERSION, b"np0"), GOOD.replace(KEY, OTHER),
     seal(KEY, b"\x93\x01\x02\x03"), seal(KEY, msgspec.msgpack.encode({"content": "x"})), seal(KEY, b"\xff" * 9)],
)  # fmt: skip
def test_values_set_by_hand_are_a_counted_miss(value):
    async def test(server, link, cache):
        await link.call("SET", PREFIX + KEY.hex().encode(), value)
        assert await cache.get([KEY], CacheEntry, 0) == {}
        assert await cache.get([KEY, OTHER], CacheEntry, 0) == {}
        assert cache.counts.replies == {("get", "garbage"): 2, ("get", "miss"): 3, ("get", "hit"): 0}

    with_cache(test)


@needs_redis
def test_a_key_of_another_type_is_a_counted_miss():
    async def test(server, link, cache):
        await link.call("LPUSH", PREFIX + KEY.hex().encode(), "x")
        assert await cache.get([KEY], CacheEntry, 0) == {}
        assert await cache.get([KEY, OTHER], CacheEntry, 0) == {}
        assert (cache.counts.replies["get", "miss"], link.failures) == (3, {})
        cache.put({KEY: answer()}, 60, 0)
        assert await cache.get([KEY], CacheEntry, 0) == {KEY: answer()}

    with_cache(test)


@needs_redis
def test_a_redis_that_is_gone_is_a_miss():
    async def test(server, link, cache):
        server.kill()
        await until(lambda: not link.up)
        cache.put({KEY: answer()}, 60, 0)
        assert await cache.get([KEY], CacheEntry, 0) == {}
        await until(lambda: cache.counts.replies == {("set", "error"): 1, ("get", "error"): 1})

    with_cache(test)


@needs_redis
def test_many_values_are_sent_in_batches():
    """With the largest batch of embeddings no command takes long, and no value is lost."""
    item = b'{"embedding":"%b"}' % (b"x" * 16_000)
    many = {number.to_bytes(32): CachedVector(item, 2, "openai", "m", 1.5) for number in range(700)}

    async def test(server, link, cache):
        longest = 0
        call = link.call

        def seen(*command):
            nonlocal longest
            future = call(*command)
            longest = max(longest, len(link._sent))
            return future

        link.call = seen
        cache.put(many, 60, 0)
        await until(lambda: cache.counts.replies["set", "ok"] == len(many))
        assert longest < 70
        found = {}
        for _ in range(5):  # a slow machine may need several lookups
            found |= await cache.get([key for key in many if key not in found], CachedVector, 0)
        assert found == many

    with_cache(test)


@needs_redis
def test_an_abandoned_lookup_does_no_harm():
    async def test(server, link, cache):
        cache.put({KEY: answer()}, 60, 0)
        cache.get([OTHER], CacheEntry, 0)
        assert await cache.get([KEY], CacheEntry, 0) == {KEY: answer()}

    with_cache(test)


def test_the_memory_of_this_process():
    async def main():
        memory = MemoryCache(100_000)
        memory.put({KEY: answer()}, 60, 0)
        assert await memory.get([OTHER, KEY], CacheEntry, 59) == {KEY: answer()}
        assert await memory.get([KEY], CacheEntry, 61) == {}
        assert memory.memory.counts.operations() == {("get", "hit"): 1, ("get", "miss"): 2, ("set", "ok"): 1}

    run(main())
