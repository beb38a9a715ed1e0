"""Limits shared by all replicas. One script in Redis decides, so that no two replicas take the same slot."""

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
SHA = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()  # the name of the script in Redis
PREFIX = "nulpoint:limit:"
LEASE_SECONDS = 60  # after this time the requests of a process that died no longer count as parallel
DENY_WAIT = 1.0  # seconds; by then Redis may be back
_REPLY_LENGTH = 10  # numbers in a reply
_LARGEST = 2**53  # the largest whole number that scripts in Redis represent exactly
_REFUSED: tuple[tuple[Limit, bool], ...] = (
    ("requests", False),
    ("requests", True),
    ("tokens", False),
    ("tokens", True),
    ("parallel", True),
)


def _is_decision(reply: object) -> TypeGuard[list[int]]:
    """Return whether this is the script's reply to `admit`: the refusing limit, the wait, and four limits' status."""
    if not isinstance(reply, list) or len(reply) != _REPLY_LENGTH:
        return False
    numbers = all(type(each) is int and 0 <= each <= _LARGEST for each in reply)
    return numbers and reply[0] <= len(_REFUSED)


class RedisLimitBackend:
    """Asks Redis to decide.

    While Redis cannot be asked, `on_error` decides: `deny` refuses all requests, `allow` makes each process use its
    share of the limits.
    """

    def __init__(
        self,
        redis: RedisConnection,
        rules: LimitRules,
        local: LocalLimitBackend,
        on_error: Literal["allow", "deny"],
    ) -> None:
        """Start renewing leases. `local` has this process's share of the limits."""
        loop = asyncio.get_running_loop()
        self._redis = redis
        self._rules = rules
        self._deny = on_error == "deny"
        self._local = local
        self._leases: dict[bytes, bytes] = {}  # the client of each request in flight
        self._names = (b"%b-%d" % (os.urandom(8).hex().encode(), number) for number in count())
        self._renewing = loop.call_later(LEASE_SECONDS / 3, self._renew_leases)
        self.fallbacks = 0  # requests on which Redis did not decide

    async def admit(self, client: bytes, tokens: int, now: float) -> tuple[Verdict, Grant | None]:
        lease = next(self._names)
        command = self._command(client, "admit", lease, *self._rules, tokens, LEASE_SECONDS)
        grant = Grant(client, tokens, lease, local=False)
        reply = await self._evaluate("EVALSHA", SHA, command, grant)
        if isinstance(reply, NoScriptError):  # Redis has restarted and lost the script
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

    def _command(self, client: bytes, operation: str, lease: bytes, *numbers: float) -> tuple[Any, ...]:
        per_key = PREFIX + client.hex()
        keys = (
            PREFIX + "requests",
            per_key + ":requests",
            PREFIX + "tokens",
            per_key + ":tokens",
            per_key + ":parallel",
        )
        return (len(keys), *keys, operation, lease, *numbers)

    async def _evaluate(self, verb: str, script: str | bytes, command: tuple[Any, ...], grant: Grant) -> Any:
        future = self._redis.call(verb, script, *command)
        try:
            return await future
        except BaseException:
            # The client has disconnected. What Redis is about to grant has to be returned.
            future.add_done_callback(lambda done: self._release_grant(done, grant))
            raise

    def _release_grant(self, future: "asyncio.Future[Any]", grant: Grant) -> None:
        verdict = None if future.cancelled() else self._verdict(future.result(), grant.reserved)
        if verdict is not None and verdict.refusal is None:
            self.finish(grant, 0, 0.0)

    def _verdict(self, reply: object, tokens: int) -> Verdict | None:
        """Return the script's decision; None if the reply is not from the script, as if Redis could not be asked."""
        if not _is_decision(reply):
            return None
        refused, wait, *numbers = reply
        refusal = LimitRefusal(*_REFUSED[refused - 1], wait / 1e6) if refused else None
        statuses = [
            LimitStatus(limit, remaining, reset / 1e6) if limit else None
            for limit, remaining, reset in zip(self._rules[:4], numbers[::2], numbers[1::2], strict=True)
        ]
        of_requests, of_tokens = ([status for status in pair if status] for pair in (statuses[:2], statuses[2:]))
        return Verdict(refusal, tightest(of_requests), tightest(of_tokens), tokens)

    def finish(self, grant: Grant, used: int | None, now: float) -> None:
        if grant.local:
            self._local.finish(grant, used, now)
            return
        self._leases.pop(grant.lease, None)
        limits = (self._rules.tokens, self._rules.tokens_per_key)
        corrections = [0 if used is None else used - min(grant.reserved, limit) for limit in limits]
        corrects = any(limit and correction for limit, correction in zip(limits, corrections, strict=True))
        if self._rules.parallel_per_key or corrects:
            self._send(grant.client, "finish", grant.lease, 0, 0, *limits, 0, *corrections)

    def _renew_leases(self) -> None:
        self._renewing = asyncio.get_running_loop().call_later(LEASE_SECONDS / 3, self._renew_leases)
        for lease, client in self._leases.items():
            self._send(client, "renew", lease, 0, 0, 0, 0, 0, LEASE_SECONDS)

    def _send(self, client: bytes, operation: str, lease: bytes, *numbers: float) -> None:
        """Run the script without waiting for its reply."""
        command = self._command(client, operation, lease, *numbers)

        def send_script(done: "asyncio.Future[Any]") -> None:
            if isinstance(done.result(), NoScriptError):
                self._redis.call("EVAL", SCRIPT, *command)

        self._redis.call("EVALSHA", SHA, *command).add_done_callback(send_script)

    def close(self) -> None:
        self._renewing.cancel()
