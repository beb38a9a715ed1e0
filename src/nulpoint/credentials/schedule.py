"""Decide when a credential is fetched again. All times are in Unix seconds and are arguments: no clock is read."""

AHEAD = 300.0  # seconds before its expiry that a credential is renewed, or a quarter of its lifetime if that is less
_MIN_WAIT = 1.0  # seconds between two fetches
_MIN_BACKOFF, _MAX_BACKOFF = 1.0, 60.0  # seconds to wait after consecutive failures
_CLOCK_STEP = 60.0  # seconds; if the clock goes back further than this, it was adjusted, and the plan is void
# Seconds; a credential that is rejected sooner after its fetch is not replaced: a new one would be rejected too.
MIN_SECONDS_BEFORE_REFUSAL = 10.0


class RefreshSchedule:
    """The schedule of one credential.

    A fetch is due after `wait` seconds; report its result with `record_success` or `record_failure`. The clock may be
    adjusted at any time.
    """

    __slots__ = ("_last", "_planned", "due", "failures")

    def __init__(self) -> None:
        self.due = 0.0
        self.failures = 0  # consecutive failures
        self._last = float("-inf")  # when the last credential was fetched
        self._planned = float("-inf")  # when `due` was last set

    def wait(self, now: float) -> float:
        """Return the seconds until a fetch is due."""
        return 0.0 if now < self._planned - _CLOCK_STEP else max(0.0, self.due - now)

    def record_success(self, now: float, expires: float) -> None:
        """Plan the next fetch after a successful one. `expires` is infinite for a credential that never expires.

        The wait depends on the remaining lifetime. So if a source returns the same credential until shortly before it
        expires, the fetches become more and more frequent.
        """
        self.failures = 0
        self._last = self._planned = now
        lifetime = expires - now
        self.due = now + max(_MIN_WAIT, lifetime - min(AHEAD, lifetime / 4))

    def record_failure(self, now: float, random: float) -> None:
        """Plan the next attempt after a failed one, with exponential backoff and jitter (`random` is from 0 to 1)."""
        self.failures += 1
        self._planned = now
        longest = min(_MAX_BACKOFF, _MIN_BACKOFF * 2.0 ** min(self.failures - 1, 10))
        self.due = now + longest * (0.5 + random / 2)

    def record_refusal(self, now: float) -> bool:
        """Record that the provider rejected the credential; return whether fetching a new one makes sense.

        If so, a fetch is due now, unless the last attempt failed.
        """
        if -_CLOCK_STEP < now - self._last < MIN_SECONDS_BEFORE_REFUSAL:
            return False
        if self.failures == 0 or now < self._planned - _CLOCK_STEP:
            self.due = min(self.due, now)
        return self.due <= now
