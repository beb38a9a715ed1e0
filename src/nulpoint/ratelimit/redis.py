"""The limits that replicas share: decided in Redis by one script, so that no two of them take the same place."""

import asyncio
import hashlib
import os
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeGuard

from redis.exceptions import NoScriptError

from nulpoint.ratelimit.backend import Grant, LocalLimitBackend
from nulpoint.ratelimit.limiter import Limit, LimitRefusal, LimitRules, LimitStatus, Verdict, tightest
from nulpoint.redis_client.connection import RedisConnection

SCRIPT = Path(__file__).with_name("limits.lua").read_bytes()
SHA = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()  # Redis's name for it
PREFIX = "nulpoint:limit:"
LEASE_SECONDS = 60  # after which a process that died no longer counts as having requests under way
DENY_WAIT = 1.0  # seconds; by then Redis has been asked again
_NUMBERS = 10  # in a reply
_LARGEST = 2**53  # of them, which is the largest whole number that Redis' scripts count with
_REFUSED: tuple[tuple[Limit, bool], ...] = (
    ("requests", False), ("requests", True), ("tokens", False), ("tokens", True), ("parallel", True),
)  # fmt: skip


def _is_decision(reply: object) -> TypeGuard[list[int]]:
    """Whether a reply is one of the script's to `admit`: which limit refuses, the wait, and four limits' standings."""
    if not isinstance(reply, list) or len(reply) != _NUMBERS:
        return False
    numbers = all(type(each) is int and 0 <= each <= _LARGEST for each in reply)
    return numbers and reply[0] <= len(_REFUSED)


class RedisLimitBackend:
    """`on_error`: what happens while Redis cannot be asked: `deny`, or `allow` each process its share of the limits."""

    def __init__(
        self,
        redis: RedisConnection,
        rules: LimitRules,
        local: LocalLimitBackend,
        on_error: Literal["allow", "deny"],
    ) -> None:
        """`local`: this process's share of the limits."""
        loop = asyncio.get_running_loop()
        self._redis = redis
        self._rules = rules
        self._deny = on_error == "deny"
        self._local = local
        self._leases: dict[bytes, bytes] = {}  # of requests under way: the caller of each
        self._names = (b"%b-%d" % (os.urandom(8).hex().encode(), number) for number in count())
        self._renewing = loop.call_later(LEASE_SECONDS / 3, self._renew_leases)
        self.fallbacks = 0  # requests that Redis was not there for

    async def admit(self, client: bytes, tokens: int, now: float) -> tuple[Verdict, Grant | None]:
        lease = next(self._names)
        command = self._command(client, "admit", lease, *self._rules, tokens, LEASE_SECONDS)
        grant = Grant(client, tokens, lease, local=False)
        reply = await self._evaluate("EVALSHA", SHA, command, grant)
        if isinstance(reply, NoScriptError):  # Redis has been started anew
            reply = await self._evaluate("EVAL", SCRIPT, command, grant)
        verdict = self._verdict(reply, tokens)
        if verdict is None:
            self.fallbacks += 1
            if self._deny:
                return Verdict(LimitRefusal("unavailable", False, DENY_WAIT), None, None, 0), None
            return await self._local.admit(client, tokens, now)
        if verdict.refusal is not None:
            return verdict, None
        if self._rules.parallel_per_key:
            self._leases[lease] = client
        return verdict, grant

    def _command(self, client: bytes, what: str, lease: bytes, *numbers: float) -> tuple[Any, ...]:
        one = PREFIX + client.hex()
        keys = (PREFIX + "requests", one + ":requests", PREFIX + "tokens", one + ":tokens", one + ":parallel")
        return (len(keys), *keys, what, lease, *numbers)

    async def _evaluate(self, verb: str, script: str | bytes, command: tuple[Any, ...], grant: Grant) -> Any:
        asked = self._redis.call(verb, script, *command)
        try:
            return await asked
        except BaseException:
            # The caller has left; what Redis is about to grant has to be given back.
            asked.add_done_callback(lambda asked: self._release_grant(asked, grant))
            raise

    def _release_grant(self, asked: "asyncio.Future[Any]", grant: Grant) -> None:
        verdict = None if asked.cancelled() else self._verdict(asked.result(), grant.reserved)
        if verdict is not None and verdict.refusal is None:
            self.finish(grant, 0, 0.0)

    def _verdict(self, reply: object, tokens: int) -> Verdict | None:
        """What the script has decided; None where the reply is none of its, as if Redis could not be asked."""
        if not _is_decision(reply):
            return None
        refused, wait, *standings = reply
        refusal = LimitRefusal(*_REFUSED[refused - 1], wait / 1e6) if refused else None
        shown = [
            LimitStatus(limit, remaining, reset / 1e6) if limit else None
            for limit, remaining, reset in zip(self._rules[:4], standings[::2], standings[1::2], strict=True)
        ]
        requests, per_token = ([one for one in pair if one] for pair in (shown[:2], shown[2:]))
        return Verdict(refusal, tightest(requests), tightest(per_token), tokens)

    def finish(self, grant: Grant, used: int | None, now: float) -> None:
        if grant.local:
            self._local.finish(grant, used, now)
            return
        self._leases.pop(grant.lease, None)
        limits = (self._rules.tokens, self._rules.tokens_per_key)
        more = [0 if used is None else used - min(grant.reserved, limit) for limit in limits]
        if self._rules.parallel_per_key or any(limit and each for limit, each in zip(limits, more, strict=True)):
            self._send(grant.client, "settle", grant.lease, 0, 0, *limits, 0, *more)

    def _renew_leases(self) -> None:
        self._renewing = asyncio.get_running_loop().call_later(LEASE_SECONDS / 3, self._renew_leases)
        for lease, caller in self._leases.items():
            self._send(caller, "renew", lease, 0, 0, 0, 0, 0, LEASE_SECONDS)

    def _send(self, client: bytes, what: str, lease: bytes, *numbers: float) -> None:
        """Tell Redis something that nobody waits for."""
        command = self._command(client, what, lease, *numbers)

        def again(told: "asyncio.Future[Any]") -> None:
            if isinstance(told.result(), NoScriptError):
                self._redis.call("EVAL", SCRIPT, *command)

        self._redis.call("EVALSHA", SHA, *command).add_done_callback(again)

    def close(self) -> None:
        self._renewing.cancel()
