"""A thread for translations that take long, so that the event loop can serve other requests at the same time.

Translating a request of 100,000 messages takes a second in Python. In a thread, the interpreter switches to the event
loop every few milliseconds. A single call of C code is not interrupted, but the limit on JSON names and values
(MAX_JSON_NODES) keeps such calls short.

There is one thread on purpose. The interpreter runs one thread at a time, so several would not translate faster, and
each of them would make the event loop wait more often. Long translations wait for each other; short ones do not.
"""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nulpoint.formats.json_nodes import exceeds_node_count

# Between these sizes, a body with few names and values is translated in less than about 10 ms: text takes 3 ns a byte,
# and a message, a part or a schema some microseconds.
ALWAYS_SHORT, ALWAYS_LONG = 64 * 1024, 2 * 1024 * 1024  # bytes
LARGE = 1024 * 1024  # bytes; merely reading through a longer request takes up to 50 ms
_MANY_NODES = 8000
_T = TypeVar("_T")


def takes_long(body: bytes) -> bool:
    """Return whether translating the body would block the event loop for more than about 10 ms."""
    size = len(body)
    return size > ALWAYS_SHORT and (size > ALWAYS_LONG or exceeds_node_count(body, _MANY_NODES))


async def let_others_run() -> None:
    """Let the event loop run what is waiting, before a step that takes long."""
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn


class TranslationThread:
    """Runs long translations in a thread, which is started by the first one."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "translation")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run the work in the thread. Return what it returns, or raise what it raises.

        If the waiting request is cancelled, work that has not started is dropped; otherwise it runs to its end and its
        result is ignored. So `work` must not change anything that others see.
        """
        future = asyncio.get_running_loop().run_in_executor(self._executor, _outcome, work)
        try:
            outcome = await future
        except BaseException:
            future.cancel()
            raise
        if isinstance(outcome, _Raised):
            raise outcome.error
        return outcome

    def close(self) -> None:
        """Accept no more work. Work that has started runs to its end."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class _Raised:
    """An exception of the work. It is returned, because asyncio would log an exception that is never retrieved."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _outcome(work: Callable[[], _T]) -> _T | _Raised:
    """Run the work without garbage collections.

    A collection visits all young containers in one step, which takes 50 ms or more if there are a million of them. The
    objects of a translation need no collection, because they are freed when it ends.
    """
    gc.disable()
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - the waiting request gets it
        return _Raised(error)
    finally:
        gc.enable()
