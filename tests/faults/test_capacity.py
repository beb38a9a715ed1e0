"""Load, L02: three times what the gateway may have in flight."""

import asyncio
import random

import pytest

from nulpoint.proxy.admission.overload import DrainRateEstimator
from support.event_loop import run_in_simulated_time, until
from support.http_client import CHAT, Caller, post
from support.provider_bytes import GOOD
from support.running_gateway import gateway, left_in
from support.scripted_provider import pause, send, serve

LATENCY = 0.4  # seconds the provider takes
PLACES = 20
CAPACITY = PLACES / LATENCY  # requests a second


async def offered(port, rate, seconds):
    """Poisson arrivals, whatever becomes of them: (when it ended, how long it took, status) of each."""
    chance = random.Random(3)
    loop = asyncio.get_running_loop()
    ended = []

    async def one(number):
        began = loop.time()
        caller = await Caller.connect(port)
        caller.send(post(CHAT.replace(b'"hi"', b'"%d"' % number)))
        status, headers, _ = await caller.answer()
        ended.append((loop.time(), loop.time() - began, status))
        assert status == 200 or "retry-after" in headers
        await caller.close()
        Caller.opened.remove(caller)

    asked, end, number = [], loop.time() + seconds, 0
    while loop.time() < end:
        asked.append(asyncio.ensure_future(one(number)))
        number += 1
        await asyncio.sleep(chance.expovariate(rate))
    await asyncio.gather(*asked)
    return ended


@pytest.mark.parametrize(
    ("freed", "ahead", "seconds"),
    [(0, 100, 0.0), (7, 100, 0.0), (8, 0, 0.125), (8, 7, 1.0), (16, 7, 0.5)],
)
def test_the_wait_that_can_be_foreseen(freed, ahead, seconds):
    """In one second so many places came free."""
    pace = DrainRateEstimator()
    pace.start(5.0)
    for number in range(freed):
        pace.slot_freed(5.0 + number / freed)
    assert pace.expected_wait(ahead, 6.0) == pytest.approx(seconds)
    pace.start(6.0)
    assert pace.expected_wait(ahead, 6.0) == 0.0


def test_a_pace_that_changes_is_followed():
    pace = DrainRateEstimator()
    pace.start(0.0)
    for number in range(1000):
        pace.slot_freed(number * 0.1)  # ten a second, and then a hundred
    for number in range(1000):
        pace.slot_freed(100 + number * 0.01)
    assert pace.expected_wait(99, 110.0) == pytest.approx(1.0, rel=0.1)


@pytest.mark.slow
def test_L02_three_times_the_capacity():
    """Goodput stays at its peak, and who cannot be served hears it at once instead of waiting for nothing."""
    seconds = 5

    async def main():
        faultd = await serve([pause(LATENCY), send(GOOD)])
        settings = {"MAX_REQUESTS": str(PLACES), "LOG_LEVEL": "error"}
        async with gateway(settings, providers={"openai": faultd}) as running:
            began = asyncio.get_running_loop().time()
            ended = await offered(running.port, 3 * CAPACITY, seconds)
            steady = [when for when, _, status in ended if status == 200 and 1 <= when - began <= seconds]
            assert len(steady) / (seconds - 1) >= 0.95 * CAPACITY
            accepted = sorted(took for _, took, status in ended if status == 200)
            rejected = sorted(took for _, took, status in ended if status == 503)
            assert len(rejected) >= 0.5 * len(ended)
            assert rejected[int(0.99 * len(rejected))] <= 0.020
            assert accepted[int(0.99 * len(accepted))] <= LATENCY + 1 + 0.1
            await until(lambda: not left_in(running.app))

    run_in_simulated_time(main())
