"""Tests of overload: three times the number of requests that the gateway can serve."""

import asyncio
import random

import pytest

from nulpoint.proxy.admission.overload import DrainRateEstimator
from support.event_loop import run_in_simulated_time, until
from support.http_client import CHAT, Caller, post
from support.provider_bytes import GOOD
from support.running_gateway import gateway, left_in
from support.scripted_provider import pause, send, serve

LATENCY = 0.4  # seconds until the provider responds
SLOTS = 20
CAPACITY = SLOTS / LATENCY  # requests a second


async def offered(port, rate, seconds):
    """Send requests in a Poisson process and return the end time, the duration and the status of each."""
    rng = random.Random(3)
    loop = asyncio.get_running_loop()
    ended = []

    async def request(number):
        began = loop.time()
        client = await Caller.connect(port)
        client.send(post(CHAT.replace(b'"hi"', b'"%d"' % number)))
        status, headers, _ = await client.answer()
        ended.append((loop.time(), loop.time() - began, status))
        assert status == 200 or "retry-after" in headers
        await client.close()
        Caller.opened.remove(client)

    tasks, end, number = [], loop.time() + seconds, 0
    while loop.time() < end:
        tasks.append(asyncio.ensure_future(request(number)))
        number += 1
        await asyncio.sleep(rng.expovariate(rate))
    await asyncio.gather(*tasks)
    return ended


@pytest.mark.parametrize(
    ("freed", "ahead", "seconds"),
    [(0, 100, 0.0), (7, 100, 0.0), (8, 0, 0.125), (8, 7, 1.0), (16, 7, 0.5)],
)
def test_the_estimate_of_the_wait(freed, ahead, seconds):
    """The estimate follows from the number of slots that came free in the last second."""
    estimator = DrainRateEstimator()
    estimator.start(5.0)
    for number in range(freed):
        estimator.slot_freed(5.0 + number / freed)
    assert estimator.expected_wait(ahead, 6.0) == pytest.approx(seconds)
    estimator.start(6.0)
    assert estimator.expected_wait(ahead, 6.0) == 0.0


def test_the_estimate_follows_a_rate_that_changes():
    estimator = DrainRateEstimator()
    estimator.start(0.0)
    for number in range(1000):
        estimator.slot_freed(number * 0.1)  # ten a second here, and a hundred below
    for number in range(1000):
        estimator.slot_freed(100 + number * 0.01)
    assert estimator.expected_wait(99, 110.0) == pytest.approx(1.0, rel=0.1)


@pytest.mark.slow
def test_three_times_the_capacity():
    """Goodput stays at its peak, and requests that cannot be served in time are rejected at once."""
    seconds = 5

    async def main():
        provider = await serve([pause(LATENCY), send(GOOD)])
        settings = {"MAX_REQUESTS": str(SLOTS), "LOG_LEVEL": "error"}
        async with gateway(settings, providers={"openai": provider}) as running:
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
