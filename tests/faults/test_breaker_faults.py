"""Upstream faults, U28 to U33: storms, flapping, floods of callers' own mistakes, and probes that come to nothing."""

import asyncio
import json
import random
import statistics
import time

import pytest

from nulpoint.mock import start
from support.client_outcome import ask
from support.event_loop import run, run_in_simulated_time, until
from support.http_client import CHAT, STREAM, Caller, post
from support.provider_bytes import CHAT_ANSWER, GOOD, ROLE, SERVER_ERROR, STREAM_HEAD, WORD, answer, chunk, good_stream
from support.running_gateway import gateway
from support.scripted_provider import pause, reset, send, serve, silence, wait

BOTH = pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
HALF_OPEN = 0.3  # seconds until a probe, in place of 30


def numbered(body, number):
    return body.replace(b'"hi"', b'"%d"' % number)


def state(running, name="openai"):
    return running.app.runtime.provider_health[name].breaker.state.name


async def steadily(port, body, count, rate):
    """Send `count` requests, `rate` a second, whatever becomes of them."""
    asked = []
    for number in range(count):
        asked.append(asyncio.ensure_future(ask(port, numbered(body, number))))
        await asyncio.sleep(1 / rate)
    return await asyncio.gather(*asked)


@BOTH
@pytest.mark.parametrize("second", [True, False], ids=["with a second target", "alone"])
def test_U28_a_storm_of_5xx(body, second):
    """The breaker opens at the fifth; then there is a probe each half-open time, and nearly no load."""
    count, rate = 70, 100

    async def main():
        faultd = await serve([send(SERVER_ERROR)])
        other = await start("mistral")
        providers = {"openai": faultd, **({"mistral": other} if second else {})}
        async with gateway({"CB_HALF_OPEN_TIMEOUT": f"{HALF_OPEN}s"}, providers=providers) as running:
            loop = asyncio.get_running_loop()
            began = loop.time()
            outcomes = await steadily(running.port, body, count, rate)
            probes = (loop.time() - began) / HALF_OPEN + 1
            retries = 0 if second else 3  # let through before it opened
            assert 5 <= len(faultd.requests) <= 5 + retries + probes
            assert len(faultd.requests) + other.requests <= 1.1 * count
            assert state(running) == "OPEN"
            if second:
                assert all(outcome.verdict == "answer" for outcome in outcomes)
            else:
                assert all(outcome.verdict == "error" for outcome in outcomes)
                assert sum(outcome.status == 503 for outcome in outcomes) >= count - 5 - probes
        await other.close()

    run_in_simulated_time(main())


def test_U29_flapping():
    """A success does not erase failures: it opens at the fifth of them."""

    async def main():
        turns = [[send(SERVER_ERROR)], [send(GOOD)]] * 50
        faultd = await serve(*turns)
        async with gateway({"MAX_RETRIES": "1"}, providers={"openai": faultd}) as running:
            statuses = [(await ask(running.port)).status for _ in range(20)]
            assert statuses[:9] == [502, 200] * 4 + [502]
            assert set(statuses[9:]) == {503}
            assert len(faultd.requests) == 9

    run_in_simulated_time(main())


def test_U29_flapping_with_a_ratio():
    """Half of the calls must have failed, of at least twenty."""

    async def main():
        settings = {"MAX_RETRIES": "1", "CB_FAILURE_RATIO": "0.5"}
        well = await serve(*[[send(SERVER_ERROR)], [send(GOOD)], [send(GOOD)]] * 40)
        async with gateway(settings, providers={"openai": well}) as running:
            assert {(await ask(running.port)).status for _ in range(60)} == {200, 502}
            assert state(running) == "CLOSED"
        unwell = await serve(*[[send(SERVER_ERROR)], [send(GOOD)]] * 40)
        async with gateway(settings, providers={"openai": unwell}) as running:
            for _ in range(19):
                await ask(running.port)
            assert state(running) == "CLOSED"
            await ask(running.port)
            await ask(running.port)
            assert state(running) == "OPEN"

    run_in_simulated_time(main())


def with_own_key(*fields):
    return ("Authorization: Bearer of-one-caller", *fields)


OWN_KEY = {"ALLOW_CLIENT_API_KEYS": "true"}
STREAM_BEGUN = [send(STREAM_HEAD, chunk(ROLE)), silence()]
# What one caller does or has done to him: settings; his request; his header fields; how the provider answers it; and the
# error code that he is told.
ONE_CALLER = {
    "own key, 500": (OWN_KEY, CHAT, with_own_key(), [send(SERVER_ERROR)], "provider_500"),
    "own key, 500 to streams": (OWN_KEY, STREAM, with_own_key(), [send(SERVER_ERROR)], "provider_500"),
    "own key, cut": (OWN_KEY, STREAM, with_own_key(), [send(STREAM_HEAD, chunk(ROLE)), reset()], "provider_disconnected"),
    "own key, nonsense": (OWN_KEY, CHAT, with_own_key(), [send(answer(b"<html>"))], "provider_malformed"),
    "own key, too slow": ({**OWN_KEY, "PROVIDER_TIMEOUT": "50ms"}, CHAT, with_own_key(), [silence()], "provider_timeout"),
    "a whole answer to a stream": ({}, STREAM, (), [send(GOOD)], "provider_malformed"),
    "a stream to a whole answer": ({}, CHAT, (), [send(good_stream())], "provider_malformed"),
    "a stream in pieces to a whole answer": ({}, CHAT, (), [send(STREAM_HEAD), pause(0.01), send(good_stream()[len(STREAM_HEAD):])], "provider_malformed"),
    "an answer over the bound": ({"UPSTREAM_MAX_BODY_BYTES": "100KiB"}, CHAT, (), [send(answer(CHAT_ANSWER + b" " * 200_000))], "provider_malformed"),
    "a short deadline": ({"PROVIDER_TIMEOUT": "60ms"}, STREAM, ("x-nulpoint-timeout: 0.2",), STREAM_BEGUN, "deadline_exceeded"),
    "a very short deadline": ({}, STREAM, ("x-nulpoint-timeout: 0.05",), [silence()], "deadline_exceeded"),
}  # fmt: skip


@pytest.mark.parametrize("case", ONE_CALLER.values(), ids=ONE_CALLER)
def test_one_caller_cannot_switch_a_provider_off_for_others(case):
    """One caller fails twenty times; the breaker stays closed, and another caller is served by that provider."""
    settings, body, fields, script, code = case

    async def main():
        faultd = await serve(script)
        settings_of_all = {"MAX_RETRIES": "1", "CACHE_MODE": "none", **settings}
        async with gateway(settings_of_all, providers={"openai": faultd, "mistral": await start("mistral")}) as running:
            failed = await asyncio.gather(
                *(ask(running.port, numbered(body, number), "/v1/chat/completions", *fields) for number in range(20))
            )
            assert {(one.verdict, one.error["code"]) for one in failed} == {("error", code)}
            assert state(running) == "CLOSED"
            faultd.scripts = [[send(GOOD)]]
            served = await ask(running.port, numbered(CHAT, 99))
            assert (served.verdict, served.headers["x-nulpoint-provider"]) == ("answer", "openai")

    run_in_simulated_time(main())


def test_a_request_that_is_too_large_for_a_host_that_hangs_up_opens_nothing():
    """Hosts that take no such body close the connection while it is still being sent, and may say nothing."""

    async def main():
        faultd = await serve([silence()], on_connect=[pause(0.05), reset()], deaf=True)
        settings = {"MAX_RETRIES": "1", "CB_ERROR_THRESHOLD": "1"}
        async with gateway(settings, providers={"openai": faultd}) as running:
            large = CHAT.replace(b'"hi"', b'"' + b"word " * 3_600_000 + b'"')
            assert (await ask(running.port, large)).error["code"] == "provider_disconnected"
            assert state(running) == "CLOSED"
            faultd.deaf = False
            assert (await ask(running.port)).error["code"] == "provider_disconnected"  # it was read, and not answered
            assert state(running) == "OPEN"

    run(main())


def test_connections_that_other_callers_hold_say_nothing_about_the_provider():
    async def main():
        faultd = await serve(STREAM_BEGUN)
        settings = {"MAX_RETRIES": "1", "UPSTREAM_MAX_CONNECTIONS": "1", "PROVIDER_TIMEOUT": "100ms"}
        async with gateway(settings, providers={"openai": faultd}) as running:
            holder = await Caller.connect(running.port)
            holder.send(post(STREAM))
            await until(lambda: faultd.requests)
            waited = await asyncio.gather(*(ask(running.port, numbered(CHAT, number)) for number in range(20)))
            assert {one.error["code"] for one in waited} == {"provider_timeout"}
            assert state(running) == "CLOSED"

    run_in_simulated_time(main())


def test_a_provider_that_fails_with_configured_keys_still_opens_it():
    async def main():
        faultd = await serve([send(SERVER_ERROR)])
        async with gateway({"MAX_RETRIES": "1", **OWN_KEY}, providers={"openai": faultd}) as running:
            for number in range(5):
                assert state(running) == "CLOSED"
                await ask(running.port, numbered(CHAT, number))
            assert state(running) == "OPEN"

    run(main())


def test_a_probe_whose_stream_does_not_end_keeps_nobody_else_out():
    async def main():
        go_on = asyncio.Event()
        endless = [send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), wait(go_on), reset()]
        faultd = await serve([send(SERVER_ERROR)], endless, [send(GOOD)])
        settings = {"CB_ERROR_THRESHOLD": "1", "CB_HALF_OPEN_TIMEOUT": "100ms", "MAX_RETRIES": "1"}
        async with gateway(settings, providers={"openai": faultd}) as running:
            await ask(running.port)
            assert state(running) == "OPEN"
            await asyncio.sleep(0.12)
            caller = await Caller.connect(running.port)
            caller.send(post(STREAM))
            await caller.reader.readuntil(b"word")
            assert state(running) == "HALF_OPEN"
            await asyncio.sleep(0.12)
            assert (await ask(running.port)).verdict == "answer"
            assert state(running) == "CLOSED"
            go_on.set()
            await caller.rest()
            assert state(running) == "CLOSED"  # the stream was let through before that, and decides nothing

    run_in_simulated_time(main())


@BOTH
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
def test_U30_a_flood_of_one_caller_s_own_mistakes(body, status):
    """It opens nothing, it rests nobody else's key, and nobody else has a single error."""
    count = 120  # 500 of 10,000 over all of them

    async def main():
        wrong = answer(b'{"error":{"message":"your mistake"}}', status, b"retry-after: 9")
        right = GOOD if body is CHAT else good_stream()
        faultd = await serve(choose=lambda request: [send(wrong if b"Bearer wrong" in request else right)])
        settings = {"ALLOW_CLIENT_API_KEYS": "true", "CB_ERROR_THRESHOLD": "1"}
        async with gateway(settings, providers={"openai": faultd, "mistral": await start("mistral")}) as running:
            for number in range(count):
                path, fields = "/v1/chat/completions", ("Authorization: Bearer wrong",)
                bad = await ask(running.port, numbered(body, number), path, *fields)
                assert bad.verdict == "error"
                assert bad.status == {403: 401, 422: 400}.get(status, status)
                if number % 10 == 0:
                    for others in ((), ("Authorization: Bearer another",)):
                        outcome = await ask(running.port, numbered(body, number), path, *others)
                        assert (outcome.verdict, outcome.headers["x-nulpoint-attempts"]) == ("answer", "1")
                        assert outcome.headers["x-nulpoint-provider"] == "openai"
            assert {state(running, name) for name in running.app.runtime.provider_health} == {"CLOSED"}
            assert running.mocks["mistral"].requests == 0  # a key goes to nobody else

    run(main())


MOMENTS = {
    "before the head": [silence()],
    "after the head": [send(STREAM_HEAD), silence()],
    "in the stream": [send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), silence()],
}


@pytest.mark.parametrize("script", MOMENTS.values(), ids=MOMENTS)
def test_U31_a_probe_whose_caller_leaves(script):
    """It frees its place at once, and the next request is the probe: 17 times over."""

    async def main():
        faultd = await serve([send(SERVER_ERROR)])
        settings = {"CB_ERROR_THRESHOLD": "1", "CB_HALF_OPEN_TIMEOUT": "100ms", "MAX_RETRIES": "1"}
        async with gateway(settings, providers={"openai": faultd}) as running:
            await ask(running.port)
            assert state(running) == "OPEN"
            await asyncio.sleep(0.12)
            faultd.scripts = [script]
            for number in range(17):
                asked = len(faultd.requests)
                caller = await Caller.connect(running.port)
                caller.send(post(numbered(STREAM, number)))
                await until(lambda asked=asked: len(faultd.requests) == asked + 1)
                if "in the stream" in MOMENTS and script is MOMENTS["in the stream"]:
                    await caller.reader.readuntil(b"word")
                assert state(running) == "HALF_OPEN"
                assert (await ask(running.port, numbered(CHAT, number))).status == 503  # its place is taken
                loop = asyncio.get_running_loop()
                began = loop.time()
                caller.writer.transport.abort()
                await until(lambda: state(running) == "OPEN")
                assert loop.time() - began <= 0.05
            faultd.scripts = [[send(GOOD)]]
            assert (await ask(running.port)).status == 200
            assert state(running) == "CLOSED"

    run_in_simulated_time(main())


def test_a_probe_that_is_a_stream_succeeds_at_its_terminal_event_only():
    async def main():
        go_on = asyncio.Event()
        rest = good_stream().removeprefix(STREAM_HEAD)
        whole = [send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), wait(go_on), send(rest)]
        faultd = await serve([send(SERVER_ERROR)], [send(STREAM_HEAD, chunk(WORD)), reset()], whole)
        settings = {"CB_ERROR_THRESHOLD": "1", "CB_HALF_OPEN_TIMEOUT": "100ms", "MAX_RETRIES": "1"}
        async with gateway(settings, providers={"openai": faultd}) as running:
            await ask(running.port)
            await asyncio.sleep(0.12)
            assert (await ask(running.port, STREAM)).verdict == "error"
            assert state(running) == "OPEN"
            await asyncio.sleep(0.12)
            caller = await Caller.connect(running.port)
            caller.send(post(STREAM))
            await caller.reader.readuntil(b"word")
            assert state(running) == "HALF_OPEN"
            go_on.set()
            await caller.reader.readuntil(b"[DONE]")
            await until(lambda: state(running) == "CLOSED")

    run_in_simulated_time(main())


@BOTH
def test_U32_all_breakers_open(body):
    """An answer at once that says when to come again; nobody is asked."""

    async def main():
        faultd = await serve([send(SERVER_ERROR)])
        providers = {"openai": faultd, "mistral": faultd}
        async with gateway({"CB_ERROR_THRESHOLD": "1", "CB_HALF_OPEN_TIMEOUT": "30s"}, providers=providers) as running:
            await ask(running.port)
            assert {state(running, name) for name in running.app.runtime.provider_health} == {"OPEN"}
            asked = len(faultd.requests)
            caller = await Caller.connect(running.port)

            waits, works = [], []
            loop = asyncio.get_running_loop()
            for number in range(200):
                wait, work = loop.time(), time.process_time()
                caller.send(post(numbered(body, number)))
                status, headers, answered = await caller.answer()
                waits.append(loop.time() - wait)
                works.append(time.process_time() - work)
                assert status == 503
                assert 25 <= int(headers["retry-after"]) <= 30
                assert json.loads(answered)["error"]["code"] == "no_provider_available"
            # Nothing waits, and the work is short, in seconds of the processor.
            assert max(waits) == 0
            assert statistics.median(works) <= 0.005
            assert len(faultd.requests) == asked

    run_in_simulated_time(main())


@pytest.mark.slow
def test_U33_a_storm_of_retries():
    """30 % fail at three times the capacity: further attempts stay in their budget, and goodput holds.

    The budget is a tenth of the requests, and three at any time.
    """
    count, capacity, latency = 1050, 75, 0.75

    async def goodput(share):
        chance = random.Random(7)
        faultd = await serve(choose=lambda _: [pause(latency), send(SERVER_ERROR if chance.random() < share else GOOD)])
        settings = {"MAX_REQUESTS": str(capacity), "QUEUE_TIMEOUT": "100ms", "CB_ERROR_THRESHOLD": "1000000"}
        async with gateway(settings, providers={"openai": faultd}) as running:
            loop = asyncio.get_running_loop()
            began = loop.time()
            outcomes = await steadily(running.port, CHAT, count, 3 * capacity / latency)
            seconds = loop.time() - began
            answered = sum(one.verdict == "answer" for one in outcomes)
            admitted = sum(outcome.status != 503 for outcome in outcomes)
            assert len(faultd.requests) - admitted <= 0.1 * admitted + 3 * seconds / latency
            return answered

    # Both are given the same requests, in the same time.
    clean, stormy = (run_in_simulated_time(goodput(share)) for share in (0.0, 0.3))
    assert stormy >= 0.6 * clean
