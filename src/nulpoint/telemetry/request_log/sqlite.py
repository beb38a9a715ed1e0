"""The log sink that writes to an SQLite file, alone or together with other workers."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from nulpoint.telemetry.request_log.files import FileUse, directory_locked, inode
from nulpoint.telemetry.request_log.sqlite_schema import INSERT, ForeignDatabaseError, is_damage, open_to_write
from nulpoint.telemetry.request_log.writer import SinkError
from nulpoint.telemetry.wall_clock import TrustedClock

logger = logging.getLogger(__name__)

BATCH_LINES, BATCH_BYTES = 2000, 4 * 1024 * 1024  # the most for one transaction
MAINTENANCE_SECONDS = 60.0  # between two checks for damage and for records that are too old
CLEAN_RECORDS = 10_000  # the most records removed in one transaction
_T = TypeVar("_T")
_TOO_OLD = "DELETE FROM requests WHERE number IN (SELECT number FROM requests WHERE time < ? ORDER BY time LIMIT ?)"


class SqliteSink:
    """Writes records to an SQLite file.

    `steady` returns the seconds of a monotonic clock. If the file was removed, a new one is opened when all processes
    have closed the old one, because the last one to close it removes the write-ahead file by its name.
    """

    def __init__(self, path: Path, retention: float, clock: TrustedClock, steady: Callable[[], float]) -> None:
        self.name = f"sqlite:{path.name}"
        self._path = path
        self._retention = retention
        self._clock = clock
        self._steady = steady
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._use: FileUse | None = None
        self._left: FileUse | None = None  # the use of a removed file that others may still have open
        self._next_maintenance = steady()

    def write(self, lines: list[bytes]) -> None:
        while lines:
            count = _lines_that_fit(lines)
            batch = b"[%b]" % b",".join(lines[:count])
            self._run(partial(_in_transaction, statement=INSERT, values=(batch.decode(),)))
            del lines[:count]

    def maintain(self) -> None:
        if self._connection is None or not self._is_same_file():
            return
        if self._steady() >= self._next_maintenance:
            self._next_maintenance = self._steady() + MAINTENANCE_SECONDS
            self._close_connection()  # only a newly opened connection sees damage done by others
            self._run(lambda _: None)
            now = self._clock.now() if self._retention else None
            if now is not None:
                self._clean(now - self._retention)

    def _clean(self, oldest: float) -> None:
        """Remove records older than `oldest`, in Unix seconds, a part of them per call, and shrink the file."""
        limit = datetime.fromtimestamp(oldest, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        removed = self._run(partial(_in_transaction, statement=_TOO_OLD, values=(limit, CLEAN_RECORDS)))
        if removed:
            self._run(lambda connection: connection.executescript("PRAGMA incremental_vacuum(2000)"))
        if removed == CLEAN_RECORDS:
            self._next_maintenance = self._steady()

    def close(self) -> None:
        self._close_connection()
        if self._use is not None:
            self._use.end()
            self._use = None

    def _close_connection(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run work on the open connection. On an error, restore a usable state and raise SinkError."""
        try:
            return work(self._open())
        except ForeignDatabaseError as error:
            raise SinkError(str(error)) from None
        except sqlite3.Error as error:
            if self._connection is not None and self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            self._close_connection()
            if is_damage(error):
                raise SinkError(self._set_aside()) from None
            raise SinkError(str(error)) from None
        except OSError as error:
            self._close_connection()
            raise SinkError(error.strerror) from None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._is_same_file():
            return self._connection
        if self._use is not None and self._use.inode != inode(self._path):
            self._leave()
        if self._left is not None:
            if not self._left.end():
                raise SinkError("it was removed; a new one is opened when all workers have closed the old one")
            self._left = None
        self._inode = inode(self._path)
        self._connection = open_to_write(self._path)
        with contextlib.suppress(OSError):
            os.chmod(self._path, 0o600)  # it contains private data
        if self._use is None:
            self._use = FileUse(self._path)
        self._inode = self._use.inode
        return self._connection

    def _leave(self) -> None:
        """Close the file, which is no longer at its path."""
        self._close_connection()
        if self._use is not None:
            self._left = None if self._use.end() else self._use
            self._use = None

    def _is_same_file(self) -> bool:
        """Return whether the path still leads to the open file. If not, close the file."""
        if inode(self._path) == self._inode:
            return True
        self._leave()
        logger.warning("the request log %s was removed or replaced while in use; a new one is created", self.name)
        return False

    def _set_aside(self) -> str:
        """Rename a damaged file, unless another worker has done it. Return a description for the log."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = f"{self._path.name}.damaged-{stamp}"
        try:
            with directory_locked(self._path):
                if inode(self._path) != self._inode:  # another worker has done it
                    self._leave()
                    return "it was damaged and has been renamed"
                self._use = self._use or FileUse(self._path)
                for end in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        self._path.with_name(self._path.name + end).replace(self._path.with_name(aside + end))
        except OSError as error:
            return f"it is damaged, and cannot be renamed: {error.strerror}"
        self._leave()
        return f"it is damaged; it has been renamed to {aside}"


def _lines_that_fit(lines: list[bytes]) -> int:
    """Return how many lines fit into one transaction."""
    size = 0
    for count, line in enumerate(lines[:BATCH_LINES]):
        size += len(line)
        if count and size > BATCH_BYTES:
            return count
    return min(len(lines), BATCH_LINES)


def _in_transaction(connection: sqlite3.Connection, statement: str, values: tuple[str | int, ...]) -> int:
    """Execute a statement in a transaction. Return the number of rows affected."""
    connection.execute("BEGIN IMMEDIATE")
    count = connection.execute(statement, values).rowcount
    connection.execute("COMMIT")
    return count
