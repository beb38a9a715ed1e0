"""The request log: one JSON line a request on a file descriptor, without ever making a request wait.

A record is encoded where it arises and queued; ten times a second what has gathered goes to a thread of its own, which
alone may block in `write`. The queue is bounded: when whoever reads the other end stops, records are dropped and
counted, never kept and never waited for.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

import msgspec

from nulpoint.stores.record import Record

FLUSH_SECONDS = 0.1
LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3}
# A pipe takes this much at once or not at all (POSIX PIPE_BUF), so lines of several workers never mix.
ATOMIC_BYTES = 4096
# Where there is one writer. Every write lets go of the interpreter lock, and getting it back disturbs the event loop.
PIECE_BYTES = 262_144


class RequestLog:
    """Call `put` from the event loop only."""

    def __init__(
        self, fd: int, level: str, capacity: int, on_drop: Callable[[], None], *, shared: bool = False
    ) -> None:
        """`capacity` in records; `shared`: other processes write to `fd` too."""
        self._fd = fd
        self._piece_bytes = ATOMIC_BYTES if shared else PIECE_BYTES
        self._level = LEVELS[level]
        self._capacity = capacity
        self._on_drop = on_drop
        self._encoder = msgspec.json.Encoder()
        self._lines: list[bytes] = []
        self._flush_handle: asyncio.TimerHandle | None = None
        self._batches: SimpleQueue[list[bytes] | None] = SimpleQueue()
        self._put = 0  # changed by the loop only
        self._written = 0  # changed by the thread only
        self._broken = False
        self._thread = threading.Thread(target=self._write_batches, name="request-log", daemon=True)
        self._thread.start()

    def set_level(self, level: str) -> None:
        """What is below it is not logged from now on."""
        self._level = LEVELS[level]

    def put(self, record: Record) -> None:
        if LEVELS[record.level] < self._level:
            return
        if self._put - self._written >= self._capacity:
            self._on_drop()
            return
        self._put += 1
        self._lines.append(self._encoder.encode(record))
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        lines, self._lines = self._lines, []
        if lines:
            self._batches.put(lines)

    def close(self, timeout: float) -> None:
        """Write what is left, for at most `timeout` seconds."""
        self._flush()
        self._batches.put(None)
        self._thread.join(timeout)

    def _write_batches(self) -> None:
        while (lines := self._batches.get()) is not None:
            try:
                for piece in _pieces(lines, self._piece_bytes):
                    self._write(piece)
            except OSError as error:
                self._complain(error)
            self._written += len(lines)

    def _write(self, piece: bytes) -> None:
        while piece:
            piece = piece[os.write(self._fd, piece) :]

    def _complain(self, error: OSError) -> None:
        """The sink is gone or full: say so once; requests go on, their lines are lost."""
        if not self._broken:
            self._broken = True
            print(f"nulpoint: the request log cannot be written: {error.strerror}", file=sys.stderr, flush=True)


def _pieces(lines: list[bytes], limit: int) -> list[bytes]:
    """Whole lines joined up to `limit` bytes; a longer line is a piece of its own."""
    pieces = []
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) + 1 > limit:
            pieces.append(b"\n".join((*piece, b"")))
            piece, size = [], 0
        piece.append(line)
        size += len(line) + 1
    pieces.append(b"\n".join((*piece, b"")))
    return pieces
