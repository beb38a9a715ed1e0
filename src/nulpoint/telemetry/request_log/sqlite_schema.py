"""The schema of the request log's SQLite file: one table with a column for each field.

A new field is a new column, which is added to older files when they are opened for writing. Programs ignore columns
they do not know, so programs of several versions can share a file. SCHEMA is raised only for a change that makes this
impossible; then older programs refuse the file.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

from nulpoint.telemetry.request_log.files import directory_locked

SCHEMA = 1  # PRAGMA user_version
APPLICATION = int.from_bytes(b"nulp")  # PRAGMA application_id
BUSY_SECONDS = 5.0  # how long to wait for another worker's transaction
_WAL_BYTES = 16 * 1024 * 1024  # the size the write-ahead file may keep after a checkpoint


class LogColumn(NamedTuple):
    """A column of the table. `value` is the SQL expression for it; in it, `value` is the JSON of the record."""

    name: str
    type: str
    value: str


def _plain(name: str, kind: str = "TEXT") -> LogColumn:
    return LogColumn(name, kind, f"json_extract(value, '$.{name}')")


def _number(name: str) -> LogColumn:
    return LogColumn(name, "INTEGER", f"ifnull(json_extract(value, '$.{name}'), 0)")


def _usage(name: str) -> LogColumn:
    return LogColumn(name, "INTEGER", f"json_extract(value, '$.usage.{name}')")


COLUMNS = (
    # All times have the same length, so that sorting the text sorts by time.
    LogColumn("time", "TEXT", "strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(value, '$.time'))"),
    *map(_plain, ("level", "id", "route", "method")),
    _number("status"),
    *map(_plain, ("model", "provider", "answered_model")),
    _number("stream"),
    _plain("first_byte_us", "INTEGER"),
    _plain("first_token_us", "INTEGER"),
    _number("total_us"),
    _number("added_us"),
    *map(_usage, ("prompt", "completion", "cached", "reasoning", "written", "written_1h")),
    _plain("cost", "REAL"),
    _plain("saved", "REAL"),
    _number("coalesced"),
    *map(_plain, ("cache", "limit", "key")),
    _number("bytes_in"),
    _number("bytes_out"),
    *map(_plain, ("attempts", "error", "code", "message", "request_body", "response_body")),
)
_NAMES = ", ".join(f'"{column.name}"' for column in COLUMNS)
# A batch is one statement: SQLite parses the records itself, without holding the interpreter lock.
INSERT = f"INSERT INTO requests ({_NAMES}) SELECT {', '.join(column.value for column in COLUMNS)} FROM json_each(?)"
_TABLE = ", ".join(f'"{column.name}" {column.type}' for column in COLUMNS)
_CREATE = f"CREATE TABLE requests (number INTEGER PRIMARY KEY, {_TABLE})"
_INDEX = "CREATE INDEX requests_time ON requests (time)"


class ForeignDatabaseError(Exception):
    """The file is not a request log that this version can use. The text says why and what to do."""


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open a request log for writing, and create or upgrade it if needed.

    Raises ForeignDatabaseError, sqlite3.Error or OSError.
    """
    with directory_locked(path):
        if not path.exists():  # remove remains of an earlier file, so that SQLite does not use them
            for end in ("-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def memory() -> sqlite3.Connection:
    """Return an empty request log in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _create(connection)
    return connection


def is_new(connection: sqlite3.Connection) -> bool:
    """Return whether the file is still empty. Raises ForeignDatabaseError or sqlite3.Error."""
    ours = _pragma(connection, "application_id") == APPLICATION
    version = _pragma(connection, "user_version")
    if ours and version > SCHEMA:
        raise ForeignDatabaseError(
            f"it was written by a newer nulpoint (schema {version}, this one knows {SCHEMA}); use that version"
        )
    empty = not connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
    if not ours and not empty:
        raise ForeignDatabaseError("it is an SQLite file of another program; name another one")
    return empty


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the error means that the file is damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def columns_of(connection: sqlite3.Connection) -> set[str]:
    return {name for _, name, *_ in connection.execute("PRAGMA table_info(requests)")}


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _prepare(connection: sqlite3.Connection) -> None:
    if is_new(connection):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # must come before the first table
        connection.execute("PRAGMA journal_mode = WAL")
        _create(connection)
    else:
        present = columns_of(connection)
        for column in COLUMNS:
            if column.name not in present:
                connection.execute(f'ALTER TABLE requests ADD COLUMN "{column.name}" {column.type}')
    connection.execute("PRAGMA journal_mode = WAL")
    # A power failure may lose the last second, but never damages the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_CREATE)
    connection.execute(_INDEX)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")
