"""The setting REQUEST_LOG: the targets of the request log, and whether they can be written."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, cast

from nulpoint.config.document import UnreadableConfigError, read_document

_REMEDY = "use stdout, file:PATH or sqlite:PATH, several of them separated by commas, or none"
DEFAULT_DATABASE = "requests.db"  # `make run` writes it, and the commands read it when nothing is set


class LogTarget(NamedTuple):
    """A target of the request log. `path` is None for stdout."""

    kind: Literal["stdout", "file", "sqlite"]
    path: Path | None = None

    def __str__(self) -> str:
        """Return the target as it is written in the setting."""
        return self.kind if self.path is None else f"{self.kind}:{self.path}"


def log_targets(text: str) -> tuple[LogTarget, ...]:
    """Return comma-separated targets. Raises ValueError."""
    if text.strip().lower() == "none":
        return ()
    targets = tuple(_target(part.strip()) for part in text.split(","))
    if len(set(targets)) < len(targets):
        raise ValueError("names the same target twice; remove one of them")
    return targets


def _target(text: str) -> LogTarget:
    kind, colon, path = text.partition(":")
    kind = kind.lower()
    if kind == "stdout" and not colon:
        return LogTarget("stdout")
    if kind not in ("file", "sqlite") or not path:
        raise ValueError(_REMEDY)
    return LogTarget(cast(Literal["file", "sqlite"], kind), Path(path))


def unwritable_targets(targets: Sequence[LogTarget]) -> list[tuple[str, str]]:
    """Return each target that cannot be written, with the reason and remedy. No file is created."""
    unwritable = []
    for kind, path in targets:
        if path is not None and (reason := _unwritable_reason(kind, path)):
            unwritable.append((f"{kind}:{path}", reason))
    return unwritable


def _unwritable_reason(kind: str, path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"the directory {str(folder)!r} does not exist; create it first"
    if path.is_dir():
        return "is a directory; name a file in it instead"
    if path.exists():
        if not os.access(path, os.W_OK):
            return f"user {os.geteuid()} may not write this file; change its owner or name another file"
    elif not os.access(folder, os.W_OK | os.X_OK):
        return f"user {os.geteuid()} may not create files in {str(folder)!r}; change its owner or use another directory"
    return _foreign_database_reason(path) if kind == "sqlite" and path.exists() else ""


def _foreign_database_reason(path: Path) -> str:
    """Return why an existing file cannot be used as the database; empty for a damaged one, which is set aside later."""
    import sqlite3  # imported only where it is needed

    from nulpoint.telemetry.request_log.sqlite_schema import ForeignDatabaseError, is_new

    if not path.is_file():
        return "is not a regular file; name another one"
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            is_new(connection)
        finally:
            connection.close()
    except ForeignDatabaseError as error:
        return str(error)
    except sqlite3.Error:
        pass
    return ""


def configured_targets(environ: Mapping[str, str], file: Path) -> tuple[LogTarget, ...] | None:
    """Return the targets set in the environment or config.yaml, ignoring other problems there; None if not set.

    An invalid value gives no targets; the problem is reported when the configuration is loaded.
    """
    text = environ.get("REQUEST_LOG", "") or _in_file(file)
    if not text:
        return None
    try:
        return log_targets(text)
    except ValueError:
        return ()


def _in_file(file: Path) -> str:
    try:
        document = read_document(file, expected=False) or {}
    except UnreadableConfigError:
        return ""
    value = document.get("request_log")
    return ",".join(map(str, value)) if isinstance(value, list) else str(value or "")
