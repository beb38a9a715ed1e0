"""How several workers make one page: each leaves a snapshot of its numbers in a directory they share.

What a page has shown is never taken back: a worker writes its snapshot before it shows its numbers. Of a worker that
dies everything stays counted but its last second, at most, and only where nobody had been shown that yet.
"""

import contextlib
import os
from pathlib import Path
from secrets import token_hex

import msgspec

from nulpoint.telemetry.metrics.definitions import MetricValues, forget_gauges, merge

_EXITED = "dead"
_READS = 20  # at the directory, while workers are being buried


class ExitedWorkers(msgspec.Struct):
    """What all the dead had counted, and the snapshot that was added last: it may still be there."""

    last: str = ""
    values: MetricValues = msgspec.field(default_factory=MetricValues)


class WorkerSnapshots:
    """One worker's view of them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # A process id may come again, and then it is another worker.
        self._path = directory / f"{os.getpid()}-{token_hex(4)}.snapshot"

    def publish(self, values: MetricValues) -> None:
        """Raises OSError."""
        _write(self._path, values)

    def sum_of_others(self) -> MetricValues:
        """The sum of all other workers', living and dead. Raises OSError."""
        for _ in range(_READS):
            dead = _read_exited(self._directory)
            with contextlib.suppress(FileNotFoundError):  # it is being buried
                total = self._add_others(dead)
                if _read_exited(self._directory).last == dead.last:  # else one that was buried meanwhile may be missing
                    return total
        raise OSError("workers die faster than their numbers can be read")

    def _add_others(self, dead: ExitedWorkers) -> MetricValues:
        total = dead.values
        for path in self._directory.glob("*.snapshot"):
            if path.name not in (self._path.name, dead.last):
                other = msgspec.msgpack.decode(path.read_bytes(), type=MetricValues)
                if not _alive(int(path.stem.split("-")[0])):
                    forget_gauges(other)
                merge(total, other)
        return total


def absorb_exited_worker(directory: Path, pid: int) -> None:
    """Add a dead worker's snapshot to those of all the dead, so that they take no more room than one. To be called by
    one process only. Raises OSError.
    """
    for path in directory.glob(f"{pid}-*.snapshot"):
        dead = _read_exited(directory)
        values = msgspec.msgpack.decode(path.read_bytes(), type=MetricValues)
        forget_gauges(values)
        merge(dead.values, values)
        _write(directory / _EXITED, ExitedWorkers(path.name, dead.values))
        path.unlink()
    for unfinished in directory.glob(f"{pid}-*.new"):
        unfinished.unlink()


def _read_exited(directory: Path) -> ExitedWorkers:
    try:
        return msgspec.msgpack.decode((directory / _EXITED).read_bytes(), type=ExitedWorkers)
    except FileNotFoundError:
        return ExitedWorkers()


def _write(path: Path, content: MetricValues | ExitedWorkers) -> None:
    """Whole or not at all, for whoever reads it."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.msgpack.encode(content))
    fresh.replace(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
