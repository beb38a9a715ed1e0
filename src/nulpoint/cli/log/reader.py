"""Reads request logs: SQLite files and lines of JSON."""

import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from nulpoint.telemetry.request_log.files import inode
from nulpoint.telemetry.request_log.sqlite_schema import (
    COLUMNS,
    INSERT,
    ForeignDatabaseError,
    columns_of,
    is_damage,
    is_new,
    memory,
)

STDIN = Path("-")
_SQLITE_HEAD = b"SQLite format 3\0"
_BATCH_LINES = 1000  # lines
_USAGE_COLUMNS = ("prompt", "completion", "cached", "reasoning", "written", "written_1h")
_FLAG_COLUMNS = ("stream", "coalesced")


class UnreadableLogError(Exception):
    """There is no request log that can be read. The message says why, and what to do."""


class RequestLogReader:
    """An open request log. `can_follow` says whether records can still be added to it.

    The column `number` of each row is the position of the record in the log.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, *, can_follow: bool) -> None:
        self.path = path
        self.can_follow = can_follow
        self._use(connection)

    def _use(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._inode = inode(self.path) if self.can_follow else None
        connection.row_factory = sqlite3.Row
        existing = columns_of(connection)
        columns = [f'"{column.name}"' if column.name in existing else f'NULL AS "{column.name}"' for column in COLUMNS]
        self._table = (
            f"(SELECT number, {', '.join(columns)} FROM requests)"  # files of older versions lack some columns
        )

    def rows(
        self, condition: str, values: tuple[Any, ...], suffix: str = "ORDER BY number", columns: Sequence[str] = ("*",)
    ) -> list[sqlite3.Row]:
        """Return the rows that match a condition. Raises UnreadableLogError."""
        statement = f"SELECT {', '.join(columns)} FROM {self._table} WHERE {condition} {suffix}"
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise UnreadableLogError(_unreadable_message(self.path, error)) from None

    def last_number(self) -> int:
        """Return the highest record number, or 0 if the log is empty."""
        (row,) = self.rows("1", (), "", ("ifnull(max(number), 0)",))
        return int(row[0])

    def reopen_if_replaced(self) -> None:
        """Switch to the new file if the log file was replaced since it was opened."""
        inode_now = inode(self.path)
        if inode_now is None or inode_now == self._inode:
            return
        try:
            connection = _connect_file(self.path)
        except UnreadableLogError:  # the new file has no records yet
            return
        self.close()
        self._use(connection)

    def close(self) -> None:
        self._connection.close()


def open_log(path: Path) -> RequestLogReader:
    """Open a request log; the path `-` reads JSON lines from standard input. Raises UnreadableLogError."""
    if path == STDIN:
        return RequestLogReader(load_lines(sys.stdin.buffer.read(), "standard input"), path, can_follow=False)
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE_HEAD))
            lines = head + file.read() if head[:1] == b"{" else None
    except FileNotFoundError:
        text = f"there is no request log {str(path)!r}; with REQUEST_LOG=sqlite:{path} the gateway creates it"
        raise UnreadableLogError(text) from None
    except OSError as error:
        raise UnreadableLogError(f"the request log {str(path)!r} cannot be read: {error.strerror}") from None
    if lines is not None:
        return RequestLogReader(load_lines(lines, repr(str(path))), path, can_follow=False)
    if not head:
        raise UnreadableLogError(f"{str(path)!r} is empty: no request has been logged yet")
    if head != _SQLITE_HEAD:
        raise UnreadableLogError(
            f"{str(path)!r} is not a request log: it is neither SQLite nor lines of JSON; it may be damaged"
        )
    return RequestLogReader(_connect_file(path), path, can_follow=True)


def _connect_file(path: Path) -> sqlite3.Connection:
    for mode in ("mode=ro", "mode=ro&immutable=1"):  # the second if SQLite cannot create the files it needs next to it
        try:
            return _connect(path, mode)
        except ForeignDatabaseError as error:
            raise UnreadableLogError(f"{str(path)!r} cannot be read: {error}") from None
        except sqlite3.Error as error:
            reason = error
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN or _has_writer(path):
                break
    raise UnreadableLogError(_unreadable_message(path, reason))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open the file read-only. Raises UnreadableLogError, ForeignDatabaseError and sqlite3.Error."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, timeout=5)
    try:
        if is_new(connection):
            raise UnreadableLogError(f"{str(path)!r} is empty: no request has been logged yet")
    except BaseException:
        connection.close()
        raise
    return connection


def _has_writer(path: Path) -> bool:
    return path.with_name(path.name + "-wal").exists()


def _unreadable_message(path: Path, error: sqlite3.Error) -> str:
    text = f"the request log {str(path)!r} cannot be read: {error}"
    if is_damage(error):
        text += (
            "; a gateway that writes to it sets it aside and starts a new one"
            " (`sqlite3 FILE .recover` may save records)"
        )
    return text


def load_lines(data: bytes, source: str) -> sqlite3.Connection:
    """Load JSON lines into a database in memory. Lines that are not complete records are skipped."""
    lines = [line for line in data.splitlines() if _is_record(line)]
    if not lines:
        raise UnreadableLogError(f"there is no request in {source}" if data.strip() else f"{source} is empty")
    connection = memory()
    for start in range(0, len(lines), _BATCH_LINES):
        connection.execute(INSERT, ((b"[%b]" % b",".join(lines[start : start + _BATCH_LINES])).decode(),))
    return connection


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # the range of SQLite integers


class _Record(msgspec.Struct):
    """The fields that every record must have, and the types of those that statistics use."""

    time: str
    id: str
    route: str
    status: _Count
    model: str | None = None
    provider: str | None = None
    key: str | None = None
    cache: str | None = None
    error: str | None = None
    total_us: _Count = 0
    added_us: _Count = 0
    first_byte_us: _Count | None = None
    first_token_us: _Count | None = None
    usage: dict[str, _Count | None] | None = None
    cost: float | None = None
    saved: float | None = None
    stream: bool = False
    coalesced: bool = False
    attempts: list[Any] | None = None


def _is_record(line: bytes) -> bool:
    try:
        line.decode()
        msgspec.json.decode(line, type=_Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def as_record(row: sqlite3.Row) -> dict[str, Any]:
    """Return a row as the object of the log's JSON lines, with its number. Unknown values are left out."""
    record = {name: value for name, value in dict(row).items() if value is not None}
    for name in _FLAG_COLUMNS:
        record[name] = bool(record.get(name))
    usage = {name: record.pop(name) for name in _USAGE_COLUMNS if name in record}
    if usage:
        record["usage"] = usage
    if "attempts" in record:
        record["attempts"] = msgspec.json.decode(record["attempts"])
    return record
