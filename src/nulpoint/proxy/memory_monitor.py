"""How full the memory is that this process may use: its control group's limit, which is what a container gets.

At the limit the kernel kills the process, with every request in it; so new requests are refused a little before.
Facts: Linux, Documentation/admin-guide/cgroup-v2.rst (`memory.current`, `memory.max`) and the files of version 1.
"""

from pathlib import Path

PAUSE = 0.25  # seconds between two looks
FULL = 0.95  # of the limit, from which on nothing new is taken
_FILES = (("memory.current", "memory.max"), ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes"))
_NO_LIMIT = 1 << 60  # version 1 spells "no limit" as a very large number


class MemoryMonitor:
    """Looks when asked, at most every `PAUSE` seconds. Where there is no limit nothing is ever full."""

    __slots__ = ("_current", "_limit", "_next", "full")

    def __init__(self, root: Path = Path("/sys/fs/cgroup")) -> None:
        self._current: Path | None = None
        self._limit = 0
        for current, most in _FILES:
            limit = _number(root / most)
            if limit is not None and limit < _NO_LIMIT:
                self._current, self._limit = root / current, limit
                break
        self._next = 0.0
        self.full = False

    def sample(self, now: float) -> None:
        """`now` in seconds of any one clock."""
        if self._current is None or now < self._next:
            return
        self._next = now + PAUSE
        used = _number(self._current)
        self.full = used is not None and used >= self._limit * FULL


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
