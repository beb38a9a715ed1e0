"""Sinks that take lines: an open file descriptor, and a file that is rotated."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from nulpoint.telemetry.request_log.writer import SinkError
from nulpoint.telemetry.wall_clock import TrustedClock

# A pipe takes this much at once or not at all (POSIX PIPE_BUF), so lines of several workers never mix.
ATOMIC_BYTES = 4096
# Where there is one writer. Every write lets go of the interpreter lock, and getting it back disturbs the event loop.
PIECE_BYTES = 262_144


class DescriptorSink:
    """An open file, such as stdout. `shared`: other processes write to it too."""

    name = "stdout"

    def __init__(self, fd: int, *, shared: bool) -> None:
        self._fd = fd
        self._shared = shared

    def write(self, lines: list[bytes]) -> None:
        write_lines(self._fd, lines, ATOMIC_BYTES if self._shared else PIECE_BYTES, resume=not self._shared)

    def maintain(self) -> None: ...

    def close(self) -> None: ...


def write_lines(fd: int, lines: list[bytes], piece_bytes: int, *, resume: bool) -> None:
    """Write and remove them, whole lines at a time. Raises SinkError.

    A line that was cut goes on where it was cut when nobody else writes (`goes_on`), else it comes again.
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
    """How many whole lines go into one piece; a longer line is a piece of its own."""
    size = 0
    for count, line in enumerate(lines):
        size += len(line) + 1
        if count and size > limit:
            return count
    return len(lines)


def _remove_written(lines: list[bytes], done: int, resume: bool) -> None:
    """So many bytes have been written."""
    while lines and done > len(lines[0]):
        done -= len(lines[0]) + 1
        del lines[0]
    if done:
        lines[0] = lines[0][done:] if resume else b"\n" + lines[0]


class FileSink:
    """A file of its own. At `max_bytes` it is moved to `PATH.1`, and so on up to `PATH.<keep>`, which falls away.

    One that others have moved or removed is made anew. Moved files that have not changed for `retention` seconds (0:
    whatever their age) are removed.
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
        about = os.fstat(self._fd)
        return stat.S_ISREG(about.st_mode) and about.st_size >= self._max_bytes

    def _rotate(self) -> None:
        """Other workers may be about to do the same: it is done once."""
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


def inode(file: Path | int) -> tuple[int, int] | None:
    """Which file this is; None where there is none."""
    try:
        about = os.stat(file)
    except FileNotFoundError:
        return None
    return about.st_dev, about.st_ino


@contextlib.contextmanager
def directory_locked(path: Path) -> Iterator[None]:
    """Among the processes that move or make files beside `path`, one at a time. Raises OSError."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
