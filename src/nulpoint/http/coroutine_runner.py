"""Runs the coroutine of one request without an asyncio task.

A task costs about ten microseconds a request: its creation, a future for each wait, and a turn of the event loop for
each wake-up. A `CoroutineRunner` steps the coroutine *directly* from the event that it waits for (bytes arrived, or a
buffer drained), inside the callback that reported the event. The request still reads as one linear coroutine with
`try` and `finally`.

Two kinds of objects may be awaited in such a coroutine: a `WakeEvent`, which resumes it at once, and any asyncio future
or task, which resumes it from a callback. `asyncio.timeout` and other functions that need the current task do not work.
Code that uses them must run in a task, and the coroutine can await that task.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from nulpoint.errors import Failure


class RequestCancelled(BaseException):
    """Thrown into a coroutine that must end now.

    Either its client has disconnected, or the client must get `failure` instead of a response. It is not an
    `Exception`, so that no handler mistakes it for a failure of the work itself.
    """

    def __init__(self, failure: Failure | None = None) -> None:
        super().__init__()
        self.failure = failure


class WakeEvent:
    """An event that at most one coroutine waits for.

    It carries no state: as with a condition variable, `wake` only means that the state has changed. Nothing happens if
    no coroutine waits, so check the state before waiting.
    """

    __slots__ = ("waiter",)

    def __init__(self) -> None:
        self.waiter: CoroutineRunner | None = None

    def __await__(self) -> Generator["WakeEvent", None, None]:
        yield self

    def wake(self) -> None:
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            waiter.resume()


class CoroutineRunner:
    """Runs one coroutine, which is resumed by the events that it awaits.

    `on_done` is called once, when the coroutine has ended. Its argument is the exception that the coroutine raised, or
    None; `RequestCancelled` counts as None.
    """

    __slots__ = ("_cancelled", "_coroutine", "_on_done", "_running", "_throw", "_waiting_for", "done")

    def __init__(self, coroutine: Coroutine[Any, Any, None], on_done: Callable[[Exception | None], None]) -> None:
        self._coroutine = coroutine
        self._on_done = on_done
        self._waiting_for: Any = None
        self._cancelled = False
        self._throw: RequestCancelled | None = None  # set by `cancel`, and not yet thrown
        self._running = False
        self.done = False

    def resume(self) -> None:
        """Run the coroutine to its next wait or its end."""
        self._waiting_for = None
        self._running = True
        try:
            if self._throw is not None:
                cancelled, self._throw = self._throw, None
                awaited = self._coroutine.throw(cancelled)
            else:
                awaited = self._coroutine.send(None)
        except (StopIteration, RequestCancelled):
            self._end(None)
        except Exception as crash:  # noqa: BLE001 - it is passed to `on_done`
            self._end(crash)
        else:
            self._running = False
            self._wait(awaited)

    def _end(self, crash: Exception | None) -> None:
        self._running = False
        self.done = True
        self._on_done(crash)

    def cancel(self, failure: Failure | None = None) -> None:
        """Throw `RequestCancelled` into the coroutine where it waits; if it is running, at its next wait."""
        if self.done or self._cancelled:
            return
        self._cancelled = True
        self._throw = RequestCancelled(failure)
        if not self._running:
            if type(self._waiting_for) is WakeEvent:
                self._waiting_for.waiter = None
            self.resume()

    def _wait(self, awaited: Any) -> None:
        if self._throw is not None:
            asyncio.get_running_loop().call_soon(self.resume)
            return
        self._waiting_for = awaited
        if type(awaited) is WakeEvent:
            awaited.waiter = self
        else:  # an asyncio future, whose flag must be reset by whatever drives the coroutine
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(self._future_done)

    def _future_done(self, future: "asyncio.Future[Any]") -> None:
        if self._waiting_for is future:
            self.resume()
