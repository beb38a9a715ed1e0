"""TCP ports for programs that need to know their port before they listen.

A port that the system chooses (bind to port 0) can be given to anybody else once the probing socket is closed. Tests that
run in parallel open connections all the time and do take such ports. Therefore each test process reserves a block of
ports below the range from which the system chooses, and hands them out in turn. The reservation is a lock on a file, so it
ends with the process.
"""

import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator

_FIRST, _LAST, _BLOCK = 20_000, 32_700, 100


def _reserved_ports() -> Iterator[int]:
    """Lock the first free block for as long as this process runs, and repeat its ports without end."""
    for first in range(_FIRST, _LAST, _BLOCK):
        path = os.path.join(tempfile.gettempdir(), f"nulpoint-test-ports-{first}.lock")
        try:
            lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        except OSError:  # it belongs to another user
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        return itertools.cycle(range(first, first + _BLOCK))
    raise RuntimeError("every block of ports for tests is reserved by another process")


_ports: Iterator[int] | None = None


def free_port() -> int:
    """Return a port of loopback on which nobody listens and which no other test process is given."""
    global _ports
    if _ports is None:
        _ports = _reserved_ports()
    for port in itertools.islice(_ports, _BLOCK):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("every port of this process's block is in use")
