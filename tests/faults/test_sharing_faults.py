"""Tests of upstream calls that several clients share, and of what happens when one of them fails or disconnects."""

import asyncio
import json
import os
import random

import pytest

from nulpoint.mock import MockSettings, start
from support.client_outcome import Outcome, ask
from support.event_loop import run, until
from support.http_client import CHAT, STREAM, Caller, post
from support.provider_bytes import (
    CHAT_ANSWER,
    DONE,
    GOOD,
    LAST_CHUNK,
    ROLE,
    SERVER_ERROR,
    STREAM_HEAD,
    WORD,
    answer,
    chunk,
    chunks,
    delta,
    good_stream,
)
from support.running_gateway import gateway, left_in
from support.scripted_provider import fin, pause, reset, say, send, serve, silence, wait

SHARING = {"CACHE_MODE": "memory"}  # requests are shared only if the cache may serve them

SEED = int(os.environ.get("NULPOINT_TEST_SEED", "1"))
FINISH = delta(b"", b'"stop"')
CLOSE = "Connection: close"


async def connect_and_send(port, body, *fields):
    client = await Caller.connect(port)
    client.send(post(body, "/v1/chat/completions", CLOSE, *fields))
    return client


async def outcomes_of(clients):
    return [Outcome(await client.rest()) for client in clients]


@pytest.mark.race
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
def test_500_clients_with_the_same_request_make_one_call(body):
    """The clients arrive at random times while the response comes, and all get the same bytes."""
    rng = random.Random(SEED)
    client_count = 500

    async def main():
        words = [b"word%d " % n for n in range(40)]
        events = chunks([ROLE, *map(delta, words), FINISH, DONE])
        whole = answer(CHAT_ANSWER)
        all_arrived = asyncio.Event()
        steps = [
            send(STREAM_HEAD),
            *[step for event in events for step in (send(event), pause(0.005))],
            wait(all_arrived),
        ]
        script = [*steps, send(LAST_CHUNK)] if body is STREAM else [wait(all_arrived), send(whole)]
        provider = await serve(script)
        async with gateway({**SHARING, "LOG_LEVEL": "info"}, providers={"openai": provider}) as running:

            async def send_soon():
                await asyncio.sleep(rng.random() * 0.2)
                return await connect_and_send(running.port, body)

            opened = await asyncio.gather(*(send_soon() for _ in range(client_count)))
            await until(lambda: running.app.runtime.recorder.inflight == client_count)
            all_arrived.set()
            outcomes = await outcomes_of(opened)
            assert len(provider.requests) == 1
            assert {outcome.verdict for outcome in outcomes} == {"answer"}
            assert len({outcome.body for outcome in outcomes}) == 1
            assert sum("x-nulpoint-coalesced" in outcome.headers for outcome in outcomes) == client_count - 1
            assert len({outcome.headers["x-nulpoint-request-id"] for outcome in outcomes}) == client_count
            records = [json.loads(line) for line in running.log().splitlines()]
            assert len(records) == client_count
            assert sum("coalesced" not in record for record in records) == 1

    run(main())


STAGES = {
    "before the head": ([], None),
    "before content": ([send(STREAM_HEAD, chunk(ROLE))], b"\r\n\r\n"),
    "in the stream": ([send(STREAM_HEAD, chunk(ROLE), chunk(WORD))], b"word"),
}


@pytest.mark.race
@pytest.mark.parametrize(("begin", "shown"), STAGES.values(), ids=STAGES)
@pytest.mark.parametrize("how", ["leaves", "half-closes"])
def test_the_first_client_disconnects_and_the_others_are_served(begin, shown, how):
    async def main():
        go_on, reached = asyncio.Event(), asyncio.Event()
        rest = [
            say(reached),
            wait(go_on),
            send(good_stream(b"word ").removeprefix(STREAM_HEAD) if shown else good_stream()),
        ]
        provider = await serve([*begin, *rest], [send(GOOD)])
        async with gateway(SHARING, providers={"openai": provider}) as running:
            leader = await connect_and_send(running.port, STREAM)
            await reached.wait()
            if shown:
                await leader.reader.readuntil(shown)
            followers = [await connect_and_send(running.port, STREAM) for _ in range(3)]
            await until(lambda: running.app.runtime.recorder.inflight == 4)
            if how == "leaves":
                leader.writer.transport.abort()
            else:
                leader.writer.write_eof()
                assert b"[DONE]" not in await leader.rest()
            await asyncio.sleep(0.01)
            followers.append(await connect_and_send(running.port, STREAM))  # another client can still join
            await until(lambda: running.app.runtime.recorder.inflight == 5)
            go_on.set()
            outcomes = await outcomes_of(followers)
            assert {outcome.verdict for outcome in outcomes} == {"answer"}
            assert len({outcome.body for outcome in outcomes}) == 1
            assert len(provider.requests) == 1
            records = [json.loads(line) for line in running.log().splitlines()]
            assert sorted(record["status"] for record in records) == [200] * 4 + [499]

    run(main())


@pytest.mark.race
def test_the_last_client_that_disconnects_ends_the_call():
    """The order does not matter, and the next client starts a new call."""

    async def main():
        provider = await serve([send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), silence()])
        async with gateway(SHARING, providers={"openai": provider}) as running:
            for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
                calls_before = len(provider.requests)
                clients = [await connect_and_send(running.port, STREAM) for _ in range(3)]
                for client in clients:
                    await client.reader.readuntil(b"word")
                assert len(provider.requests) == calls_before + 1
                for index in order:
                    assert provider.open == 1
                    clients[index].writer.transport.abort()
                    await asyncio.sleep(0.01)
                await until(lambda: provider.open == 0)
                await until(lambda: not left_in(running.app))
            assert running.app.runtime.provider_health["openai"].breaker._failures.__len__() == 0

    run(main())


FAILURES = {
    "a status": (CHAT, [send(SERVER_ERROR)], 502),
    "a reset": (CHAT, [reset()], 502),
    "a status, of a stream": (STREAM, [send(SERVER_ERROR)], 502),
    "a cut before content": (STREAM, [send(STREAM_HEAD, chunk(ROLE)), fin()], None),
    "a cut after content": (STREAM, [send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), fin()], 200),
    "a malformed response": (CHAT, [send(answer(b"[]"))], 502),
}


@pytest.mark.race
@pytest.mark.parametrize(("body", "script", "status"), FAILURES.values(), ids=FAILURES)
def test_a_failure_reaches_all_who_share_the_call_and_no_later_client(body, script, status):
    async def main():
        go_on = asyncio.Event()
        good = GOOD if body is CHAT else good_stream()
        provider = await serve([wait(go_on), *script], [send(good)])
        async with gateway({**SHARING, "MAX_RETRIES": "1"}, providers={"openai": provider}) as running:
            clients = [await connect_and_send(running.port, body) for _ in range(20)]
            await until(lambda: running.app.runtime.recorder.inflight == 20)
            go_on.set()
            outcomes = await outcomes_of(clients)
            assert {outcome.verdict for outcome in outcomes} == {"error"}
            assert len({json.dumps(outcome.error["message"]) for outcome in outcomes}) == 1
            if status is not None:
                assert {outcome.status for outcome in outcomes} == {status}
            assert len(provider.requests) == 1
            assert len(running.app.runtime.provider_health["openai"].breaker._failures) == 1
            assert (await ask(running.port, body)).verdict == "answer"  # failures are not cached
            assert len(provider.requests) == 2

    run(main())


@pytest.mark.race
def test_a_second_target_takes_over_for_all_who_share_the_call():
    """The first client has received a head, the others have not; all get one response and learn who served it."""

    async def main():
        cut = asyncio.Event()
        provider = await serve([send(STREAM_HEAD, chunk(ROLE)), wait(cut), reset()])
        async with gateway(SHARING, providers={"openai": provider, "anthropic": await start("anthropic")}) as running:
            leader = await connect_and_send(running.port, STREAM)
            bytes_read = await leader.reader.readuntil(b"\r\n\r\n")
            followers = [await connect_and_send(running.port, STREAM) for _ in range(3)]
            await until(lambda: running.app.runtime.recorder.inflight == 4)
            cut.set()
            first = Outcome(bytes_read + await leader.rest())
            others = await outcomes_of(followers)
            assert {outcome.verdict for outcome in (first, *others)} == {"answer"}
            assert first.headers["x-nulpoint-provider"] == "openai"
            assert b": answered by anthropic\n\n" in first.body
            assert {outcome.headers["x-nulpoint-provider"] for outcome in others} == {"anthropic"}
            assert len({outcome.text for outcome in (first, *others)}) == 1
            assert running.mocks["anthropic"].requests == 1

    run(main())


@pytest.mark.race
@pytest.mark.parametrize("second", [True, False], ids=["then another target serves", "then it fails"])
def test_keepalive_comments_come_before_the_response_and_then_its_result(second):
    """Keep-alive comments commit the head before any provider responded, for the first client and for those who share."""

    async def main():
        cut = asyncio.Event()
        provider = await serve([wait(cut), reset()])
        providers = {"openai": provider, **({"anthropic": await start("anthropic")} if second else {})}
        async with gateway(
            {**SHARING, "STREAM_KEEPALIVE": "150ms", "MAX_RETRIES": "2"}, providers=providers
        ) as running:
            clients = [await connect_and_send(running.port, STREAM) for _ in range(3)]
            first_bytes = [await client.reader.readuntil(b": waiting\n\n") for client in clients]
            assert not any(b"x-nulpoint-provider" in received for received in first_bytes)
            cut.set()
            for client, received in zip(clients, first_bytes, strict=True):
                outcome = Outcome(received + await client.rest())
                assert outcome.status == 200
                assert outcome.verdict == ("answer" if second else "error")
                assert outcome.raw.count(b"HTTP/1.1") == 1
                assert (b": answered by anthropic\n\n" in outcome.body) is second
            assert len(provider.requests) == 1

    run(main())


def test_a_slow_first_client_that_disconnects_does_not_delay_the_others():
    """The client's connection is paused when it disconnects, and the call that waited for it continues."""

    async def main():
        words = [chunk(WORD * 20)] * 2000
        provider = await serve([send(STREAM_HEAD, chunk(ROLE), *words, *chunks([FINISH, DONE]), LAST_CHUNK)])
        async with gateway(SHARING, providers={"openai": provider}) as running:
            leader = await connect_and_send(running.port, STREAM)
            leader.writer.transport.pause_reading()
            await until(lambda: any(connection.paused for connection in running.app.server.connections))
            (connection,) = running.app.server.connections
            follower = await connect_and_send(running.port, STREAM)
            await until(lambda: running.app.runtime.recorder.inflight == 2)
            leader.writer.transport.abort()
            outcome = Outcome(await follower.rest())
            assert outcome.verdict == "answer"
            assert outcome.text.count("word ") == 40_000
            assert connection not in running.app.server.connections
            assert not connection.paused  # otherwise every chunk would resume the coroutine

    run(main())


def test_a_slow_follower_does_not_delay_the_others():
    async def main():
        words = [chunk(WORD * 20)] * 2000
        provider = await serve([send(STREAM_HEAD, chunk(ROLE), *words, *chunks([FINISH, DONE]), LAST_CHUNK)])
        async with gateway({**SHARING, "WRITE_TIMEOUT": "300ms"}, providers={"openai": provider}) as running:
            leader = await connect_and_send(running.port, STREAM)
            follower = await connect_and_send(running.port, STREAM)
            follower.writer.transport.pause_reading()
            assert Outcome(await leader.rest()).verdict == "answer"
            follower.writer.transport.resume_reading()
            raw = await follower.rest()
            assert not raw or Outcome(raw).text.count("word ") <= 40_000
            await until(lambda: not left_in(running.app))

    run(main())


@pytest.mark.race
def test_many_marked_requests_with_clients_that_disconnect():
    """No client receives another's bytes, and each request is logged and counted once, whatever its result."""
    rng = random.Random(SEED)
    count = 200

    async def main():
        settings = {"MAX_STREAMS": "10", "QUEUE_TIMEOUT": "20ms", "LOG_QUEUE": "100000"}
        async with gateway(settings, mock=MockSettings(chunk_ms=2, stream_words=20, latency_ms=5)) as running:

            async def request(number):
                await asyncio.sleep(rng.random() * 0.3)
                marker = f"m{number:05d}"
                body = STREAM.replace(b"gpt-4o", b"openai/" + marker.encode())
                kind = number % 5
                if kind == 1:
                    body = body[:-1]
                headers = (f"X-Request-ID: {marker}",)
                path = "/v1/nowhere" if kind == 2 else "/v1/chat/completions"
                if kind == 3:
                    client = await Caller.connect(running.port)
                    client.send(post(body, path, *headers))
                    await asyncio.sleep(rng.random() * 0.05)
                    client.writer.transport.abort()
                    return None
                outcome = await ask(running.port, body, path, *headers)
                assert outcome.headers["x-nulpoint-request-id"] == marker
                if outcome.verdict == "answer":
                    chunks_ = [json.loads(event) for event in outcome.events if event != b"[DONE]"]
                    assert {event["model"] for event in chunks_} == {marker}
                return outcome.status

            statuses = await asyncio.gather(*map(request, range(count)))
            await until(lambda: not left_in(running.app))
            assert set(statuses) == {None, 200, 400, 404, 503}
            page = running.app.runtime.status.metrics()[2].decode()
            lines = [line for line in page.splitlines() if line.startswith("gateway_http_requests_total")]
            counted = sum(float(line.split()[-1]) for line in lines)
            records = [json.loads(line) for line in running.log().splitlines()]
            ids = [record["id"] for record in records]
            assert len(set(ids)) == len(ids) == counted
            # A request whose client disconnects before it is complete is not logged.
            assert set(ids) >= {f"m{number:05d}" for number, status in enumerate(statuses) if status}
            for status in (200, 400, 404, 503):
                assert sum(record["status"] == status for record in records) >= statuses.count(status)
            assert "gateway_inflight_requests 0.0" in page

    run(main())
