"""The time of day, as far as it can be trusted for removing old records."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

logger = logging.getLogger(__name__)

TOLERANCE = 3600.0  # seconds; if the two clocks differ by more, one of them has jumped


class TrustedClock:
    """A clock that tells no time while the wall clock is off after a jump, so that no record is removed by mistake.

    `wall` returns Unix seconds. `steady` returns the seconds of a monotonic clock that also counts while the machine
    sleeps.
    """

    def __init__(self, wall: Callable[[], float], steady: Callable[[], float]) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()
        self._jump_reported = False

    def now(self) -> float | None:
        """Return the time in Unix seconds; None while the wall clock is off after a jump."""
        wall = self._wall()
        jump = wall - self._steady() - self._ahead
        if abs(jump) <= TOLERANCE:
            self._jump_reported = False
            return wall
        if not self._jump_reported:
            self._jump_reported = True
            text = "the clock has jumped by %.0f s: until it is back, no old records of the request log are removed"
            logger.warning(text, jump)
        return None


def _wall() -> float:
    return datetime.now(UTC).timestamp()


def _steady() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def trusted_clock() -> TrustedClock:
    """Return the trusted clock of this machine."""
    return TrustedClock(_wall, _steady)
