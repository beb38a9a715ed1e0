"""Rate limits as arithmetic: exact sliding windows of requests, buckets of tokens, requests at a time.

All of it is decided before a provider is called, and all or nothing: a request that one limit refuses uses up none of
the others. `now` is in seconds of any one clock that does not jump.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

WINDOW = 60.0  # seconds; every limit is "a minute"
PARALLEL_WAIT = 1.0  # nobody knows when one of the requests under way will end
MAX_CLIENTS = 100_000  # whose windows are remembered; the least recently seen is forgotten first
Limit = Literal["requests", "tokens", "parallel", "unavailable"]


class LimitRules(NamedTuple):
    """The limits as configured; 0 is none. `_per_key` are of one caller, the others of all together."""

    requests: int = 0
    requests_per_key: int = 0
    tokens: int = 0
    tokens_per_key: int = 0
    parallel_per_key: int = 0

    @property
    def any_configured(self) -> bool:
        return any(self)

    def limit_of(self, refusal: "LimitRefusal") -> int:
        """The number that a refusal is about."""
        return {
            ("requests", False): self.requests,
            ("requests", True): self.requests_per_key,
            ("tokens", False): self.tokens,
            ("tokens", True): self.tokens_per_key,
            ("parallel", True): self.parallel_per_key,
        }.get((refusal.limit, refusal.per_key), 0)

    def shared_by(self, processes: int) -> "LimitRules":
        """What one of several processes may admit that do not know of each other; at least one."""
        return LimitRules(*(max(1, rule // processes) if rule else 0 for rule in self))


class LimitStatus(msgspec.Struct, frozen=True):
    """How a limit stands after a request: what the `x-ratelimit-*` fields say. `reset`: seconds until it is whole."""

    limit: int
    remaining: int
    reset: float


class LimitRefusal(NamedTuple):
    """Which limit says no, whether it is the caller's own, and after how many seconds to ask again."""

    limit: Limit
    per_key: bool
    wait: float


class Verdict(msgspec.Struct, frozen=True):
    """`refusal`: None where the request may go on. `reserved`: the tokens set aside until it is known how many it took.

    `requests`, `tokens`: how the tighter limit of each kind stands, None where there is none.
    """

    refusal: LimitRefusal | None
    requests: LimitStatus | None
    tokens: LimitStatus | None
    reserved: int


class SlidingWindow:
    """At most `limit` requests in any stretch of 60 seconds: the times of the last ones are kept."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: deque[float] = deque()

    @classmethod
    def renewed(cls, before: "SlidingWindow | None", limit: int) -> "SlidingWindow | None":
        """With another limit (0: none), and the same requests taken."""
        if not limit:
            return None
        window = before or cls(limit)
        window.limit = limit
        return window

    def wait(self, now: float) -> float:
        """Seconds until one more may be taken; 0 now."""
        while self._taken and self._taken[0] <= now - WINDOW:
            self._taken.popleft()
        # Of more than the limit, taken under a higher one, several have to go.
        return self._taken[-self.limit] + WINDOW - now if len(self._taken) >= self.limit else 0.0

    def take(self, now: float) -> None:
        self._taken.append(now)

    def status(self, now: float) -> LimitStatus:
        reset = self._taken[-1] + WINDOW - now if self._taken else 0.0
        return LimitStatus(self.limit, max(0, self.limit - len(self._taken)), max(0.0, reset))


class TokenBucket:
    """Tokens that fill up at `limit` a minute, up to `limit`. What is taken is an estimate, set right afterwards."""

    def __init__(self, limit: int, now: float) -> None:
        self.limit = limit
        self._level = float(limit)
        self._at = now

    @classmethod
    def renewed(cls, before: "TokenBucket | None", limit: int, now: float) -> "TokenBucket | None":
        """With another limit (0: none). What is missing in it stays missing, so that nobody gets a full one by that.

        But under a much lower limit it would fill again for hours, so no more than that limit is owed.
        """
        if not limit:
            return None
        bucket = before or cls(limit, now)
        bucket._fill(now)
        bucket._level = max(bucket._level + limit - bucket.limit, -float(limit))
        bucket.limit = limit
        return bucket

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._level = min(float(self.limit), self._level + (now - self._at) * self.limit / WINDOW)
            self._at = now

    def wait(self, tokens: int, now: float) -> float:
        """Seconds until that many are there. An estimate beyond the limit waits for a full bucket, not for ever."""
        self._fill(now)
        missing = min(tokens, self.limit) - self._level
        return missing * WINDOW / self.limit if missing > 0 else 0.0

    def take(self, tokens: int, now: float) -> None:
        """May be more than is there: what was used beyond the estimate is a debt."""
        self._fill(now)
        self._level = min(float(self.limit), self._level - tokens)

    def status(self, now: float) -> LimitStatus:
        self._fill(now)
        return LimitStatus(self.limit, max(0, int(self._level)), (self.limit - self._level) * WINDOW / self.limit)


class _ClientLimits:
    """What is remembered of one caller. `windows` and `buckets` are those its requests have to pass, the ones for all
    callers first, each with whether it is the caller's own."""

    __slots__ = ("_bucket", "_rules", "_window", "buckets", "parallel", "windows")

    def __init__(self) -> None:
        self._rules: LimitRules | None = None
        self._window: SlidingWindow | None = None
        self._bucket: TokenBucket | None = None
        self.windows: list[tuple[SlidingWindow, bool]] = []
        self.buckets: list[tuple[TokenBucket, bool]] = []
        self.parallel = 0

    def apply_rules(
        self, rules: LimitRules, window: SlidingWindow | None, bucket: TokenBucket | None, now: float
    ) -> None:
        """Go by these rules, and by the window and the bucket of all callers: at first, and when it is seen again after
        a change, since there may be 100,000 of them."""
        if self._rules is rules:
            return
        self._rules = rules
        self._window = SlidingWindow.renewed(self._window, rules.requests_per_key)
        self._bucket = TokenBucket.renewed(self._bucket, rules.tokens_per_key, now)
        self.windows = [(one, own) for one, own in ((window, False), (self._window, True)) if one is not None]
        self.buckets = [(one, own) for one, own in ((bucket, False), (self._bucket, True)) if one is not None]


class RateLimiter:
    """All limits of one process."""

    def __init__(self, rules: LimitRules, now: float) -> None:
        self._window: SlidingWindow | None = None
        self._bucket: TokenBucket | None = None
        self._clients: OrderedDict[bytes, _ClientLimits] = OrderedDict()
        self.update(rules, now)

    def update(self, rules: LimitRules, now: float) -> None:
        """Other limits count from now on, with what has been taken until now."""
        self._rules = rules
        self._window = SlidingWindow.renewed(self._window, rules.requests)
        self._bucket = TokenBucket.renewed(self._bucket, rules.tokens, now)

    def statuses(self, now: float) -> tuple[LimitStatus | None, LimitStatus | None]:
        """How the limits of all callers together stand: of requests, of tokens. Nothing is taken."""
        if self._window is not None:
            self._window.wait(now)  # lets go of what is over
        return (
            self._window.status(now) if self._window is not None else None,
            self._bucket.status(now) if self._bucket is not None else None,
        )

    def admit(self, client: bytes, tokens: int, now: float) -> Verdict:
        """Whether a request of about that many tokens may go on. `caller`: the digest of its key."""
        one = self._limits_of(client, now)
        refusal = self._refusal(one, tokens, now)
        if refusal is None:
            one.parallel += 1
            for window, _ in one.windows:
                window.take(now)
            for bucket, _ in one.buckets:
                bucket.take(min(tokens, bucket.limit), now)
        requests = tightest([window.status(now) for window, _ in one.windows])
        return Verdict(refusal, requests, tightest([bucket.status(now) for bucket, _ in one.buckets]), tokens)

    def _limits_of(self, client: bytes, now: float) -> _ClientLimits:
        one = self._clients.get(client)
        if one is None:
            one = self._clients[client] = _ClientLimits()
            if len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(client)
        one.apply_rules(self._rules, self._window, self._bucket, now)
        return one

    def _refusal(self, one: _ClientLimits, tokens: int, now: float) -> LimitRefusal | None:
        """The limit that takes longest to say yes."""
        refusal, longest = None, 0.0
        for window, own in one.windows:
            wait = window.wait(now)
            if wait > longest:
                refusal, longest = LimitRefusal("requests", own, wait), wait
        for bucket, own in one.buckets:
            wait = bucket.wait(tokens, now)
            if wait > longest:
                refusal, longest = LimitRefusal("tokens", own, wait), wait
        if 0 < self._rules.parallel_per_key <= one.parallel and longest < PARALLEL_WAIT:
            refusal = LimitRefusal("parallel", True, PARALLEL_WAIT)
        return refusal

    def finish(self, client: bytes, reserved: int, used: int | None, now: float) -> None:
        """The request has ended. `used`: its tokens, None where nobody said (then the estimate stands)."""
        one = self._clients.get(client)
        if one is not None:
            one.apply_rules(self._rules, self._window, self._bucket, now)
            one.parallel = max(0, one.parallel - 1)
            buckets = [bucket for bucket, _ in one.buckets]
        else:  # it has been forgotten
            buckets = [self._bucket] if self._bucket is not None else []
        if used is not None:
            for bucket in buckets:
                bucket.take(used - min(reserved, bucket.limit), now)


def tightest(statuses: Sequence[LimitStatus]) -> LimitStatus | None:
    """Of the limit for all and the caller's own the one with less left."""
    if len(statuses) == 1:
        return statuses[0]
    return min(statuses, key=lambda standing: standing.remaining, default=None)
