"""Runs the coroutine of a test, and waits for conditions on the event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from support.http_client import Caller
from support.simulated_time import SimulatedTimeLoop

_Result = TypeVar("_Result")
_abandoned: list[asyncio.Runner] = []


def run(
    coroutine: Coroutine[Any, Any, _Result],
    seconds: float = 180,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> _Result:
    """Run one test's coroutine and close what its clients left open.

    It runs on the event loop that the gateway uses in production unless another one is given.
    """

    async def main() -> _Result:
        try:
            return await asyncio.wait_for(coroutine, seconds)
        finally:
            while Caller.opened:
                await Caller.opened.pop().close()

    runner = asyncio.Runner(loop_factory=loop_factory)
    try:
        result = runner.run(main())
    except BaseException:
        # Closing the loop could wait forever for tasks that a failed test left, and hide the failure.
        _abandoned.append(runner)
        asyncio.set_event_loop(None)
        raise
    runner.close()
    return result


def run_in_simulated_time(coroutine: Coroutine[Any, Any, _Result], seconds: float = 180) -> _Result:
    """Run the coroutine on a loop with simulated time, in which only waiting for timers takes time."""
    return run(coroutine, seconds, SimulatedTimeLoop)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until the condition holds because of other tasks of the loop."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not happen in time"
        await asyncio.sleep(0.005)
