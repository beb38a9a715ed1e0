"""Rate limits without I/O: exact sliding windows of requests, token buckets, and limits on parallel requests.

The limits are checked before a provider is called. A request takes from all limits or from none: one that is refused by
one limit does not use up the others. `now` is always in seconds of the same monotonic clock.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

WINDOW = 60.0  # seconds; every limit is per minute
PARALLEL_WAIT = 1.0  # seconds; a guess, since it is not known when one of the requests in flight will end
MAX_CLIENTS = 100_000  # with limits in memory; the least recently seen client is forgotten first
Limit = Literal["requests", "tokens", "parallel", "unavailable"]


class LimitRules(NamedTuple):
    """The configured limits; 0 means no limit.

    Those that end in `_per_key` apply to each client, the others to all clients together.
    """

    requests: int = 0
    requests_per_key: int = 0
    tokens: int = 0
    tokens_per_key: int = 0
    parallel_per_key: int = 0

    @property
    def any_configured(self) -> bool:
        return any(self)

    def limit_of(self, refusal: "LimitRefusal") -> int:
        """Return the number of the limit that refused a request."""
        return {
            ("requests", False): self.requests,
            ("requests", True): self.requests_per_key,
            ("tokens", False): self.tokens,
            ("tokens", True): self.tokens_per_key,
            ("parallel", True): self.parallel_per_key,
        }.get((refusal.limit, refusal.per_key), 0)

    def shared_by(self, processes: int) -> "LimitRules":
        """Return the share of one of several independent processes; each limit stays at least 1."""
        return LimitRules(*(max(1, rule // processes) if rule else 0 for rule in self))


class LimitStatus(msgspec.Struct, frozen=True):
    """The state of a limit, as the `x-ratelimit-*` headers report it. `reset`: seconds until nothing is used."""

    limit: int
    remaining: int
    reset: float


class LimitRefusal(NamedTuple):
    """Which limit refused a request, whether it is a limit per key, and the seconds until the next try may succeed."""

    limit: Limit
    per_key: bool
    wait: float


class Verdict(msgspec.Struct, frozen=True):
    """The decision of the limits on one request.

    Fields:
        refusal: the limit that refused the request; None if it is admitted.
        requests: the status of the request limit with the least left; None if there is no such limit.
        tokens: the same for the token limits.
        reserved: the tokens reserved until it is known how many the request used.
    """

    refusal: LimitRefusal | None
    requests: LimitStatus | None
    tokens: LimitStatus | None
    reserved: int


class SlidingWindow:
    """Admits at most `limit` requests in any period of 60 seconds. It keeps the time of each of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: deque[float] = deque()

    @classmethod
    def renewed(cls, before: "SlidingWindow | None", limit: int) -> "SlidingWindow | None":
        """Return the window with another limit and the same requests taken; None if `limit` is 0."""
        if not limit:
            return None
        window = before or cls(limit)
        window.limit = limit
        return window

    def wait(self, now: float) -> float:
        """Return the seconds until one more request may be taken; 0 if it may be taken now."""
        while self._taken and self._taken[0] <= now - WINDOW:
            self._taken.popleft()
        # If the limit was higher before, more requests than it may be in the window, so several have to leave it.
        return self._taken[-self.limit] + WINDOW - now if len(self._taken) >= self.limit else 0.0

    def take(self, now: float) -> None:
        self._taken.append(now)

    def status(self, now: float) -> LimitStatus:
        reset = self._taken[-1] + WINDOW - now if self._taken else 0.0
        return LimitStatus(self.limit, max(0, self.limit - len(self._taken)), max(0.0, reset))


class TokenBucket:
    """A bucket that refills at `limit` tokens per minute, up to `limit`.

    A request takes an estimate first; the difference to the tokens it used is taken when it has ended.
    """

    def __init__(self, limit: int, now: float) -> None:
        self.limit = limit
        self._level = float(limit)
        self._at = now  # when the level was computed

    @classmethod
    def renewed(cls, before: "TokenBucket | None", limit: int, now: float) -> "TokenBucket | None":
        """Return the bucket with another limit; None if `limit` is 0.

        The tokens missing from it stay missing, so that a change of the limit does not fill it. Its debt is reduced to
        the new limit if it is higher, because under a much lower limit the bucket would take hours to refill.
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
        """Return the seconds until the bucket holds these tokens, or until it is full if they exceed the limit."""
        self._fill(now)
        missing = min(tokens, self.limit) - self._level
        return missing * WINDOW / self.limit if missing > 0 else 0.0

    def take(self, tokens: int, now: float) -> None:
        """Take tokens, even if that makes the level negative: tokens used beyond the estimate are a debt."""
        self._fill(now)
        self._level = min(float(self.limit), self._level - tokens)

    def status(self, now: float) -> LimitStatus:
        self._fill(now)
        return LimitStatus(self.limit, max(0, int(self._level)), (self.limit - self._level) * WINDOW / self.limit)


class _ClientLimits:
    """The limits that apply to one client.

    `windows` and `buckets` are all that its requests have to pass, each with whether it is a limit per key. Those
    shared by all clients come first.
    """

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
        """Apply the rules, and the window and bucket shared by all clients, unless they are applied already.

        This is done when the client is next seen after a change, because there may be 100,000 clients.
        """
        if self._rules is rules:
            return
        self._rules = rules
        self._window = SlidingWindow.renewed(self._window, rules.requests_per_key)
        self._bucket = TokenBucket.renewed(self._bucket, rules.tokens_per_key, now)
        windows, buckets = ((window, False), (self._window, True)), ((bucket, False), (self._bucket, True))
        self.windows = [(window, per_key) for window, per_key in windows if window is not None]
        self.buckets = [(bucket, per_key) for bucket, per_key in buckets if bucket is not None]


class RateLimiter:
    """All limits of one process."""

    def __init__(self, rules: LimitRules, now: float) -> None:
        self._window: SlidingWindow | None = None
        self._bucket: TokenBucket | None = None
        self._clients: OrderedDict[bytes, _ClientLimits] = OrderedDict()
        self.update(rules, now)

    def update(self, rules: LimitRules, now: float) -> None:
        """Replace the limits. What has been taken stays taken."""
        self._rules = rules
        self._window = SlidingWindow.renewed(self._window, rules.requests)
        self._bucket = TokenBucket.renewed(self._bucket, rules.tokens, now)

    def statuses(self, now: float) -> tuple[LimitStatus | None, LimitStatus | None]:
        """Return the status of the request limit and of the token limit for all clients together. Takes nothing."""
        if self._window is not None:
            self._window.wait(now)  # drops requests that have left the window
        return (
            self._window.status(now) if self._window is not None else None,
            self._bucket.status(now) if self._bucket is not None else None,
        )

    def admit(self, client: bytes, tokens: int, now: float) -> Verdict:
        """Decide on a request of an estimated number of tokens. `client` is the digest of its key."""
        limits = self._limits_of(client, now)
        refusal = self._refusal(limits, tokens, now)
        if refusal is None:
            limits.parallel += 1
            for window, _ in limits.windows:
                window.take(now)
            for bucket, _ in limits.buckets:
                bucket.take(min(tokens, bucket.limit), now)
        requests = tightest([window.status(now) for window, _ in limits.windows])
        return Verdict(refusal, requests, tightest([bucket.status(now) for bucket, _ in limits.buckets]), tokens)

    def _limits_of(self, client: bytes, now: float) -> _ClientLimits:
        limits = self._clients.get(client)
        if limits is None:
            limits = self._clients[client] = _ClientLimits()
            if len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(client)
        limits.apply_rules(self._rules, self._window, self._bucket, now)
        return limits

    def _refusal(self, limits: _ClientLimits, tokens: int, now: float) -> LimitRefusal | None:
        """Return the limit that refuses the request for the longest time; None if all admit it."""
        refusal, longest = None, 0.0
        for window, per_key in limits.windows:
            wait = window.wait(now)
            if wait > longest:
                refusal, longest = LimitRefusal("requests", per_key, wait), wait
        for bucket, per_key in limits.buckets:
            wait = bucket.wait(tokens, now)
            if wait > longest:
                refusal, longest = LimitRefusal("tokens", per_key, wait), wait
        if 0 < self._rules.parallel_per_key <= limits.parallel and longest < PARALLEL_WAIT:
            refusal = LimitRefusal("parallel", True, PARALLEL_WAIT)
        return refusal

    def finish(self, client: bytes, reserved: int, used: int | None, now: float) -> None:
        """Record the end of a request. `used` is the tokens it used; if that is None, the estimate stays taken."""
        limits = self._clients.get(client)
        if limits is not None:
            limits.apply_rules(self._rules, self._window, self._bucket, now)
            limits.parallel = max(0, limits.parallel - 1)
            buckets = [bucket for bucket, _ in limits.buckets]
        else:  # this client has been forgotten
            buckets = [self._bucket] if self._bucket is not None else []
        if used is not None:
            for bucket in buckets:
                bucket.take(used - min(reserved, bucket.limit), now)


def tightest(statuses: Sequence[LimitStatus]) -> LimitStatus | None:
    """Return the status with the least left; None if there are none."""
    if len(statuses) == 1:
        return statuses[0]
    return min(statuses, key=lambda status: status.remaining, default=None)
