"""Who decides whether a request is within the limits: this process alone, or Redis for all replicas."""

from typing import Protocol

import msgspec

from nulpoint.ratelimit.limiter import LimitRules, LimitStatus, RateLimiter, Verdict


class Grant(msgspec.Struct, frozen=True):
    """What an admitted request holds until it is settled. `lease`: its place among the parallel ones, in Redis."""

    client: bytes
    reserved: int
    lease: bytes = b""
    local: bool = True


class LimitBackend(Protocol):
    """`caller`: the digest of its key. `now`: loop time in seconds."""

    async def admit(self, client: bytes, tokens: int, now: float) -> tuple[Verdict, Grant | None]:
        """Ask for a request of about that many tokens. May be awaited in a strand and never raises."""

    def finish(self, grant: Grant, used: int | None, now: float) -> None:
        """Once for each grant. `used`: the tokens it took; None: nobody said, the estimate stands."""


class LocalLimitBackend:
    """Of one process."""

    def __init__(self, rules: LimitRules, now: float) -> None:
        self._limiter = RateLimiter(rules, now)

    def update(self, rules: LimitRules, now: float) -> None:
        """Other limits count from now on; what has been taken stays taken."""
        self._limiter.update(rules, now)

    def statuses(self, now: float) -> tuple[LimitStatus | None, LimitStatus | None]:
        """How those of all callers together stand: of requests, of tokens."""
        return self._limiter.statuses(now)

    async def admit(self, client: bytes, tokens: int, now: float) -> tuple[Verdict, Grant | None]:
        verdict = self._limiter.admit(client, tokens, now)
        return verdict, Grant(client, tokens) if verdict.refusal is None else None

    def finish(self, grant: Grant, used: int | None, now: float) -> None:
        self._limiter.finish(grant.client, grant.reserved, used, now)
