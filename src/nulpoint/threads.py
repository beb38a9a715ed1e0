"""Work that blocks, beside the event loop."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def run_in_daemon_thread(work: Callable[[], T], name: str) -> T:
    """Run `work` in a thread of its own and return its result.

    The process does not wait for the thread when it ends, as it would for one of the loop's own: a file system that
    hangs, or a cloud that does not answer, must not keep it from ending. If the caller is cancelled, the thread goes on
    and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(set_outcome: Callable[[], None]) -> None:
        if not done.done():
            set_outcome()

    def run() -> None:
        try:
            outcome = partial(done.set_result, work())
        except BaseException as error:  # noqa: BLE001 - handed over to the caller
            outcome = partial(done.set_exception, error)
        try:
            loop.call_soon_threadsafe(settle, outcome)
        except RuntimeError:
            return  # the loop has ended meanwhile

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
