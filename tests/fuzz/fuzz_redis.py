"""Fuzz targets for replies of Redis: each is either used or ignored, because Redis is not trusted to be correct."""

import asyncio
from typing import Any

import msgspec
from hypothesis import strategies as st
from redis.exceptions import NoScriptError, ResponseError
from target import Target

from nulpoint.cache.embeddings import CachedVector
from nulpoint.cache.entry import CacheEntry
from nulpoint.cache.redis import RedisCache, seal, unseal
from nulpoint.conversation.usage import Usage
from nulpoint.ratelimit.backend import LocalLimitBackend
from nulpoint.ratelimit.limiter import LimitRules, Verdict
from nulpoint.ratelimit.redis import RedisLimitBackend
from nulpoint.redis_client.connection import LOST, REFUSED
from support.mutation import garbled

KEY = b"k" * 32
replies = st.recursive(
    st.sampled_from((None, True, 0, 1, -1, 6, 2**63, 1.5, b"", b"x", b"1", "x", LOST, REFUSED, NoScriptError("x"), ResponseError("x")))
    | st.integers() | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=11) | st.dictionaries(st.binary(max_size=3), inner, max_size=2),
    max_leaves=12,
)  # fmt: skip
_DECISIONS = st.lists(
    st.integers(0, 2**54) | st.sampled_from((0, 1, 5, 6, -1, None, b"1", 1.5, True)), min_size=8, max_size=12
)


class _Link:
    """A connection to Redis that returns the same reply to every command."""

    up = True

    def __init__(self, reply: Any) -> None:
        self._reply = reply

    def call(self, *command: Any) -> "asyncio.Future[Any]":
        future = asyncio.get_running_loop().create_future()
        future.set_result(self._reply)
        return future


def limits(reply: Any) -> None:
    async def main() -> None:
        rules = LimitRules(*(10 for _ in LimitRules._fields))
        made = RedisLimitBackend(_Link(reply), rules, LocalLimitBackend(rules, 0.0), "deny")  # type: ignore[arg-type]
        try:
            verdict, grant = await made.admit(b"caller", 5, 0.0)
            assert isinstance(verdict, Verdict)
            assert (verdict.refusal is None) == (grant is not None)
            if verdict.refusal is not None:
                assert 0 <= verdict.refusal.wait < 1e12
            if grant is not None:
                made.finish(grant, 7, 0.0)
            await asyncio.sleep(0)
        finally:
            made.close()

    asyncio.run(main())


ANSWER = CacheEntry(b'{"choices":[]}', b"", False, "p", "m", Usage(1, 2), 5.0)
VECTOR = CachedVector(b'{"embedding":[1]}', 3, "p", "m", 5.0)
_SEALED = st.sampled_from(
    [seal(KEY, msgspec.msgpack.encode(one)) for one in (ANSWER, VECTOR)] + [seal(KEY, b"x" * 2000)]
)


def cache(reply: Any) -> None:
    made = RedisCache(_Link(reply))  # type: ignore[arg-type]
    for kind in (CacheEntry, CachedVector):
        found = made.read_reply([KEY, b"j" * 32], reply, kind)
        assert all(isinstance(value, kind) for value in found.values())
        for value in found.values():
            assert value.size >= 0
    unseal(KEY, reply)


TARGETS = (
    Target("limits in Redis", replies | _DECISIONS, limits),
    Target("cache in Redis", replies | st.lists(garbled(_SEALED), max_size=3), cache),
)
