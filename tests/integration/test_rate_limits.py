"""Tests rate limits over sockets: which requests are refused, the headers, and what is returned."""

import asyncio
import json

import openai
import pytest

from nulpoint.mock import MockSettings
from support.cache_client import MEMORY, QUESTION, ask
from support.event_loop import run_in_simulated_time as run
from support.event_loop import until
from support.http_client import Caller, post
from support.running_gateway import SLOW, gateway

STREAM = {**QUESTION, "stream": True}
OURS = "x-ratelimit-remaining-tokens"


def questions(number, **more):
    return [{**QUESTION, "seed": one, **more} for one in range(number)]


async def statuses(running, asked, *fields):
    return [(await ask(running, question, *fields))[0] for question in asked]


async def tokens_left(running, *fields, **more):
    """Return the remaining tokens, from a request that takes none because its response is cached."""
    await ask(running, {**QUESTION, **more}, *fields)
    _, headers, _ = await ask(running, {**QUESTION, **more}, *fields)
    return int(headers[OURS])


def bucket(running):
    """Return the level of the bucket shared by all clients."""
    return running.app.runtime.backends.limiter._limits._limiter._bucket._level


# -- requests ----------------------------------------------------------------------------------------------------------


def test_a_refusal_is_an_openai_429_that_names_the_setting():
    async def main():
        async with gateway({"RPM_LIMIT": "3"}) as running:
            for left in (2, 1, 0):
                status, headers, _ = await ask(running)
                assert status == 200
                assert headers["x-ratelimit-limit-requests"] == "3"
                assert headers["x-ratelimit-remaining-requests"] == str(left)
                assert headers["x-ratelimit-reset-requests"].startswith(("59.", "1m0s"))
                assert "openai-processing-ms" in headers
            status, headers, body = await ask(running)
            error = json.loads(body)["error"]
            assert (status, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
            assert error["message"].startswith(
                "Rate limit exceeded: this gateway may have 3 requests per minute (RPM_LIMIT)"
            )
            assert 55 <= int(headers["retry-after"]) <= 60
            assert 55_000 < int(headers["retry-after-ms"]) <= 60_000
            assert headers["x-ratelimit-remaining-requests"] == "0"
            assert running.mock.requests == 3
            page = running.app.metrics.page().decode()
            assert 'gateway_ratelimit_total{result="allowed"} 3.0' in page
            assert 'gateway_ratelimit_total{result="limited"} 1.0' in page
            assert [json.loads(line)["limit"] for line in running.log().splitlines()] == ["allowed"] * 3 + ["limited"]

    run(main())


def test_the_cache_and_shared_calls_count_as_requests():
    async def main():
        async with gateway({**MEMORY, "RPM_LIMIT": "6"}, mock=SLOW) as running:
            callers = [await Caller.connect(running.port) for _ in range(4)]
            for caller in callers:
                caller.send(post(json.dumps(QUESTION).encode()))
            answers = [await caller.answer() for caller in callers]
            assert [status for status, _, _ in answers] == [200] * 4
            assert running.mock.requests == 1
            status, headers, _ = await ask(running)
            assert (status, headers["x-cache"], headers["x-ratelimit-remaining-requests"]) == (200, "HIT", "1")
            assert await statuses(running, [QUESTION, QUESTION]) == [200, 429]

    run(main())


def test_rejected_requests_do_not_count():
    async def main():
        settings = {"RPM_LIMIT": "1", "GATEWAY_API_KEYS": "gk"}
        async with gateway(settings) as running:
            key = "Authorization: Bearer gk"
            assert (await ask(running))[0] == 401
            assert (await ask(running, b"{", key))[0] == 400
            assert (await ask(running, {**QUESTION, "model": "claude-haiku-4-5"}, key))[0] == 400
            assert await statuses(running, questions(2), key) == [200, 429]

    run(main())


def test_each_key_has_its_own_limit():
    async def main():
        async with gateway({"RPM_LIMIT_PER_KEY": "2", "RPM_LIMIT": "5"}) as running:
            for key in ("Authorization: Bearer a", "x-api-key: b"):
                assert await statuses(running, questions(3), key) == [200, 200, 429]
            _, _, body = await ask(running, QUESTION, "Authorization: Bearer a")
            assert "your key may have 2 requests per minute (RPM_LIMIT_PER_KEY)" in body.decode()
            assert await statuses(running, questions(2)) == [
                200,
                429,
            ]  # clients without a key; all together have made five
            _, _, body = await ask(running)
            assert "(RPM_LIMIT)" in body.decode()

    run(main())


def test_the_sdk_waits_as_long_as_the_headers_say():
    async def main():
        settings = {"MAX_PARALLEL_PER_KEY": "1"}
        async with gateway(settings, mock=MockSettings(latency_ms=400)) as running:
            async with openai.AsyncOpenAI(base_url=running.url, api_key="a", max_retries=2) as client:
                began = asyncio.get_running_loop().time()
                answers = await asyncio.gather(*(client.chat.completions.create(**QUESTION) for _ in range(2)))
                assert all(answer.choices for answer in answers)
                assert 1.0 <= asyncio.get_running_loop().time() - began < 3.0
            async with openai.AsyncOpenAI(base_url=running.url, api_key="a", max_retries=0) as client:
                calls = (client.chat.completions.create(**QUESTION) for _ in range(2))
                results = await asyncio.gather(*calls, return_exceptions=True)
                assert [type(one) for one in results].count(openai.RateLimitError) == 1

    run(main())


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_the_reservation_is_corrected_to_the_usage(streamed):
    async def main():
        async with gateway({"TPM_LIMIT": "3000"}) as running:
            question = {**(STREAM if streamed else QUESTION), "max_tokens": 500}
            status, headers, _ = await ask(running, question)
            assert status == 200
            set_aside = 3000 - int(headers[OURS])
            assert 500 < set_aside < 600
            assert headers["x-ratelimit-limit-tokens"] == "3000"
            await until(lambda: running.app.runtime.recorder.inflight == 0)
            used = 3000 - bucket(running)
            record = json.loads(running.log().splitlines()[0])
            taken = record["usage"]["prompt"] + record["usage"]["completion"]
            assert 10 < taken - 15 < used <= taken  # meanwhile the bucket refills by 50 tokens per second

    run(main())


def test_an_estimate_that_does_not_fit_is_refused():
    async def main():
        async with gateway({"TPM_LIMIT": "1000"}) as running:
            large = {**QUESTION, "max_tokens": 900}
            callers = [await Caller.connect(running.port) for _ in range(2)]
            for caller in callers:
                caller.send(post(json.dumps(large).encode()))
            answers = [await caller.answer() for caller in callers]
            assert sorted(status for status, _, _ in answers) == [200, 429]
            (refused,) = [answer for answer in answers if answer[0] == 429]
            assert "1000 tokens per minute (TPM_LIMIT)" in refused[2].decode()
            assert await statuses(running, [large]) == [200]  # the unused tokens of the first request are back

    run(main())


def test_the_cache_takes_no_tokens():
    async def main():
        async with gateway({**MEMORY, "TPM_LIMIT": "100000"}) as running:
            await ask(running)
            before = bucket(running)
            for _ in range(5):
                assert (await ask(running))[1]["x-cache"] == "HIT"
            assert bucket(running) >= before

    run(main())


def test_one_client_of_a_shared_call_pays():
    async def main():
        async with gateway({**MEMORY, "TPM_LIMIT": "3000"}, mock=MockSettings(latency_ms=50)) as running:
            callers = [await Caller.connect(running.port) for _ in range(10)]
            for caller in callers:
                caller.send(post(json.dumps({**QUESTION, "max_tokens": 100}).encode()))
            for caller in callers:
                assert (await caller.answer())[0] == 200
            await until(lambda: running.app.runtime.recorder.inflight == 0)
            assert 10 < 3000 - bucket(running) < 50

    run(main())


def test_embeddings_pay_for_the_inputs_requested():
    async def main():
        async with gateway({**MEMORY, "TPM_LIMIT": "30000"}) as running:
            texts = ["x" * 4000, "y" * 4000]
            embed = {"model": "text-embedding-3-small"}
            await ask(running, {**embed, "input": texts[:1]}, route="embeddings")
            first = 30_000 - bucket(running)
            await ask(running, {**embed, "input": texts}, route="embeddings")
            second = 30_000 - bucket(running) - first
            assert 500 < first < 1500
            assert second < first * 1.1

    run(main())


@pytest.mark.parametrize(
    ("fault", "arg"), [("status", 500), ("rate_limit", 1), ("reset_before_head", None), ("error_in_200", None)]
)
@pytest.mark.parametrize("question", [QUESTION, STREAM], ids=["whole", "stream"])
def test_a_failure_costs_no_tokens(fault, arg, question):
    async def main():
        async with gateway({"TPM_LIMIT": "100000", "MAX_RETRIES": "1"}) as running:
            running.mock.set_fault(fault, 1, arg=arg)
            status, headers, _ = await ask(running, {**question, "max_tokens": 5000})
            assert status in (429, 502)
            assert headers["x-ratelimit-limit-tokens"] == "100000"
            assert "x-ratelimit-limit-requests" not in headers  # those of the provider are about the gateway's account
            assert bucket(running) >= 99_999

    run(main())


def test_the_tokens_of_clients_that_disconnect():
    async def main():
        mock = MockSettings(latency_ms=200, chunk_ms=50)
        async with gateway({"TPM_LIMIT": "100000", "MAX_PARALLEL_PER_KEY": "1"}, mock=mock) as running:
            for question, paid in ((QUESTION, 0), (STREAM, 0), (STREAM, 5000)):
                before = bucket(running)
                caller = await Caller.connect(running.port)
                caller.send(post(json.dumps({**question, "max_tokens": 5000}).encode()))
                if paid:
                    await caller.reader.readuntil(b"data: ")
                else:
                    await until(lambda: running.app.runtime.recorder.inflight == 1)
                await caller.close()
                await until(lambda: running.app.runtime.recorder.inflight == 0)
                assert abs(before - bucket(running) - paid) < 100
            assert await statuses(running, [QUESTION]) == [200]  # no slot is lost

    run(main())


# -- parallel requests -------------------------------------------------------------------------------------------------


@pytest.mark.race
def test_parallel_requests_are_limited_and_no_slot_is_lost():
    async def main():
        mock = MockSettings(latency_ms=20)
        async with gateway({"MAX_PARALLEL_PER_KEY": "5"}, mock=mock) as running:
            seen = 0

            async def one(number):
                nonlocal seen
                caller = await Caller.connect(running.port)
                question = {**(STREAM if number % 2 else QUESTION), "seed": number}
                caller.send(post(json.dumps(question).encode(), "/v1/chat/completions", "x-api-key: a"))
                if number % 3 == 0:
                    await asyncio.sleep(number % 7 / 1000)
                    await caller.close()
                    return None
                seen = max(seen, running.mock.stats()["open_connections"])
                return (await caller.answer())[0]

            outcomes = await asyncio.gather(*(one(number) for number in range(200)))
            assert set(outcomes) <= {200, 429, None}
            await until(lambda: running.app.runtime.recorder.inflight == 0)
            limiter = running.app.runtime.backends.limiter._limits._limiter
            assert {caller.parallel for caller in limiter._clients.values()} == {0}
            callers = [await Caller.connect(running.port) for _ in range(6)]
            for caller in callers:
                caller.send(post(json.dumps(QUESTION).encode(), "/v1/chat/completions", "x-api-key: a"))
            assert sorted([(await caller.answer())[0] for caller in callers]) == [200] * 5 + [429]

    run(main())
