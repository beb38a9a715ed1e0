"""The link between a worker and its supervisor: a pair of connected sockets.

The worker writes to it as long as its event loop runs, so that the supervisor notices when it does not. The supervisor
never writes. Its end is closed when the supervisor ends in any way, which the worker notices.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading

from nulpoint.app.signals import Signals

logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
DESCRIPTOR = "NULPOINT_SUPERVISOR_FD"  # the variable with the file descriptor of the worker's end
START_SECONDS = 300.0  # a worker may take this long until its event loop runs


class WorkerLink:
    """The supervisor's end, which records when the worker last wrote. Times are `time.monotonic` seconds."""

    def __init__(self, now: float) -> None:
        self._here, self.workers_end = socket.socketpair()
        self._here.setblocking(False)
        self._since = now
        self._has_run = False

    def listen(self, now: float) -> None:
        """Read what the worker has written so far."""
        with contextlib.suppress(OSError):  # nothing has arrived, or the worker has ended
            while self._here.recv(4096):
                self._since, self._has_run = now, True

    def reset(self, now: float) -> None:
        """Start the timeout again, because the supervisor could not read for a while."""
        self._since = now

    def silent_seconds(self, now: float, timeout: float) -> float:
        """Return how long the worker has been silent if that exceeds `timeout`, else 0. A start may take longer."""
        silent = now - self._since
        return silent if silent > (timeout if self._has_run else max(timeout, START_SECONDS)) else 0.0

    def close_workers_end(self) -> None:
        """Close the worker's end in this process, once the worker has inherited it."""
        self.workers_end.close()

    def close(self) -> None:
        self._here.close()


class SupervisorLink:
    """The worker's end of the link."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._beat: asyncio.TimerHandle | None = None

    def end_with_supervisor(self, signals: Signals) -> None:
        """End this process like SIGINT does as soon as the supervisor has ended, unless it is ending already.

        A separate thread waits for that, because the event loop may not exist yet or may be blocked.
        """

        def wait() -> None:
            with contextlib.suppress(OSError):
                while self._socket.recv(4096):
                    pass
            if not signals.stopping:
                logger.error("this worker ends because its supervisor has ended")
                os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=wait, name="supervisor", daemon=True).start()

    def send_heartbeats(self) -> None:
        """Report to the supervisor that the event loop runs, now and every BEAT_SECONDS."""
        with contextlib.suppress(OSError):  # the supervisor is not reading at the moment, or has ended
            self._socket.send(b".", socket.MSG_DONTWAIT)
        self._beat = asyncio.get_running_loop().call_later(BEAT_SECONDS, self.send_heartbeats)

    def stop(self) -> None:
        """Stop sending heartbeats."""
        if self._beat is not None:
            self._beat.cancel()


def supervisor_link() -> SupervisorLink | None:
    """Return the link of this process to its supervisor, if it is a worker."""
    text = os.environ.pop(DESCRIPTOR, "")
    return SupervisorLink(int(text)) if text else None
