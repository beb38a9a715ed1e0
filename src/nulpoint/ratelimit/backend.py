"""The interface of a limit backend, and the backend that counts in this process alone.

The other backend, for limits shared by all replicas, is in `redis.py`.
"""

from typing import Protocol

import msgspec

from nulpoint.ratelimit.limiter import LimitRules, LimitStatus, RateLimiter, Verdict


class Grant(msgspec.Struct, frozen=True):
    """The reservation of an admitted request, returned when it ends. `lease` names its parallel slot in Redis."""

    client: bytes
    reserved: int
    lease: bytes = b""
    local: bool = True


class LimitBackend(Protocol):
    """Decides whether a request is within the limits.

    `client` is the digest of the client's key, and `now` is the event loop's time in seconds.
    """

    async def admit(self, client: bytes, tokens: int, now: float) -> tuple[Verdict, Grant | None]:
        """Decide on a request of an estimated number of tokens.

        Never raises, and may be awaited in a CoroutineRunner.
        """

    def finish(self, grant: Grant, used: int | None, now: float) -> None:
        """Return a grant, exactly once. `used` is the tokens used; if that is None, the estimate stays taken."""


class LocalLimitBackend:
    """Counts the requests of this process alone."""

    def __init__(self, rules: LimitRules, now: float) -> None:
        self._limiter = RateLimiter(rules, now)

    def update(self, rules: LimitRules, now: float) -> None:
        """Replace the limits. What has been taken stays taken."""
        self._limiter.update(rules, now)

    def statuses(self, now: float) -> tuple[LimitStatus | None, LimitStatus | None]:
        """Return the status of the request limit and of the token limit for all clients together."""
        return self._limiter.statuses(now)

    async def admit(self, client: bytes, tokens: int, now: float) -> tuple[Verdict, Grant | None]:
        verdict = self._limiter.admit(client, tokens, now)
        return verdict, Grant(client, tokens) if verdict.refusal is None else None

    def finish(self, grant: Grant, used: int | None, now: float) -> None:
        self._limiter.finish(grant.client, grant.reserved, used, now)
