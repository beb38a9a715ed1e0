"""A strand runs one request's coroutine without an asyncio task.

A task costs about ten microseconds a request: its creation, a future for each wait, and a turn of the event loop for
each wake-up. A strand is stepped *directly* by the event it waits for (bytes arrived, buffer drained), inside the very
callback that brought it. The request still reads as one linear coroutine with `try`/`finally`.

Two kinds of things may be awaited in it: a `Signal` (ours, resumed at once) and any asyncio future or task (resumed by
its callback). `asyncio.timeout` and others that ask for the current task do not work here: wrap such code in a task
and await that.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from nulpoint.errors import Failure


class RequestCancelled(BaseException):
    """Thrown into a strand that must end now: its caller has left, or is to be told `failure` instead of an answer.

    Not an `Exception`, so that no handler mistakes it for a failure of the work itself.
    """

    def __init__(self, failure: Failure | None = None) -> None:
        super().__init__()
        self.failure = failure


class WakeEvent:
    """A place where at most one strand waits.

    State lives elsewhere: `wake` only says "look again", as with a condition variable. Waking when nobody waits is
    nothing, so test the state before waiting.
    """

    __slots__ = ("_runner",)

    def __init__(self) -> None:
        self._runner: CoroutineRunner | None = None

    def __await__(self) -> Generator["WakeEvent", None, None]:
        yield self

    def wake(self) -> None:
        runner = self._runner
        if runner is not None:
            self._runner = None
            runner.resume()


class CoroutineRunner:
    """One coroutine, stepped by its signals.

    `on_done` is called once, when the coroutine has ended, with what it raised (but `Cancelled`) or None.
    """

    __slots__ = ("_cancelled", "_coroutine", "_on_done", "_running", "_throw", "_waiting_for", "done")

    def __init__(self, coroutine: Coroutine[Any, Any, None], on_done: Callable[[Exception | None], None]) -> None:
        self._coroutine = coroutine
        self._on_done = on_done
        self._waiting_for: Any = None
        self._cancelled = False
        self._throw: RequestCancelled | None = None  # cancelled, and the coroutine has not heard of it yet
        self._running = False
        self.done = False

    def resume(self) -> None:
        """Run until the next wait or the end."""
        self._waiting_for = None
        self._running = True
        try:
            if self._throw is not None:
                cancelled, self._throw = self._throw, None
                waits_for = self._coroutine.throw(cancelled)
            else:
                waits_for = self._coroutine.send(None)
        except (StopIteration, RequestCancelled):
            self._end(None)
        except Exception as crash:  # noqa: BLE001 - whoever started the strand gets it
            self._end(crash)
        else:
            self._running = False
            self._wait(waits_for)

    def _end(self, crash: Exception | None) -> None:
        self._running = False
        self.done = True
        self._on_done(crash)

    def cancel(self, failure: Failure | None = None) -> None:
        """Throw `Cancelled` into the coroutine where it waits; if it runs just now, at its next wait."""
        if self.done or self._cancelled:
            return
        self._cancelled = True
        self._throw = RequestCancelled(failure)
        if not self._running:
            if type(self._waiting_for) is WakeEvent:
                self._waiting_for._runner = None
            self.resume()

    def _wait(self, waits_for: Any) -> None:
        if self._throw is not None:
            asyncio.get_running_loop().call_soon(self.resume)
            return
        self._waiting_for = waits_for
        if type(waits_for) is WakeEvent:
            waits_for._runner = self
        else:  # an asyncio future; resetting its flag is the protocol of whoever drives a coroutine
            waits_for._asyncio_future_blocking = False
            waits_for.add_done_callback(self._future_done)

    def _future_done(self, future: "asyncio.Future[Any]") -> None:
        if self._waiting_for is future:
            self.resume()
