"""Reads the files that the configuration names. Only regular files up to MAX_FILE_BYTES are read.

Opening a FIFO that has no writer blocks forever, and a device may never end. A file is therefore opened without
blocking, and checked both before and after it is opened: in between, another file may have replaced it.
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
    """Return the content of a file. Raise OSError, with the reason in `strerror`, if it is not regular or too long."""
    with _opened(path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:  # the file has grown meanwhile, or its file system does not report sizes
        raise _too_long(path)
    return content


@contextmanager
def path_of_regular_file(path: str | Path) -> Iterator[str]:
    """Yield a path to a checked file, for libraries that only open files by path. Raise OSError like read_regular_file.

    If the system has paths for file descriptors (/dev/fd), this is one of them, so it leads to the file that was
    checked.
    """
    with _opened(path) as descriptor:
        name = f"/dev/fd/{descriptor}"
        yield name if os.path.exists(name) else str(path)


@contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    _check(path, os.stat(path))  # checked before opening, because opening alone has effects on some devices
    descriptor = os.open(path, _FLAGS)
    try:
        _check(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _check(path: str | Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, and only regular files are read", str(path))
    if status.st_size > MAX_FILE_BYTES:
        raise _too_long(path)


def _too_long(path: str | Path) -> OSError:
    return OSError(errno.EFBIG, f"it is longer than {MAX_FILE_BYTES >> 20} MiB", str(path))
