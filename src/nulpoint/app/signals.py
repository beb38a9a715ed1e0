"""The signals that tell a process to stop or to read its configuration again.

They are handled from early on, before anything can act on them: each is kept until it is asked for. So none is lost
that comes while the process starts, as its listener opens, or while it ends.
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
GRACE_SECONDS = 5.0  # beyond SHUTDOWN_TIMEOUT; then a process that has not ended is ended


class Signals:
    """Keeps the signals that have come. Several SIGHUPs count as one, so that they cannot push another one out.

    They are asked for in one of two ways: `wait` blocks, and `deliver` calls a function in the event loop.
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
        """Whether a signal has told the process to stop."""
        return self._stops > 0

    def handle(self, values: Iterable[int]) -> None:
        """Keep these signals from now on. To be called in the main thread, as all of this."""
        for number in values:
            signal.signal(number, self._note)

    def _note(self, number: int, _: object) -> None:
        if number in STOPPING:
            self._stops += 1
            self._set_limit()
        if number in STOPPING or number not in self._received:
            self._received.append(number)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._hand_over)

    # -- the limit -----------------------------------------------------------------------------------------------------

    def end_within(self, seconds: float) -> None:
        """End the process if it still runs so long after it was told to stop, GRACE_SECONDS after being told again.

        A loop that is held by some computation cannot see that it is to stop, but Python runs this handler in between.
        The timer is one of C's, which waits for no lock of the interpreter. It writes to stderr what each thread was
        doing, and ends the process with status 1.
        """
        self._end_within = seconds
        self._set_limit()

    def cancel_limit(self) -> None:
        """The process ends by itself."""
        self._end_within = None
        faulthandler.cancel_dump_traceback_later()

    def _set_limit(self) -> None:
        if self._end_within is not None and self._stops in (1, 2):
            seconds = self._end_within if self._stops == 1 else GRACE_SECONDS
            faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)

    # -- in an event loop ----------------------------------------------------------------------------------------------

    def deliver(self, values: Iterable[int], receive: Callable[[int], object]) -> None:
        """Call `receive` in the running loop for each of these signals, beginning with those that have come already."""
        self._loop = asyncio.get_running_loop()
        self._receivers |= dict.fromkeys(values, receive)
        self._hand_over()

    def _hand_over(self) -> None:
        for _ in range(len(self._received)):
            number = self._received.popleft()
            if number in self._receivers:
                self._receivers[number](number)
            else:
                self._received.append(number)

    # -- without one ---------------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> int:
        """Return the number of the next signal, or 0 if none comes within `seconds`."""
        if self._wakeups is None:
            self._wakeups = socket.socketpair()
            self._wakeups[1].setblocking(False)
            signal.set_wakeup_fd(self._wakeups[1].fileno(), warn_on_full_buffer=False)
        if not self._received:
            self._wakeups[0].settimeout(seconds)
            with contextlib.suppress(TimeoutError, BlockingIOError):
                self._wakeups[0].recv(4096)  # says only that there is something: where many come, some find no room
        return self._received.popleft() if self._received else 0

    def close(self) -> None:
        """Give back what `wait` needed."""
        if self._wakeups is not None:
            signal.set_wakeup_fd(-1)
            for one in self._wakeups:
                one.close()
            self._wakeups = None
