"""An event loop whose clock stands still while there is work, and jumps to the next timer when there is none.

Tests of deadlines, queues and load give the same result on fast, slow and busy machines: code takes no time, and time
passes only while everything waits for a timer. Loopback sockets work as usual, because written data is available to the
other side at once. With separate programs, such as a Redis server, use the real loop instead.
"""

import asyncio
import selectors
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")

_SETTLE_SECONDS = 0.001  # real time to wait for input before the time jumps
_THREAD_SECONDS = 0.05  # real time between two checks of the threads that work for the loop


class _JumpingSelector(selectors.BaseSelector):
    """A selector that calls `jump` with the seconds instead of waiting for a timer. Otherwise it wraps the default one."""

    def __init__(self, jump: Callable[[float], None], threads_at_work: Callable[[], bool]) -> None:
        self._inner = selectors.DefaultSelector()
        self._jump = jump
        self._threads_at_work = threads_at_work

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return self._inner.select(timeout)
        events = self._inner.select(_SETTLE_SECONDS)
        while not events and self._threads_at_work():
            events = self._inner.select(_THREAD_SECONDS)
        if not events:
            self._jump(timeout)
        return events

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class SimulatedTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` returns simulated seconds since an arbitrary start."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._threads = 0
        super().__init__(_JumpingSelector(self._jump, lambda: self._threads > 0))

    def time(self) -> float:
        return self._now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Arguments], _Result], *args: *_Arguments
    ) -> "asyncio.Future[_Result]":
        """Run the function as usual. The time does not jump while a thread is working."""
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads without a timeout: its time would jump, since nothing else happens meanwhile."""
        await super().shutdown_default_executor()

    def _make_socket_transport(self, *args: Any, **kwargs: Any) -> Any:
        """Make a transport whose `writelines` pauses the writer, as uvloop's does; asyncio's in 3.12.1 and 3.13.0 does not."""
        transport = super()._make_socket_transport(*args, **kwargs)  # type: ignore[misc]
        transport.writelines = lambda pieces: transport.write(b"".join(pieces))
        return transport

    def _thread_ended(self, future: "asyncio.Future[Any]") -> None:
        self._threads -= 1

    def _jump(self, seconds: float) -> None:
        self._now += seconds
