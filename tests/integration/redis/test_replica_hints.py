"""Tests that replicas share breaker openings as hints, and are independent without Redis."""

import asyncio
import json

import pytest

from nulpoint.routing.breaker import State
from support.cache_client import QUESTION, ask
from support.event_loop import run, until
from support.ports import free_port
from support.redis_server import needs_redis, redis_server
from support.replicas import health, replicas

FAILURES = 3
SETTINGS = {"CACHE_MODE": "none", "FALLBACKS": "off", "MAX_RETRIES": "1", "CB_ERROR_THRESHOLD": str(FAILURES)}


def breaker(running):
    return running.app.runtime.provider_health["openai"].breaker


async def fail(running):
    """Make the provider fail until the breaker of this replica opens."""
    running.mock.set_fault("status", count=FAILURES, arg=503)
    for _ in range(FAILURES):
        assert (await ask(running, QUESTION))[0] == 502
    assert breaker(running).state is State.OPEN


@needs_redis
def test_a_replica_applies_the_hint_of_another():
    async def main():
        with redis_server() as server:
            async with replicas(server.url, 3, **SETTINGS) as (one, *others):
                await fail(one)
                for other in others:
                    await until(lambda other=other: breaker(other).state is State.OPEN)
                    status, headers, body = await ask(other, QUESTION)
                    assert (status, json.loads(body)["error"]["code"]) == (503, "no_provider_available")
                    assert int(headers["retry-after"]) <= 30
                    assert (await health(other))["providers"]["openai"]["circuit_breaker"] == "open"
                    page = other.app.metrics.page().decode()
                    assert 'circuit_breaker_transitions_total{provider="openai",to_state="open"} 1.0' in page
                assert one.mock.requests == FAILURES

    run(main())


@needs_redis
def test_a_hint_ends_with_the_original_opening():
    async def main():
        with redis_server() as server:
            async with replicas(server.url, CB_HALF_OPEN_TIMEOUT="2s", **SETTINGS) as (one, other):
                await fail(one)
                await until(lambda: breaker(other).state is State.OPEN)
                clock = asyncio.get_running_loop().time
                assert breaker(other).seconds_to_probe(clock()) <= breaker(one).seconds_to_probe(clock()) + 0.1
                await until(lambda: breaker(other).seconds_to_probe(clock()) == 0)
                assert (await ask(other, QUESTION))[0] == 200
                assert breaker(other).state is State.CLOSED
                assert breaker(one).state is State.OPEN  # it waits for its own probe
                assert (await ask(one, QUESTION))[0] == 200

    run(main())


@pytest.mark.parametrize("there", ["never", pytest.param("killed", marks=needs_redis)])
def test_without_redis_replicas_are_independent(there):
    async def main(url, kill):
        async with replicas(url, **SETTINGS) as (one, other):
            kill()
            await until(lambda: not one.app.runtime.backends.redis.up and not other.app.runtime.backends.redis.up)
            await fail(one)
            for _ in range(20):
                assert (await ask(other, QUESTION))[0] == 200
            assert breaker(other).state is State.CLOSED
            await fail(other)

    if there == "never":
        run(main(f"redis://127.0.0.1:{free_port()}", lambda: None))
    else:
        with redis_server() as server:
            run(main(server.url, server.kill))
