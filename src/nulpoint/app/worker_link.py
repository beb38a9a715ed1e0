"""The link between a worker and its supervisor: a pair of sockets.

The worker writes to it as long as its event loop runs, so that the supervisor sees when it does not. The supervisor
never writes: its end is closed when the supervisor ends, however it does, and the worker sees that.
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
DESCRIPTOR = "NULPOINT_SUPERVISOR_FD"  # in a worker's environment: its end of the link
START_SECONDS = 300.0  # a worker may take so long until its loop runs


class WorkerLink:
    """The supervisor's end: notes when the worker was heard last. Times are `time.monotonic` seconds."""

    def __init__(self, now: float) -> None:
        self._here, self.workers_end = socket.socketpair()
        self._here.setblocking(False)
        self._since = now
        self._has_run = False

    def listen(self, now: float) -> None:
        """Take in what the worker has written up to now."""
        with contextlib.suppress(OSError):  # nothing has come, or the worker has ended
            while self._here.recv(4096):
                self._since, self._has_run = now, True

    def excuse(self, now: float) -> None:
        """Begin anew: for a while nobody could have heard the worker."""
        self._since = now

    def silent_seconds(self, now: float, timeout: float) -> float:
        """Return how long the worker has been silent if that is over `timeout`, else 0. A start may take longer."""
        silent = now - self._since
        return silent if silent > (timeout if self._has_run else max(timeout, START_SECONDS)) else 0.0

    def close_workers_end(self) -> None:
        """The worker has it now."""
        self.workers_end.close()

    def close(self) -> None:
        self._here.close()


class SupervisorLink:
    """The worker's end."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._beat: asyncio.TimerHandle | None = None

    def end_with_supervisor(self, signals: Signals) -> None:
        """From now on end this process when the supervisor has ended, as SIGINT does, unless it is ending already.

        A thread of its own waits for that, since the process may be far from having a loop, or hold it.
        """

        def wait() -> None:
            with contextlib.suppress(OSError):
                while self._socket.recv(4096):
                    pass
            if not signals.stopping:
                logger.error("the supervisor has ended: this worker ends too")
                os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=wait, name="supervisor", daemon=True).start()

    def beat(self) -> None:
        """Tell the supervisor that the running loop runs, now and every BEAT_SECONDS."""
        with contextlib.suppress(OSError):  # the supervisor does not read just now, or has ended
            self._socket.send(b".", socket.MSG_DONTWAIT)
        self._beat = asyncio.get_running_loop().call_later(BEAT_SECONDS, self.beat)

    def stop(self) -> None:
        """Beat no more."""
        if self._beat is not None:
            self._beat.cancel()


def supervisor_link() -> SupervisorLink | None:
    """Return the link of this process to its supervisor, if it is a worker."""
    text = os.environ.pop(DESCRIPTOR, "")
    return SupervisorLink(int(text)) if text else None
