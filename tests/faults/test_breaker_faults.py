"""Tests of the circuit breaker: storms of errors, flapping providers, floods of client mistakes, and failed probes."""

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
HALF_OPEN = 0.3  # Seconds until a probe is sent; the default is 30.


def numbered(body, number):
    return body.replace(b'"hi"', b'"%d"' % number)


def state(running, name="openai"):
    return running.app.runtime.provider_health[name].breaker.state.name


async def steadily(port, body, count, rate):
    """Send `count` requests at `rate` a second without waiting for responses, and return all outcomes."""
    requests = []
    for number in range(count):
        requests.append(asyncio.ensure_future(ask(port, numbered(body, number))))
        await asyncio.sleep(1 / rate)
    return await asyncio.gather(*requests)


@BOTH
@pytest.mark.parametrize("second", [True, False], ids=["with a second target", "alone"])
def test_a_storm_of_server_errors(body, second):
    """The breaker opens at the fifth failure; after that the provider gets one probe per half-open interval."""
    count, rate = 70, 100

    async def main():
        provider = await serve([send(SERVER_ERROR)])
        other = await start("mistral")
        providers = {"openai": provider, **({"mistral": other} if second else {})}
        async with gateway({"CB_HALF_OPEN_TIMEOUT": f"{HALF_OPEN}s"}, providers=providers) as running:
            loop = asyncio.get_running_loop()
            began = loop.time()
            outcomes = await steadily(running.port, body, count, rate)
            probes = (loop.time() - began) / HALF_OPEN + 1
            retries = 0 if second else 3  # These were sent before the breaker opened.
            assert 5 <= len(provider.requests) <= 5 + retries + probes
            assert len(provider.requests) + other.requests <= 1.1 * count
            assert state(running) == "OPEN"
            if second:
                assert all(outcome.verdict == "answer" for outcome in outcomes)
            else:
                assert all(outcome.verdict == "error" for outcome in outcomes)
                assert sum(outcome.status == 503 for outcome in outcomes) >= count - 5 - probes
        await other.close()

    run_in_simulated_time(main())


def test_a_flapping_provider():
    """A success does not erase earlier failures: the breaker opens at the fifth failure."""

    async def main():
        turns = [[send(SERVER_ERROR)], [send(GOOD)]] * 50
        provider = await serve(*turns)
        async with gateway({"MAX_RETRIES": "1"}, providers={"openai": provider}) as running:
            statuses = [(await ask(running.port)).status for _ in range(20)]
            assert statuses[:9] == [502, 200] * 4 + [502]
            assert set(statuses[9:]) == {503}
            assert len(provider.requests) == 9

    run_in_simulated_time(main())


def test_a_flapping_provider_with_a_failure_ratio():
    """The breaker opens when at least twenty calls were made and half of them failed."""

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


def with_client_key(*fields):
    return ("Authorization: Bearer of-one-client", *fields)


CLIENT_KEY = {"ALLOW_CLIENT_API_KEYS": "true"}
STREAM_BEGUN = [send(STREAM_HEAD, chunk(ROLE)), silence()]
# What one client does or meets: settings, request, request headers, the provider's script, and the error code that the
# client receives.
ONE_CLIENT = {
    "client's key, 500": (CLIENT_KEY, CHAT, with_client_key(), [send(SERVER_ERROR)], "provider_500"),
    "client's key, 500 to streams": (CLIENT_KEY, STREAM, with_client_key(), [send(SERVER_ERROR)], "provider_500"),
    "client's key, cut": (CLIENT_KEY, STREAM, with_client_key(), [send(STREAM_HEAD, chunk(ROLE)), reset()], "provider_disconnected"),
    "client's key, nonsense": (CLIENT_KEY, CHAT, with_client_key(), [send(answer(b"<html>"))], "provider_malformed"),
    "client's key, too slow": ({**CLIENT_KEY, "PROVIDER_TIMEOUT": "50ms"}, CHAT, with_client_key(), [silence()], "provider_timeout"),
    "a whole answer to a stream": ({}, STREAM, (), [send(GOOD)], "provider_malformed"),
    "a stream to a whole answer": ({}, CHAT, (), [send(good_stream())], "provider_malformed"),
    "a stream in pieces to a whole answer": ({}, CHAT, (), [send(STREAM_HEAD), pause(0.01), send(good_stream()[len(STREAM_HEAD):])], "provider_malformed"),
    "an answer over the bound": ({"UPSTREAM_MAX_BODY_BYTES": "100KiB"}, CHAT, (), [send(answer(CHAT_ANSWER + b" " * 200_000))], "provider_malformed"),
    "a short deadline": ({"PROVIDER_TIMEOUT": "60ms"}, STREAM, ("x-nulpoint-timeout: 0.2",), STREAM_BEGUN, "deadline_exceeded"),
    "a very short deadline": ({}, STREAM, ("x-nulpoint-timeout: 0.05",), [silence()], "deadline_exceeded"),
}  # fmt: skip


@pytest.mark.parametrize("case", ONE_CLIENT.values(), ids=ONE_CLIENT)
def test_one_client_cannot_switch_a_provider_off_for_others(case):
    """One client fails twenty times; the breaker stays closed, and that provider serves another client."""
    settings, body, fields, script, code = case

    async def main():
        provider = await serve(script)
        settings_of_all = {"MAX_RETRIES": "1", "CACHE_MODE": "none", **settings}
        async with gateway(
            settings_of_all, providers={"openai": provider, "mistral": await start("mistral")}
        ) as running:
            failures = await asyncio.gather(
                *(ask(running.port, numbered(body, number), "/v1/chat/completions", *fields) for number in range(20))
            )
            assert {(outcome.verdict, outcome.error["code"]) for outcome in failures} == {("error", code)}
            assert state(running) == "CLOSED"
            provider.scripts = [[send(GOOD)]]
            served = await ask(running.port, numbered(CHAT, 99))
            assert (served.verdict, served.headers["x-nulpoint-provider"]) == ("answer", "openai")

    run_in_simulated_time(main())


def test_a_request_that_is_too_large_for_a_host_that_hangs_up_opens_nothing():
    """Some hosts close the connection without a response while a body they find too large is still being sent."""

    async def main():
        provider = await serve([silence()], on_connect=[pause(0.05), reset()], deaf=True)
        settings = {"MAX_RETRIES": "1", "CB_ERROR_THRESHOLD": "1"}
        async with gateway(settings, providers={"openai": provider}) as running:
            large = CHAT.replace(b'"hi"', b'"' + b"word " * 3_600_000 + b'"')
            assert (await ask(running.port, large)).error["code"] == "provider_disconnected"
            assert state(running) == "CLOSED"
            provider.deaf = False
            assert (await ask(running.port)).error[
                "code"
            ] == "provider_disconnected"  # the host read the request, so this failure counts
            assert state(running) == "OPEN"

    run(main())


def test_waiting_for_connections_that_other_clients_use_does_not_count_against_the_provider():
    async def main():
        provider = await serve(STREAM_BEGUN)
        settings = {"MAX_RETRIES": "1", "UPSTREAM_MAX_CONNECTIONS": "1", "PROVIDER_TIMEOUT": "100ms"}
        async with gateway(settings, providers={"openai": provider}) as running:
            holder = await Caller.connect(running.port)
            holder.send(post(STREAM))
            await until(lambda: provider.requests)
            outcomes = await asyncio.gather(*(ask(running.port, numbered(CHAT, number)) for number in range(20)))
            assert {outcome.error["code"] for outcome in outcomes} == {"provider_timeout"}
            assert state(running) == "CLOSED"

    run_in_simulated_time(main())


def test_failures_with_configured_keys_still_open_the_breaker():
    async def main():
        provider = await serve([send(SERVER_ERROR)])
        async with gateway({"MAX_RETRIES": "1", **CLIENT_KEY}, providers={"openai": provider}) as running:
            for number in range(5):
                assert state(running) == "CLOSED"
                await ask(running.port, numbered(CHAT, number))
            assert state(running) == "OPEN"

    run(main())


def test_a_probe_whose_stream_does_not_end_does_not_block_other_requests():
    async def main():
        go_on = asyncio.Event()
        endless = [send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), wait(go_on), reset()]
        provider = await serve([send(SERVER_ERROR)], endless, [send(GOOD)])
        settings = {"CB_ERROR_THRESHOLD": "1", "CB_HALF_OPEN_TIMEOUT": "100ms", "MAX_RETRIES": "1"}
        async with gateway(settings, providers={"openai": provider}) as running:
            await ask(running.port)
            assert state(running) == "OPEN"
            await asyncio.sleep(0.12)
            client = await Caller.connect(running.port)
            client.send(post(STREAM))
            await client.reader.readuntil(b"word")
            assert state(running) == "HALF_OPEN"
            await asyncio.sleep(0.12)
            assert (await ask(running.port)).verdict == "answer"
            assert state(running) == "CLOSED"
            go_on.set()
            await client.rest()
            assert (
                state(running) == "CLOSED"
            )  # the stream began before the breaker closed, so its failure changes nothing

    run_in_simulated_time(main())


@BOTH
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
def test_a_flood_of_one_client_s_mistakes(body, status):
    """The breaker stays closed, no other key cools down, and no other client sees an error."""
    count = 120

    async def main():
        wrong = answer(b'{"error":{"message":"your mistake"}}', status, b"retry-after: 9")
        right = GOOD if body is CHAT else good_stream()
        provider = await serve(choose=lambda request: [send(wrong if b"Bearer wrong" in request else right)])
        settings = {"ALLOW_CLIENT_API_KEYS": "true", "CB_ERROR_THRESHOLD": "1"}
        async with gateway(settings, providers={"openai": provider, "mistral": await start("mistral")}) as running:
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
            assert running.mocks["mistral"].requests == 0  # a client's key is sent to no other provider

    run(main())


MOMENTS = {
    "before the head": [silence()],
    "after the head": [send(STREAM_HEAD), silence()],
    "in the stream": [send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), silence()],
}


@pytest.mark.parametrize("script", MOMENTS.values(), ids=MOMENTS)
def test_a_probe_whose_client_disconnects(script):
    """The probe is released at once, and the next request becomes the probe. This is repeated 17 times."""

    async def main():
        provider = await serve([send(SERVER_ERROR)])
        settings = {"CB_ERROR_THRESHOLD": "1", "CB_HALF_OPEN_TIMEOUT": "100ms", "MAX_RETRIES": "1"}
        async with gateway(settings, providers={"openai": provider}) as running:
            await ask(running.port)
            assert state(running) == "OPEN"
            await asyncio.sleep(0.12)
            provider.scripts = [script]
            for number in range(17):
                call_count = len(provider.requests)
                client = await Caller.connect(running.port)
                client.send(post(numbered(STREAM, number)))
                await until(lambda call_count=call_count: len(provider.requests) == call_count + 1)
                if "in the stream" in MOMENTS and script is MOMENTS["in the stream"]:
                    await client.reader.readuntil(b"word")
                assert state(running) == "HALF_OPEN"
                assert (await ask(running.port, numbered(CHAT, number))).status == 503  # the probe is still running
                loop = asyncio.get_running_loop()
                began = loop.time()
                client.writer.transport.abort()
                await until(lambda: state(running) == "OPEN")
                assert loop.time() - began <= 0.05
            provider.scripts = [[send(GOOD)]]
            assert (await ask(running.port)).status == 200
            assert state(running) == "CLOSED"

    run_in_simulated_time(main())


def test_a_streaming_probe_succeeds_only_at_its_terminal_event():
    async def main():
        go_on = asyncio.Event()
        rest = good_stream().removeprefix(STREAM_HEAD)
        whole = [send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), wait(go_on), send(rest)]
        provider = await serve([send(SERVER_ERROR)], [send(STREAM_HEAD, chunk(WORD)), reset()], whole)
        settings = {"CB_ERROR_THRESHOLD": "1", "CB_HALF_OPEN_TIMEOUT": "100ms", "MAX_RETRIES": "1"}
        async with gateway(settings, providers={"openai": provider}) as running:
            await ask(running.port)
            await asyncio.sleep(0.12)
            assert (await ask(running.port, STREAM)).verdict == "error"
            assert state(running) == "OPEN"
            await asyncio.sleep(0.12)
            client = await Caller.connect(running.port)
            client.send(post(STREAM))
            await client.reader.readuntil(b"word")
            assert state(running) == "HALF_OPEN"
            go_on.set()
            await client.reader.readuntil(b"[DONE]")
            await until(lambda: state(running) == "CLOSED")

    run_in_simulated_time(main())


@BOTH
def test_all_breakers_open(body):
    """The client gets an immediate 503 with Retry-After, and no provider is called."""

    async def main():
        provider = await serve([send(SERVER_ERROR)])
        providers = {"openai": provider, "mistral": provider}
        async with gateway({"CB_ERROR_THRESHOLD": "1", "CB_HALF_OPEN_TIMEOUT": "30s"}, providers=providers) as running:
            await ask(running.port)
            assert {state(running, name) for name in running.app.runtime.provider_health} == {"OPEN"}
            call_count = len(provider.requests)
            client = await Caller.connect(running.port)

            waits, works = [], []
            loop = asyncio.get_running_loop()
            for number in range(200):
                wait, work = loop.time(), time.process_time()
                client.send(post(numbered(body, number)))
                status, headers, body_received = await client.answer()
                waits.append(loop.time() - wait)
                works.append(time.process_time() - work)
                assert status == 503
                assert 25 <= int(headers["retry-after"]) <= 30
                assert json.loads(body_received)["error"]["code"] == "no_provider_available"
            # In simulated time only waiting takes time. The CPU time of a rejection is short, in seconds.
            assert max(waits) == 0
            assert statistics.median(works) <= 0.005
            assert len(provider.requests) == call_count

    run_in_simulated_time(main())


@pytest.mark.slow
def test_a_storm_of_retries():
    """At three times the capacity and with 30 % failures, retries stay within their budget and goodput holds.

    The budget allows a tenth of the requests, and at least three retries at any time.
    """
    count, capacity, latency = 1050, 75, 0.75

    async def goodput(share):
        rng = random.Random(7)
        provider = await serve(choose=lambda _: [pause(latency), send(SERVER_ERROR if rng.random() < share else GOOD)])
        settings = {"MAX_REQUESTS": str(capacity), "QUEUE_TIMEOUT": "100ms", "CB_ERROR_THRESHOLD": "1000000"}
        async with gateway(settings, providers={"openai": provider}) as running:
            loop = asyncio.get_running_loop()
            began = loop.time()
            outcomes = await steadily(running.port, CHAT, count, 3 * capacity / latency)
            seconds = loop.time() - began
            succeeded = sum(outcome.verdict == "answer" for outcome in outcomes)
            admitted = sum(outcome.status != 503 for outcome in outcomes)
            assert len(provider.requests) - admitted <= 0.1 * admitted + 3 * seconds / latency
            return succeeded

    # Both runs get the same requests in the same time.
    clean, stormy = (run_in_simulated_time(goodput(share)) for share in (0.0, 0.3))
    assert stormy >= 0.6 * clean
