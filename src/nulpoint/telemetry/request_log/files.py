"""Log sinks that write lines to an open file descriptor, or to a file that is rotated."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from nulpoint.telemetry.request_log.writer import SinkError
from nulpoint.telemetry.wall_clock import TrustedClock

# A write of up to this size to a pipe is atomic (POSIX PIPE_BUF), so the lines of several workers never mix.
ATOMIC_BYTES = 4096
# Used if lines cannot mix. Fewer writes are better: each releases the interpreter lock, and taking it again disturbs
# the event loop.
PIECE_BYTES = 262_144


class DescriptorSink:
    """Writes to an open file, such as stdout. `shared` is true if other processes write to it too."""

    name = "stdout"

    def __init__(self, fd: int, *, shared: bool) -> None:
        self._fd = fd
        self._shared = shared

    def write(self, lines: list[bytes]) -> None:
        write_lines(self._fd, lines, ATOMIC_BYTES if self._shared else PIECE_BYTES, resume=not self._shared)

    def maintain(self) -> None: ...

    def close(self) -> None: ...


def write_lines(fd: int, lines: list[bytes], piece_bytes: int, *, resume: bool) -> None:
    """Write lines in pieces of whole lines, and remove those written from the list. Raises SinkError.

    After a partial write, the rest of the line stays in the list if there is no other writer (`resume`). Otherwise the
    whole line is written again.
    """
    while lines:
        count = _lines_that_fit(lines, piece_bytes)
        piece = memoryview(b"\n".join((*lines[:count], b"")))
        done = 0
        try:
            while done < len(piece):
                done += os.write(fd, piece[done:])
        except OSError as error:
            _remove_written(lines, done, resume)
            raise SinkError(error.strerror) from None
        del lines[:count]


def _lines_that_fit(lines: list[bytes], limit: int) -> int:
    """Return how many lines fit into one piece, at least one."""
    size = 0
    for count, line in enumerate(lines):
        size += len(line) + 1
        if count and size > limit:
            return count
    return len(lines)


def _remove_written(lines: list[bytes], done: int, resume: bool) -> None:
    """Remove the first `done` bytes, which have been written. A line they cut stays: its rest, or else all of it."""
    while lines and done > len(lines[0]):
        done -= len(lines[0]) + 1
        del lines[0]
    if done:
        lines[0] = lines[0][done:] if resume else b"\n" + lines[0]


class FileSink:
    """Writes to a file that is rotated.

    At `max_bytes` the file is renamed to `PATH.1`, `PATH.1` to `PATH.2`, and so on; `PATH.<keep>` is overwritten. If
    the file was moved or removed, a new one is created. Rotated files that have not changed for `retention` seconds are
    removed, unless `retention` is 0.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int, retention: float, clock: TrustedClock) -> None:
        self.name = f"file:{path.name}"
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._retention = retention
        self._clock = clock
        self._fd = -1

    def write(self, lines: list[bytes]) -> None:
        try:
            self._open()
        except OSError as error:
            raise SinkError(error.strerror) from None
        write_lines(self._fd, lines, PIECE_BYTES, resume=False)

    def _open(self) -> None:
        if self._fd >= 0 and inode(self._path) != inode(self._fd):
            self.close()
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._is_full():
            self._rotate()
            self._open()

    def _is_full(self) -> bool:
        status = os.fstat(self._fd)
        return stat.S_ISREG(status.st_mode) and status.st_size >= self._max_bytes

    def _rotate(self) -> None:
        """Rotate the file, unless another worker has just done it."""
        with directory_locked(self._path):
            if inode(self._path) == inode(self._fd):
                for number in range(self._keep, 0, -1):
                    with contextlib.suppress(FileNotFoundError):
                        self._numbered(number - 1).replace(self._numbered(number))
        self.close()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def maintain(self) -> None:
        now = self._clock.now() if self._retention else None
        if now is None:
            return
        for number in range(1, self._keep + 1):
            with contextlib.suppress(OSError):
                old = self._numbered(number)
                if old.stat().st_mtime < now - self._retention:
                    old.unlink()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class FileUse:
    """Shows other processes that this one uses a file, and tells it whether others still do.

    All of them hold a shared lock (`flock`). SQLite uses locks of another kind (`fcntl`), which it would lose if this
    process closed any descriptor of the file. So a descriptor is closed only when nobody has the file open any more.
    """

    def __init__(self, path: Path) -> None:
        """Begin to use a file. Raises OSError."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        self.inode = inode(self._fd)

    def end(self) -> bool:
        """Stop using the file. Return whether everybody has. If not, this can be called again later."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # the shared lock is released even so
            return False
        os.close(self._fd)
        return True


def inode(file: Path | int) -> tuple[int, int] | None:
    """Return the device and inode of a file; None if it does not exist."""
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def directory_locked(path: Path) -> Iterator[None]:
    """Lock the directory of `path` against other processes that move or create files in it. Raises OSError."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
