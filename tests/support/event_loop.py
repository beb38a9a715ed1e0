"""Runs a test's coroutine, and waits for what happens beside it."""

import asyncio

import uvloop

from support.http_client import Caller
from support.simulated_time import SimulatedTimeLoop


def run(coroutine, seconds=180, loop_factory=uvloop.new_event_loop):
    """Run one test's coroutine, on the loop the gateway uses in production if no other one is given; closes what its
    callers left open."""

    async def main():
        try:
            return await asyncio.wait_for(coroutine, seconds)
        finally:
            while Caller.opened:
                await Caller.opened.pop().close()

    runner = asyncio.Runner(loop_factory=loop_factory)
    try:
        result = runner.run(main())
    except BaseException:
        # Closing the loop would wait for ever for what a failed test has left open, and hide why it failed.
        _abandoned.append(runner)
        asyncio.set_event_loop(None)
        raise
    runner.close()
    return result


def run_in_simulated_time(coroutine, seconds=180):
    """Run it on a loop whose clock stands still while there is work: only what waits for a timer takes time."""
    return run(coroutine, seconds, SimulatedTimeLoop)


_abandoned: list[asyncio.Runner] = []


async def until(condition, seconds: float = 20.0) -> None:
    """Wait for something another part of the loop is about to do."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not happen in time"
        await asyncio.sleep(0.005)
