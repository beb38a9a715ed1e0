"""Combines the metrics of several workers: each writes snapshots of its values to a directory they share.

A counter on the page never decreases, because a worker writes its snapshot before it serves its values on a page. When
a worker dies, at most the counts of its last second are lost, and only if they have not been on any page.
"""

import contextlib
import os
from pathlib import Path
from secrets import token_hex

import msgspec

from nulpoint.telemetry.metrics.definitions import MetricValues, forget_gauges, merge

_EXITED = "dead"  # the file with the sum of the workers that have exited
_READS = 20  # tries to read the directory while snapshots of exited workers are being added up


class ExitedWorkers(msgspec.Struct):
    """The sum of all workers that have exited. `last` is the snapshot added last, whose file may still exist."""

    last: str = ""
    values: MetricValues = msgspec.field(default_factory=MetricValues)


class WorkerSnapshots:
    """The snapshots of all workers, as one worker sees them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # The token distinguishes workers, because a process id may be reused.
        self._path = directory / f"{os.getpid()}-{token_hex(4)}.snapshot"

    def publish(self, values: MetricValues) -> None:
        """Write the snapshot of this worker. Raises OSError."""
        _write(self._path, values)

    def sum_of_others(self) -> MetricValues:
        """Return the sum of all other workers, running and exited. Raises OSError."""
        for _ in range(_READS):
            exited = _read_exited(self._directory)
            with contextlib.suppress(FileNotFoundError):  # an exited worker's snapshot is being added up
                total = self._add_others(exited)
                if _read_exited(self._directory).last == exited.last:
                    return total  # otherwise a worker that exited meanwhile may be missing
        raise OSError("workers exit faster than their metrics can be read")

    def _add_others(self, exited: ExitedWorkers) -> MetricValues:
        total = exited.values
        for path in self._directory.glob("*.snapshot"):
            if path.name not in (self._path.name, exited.last):
                other = msgspec.msgpack.decode(path.read_bytes(), type=MetricValues)
                if not _alive(int(path.stem.split("-")[0])):
                    forget_gauges(other)
                merge(total, other)
        return total


def absorb_exited_worker(directory: Path, pid: int) -> None:
    """Add the snapshot of an exited worker to the sum of all exited ones, so that they take the room of one file.

    Only one process may call this. Raises OSError.
    """
    for path in directory.glob(f"{pid}-*.snapshot"):
        exited = _read_exited(directory)
        values = msgspec.msgpack.decode(path.read_bytes(), type=MetricValues)
        forget_gauges(values)
        merge(exited.values, values)
        _write(directory / _EXITED, ExitedWorkers(path.name, exited.values))
        path.unlink()
    for unfinished in directory.glob(f"{pid}-*.new"):
        unfinished.unlink()


def _read_exited(directory: Path) -> ExitedWorkers:
    try:
        return msgspec.msgpack.decode((directory / _EXITED).read_bytes(), type=ExitedWorkers)
    except FileNotFoundError:
        return ExitedWorkers()


def _write(path: Path, content: MetricValues | ExitedWorkers) -> None:
    """Replace a file atomically."""
    new_file = path.with_suffix(".new")
    new_file.write_bytes(msgspec.msgpack.encode(content))
    new_file.replace(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
