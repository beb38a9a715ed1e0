"""A thread for translations that take long, so that the event loop goes on serving other requests meanwhile.

Translating a request of 100,000 messages takes a second of Python code. In a thread it gives way to the event loop
every few milliseconds, whenever the interpreter switches threads. What is done in one call of C code does not give way;
the bound of JSON names and values (MAX_JSON_NODES) keeps that short.

One thread on purpose: the interpreter runs one thread at a time, so that several would not translate any faster, and
each of them would make every turn of the event loop wait once more for the interpreter. Long translations wait for one
another; requests that are not long do not wait for them.
"""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nulpoint.formats.json_nodes import exceeds_node_count

# A body in between is translated in less than about 10 ms if it has few names and values: text alone takes 3 ns a byte,
# a message, a part or a schema takes some microseconds.
ALWAYS_SHORT, ALWAYS_LONG = 64 * 1024, 2 * 1024 * 1024  # bytes
LARGE = 1024 * 1024  # bytes; merely reading through a longer request takes up to 50 ms
_MANY_NODES = 8000
_T = TypeVar("_T")


def takes_long(body: bytes) -> bool:
    """Whether translating the body would hold the event loop for more than about 10 ms."""
    size = len(body)
    return size > ALWAYS_SHORT and (size > ALWAYS_LONG or exceeds_node_count(body, _MANY_NODES))


async def let_others_run() -> None:
    """Let the event loop run what is waiting, before a step that takes long."""
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn


class TranslationThread:
    """The thread of one process. It is started by the first long translation."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "translation")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do the work in the thread and give what it returns, or raise what it raises.

        When whoever waits is cancelled, work that has not begun is dropped; else it ends by itself, and nobody hears of
        it. So `work` must change nothing that others see.
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
        """Take no more work. What has begun ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class _Raised:
    """What the work raised. It is returned, for asyncio would log an exception that nobody waits for any more."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _outcome(work: Callable[[], _T]) -> _T | _Raised:
    """Do the work without collections of cyclic garbage.

    A collection looks at every young container object in one step; with a million of them alive that takes 50 ms or
    more. What a translation makes is no garbage: it goes when the translation ends.
    """
    gc.disable()
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whoever waits gets it
        return _Raised(error)
    finally:
        gc.enable()
