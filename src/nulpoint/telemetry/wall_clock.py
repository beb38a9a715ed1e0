"""The calendar, as far as it can be trusted to throw old records away."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

logger = logging.getLogger(__name__)

TOLERANCE = 3600.0  # seconds two clocks may drift apart before one of them has jumped


class TrustedClock:
    """Knows the time until the clock jumps: what is too old is not decided by a clock that was just moved.

    `wall` gives Unix seconds, `steady` seconds of a clock that only goes on, sleep of the machine included.
    """

    def __init__(self, wall: Callable[[], float], steady: Callable[[], float]) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()
        self._jump_reported = False

    def now(self) -> float | None:
        """Unix seconds; None since the clock has jumped, until it is back."""
        wall = self._wall()
        jump = wall - self._steady() - self._ahead
        if abs(jump) <= TOLERANCE:
            self._jump_reported = False
            return wall
        if not self._jump_reported:
            self._jump_reported = True
            text = "the clock has jumped by %.0f s: nothing of the request log is thrown away until the next start"
            logger.warning(text, jump)
        return None


def _wall() -> float:
    return datetime.now(UTC).timestamp()


def _steady() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def trusted_clock() -> TrustedClock:
    """Of this machine."""
    return TrustedClock(_wall, _steady)
