"""Whether another attempt may follow a failed one: pure.

The rules: an answer that the caller has begun to get is never tried again, nor is one that failed by the caller's own
mistake. A further attempt takes from a budget, so that an outage is not answered with a multiple of the load. It goes
to another target where there is one; only else to the same again, and then after a wait.
"""

from nulpoint.errors import Failure, Kind

FIRST_SHARE = 0.6  # of the deadline, the most for the first attempt's first byte where another one is possible
MIN_ATTEMPT_SECONDS = 1.0  # seconds; with less of the deadline left no further attempt is begun
BUDGET_SHARE = 0.1  # of the requests may be further attempts
BUDGET_FLOOR = 3  # further attempts at one time are always allowed
_BUDGET_MOST = 100.0  # saved up
_BACKOFF_FIRST, _BACKOFF_MOST = 0.1, 1.0  # seconds (gRPC A6)

# What another target can make good. The caller's own mistakes and the gateway's own are not among it.
_ELSEWHERE = frozenset(
    {Kind.AUTH, Kind.QUOTA, Kind.RATE_LIMIT, Kind.TIMEOUT, Kind.CONNECT, Kind.UPSTREAM, Kind.OVERLOADED}
)
# Complete answers after which the same target may be asked again. One that was cut may have been paid for.
_AGAIN = frozenset({429, 500, 502, 503, 504, 529})


class RetryBudget:
    """How many further attempts the requests of one provider may get: a share of them, and a few at any time.

    A request belongs to the provider of its first attempt, wherever the further ones go: a provider that only stands in
    for others has no requests of its own, and is there for when theirs fail all at once.
    """

    __slots__ = ("running", "saved")

    def __init__(self) -> None:
        self.saved = 0.0  # every first attempt at the provider adds BUDGET_SHARE
        self.running = 0  # further attempts under way

    def take(self) -> bool:
        """Leave for one further attempt; it must be given back with `done` when the attempt has ended."""
        if self.running >= BUDGET_FLOOR:
            self.saved = min(self.saved, _BUDGET_MOST)
            if self.saved < 1.0:
                return False
            self.saved -= 1.0
        self.running += 1
        return True

    def done(self) -> None:
        self.running -= 1


def can_fail_over(failure: Failure, *, has_client_key: bool) -> bool:
    """Whether another target may do better. A key the caller brought is refused by nobody's fault but the caller's."""
    if has_client_key and failure.kind in (Kind.AUTH, Kind.QUOTA):
        return False
    return failure.kind in _ELSEWHERE


def backoff_before_retry(failure: Failure, attempts: int, random: float) -> float | None:
    """Seconds until the same target may be tried again; None where it should not be.

    `attempts` have been made, `chance` is from 0 to 1 (full jitter). A wait the provider named counts instead if it is
    short; a longer one is the caller's to keep.
    """
    if failure.kind is not Kind.CONNECT and (failure.provider_status not in _AGAIN or failure.kind is Kind.QUOTA):
        return None
    named = failure.provider_retry_after
    if named is not None:
        return named if named <= _BACKOFF_MOST else None
    return random * min(_BACKOFF_MOST, _BACKOFF_FIRST * 2.0 ** (attempts - 1))
