"""Decides whether another attempt may follow a failed one. Nothing here does I/O.

A request is never tried again once the client has received a part of the response, nor if it failed because of a
mistake of the client, which is what the primary target says is one. Every further attempt is taken from a budget, so
that the gateway does not multiply the load during an outage. A further attempt goes to another target if there is one,
else to the same target after a wait.
"""

from nulpoint.errors import Failure, Kind

# If another target is possible, the first attempt may use at most this share of the deadline to its first byte.
FIRST_ATTEMPT_SHARE = 0.6
MIN_ATTEMPT_SECONDS = 1.0  # with less time left before the deadline, no further attempt is made
BUDGET_SHARE = 0.1  # further attempts allowed per request, on average
BUDGET_FLOOR = 3  # this many further attempts may always be in flight at a time
_MAX_SAVED = 100.0  # the most further attempts that can be saved up
_FIRST_BACKOFF, _MAX_BACKOFF = 0.1, 1.0  # seconds (gRPC A6)

# Failures after which another target may succeed. Mistakes of the client and bugs of the gateway are not among them.
_FAIL_OVER_KINDS = frozenset(
    {
        Kind.AUTH, Kind.QUOTA, Kind.RATE_LIMIT, Kind.TIMEOUT, Kind.CONNECT, Kind.UPSTREAM, Kind.OVERLOADED,
        Kind.NOT_FOUND, Kind.TOO_LONG,
    }
)  # fmt: skip
# Statuses after which the same target may be tried again. A response that was cut off is not retried: it may have been
# paid for.
_RETRIABLE_STATUSES = frozenset({429, 500, 502, 503, 504, 529})


class RetryBudget:
    """Limits the further attempts of one provider's requests to a share of the requests, and to a few at any time.

    A request uses the budget of the provider of its first attempt, wherever its further attempts go. A provider that
    only serves as a fallback has no requests of its own, and has to serve many when those of another all fail at once.
    """

    __slots__ = ("running", "saved")

    def __init__(self) -> None:
        self.saved = 0.0  # every first attempt at the provider adds BUDGET_SHARE
        self.running = 0  # further attempts in flight

    def acquire(self) -> bool:
        """Return whether one further attempt may be made. If so, `release` must be called when it has ended."""
        if self.running >= BUDGET_FLOOR:
            self.saved = min(self.saved, _MAX_SAVED)
            if self.saved < 1.0:
                return False
            self.saved -= 1.0
        self.running += 1
        return True

    def release(self) -> None:
        self.running -= 1


def can_fail_over(failure: Failure, *, has_client_key: bool, at_primary: bool) -> bool:
    """Return whether another target may succeed. It cannot if the provider refused a key that the client sent.

    If the primary target rejects the request, that is the client's mistake. A fallback that rejects it may have only
    another dialect than the primary, for which the request was written.
    """
    if has_client_key and failure.kind in (Kind.AUTH, Kind.QUOTA):
        return False
    if failure.kind is Kind.REJECTED:
        return not at_primary
    return failure.kind in _FAIL_OVER_KINDS


def backoff_before_retry(failure: Failure, attempts: int, random: float) -> float | None:
    """Return the seconds to wait before the same target is tried again; None if it should not be.

    `attempts` is the number of attempts made, `random` a number from 0 to 1 (full jitter). If the provider named a
    wait, it is used if it is short; a longer one is passed on to the client instead.
    """
    if failure.kind is not Kind.CONNECT and (
        failure.provider_status not in _RETRIABLE_STATUSES or failure.kind is Kind.QUOTA
    ):
        return None
    named = failure.provider_retry_after
    if named is not None:
        return named if named <= _MAX_BACKOFF else None
    return random * min(_MAX_BACKOFF, _FIRST_BACKOFF * 2.0 ** (attempts - 1))
