"""Tests a Redis with invalid replies: limits work as without Redis, cache lookups are misses, and hints are ignored.

No invalid reply ever causes an internal error.
"""

import asyncio
import contextlib
import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.cache.embeddings import CachedVector
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.redis import RedisCache, _decoded, seal
from nulpoint.conversation.usage import Usage
from nulpoint.ratelimit.backend import LocalLimitBackend
from nulpoint.ratelimit.limiter import LimitRules
from nulpoint.ratelimit.redis import RedisLimitBackend
from nulpoint.redis_client.breaker_hints import BreakerHints
from nulpoint.redis_client.connection import MAX_WAITING, RedisConnection, connection_factory
from nulpoint.routing.breaker import Breaker, BreakerRules, State
from support.event_loop import run
from support.http_client import CHAT, STREAM, Caller, post
from support.running_gateway import gateway

KEY = bytes(32)
RULES = LimitRules(3, 3, 1000, 1000, 3)


def array(*items):
    return b"*%d\r\n" % len(items) + b"".join(items)


def numbers(*values):
    return array(*[b":%d\r\n" % value for value in values])


GOOD = numbers(0, 0, 2, 10, 2, 10, 999, 10, 999, 10)
LIES = {
    "nothing": b"$-1\r\n",
    "no list": b"*-1\r\n",
    "an empty list": b"*0\r\n",
    "OK": b"+OK\r\n",
    "a number": b":7\r\n",
    "a number of 400 digits": b":" + b"9" * 400 + b"\r\n",
    "a text": b"$3\r\nabc\r\n",
    "too few": numbers(0, 0, 1),
    "too many": numbers(*range(11)),
    "negative": numbers(0, -1, 2, 10, 2, 10, 999, 10, 999, 10),
    "huge": numbers(0, 2**60, 2, 10, 2, 10, 999, 10, 999, 10),
    "an unknown limit": numbers(9, 0, 2, 10, 2, 10, 999, 10, 999, 10),
    "texts": array(*[b"$1\r\n0\r\n"] * 10),
    "lists": array(*[b"*0\r\n"] * 10),
    "nulls": array(*[b"$-1\r\n"] * 10),
    "errors in a list": array(*[b"-ERR no\r\n"] * 10),
    "an error": b"-ERR no\r\n",
    "out of memory": b"-OOM command not allowed\r\n",
    "wrong type": b"-WRONGTYPE Operation against a key\r\n",
    "no such script": b"-NOSCRIPT No matching script\r\n",
    "no permission": b"-NOPERM this user has no permissions\r\n",
}


@contextlib.asynccontextmanager
async def lying(lie):
    """Yield the address of a server that replies PONG to PING, and `lie` to everything else."""

    async def talk(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                words = []
                for _ in range(int((await reader.readline())[1:] or 0)):
                    words.append(await reader.readexactly(int((await reader.readline())[1:]) + 2))
                if not words:
                    break
                first = words[0].strip().upper()
                writer.write({b"PING": b"+PONG\r\n", b"CLIENT": b"+OK\r\n"}.get(first, lie))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def link_to_a_liar(lie):
    async with lying(lie) as url:
        link = RedisConnection(connection_factory(url), timeout=5.0, retry=0.05)
        await link.start()
        try:
            yield link
        finally:
            await link.close()


@pytest.mark.parametrize("on_error", ["deny", "allow"])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_limits_treat_an_invalid_reply_like_no_reply(lie, on_error):
    async def main():
        async with link_to_a_liar(lie) as link:
            limits = RedisLimitBackend(link, RULES, LocalLimitBackend(RULES, 0.0), on_error)
            for _ in range(2):
                verdict, grant = await limits.admit(KEY, 1, 0.0)
                if on_error == "deny":
                    assert (verdict.refusal.limit, grant) == ("unavailable", None)
                else:
                    assert verdict.refusal is None
                    assert grant.local
                    limits.finish(grant, 1, 0.0)
            assert limits.fallbacks == 2
            limits.close()

    run(main())


@pytest.mark.parametrize("change", range(10))
@given(
    st.one_of(
        st.integers(-(2**63), 2**63 - 1).map(lambda n: b":%d\r\n" % n), st.sampled_from([b"*0\r\n", b"$1\r\n1\r\n"])
    )
)
def test_any_number_in_a_decision(change, item):
    """A reply is either a decision whose numbers can be reported, or no decision."""
    good = [b":%d\r\n" % value for value in (0, 0, 2, 10, 2, 10, 999, 10, 999, 10)]
    reply = [*good[:change], item, *good[change + 1 :]]
    values = [int(one[1:]) if one[:1] == b":" else [one] for one in reply]
    limits = RedisLimitBackend.__new__(RedisLimitBackend)
    limits._rules = RULES
    verdict = limits._verdict(values, 1)
    if verdict is not None:
        assert all(type(value) is int and value >= 0 for value in values)
        assert math.isfinite(verdict.refusal.wait if verdict.refusal else 0)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_invalid_replies_are_cache_misses_and_no_hints(lie):
    async def main():
        async with link_to_a_liar(lie) as link:
            cache = RedisCache(link)
            assert await cache.get([KEY, b"k" * 32], CacheEntry, 0.0) == {}
            assert await cache.get([KEY] * 200, CachedVector, 0.0) == {}
            cache.put({KEY: CacheEntry(b"{}", b"", False, "openai", "m", None, 0.0)}, 60.0, 0.0)
            breaker = Breaker(BreakerRules())
            hints = BreakerHints(link, {"openai": breaker}, "replica", 30.0, lambda _: None)
            for _ in range(2):
                await hints.exchange()
            await hints._apply_hint("openai", b"other:1")
            assert breaker.state in (State.CLOSED, State.OPEN)

    run(main())


VALUE = CacheEntry(b'{"choices":[]}', b"", False, "openai", "m", Usage(prompt=1), 1.0)
ODD = st.sampled_from(
    [None, True, -1, 7, 2**63, 1.5, math.nan, math.inf, "odd", b"odd", [], [7], {}, {"prompt": -1}, [-1] * 6]
)


@given(st.integers(0, 8), ODD)
def test_an_invalid_cache_entry_is_a_miss(place, odd):
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(VALUE))
    fields[place] = odd
    found = _decoded(KEY, seal(KEY, msgspec.msgpack.encode(fields)), CacheEntry)
    if found is not None:
        assert math.isfinite(found.stored)
        assert found.usage is None or found.usage.prompt >= 0


@given(st.binary(max_size=200))
def test_any_bytes_are_a_miss(payload):
    for kind in (CacheEntry, CachedVector):
        assert _decoded(KEY, payload, kind) is None
        found = _decoded(KEY, seal(KEY, payload), kind)
        assert found is None or isinstance(found, kind)


@pytest.mark.parametrize("on_error", ["deny", "allow"])
@pytest.mark.parametrize("lie", ["an empty list", "texts", "a number", "too few", "out of memory", "no such script"])
def test_clients_get_no_internal_error(lie, on_error):
    async def main():
        async with lying(LIES[lie]) as url:
            settings = {"REDIS_URL": url, "CACHE_MODE": "redis", "RPM_LIMIT": "1000", "RATE_LIMIT_ON_ERROR": on_error}
            async with gateway(settings) as running:
                caller = await Caller.connect(running.port)
                answers = []
                for body in (CHAT, STREAM) * MAX_WAITING:
                    caller.send(post(body))
                    answers.append(await caller.answer())
                expected = (200, False) if on_error == "allow" else (503, True)
                assert {(status, b"limits_unavailable" in body) for status, _, body in answers} == {expected}
                records = [json.loads(line) for line in running.log().splitlines()]
                assert {one["limit"] for one in records} == {"unchecked" if on_error == "allow" else "unavailable"}
                if lie == "out of memory":
                    assert json.loads(running.app.runtime.status.health()[2])["redis"]["status"] == "unavailable"

    run(main())
