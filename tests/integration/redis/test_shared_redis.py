"""Tests several gateways with one Redis: they share cache and limits, and no request fails or waits because of Redis."""

import asyncio
import contextlib
import json

import pytest

from nulpoint.mock import MockSettings
from nulpoint.redis_client.connection import TIMEOUT
from support.cache_client import QUESTION, ask, outcome
from support.event_loop import run, until
from support.http_client import Caller, post
from support.ports import free_port
from support.redis_server import RedisServer, needs_redis, redis_patience, redis_server, relay
from support.replicas import health, replicas

pytestmark = needs_redis
SLOW = 10 * TIMEOUT  # seconds that a silent Redis may cost a request of the gateways here


def link(running):
    return running.app.runtime.backends.redis


async def told(running):
    """Wait until Redis has received everything from this gateway, which may be shortly after the response."""
    await until(lambda: not link(running)._sent)


async def timed(running, question):
    loop = asyncio.get_running_loop()
    began = loop.time()
    status, headers, _ = await ask(running, question)
    return status, headers, loop.time() - began


def numbered(number):
    return [{**QUESTION, "seed": one} for one in range(number)]


# -- one cache ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_replicas_share_cached_responses(streamed):
    async def main():
        with redis_server() as server:
            async with replicas(server.url) as (one, other):
                question = {**QUESTION, "stream": streamed}
                _, miss, first = await ask(one, question)
                await told(one)
                _, hit, second = await ask(other, question)
                assert (miss["x-cache"], hit["x-cache"], one.mock.requests) == ("MISS", "HIT", 1)
                assert first == second
                assert hit["x-nulpoint-model"] == "gpt-4o"
                again = {**QUESTION, "stream": not streamed}
                assert [await outcome(running, again) for running in (one, other)] == ["HIT"] * 2

    run(main())


def test_replicas_share_cached_vectors():
    async def main():
        with redis_server() as server:
            async with replicas(server.url) as (one, other):
                embed = {"model": "text-embedding-3-small"}
                await ask(one, {**embed, "input": ["a", "b"]}, route="embeddings")
                await told(one)
                _, headers, body = await ask(other, {**embed, "input": ["b", "c", "a"]}, route="embeddings")
                assert headers["x-nulpoint-cached-inputs"] == "2"
                await told(other)
                _, headers, again = await ask(one, {**embed, "input": ["b", "c", "a"]}, route="embeddings")
                assert headers["x-cache"] == "HIT"
                assert json.loads(again)["data"] == json.loads(body)["data"]

    run(main())


def test_two_keys_share_nothing_in_redis():
    async def main():
        with redis_server() as server:
            async with replicas(server.url, ALLOW_CLIENT_API_KEYS="true") as (one, other):
                for key in ("Authorization: Bearer a", "Authorization: Bearer b"):
                    assert await outcome(one, QUESTION, key) == "MISS"
                    await told(one)
                    assert await outcome(other, QUESTION, key) == "HIT"
                everything = b"".join(
                    server.cli("GET", key)
                    for key in server.cli("KEYS", "*").split(b"\r\n")
                    if key.startswith(b"nulpoint")
                )
                assert b"Bearer" not in everything

    run(main())


@pytest.mark.race
def test_a_hundred_misses_are_one_call_with_redis():
    async def main():
        with redis_server() as server:
            async with replicas(server.url, 1, MockSettings(latency_ms=50)) as (one,):
                callers = [await Caller.connect(one.port) for _ in range(100)]
                for caller in callers:
                    caller.send(post(json.dumps(QUESTION).encode()))
                answers = [await caller.answer() for caller in callers]
                assert {status for status, _, _ in answers} == {200}
                assert one.mock.requests == 1
                assert await outcome(one) == "HIT"

    run(main())


def test_cached_and_limited_is_one_round_trip():
    async def main():
        with redis_server() as server:
            async with relay(server.port) as between:
                async with replicas(between.url, 1, RPM_LIMIT="100") as (one,):
                    await ask(one)
                    await told(one)
                    between.delay = 0.2
                    status, headers, seconds = await timed(one, QUESTION)
                    assert (status, headers["x-cache"]) == (200, "HIT")
                    assert 0.39 <= seconds < 0.75

    run(main())


# -- one limit ---------------------------------------------------------------------------------------------------------


def test_one_limit_for_all_replicas():
    async def main():
        with redis_server() as server:
            async with replicas(server.url, 3, CACHE_MODE="none", RPM_LIMIT="40") as all_of_them:

                async def some(running):
                    caller = await Caller.connect(running.port)
                    outcomes = []
                    for question in numbered(30):
                        caller.send(post(json.dumps(question).encode()))
                        outcomes.append((await caller.answer())[0])
                    return outcomes

                outcomes = [
                    one for some_of_them in await asyncio.gather(*map(some, all_of_them)) for one in some_of_them
                ]
                assert (outcomes.count(200), outcomes.count(429)) == (40, 50)

    run(main())


@pytest.mark.race
def test_all_replicas_return_parallel_slots():
    async def main():
        with redis_server() as server:
            mock = MockSettings(latency_ms=20)
            async with replicas(server.url, 2, mock, CACHE_MODE="none", MAX_PARALLEL_PER_KEY="3") as both:

                async def one(number):
                    caller = await Caller.connect(both[number % 2].port)
                    caller.send(post(json.dumps({**QUESTION, "seed": number}).encode()))
                    if number % 3 == 0:
                        await asyncio.sleep(number % 5 / 1000)
                        await caller.close()
                        return None
                    return (await caller.answer())[0]

                outcomes = await asyncio.gather(*(one(number) for number in range(120)))
                assert set(outcomes) <= {200, 429, None}
                for running in both:
                    await until(lambda running=running: running.app.runtime.recorder.inflight == 0)
                # Who left while Redis was deciding gives the place back once the decision has come.
                await until(lambda: b":parallel" not in server.cli("KEYS", "*"))
                callers = [await Caller.connect(both[number % 2].port) for number in range(4)]
                for caller in callers:
                    caller.send(post(json.dumps(QUESTION).encode()))
                assert sorted([(await caller.answer())[0] for caller in callers]) == [200] * 3 + [429]

    run(main())


def test_replicas_share_one_token_limit():
    async def main():
        with redis_server() as server:
            more = {"CACHE_MODE": "none", "TPM_LIMIT": "3000"}
            async with replicas(server.url, 3, MockSettings(latency_ms=1500), **more) as all_of_them:
                callers = [await Caller.connect(all_of_them[number % 3].port) for number in range(30)]
                for number, caller in enumerate(callers):
                    question = {**QUESTION, "seed": number, "max_tokens": 570}
                    caller.send(post(json.dumps(question).encode()))
                answers = [(await caller.answer())[0] for caller in callers]
                # 3,000 tokens are enough for five requests of slightly more than 570; a sixth would wait ten seconds.
                assert answers.count(200) == 5
                for running in all_of_them:
                    await until(lambda running=running: running.app.runtime.recorder.inflight == 0)
                    await told(running)
                _, headers, _ = await ask(all_of_them[0], {**QUESTION, "max_tokens": 1})
                assert int(headers["x-ratelimit-remaining-tokens"]) > 3000 - 5 * 60

    run(main())


# -- without Redis -----------------------------------------------------------------------------------------------------


def test_redis_down_at_the_start(caplog):
    async def main():
        server = RedisServer(port=free_port())
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with replicas(server.url, 1, RPM_LIMIT="100") as (one,):
            assert loop.time() - began < 15
            assert "started without Redis" in caplog.text
            page = await health(one)
            assert page["status"] == "degraded"
            assert page["cache"] == {"mode": "redis", "status": "unavailable"}
            assert page["redis"]["status"] == "unavailable"
            assert str(server.port) not in json.dumps(page)
            one.app.runtime.status.update_gauges()
            assert b"gateway_redis_up 0.0" in one.app.metrics.page()
            status, headers, seconds = await timed(one, QUESTION)
            assert (status, headers["x-cache"]) == (200, "MISS")
            assert seconds < 5  # there is nothing to wait for
            assert b'gateway_ratelimit_total{result="unchecked"} 1.0' in one.app.metrics.page()
            with contextlib.closing(server.start()):
                await until(lambda: link(one).up)
                assert [await outcome(one) for _ in range(2)] == ["MISS", "HIT"]
                page = await health(one)
                assert (page["status"], page["redis"]["status"]) == ("ok", "ok")
                one.app.runtime.status.update_gauges()
                assert b"gateway_redis_up 1.0" in one.app.metrics.page()

    run(main())


async def under_fault(one, number=60):
    """Send requests one after another, none of which may fail. Return how many waited for Redis in vain."""
    waited = 0
    for question in numbered(number):
        before = link(one).failures.get("timeout", 0)
        status, _, seconds = await timed(one, question)
        assert status == 200
        assert seconds < SLOW + 5  # the rest is time the machine needs
        waited += link(one).failures.get("timeout", 0) > before
    return waited


FAULTS = {
    "killed": (lambda server, between: server.kill(), 0),
    "frozen": (lambda server, between: server.freeze(), 5),
    "paused": (lambda server, between: between.pause(), 5),
    "slow": (lambda server, between: setattr(between, "delay", 2.0), 5),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_request_fails_and_five_at_most_wait(fault):
    break_it, most_slow = FAULTS[fault]

    async def main():
        with redis_server() as server:
            async with relay(server.port) as between:
                async with replicas(between.url, 1, RPM_LIMIT="100000") as (one,):
                    assert [await outcome(one) for _ in range(2)] == ["MISS", "HIT"]
                    break_it(server, between)
                    assert await under_fault(one) <= most_slow
                    page = await health(one)
                    assert (page["status"], page["cache"]["status"]) == ("degraded", "unavailable")
                    if "frozen" in fault:
                        server.thaw()
                    if "killed" in fault:
                        server.start()
                    between.delay = 0.0
                    between.resume()
                    await until(lambda: link(one).up)
                    assert [await outcome(one, {**QUESTION, "seed": -1}) for _ in range(2)] == ["MISS", "HIT"]

    with redis_patience(SLOW):
        run(main())


@pytest.mark.race
def test_redis_killed_under_load():
    async def main():
        with redis_server() as server:
            async with replicas(server.url, 1, RPM_LIMIT="100000") as (one,):
                outcomes = []

                async def caller_of(number):
                    caller = await Caller.connect(one.port)
                    for turn in range(40):
                        caller.send(post(json.dumps({**QUESTION, "seed": number * 1000 + turn}).encode()))
                        outcomes.append((await caller.answer())[0])

                load = asyncio.gather(*(caller_of(number) for number in range(8)))
                await until(lambda: len(outcomes) > 60)
                server.kill()
                await load
                assert outcomes == [200] * 320

    run(main())


def test_foreign_values_in_redis_are_never_sent():
    async def main():
        with redis_server() as server:
            async with replicas(server.url, 1) as (one,):
                assert await outcome(one) == "MISS"
                await told(one)
                (name,) = [word for word in server.cli("KEYS", "nulpoint:cache:*").split(b"\r\n") if b":cache:" in word]
                good = server.cli("GET", name)
                for value in (b"garbage", good[:-3], b"", good.replace(b"np1", b"np0")):
                    server.cli("SET", name, value)
                    status, headers, body = await ask(one)
                    assert (status, headers["x-cache"]) == (200, "MISS")
                    assert json.loads(body)["object"] == "chat.completion"
                    await told(one)
                one.app.runtime.status.update_gauges()
                assert b'gateway_cache_operations_total{op="get",result="garbage"} 4.0' in one.app.metrics.page()

    run(main())


@pytest.mark.parametrize("options", [("--maxmemory", "1mb"), ("--requirepass", "secret")], ids=["OOM", "AUTH"])
def test_error_replies_are_misses(options):
    async def main():
        with redis_server(*options) as server:
            async with replicas(server.url, 1, RPM_LIMIT="100000") as (one,):
                assert await under_fault(one, 20) <= 5
                assert await outcome(one) == "MISS"

    run(main())


def test_an_empty_script_cache():
    async def main():
        with redis_server() as server:
            async with replicas(server.url, 2, CACHE_MODE="none", RPM_LIMIT="10") as both:
                outcomes = []
                for number, question in enumerate(numbered(20)):
                    outcomes.append((await ask(both[number % 2], question))[0])
                    server.cli("SCRIPT", "FLUSH")
                assert outcomes == [200] * 10 + [429] * 10

    run(main())


def test_the_limits_while_redis_is_unreachable():
    async def main():
        with redis_server() as server:
            more = {"CACHE_MODE": "none", "RPM_LIMIT": "10"}
            async with (
                replicas(server.url, 1, **more) as (allows,),
                replicas(server.url, 1, **more, RATE_LIMIT_ON_ERROR="deny") as (denies,),
            ):
                assert (await ask(allows))[0] == 200
                server.kill()
                for running in (allows, denies):
                    await until(lambda running=running: not link(running).up)
                outcomes = [(await ask(allows, question))[0] for question in numbered(15)]
                assert outcomes == [200] * 10 + [429] * 5  # its share is the whole limit, since it is the only worker
                status, headers, body = await ask(denies)
                assert (status, json.loads(body)["error"]["code"]) == (503, "limits_unavailable")
                assert headers["retry-after"] == "1"
                assert b'gateway_ratelimit_total{result="unavailable"} 1.0' in denies.app.metrics.page()
                server.start()
                await until(lambda: link(denies).up)
                assert (await ask(denies))[0] == 200

    run(main())
