"""Where the request log goes: the setting REQUEST_LOG, and whether these places can be used."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, cast

from nulpoint.config.document import UnreadableConfigError, read_document

_REMEDY = "use stdout, file:PATH or sqlite:PATH, several of them with commas, or none"
UNSET = "requests.db"  # where `make run` writes, and the commands look when nothing is set


class LogTarget(NamedTuple):
    """One place. `path` is None for stdout."""

    kind: Literal["stdout", "file", "sqlite"]
    path: Path | None = None

    def __str__(self) -> str:
        """As the setting has it."""
        return self.kind if self.path is None else f"{self.kind}:{self.path}"


def log_targets(text: str) -> tuple[LogTarget, ...]:
    """Comma-separated. Raises ValueError."""
    if text.strip().lower() == "none":
        return ()
    targets = tuple(_target(part.strip()) for part in text.split(","))
    if len(set(targets)) < len(targets):
        raise ValueError("names a place twice")
    return targets


def _target(text: str) -> LogTarget:
    kind, colon, path = text.partition(":")
    kind = kind.lower()
    if kind == "stdout" and not colon:
        return LogTarget("stdout")
    if kind not in ("file", "sqlite") or not path:
        raise ValueError(_REMEDY)
    return LogTarget(cast(Literal["file", "sqlite"], kind), Path(path))


def unusable(targets: Sequence[LogTarget]) -> list[tuple[str, str]]:
    """Places that cannot be written: which, and the remedy. Nothing is made yet."""
    found = []
    for kind, path in targets:
        if path is not None and (why := _why_not(kind, path)):
            found.append((f"{kind}:{path}", why))
    return found


def _why_not(kind: str, path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no directory {str(folder)!r}; make it first"
    if path.is_dir():
        return "is a directory; name a file in it"
    if path.exists():
        if not os.access(path, os.W_OK):
            return f"cannot be written by user {os.geteuid()}; change its owner or name another file"
    elif not os.access(folder, os.W_OK | os.X_OK):
        return f"user {os.geteuid()} may not make files in {str(folder)!r}; change its owner or name another directory"
    return _not_ours(path) if kind == "sqlite" and path.exists() else ""


def _not_ours(path: Path) -> str:
    """A damaged file is no reason: it is set aside."""
    import sqlite3  # only now: not everybody has such a file

    from nulpoint.telemetry.request_log.sqlite_schema import ForeignDatabaseError, is_new

    if not path.is_file():
        return "is no regular file"
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


def configured(environ: Mapping[str, str], file: Path) -> tuple[LogTarget, ...] | None:
    """What REQUEST_LOG says in the environment or in config.yaml, whatever else is wrong there; None where nothing.

    A value that is wrong names no place: whoever loads the configuration tells it.
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
