"""Watches how much memory is left below the limit of the control group, which is the limit of a container.

At the limit the kernel kills the process with all its requests, so new requests are rejected shortly before that.
Source: Linux, Documentation/admin-guide/cgroup-v2.rst (`memory.current`, `memory.max`), and the files of version 1.
"""

from pathlib import Path

INTERVAL = 0.25  # seconds between two measurements
FULL = 0.95  # of the limit; above that no request is admitted
_FILES = (("memory.current", "memory.max"), ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes"))
_NO_LIMIT = 1 << 60  # version 1 spells "no limit" as a very large number


class MemoryMonitor:
    """Measures the used memory, at most every INTERVAL seconds. Without a limit it is never full."""

    __slots__ = ("_current", "_limit", "_next", "full")

    def __init__(self, root: Path = Path("/sys/fs/cgroup")) -> None:
        self._current: Path | None = None
        self._limit = 0
        for current, maximum in _FILES:
            limit = _number(root / maximum)
            if limit is not None and limit < _NO_LIMIT:
                self._current, self._limit = root / current, limit
                break
        self._next = 0.0
        self.full = False

    def sample(self, now: float) -> None:
        """Measure, if it is time. `now` is in seconds of any clock."""
        if self._current is None or now < self._next:
            return
        self._next = now + INTERVAL
        used = _number(self._current)
        self.full = used is not None and used >= self._limit * FULL


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
