"""Reads files that the configuration names: regular files only, and only up to a bound.

Opening a FIFO without a writer blocks for ever, and a device may never come to an end. A file is therefore opened
without blocking, and what has been opened is checked again: between a look at a name and its opening another file may
have taken its place.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_FILE_BYTES = 16 * 1024 * 1024
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_KINDS = (
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


def read_regular_file(path: str | Path) -> bytes:
    """Return what is in the file. Raise OSError, whose `strerror` says why, if it is not a regular file or too long."""
    with _opened(path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:  # it has grown meanwhile, or its file system does not tell sizes
        raise _too_long(path)
    return content


@contextmanager
def path_of_regular_file(path: str | Path) -> Iterator[str]:
    """Give a name of the open file to a library that opens files by name only. Raise OSError as the reader above does.

    The name is that of the descriptor, where the system has such names, so that it leads to the file that was checked.
    """
    with _opened(path) as descriptor:
        name = f"/dev/fd/{descriptor}"
        yield name if os.path.exists(name) else str(path)


@contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    _check(path, os.stat(path))  # before it is opened: opening alone does something to some devices
    descriptor = os.open(path, _FLAGS)
    try:
        _check(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _check(path: str | Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, and only regular files are read", str(path))
    if found.st_size > MAX_FILE_BYTES:
        raise _too_long(path)


def _too_long(path: str | Path) -> OSError:
    return OSError(errno.EFBIG, f"it is longer than {MAX_FILE_BYTES >> 20} MiB", str(path))
