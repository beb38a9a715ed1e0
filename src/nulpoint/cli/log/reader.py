"""Opening a request log to read it: an SQLite file, or lines of JSON."""

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
_AT_ONCE = 1000  # lines
_USAGE = ("prompt", "completion", "cached", "reasoning", "written", "written_1h")
_FLAGS = ("stream", "coalesced")


class UnreadableLogError(Exception):
    """There is no request log to read. The text says why and what to do."""


class RequestLogReader:
    """An open one. `number` is a record's place in it. `live`: more may come."""

    def __init__(self, connection: sqlite3.Connection, path: Path, *, live: bool) -> None:
        self.path = path
        self.live = live
        self._use(connection)

    def _use(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._inode = inode(self.path) if self.live else None
        connection.row_factory = sqlite3.Row
        known = columns_of(connection)
        columns = [f'"{one.name}"' if one.name in known else f'NULL AS "{one.name}"' for one in COLUMNS]
        self._table = f"(SELECT number, {', '.join(columns)} FROM requests)"  # a file of an older version lacks some

    def rows(
        self, where: str, values: tuple[Any, ...], rest: str = "ORDER BY number", columns: Sequence[str] = ("*",)
    ) -> list[sqlite3.Row]:
        """Raises Unreadable."""
        statement = f"SELECT {', '.join(columns)} FROM {self._table} WHERE {where} {rest}"
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise UnreadableLogError(_damaged(self.path, error)) from None

    def last(self) -> int:
        """The highest number; 0 where there is none."""
        (row,) = self.rows("1", (), "", ("ifnull(max(number), 0)",))
        return int(row[0])

    def look_again(self) -> None:
        """Where the file was replaced by another since it was opened, that one is read from now on."""
        found = inode(self.path)
        if found is None or found == self._inode:
            return
        try:
            connection = _of_file(self.path)
        except UnreadableLogError:  # nothing is in it yet
            return
        self.close()
        self._use(connection)

    def close(self) -> None:
        self._connection.close()


def open_log(path: Path) -> RequestLogReader:
    """Raises Unreadable."""
    if path == STDIN:
        return RequestLogReader(_of_lines(sys.stdin.buffer.read(), "standard input"), path, live=False)
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE_HEAD))
            lines = head + file.read() if head[:1] == b"{" else None
    except FileNotFoundError:
        text = f"there is no request log {str(path)!r}; REQUEST_LOG=sqlite:{path} makes one with the first request"
        raise UnreadableLogError(text) from None
    except OSError as error:
        raise UnreadableLogError(f"the request log {str(path)!r} cannot be read: {error.strerror}") from None
    if lines is not None:
        return RequestLogReader(_of_lines(lines, repr(str(path))), path, live=False)
    if not head:
        raise UnreadableLogError(f"{str(path)!r} is empty: no request has been logged yet")
    if head != _SQLITE_HEAD:
        raise UnreadableLogError(
            f"{str(path)!r} is no request log: neither SQLite nor lines of JSON; it may be damaged"
        )
    return RequestLogReader(_of_file(path), path, live=True)


def _of_file(path: Path) -> sqlite3.Connection:
    for mode in ("mode=ro", "mode=ro&immutable=1"):  # the second where nobody may make the files SQLite needs beside it
        try:
            return _opened(path, mode)
        except ForeignDatabaseError as error:
            raise UnreadableLogError(f"{str(path)!r} cannot be read: {error}") from None
        except sqlite3.Error as error:
            reason = error
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN or _is_written(path):
                break
    raise UnreadableLogError(_damaged(path, reason))


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    """Raises Unreadable, NotOurs, sqlite3.Error."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, timeout=5)
    try:
        if is_new(connection):
            raise UnreadableLogError(f"{str(path)!r} is empty: no request has been logged yet")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_written(path: Path) -> bool:
    return path.with_name(path.name + "-wal").exists()


def _damaged(path: Path, error: sqlite3.Error) -> str:
    text = f"the request log {str(path)!r} cannot be read: {error}"
    if is_damage(error):
        text += (
            "; a gateway that writes to it sets it aside and begins another (`sqlite3 FILE .recover` may save records)"
        )
    return text


def _of_lines(data: bytes, where: str) -> sqlite3.Connection:
    """What is no record is passed by: a line that was cut, words of another program."""
    lines = [line for line in data.splitlines() if _is_record(line)]
    if not lines:
        raise UnreadableLogError(f"there is no request in {where}" if data.strip() else f"{where} is empty")
    connection = memory()
    for start in range(0, len(lines), _AT_ONCE):
        connection.execute(INSERT, ((b"[%b]" % b",".join(lines[start : start + _AT_ONCE])).decode(),))
    return connection


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # what SQLite's integers hold


class _Record(msgspec.Struct):
    """What every record has, and the types of what figures are made of."""

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
    """In the shape of the log's JSON lines, with its number; what is not known is left out."""
    record = {name: value for name, value in dict(row).items() if value is not None}
    for name in _FLAGS:
        record[name] = bool(record.get(name))
    usage = {name: record.pop(name) for name in _USAGE if name in record}
    if usage:
        record["usage"] = usage
    if "attempts" in record:
        record["attempts"] = msgspec.json.decode(record["attempts"])
    return record
