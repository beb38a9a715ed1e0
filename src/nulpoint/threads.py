"""Runs blocking work in threads beside the event loop."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def run_in_daemon_thread(work: Callable[[], T], name: str) -> T:
    """Run `work` in a new thread and return its result.

    The process does not wait for this thread when it exits, as it would for a thread of the loop's executor: a file
    system that hangs, or a cloud that does not respond, must not keep the process from exiting. If the awaiting task is
    cancelled, the thread continues and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(set_outcome: Callable[[], None]) -> None:
        if not done.done():
            set_outcome()

    def run() -> None:
        try:
            outcome = partial(done.set_result, work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is awaited
            outcome = partial(done.set_exception, error)
        try:
            loop.call_soon_threadsafe(finish, outcome)
        except RuntimeError:
            return  # the event loop was closed meanwhile

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
