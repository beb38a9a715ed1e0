"""The signals that tell a process to stop or to reload its configuration.

They are handled from early on, before anything can act on them, and each is queued until it is asked for. So no signal
is lost, even if it arrives while the process starts, opens its listener or shuts down.
"""

import asyncio
import contextlib
import faulthandler
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable

STOPPING = (signal.SIGTERM, signal.SIGINT)
_STDERR = 2
GRACE_SECONDS = 5.0  # a process that has not ended this long after SHUTDOWN_TIMEOUT is killed


class Signals:
    """Queues received signals. Several SIGHUPs count as one, so that they cannot crowd out another signal.

    There are two ways to receive them: `wait` blocks, and `deliver` calls a function in the event loop.
    """

    def __init__(self) -> None:
        self._received: deque[int] = deque()
        self._receivers: dict[int, Callable[[int], object]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakeups: tuple[socket.socket, socket.socket] | None = None
        self._end_within: float | None = None
        self._stops = 0

    @property
    def stopping(self) -> bool:
        """Return whether a signal to stop has been received."""
        return self._stops > 0

    def handle(self, values: Iterable[int]) -> None:
        """Queue these signals from now on. Call this and all other methods in the main thread."""
        for number in values:
            signal.signal(number, self._record)

    def _record(self, number: int, _: object) -> None:
        if number in STOPPING:
            self._stops += 1
            self._set_limit()
        if number in STOPPING or number not in self._received:
            self._received.append(number)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._deliver_received)

    # -- the limit -----------------------------------------------------------------------------------------------------

    def end_within(self, seconds: float) -> None:
        """End the process if it still runs this long after the first stop signal, or GRACE_SECONDS after a second one.

        An event loop that is busy with a computation cannot react to a signal, but Python still runs the handler. The
        timer is implemented in C and needs no interpreter lock. It writes the stack of each thread to stderr and ends
        the process with status 1.
        """
        self._end_within = seconds
        self._set_limit()

    def cancel_limit(self) -> None:
        """Cancel the limit, because the process is about to end by itself."""
        self._end_within = None
        faulthandler.cancel_dump_traceback_later()

    def _set_limit(self) -> None:
        if self._end_within is not None and self._stops in (1, 2):
            seconds = self._end_within if self._stops == 1 else GRACE_SECONDS
            faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)

    # -- in an event loop ----------------------------------------------------------------------------------------------

    def deliver(self, values: Iterable[int], receive: Callable[[int], object]) -> None:
        """Call `receive` in the running loop for each of these signals, beginning with those already queued."""
        self._loop = asyncio.get_running_loop()
        self._receivers |= dict.fromkeys(values, receive)
        self._deliver_received()

    def _deliver_received(self) -> None:
        for _ in range(len(self._received)):
            number = self._received.popleft()
            if number in self._receivers:
                self._receivers[number](number)
            else:
                self._received.append(number)

    # -- without an event loop -----------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> int:
        """Return the number of the next signal, or 0 if none comes within `seconds`."""
        if self._wakeups is None:
            self._wakeups = socket.socketpair()
            self._wakeups[1].setblocking(False)
            signal.set_wakeup_fd(self._wakeups[1].fileno(), warn_on_full_buffer=False)
        if not self._received:
            self._wakeups[0].settimeout(seconds)
            with contextlib.suppress(TimeoutError, BlockingIOError):
                self._wakeups[0].recv(4096)  # the bytes only wake us up; if many signals arrive, some bytes may be lost
        return self._received.popleft() if self._received else 0

    def close(self) -> None:
        """Release the sockets that `wait` uses."""
        if self._wakeups is not None:
            signal.set_wakeup_fd(-1)
            for wakeup in self._wakeups:
                wakeup.close()
            self._wakeups = None
