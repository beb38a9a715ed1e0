"""When a credential is fetched again. Pure: all times are Unix seconds, chance is from 0 to 1."""

AHEAD = 300.0  # seconds before its end a credential is renewed, or a quarter of what is left where that is less
_LEAST = 1.0  # between two fetches
_BACKOFF_FIRST, _BACKOFF_MOST = 1.0, 60.0  # after failures in a row
_SET_BACK = 60.0  # seconds; a clock that goes back further was set, and what was planned by it means nothing any more
REFUSED_APART = 10.0  # a credential that is refused so soon after it was fetched would be refused anew


class RefreshSchedule:
    """One credential's. A fetch is due after `wait`; each must be told with `fetched` or `failed`. The clock may be set
    at any time."""

    __slots__ = ("_last", "_planned", "due", "failures")

    def __init__(self) -> None:
        self.due = 0.0
        self.failures = 0  # in a row
        self._last = float("-inf")  # when the last one was fetched
        self._planned = float("-inf")  # when `due` was last set

    def wait(self, now: float) -> float:
        """Seconds until a fetch is due."""
        return 0.0 if now < self._planned - _SET_BACK else max(0.0, self.due - now)

    def fetched(self, now: float, expires: float) -> None:
        """`expires` is infinite for what never ends. Who gives out the same again shortly before its end is asked more
        and more often."""
        self.failures = 0
        self._last = self._planned = now
        left = expires - now
        self.due = now + max(_LEAST, left - min(AHEAD, left / 4))

    def failed(self, now: float, random: float) -> None:
        """The next try comes after twice the time, at least half of it by chance."""
        self.failures += 1
        self._planned = now
        longest = min(_BACKOFF_MOST, _BACKOFF_FIRST * 2.0 ** min(self.failures - 1, 10))
        self.due = now + longest * (0.5 + random / 2)

    def refused(self, now: float) -> bool:
        """The provider did not accept it. Whether it makes sense to fetch another one, which then is due now, unless
        the last try has failed."""
        if -_SET_BACK < now - self._last < REFUSED_APART:
            return False
        if self.failures == 0 or now < self._planned - _SET_BACK:
            self.due = min(self.due, now)
        return self.due <= now
