"""Concurrency, K01, K02, K09 to K11: calls that several callers share, and what becomes of them when one fails."""

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

SHARING = {"CACHE_MODE": "memory"}  # requests are shared where the cache may serve them

SEED = int(os.environ.get("NULPOINT_TEST_SEED", "1"))
FINISH = delta(b"", b'"stop"')
CLOSE = "Connection: close"


async def asking(port, body, *fields):
    caller = await Caller.connect(port)
    caller.send(post(body, "/v1/chat/completions", CLOSE, *fields))
    return caller


async def outcomes_of(callers):
    return [Outcome(await caller.rest()) for caller in callers]


@pytest.mark.race
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
def test_K01_500_callers_with_one_question_make_one_call(body):
    """At once and at any time while the answer comes; each gets the same bytes."""
    chance = random.Random(SEED)
    callers = 500

    async def main():
        words = [b"word%d " % n for n in range(40)]
        events = chunks([ROLE, *map(delta, words), FINISH, DONE])
        whole = answer(CHAT_ANSWER)
        all_here = asyncio.Event()
        steps = [send(STREAM_HEAD), *[step for one in events for step in (send(one), pause(0.005))], wait(all_here)]
        script = [*steps, send(LAST_CHUNK)] if body is STREAM else [wait(all_here), send(whole)]
        faultd = await serve(script)
        async with gateway({**SHARING, "LOG_LEVEL": "info"}, providers={"openai": faultd}) as running:

            async def one():
                await asyncio.sleep(chance.random() * 0.2)
                return await asking(running.port, body)

            opened = await asyncio.gather(*(one() for _ in range(callers)))
            await until(lambda: running.app.runtime.recorder.inflight == callers)
            all_here.set()
            outcomes = await outcomes_of(opened)
            assert len(faultd.requests) == 1
            assert {outcome.verdict for outcome in outcomes} == {"answer"}
            assert len({outcome.body for outcome in outcomes}) == 1
            assert sum("x-nulpoint-coalesced" in outcome.headers for outcome in outcomes) == callers - 1
            assert len({outcome.headers["x-nulpoint-request-id"] for outcome in outcomes}) == callers
            records = [json.loads(line) for line in running.log().splitlines()]
            assert len(records) == callers
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
def test_K02_the_first_caller_leaves_and_the_others_are_served(begin, shown, how):
    async def main():
        go_on, reached = asyncio.Event(), asyncio.Event()
        rest = [
            say(reached),
            wait(go_on),
            send(good_stream(b"word ").removeprefix(STREAM_HEAD) if shown else good_stream()),
        ]
        faultd = await serve([*begin, *rest], [send(GOOD)])
        async with gateway(SHARING, providers={"openai": faultd}) as running:
            leader = await asking(running.port, STREAM)
            await reached.wait()
            if shown:
                await leader.reader.readuntil(shown)
            followers = [await asking(running.port, STREAM) for _ in range(3)]
            await until(lambda: running.app.runtime.recorder.inflight == 4)
            if how == "leaves":
                leader.writer.transport.abort()
            else:
                leader.writer.write_eof()
                assert b"[DONE]" not in await leader.rest()
            await asyncio.sleep(0.01)
            followers.append(await asking(running.port, STREAM))  # one more can still join
            await until(lambda: running.app.runtime.recorder.inflight == 5)
            go_on.set()
            outcomes = await outcomes_of(followers)
            assert {outcome.verdict for outcome in outcomes} == {"answer"}
            assert len({outcome.body for outcome in outcomes}) == 1
            assert len(faultd.requests) == 1
            records = [json.loads(line) for line in running.log().splitlines()]
            assert sorted(record["status"] for record in records) == [200] * 4 + [499]

    run(main())


@pytest.mark.race
def test_K02_the_last_who_leaves_ends_the_call():
    """In any order; a new caller then makes a new one."""

    async def main():
        faultd = await serve([send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), silence()])
        async with gateway(SHARING, providers={"openai": faultd}) as running:
            for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
                asked = len(faultd.requests)
                callers = [await asking(running.port, STREAM) for _ in range(3)]
                for caller in callers:
                    await caller.reader.readuntil(b"word")
                assert len(faultd.requests) == asked + 1
                for place in order:
                    assert faultd.open == 1
                    callers[place].writer.transport.abort()
                    await asyncio.sleep(0.01)
                await until(lambda: faultd.open == 0)
                await until(lambda: not left_in(running.app))
            assert running.app.runtime.provider_health["openai"].breaker._failures.__len__() == 0

    run(main())


FAILURES = {
    "a status": (CHAT, [send(SERVER_ERROR)], 502),
    "a reset": (CHAT, [reset()], 502),
    "a status, of a stream": (STREAM, [send(SERVER_ERROR)], 502),
    "a cut before content": (STREAM, [send(STREAM_HEAD, chunk(ROLE)), fin()], None),
    "a cut after content": (STREAM, [send(STREAM_HEAD, chunk(ROLE), chunk(WORD)), fin()], 200),
    "no answer": (CHAT, [send(answer(b"[]"))], 502),
}


@pytest.mark.race
@pytest.mark.parametrize(("body", "script", "status"), FAILURES.values(), ids=FAILURES)
def test_K02_a_failure_is_everybody_s_once_and_nobody_s_after(body, script, status):
    async def main():
        go_on = asyncio.Event()
        good = GOOD if body is CHAT else good_stream()
        faultd = await serve([wait(go_on), *script], [send(good)])
        async with gateway({**SHARING, "MAX_RETRIES": "1"}, providers={"openai": faultd}) as running:
            callers = [await asking(running.port, body) for _ in range(20)]
            await until(lambda: running.app.runtime.recorder.inflight == 20)
            go_on.set()
            outcomes = await outcomes_of(callers)
            assert {outcome.verdict for outcome in outcomes} == {"error"}
            assert len({json.dumps(outcome.error["message"]) for outcome in outcomes}) == 1
            if status is not None:
                assert {outcome.status for outcome in outcomes} == {status}
            assert len(faultd.requests) == 1
            assert len(running.app.runtime.provider_health["openai"].breaker._failures) == 1
            assert (await ask(running.port, body)).verdict == "answer"  # not remembered
            assert len(faultd.requests) == 2

    run(main())


@pytest.mark.race
def test_K02_a_second_target_takes_over_for_all():
    """The first caller has been shown a head, the others have not; all get one answer, told truthfully."""

    async def main():
        cut = asyncio.Event()
        faultd = await serve([send(STREAM_HEAD, chunk(ROLE)), wait(cut), reset()])
        async with gateway(SHARING, providers={"openai": faultd, "anthropic": await start("anthropic")}) as running:
            leader = await asking(running.port, STREAM)
            shown = await leader.reader.readuntil(b"\r\n\r\n")
            followers = [await asking(running.port, STREAM) for _ in range(3)]
            await until(lambda: running.app.runtime.recorder.inflight == 4)
            cut.set()
            first = Outcome(shown + await leader.rest())
            others = await outcomes_of(followers)
            assert {outcome.verdict for outcome in (first, *others)} == {"answer"}
            assert first.headers["x-nulpoint-provider"] == "openai"
            assert b": answered by anthropic\n\n" in first.body
            assert {outcome.headers["x-nulpoint-provider"] for outcome in others} == {"anthropic"}
            assert len({outcome.text for outcome in (first, *others)}) == 1
            assert running.mocks["anthropic"].requests == 1

    run(main())


@pytest.mark.race
@pytest.mark.parametrize("second", [True, False], ids=["then another answers", "then it fails"])
def test_the_wait_is_shown_before_anybody_answers_and_then_the_truth(second):
    """Keep-alive commits the head while nobody has answered: for the one who asks, and for those who share."""

    async def main():
        cut = asyncio.Event()
        faultd = await serve([wait(cut), reset()])
        providers = {"openai": faultd, **({"anthropic": await start("anthropic")} if second else {})}
        async with gateway(
            {**SHARING, "STREAM_KEEPALIVE": "150ms", "MAX_RETRIES": "2"}, providers=providers
        ) as running:
            callers = [await asking(running.port, STREAM) for _ in range(3)]
            shown = [await caller.reader.readuntil(b": waiting\n\n") for caller in callers]
            assert not any(b"x-nulpoint-provider" in one for one in shown)
            cut.set()
            for caller, already in zip(callers, shown, strict=True):
                outcome = Outcome(already + await caller.rest())
                assert outcome.status == 200
                assert outcome.verdict == ("answer" if second else "error")
                assert outcome.raw.count(b"HTTP/1.1") == 1
                assert (b": answered by anthropic\n\n" in outcome.body) is second
            assert len(faultd.requests) == 1

    run(main())


def test_a_slow_first_caller_who_leaves_does_not_hold_up_the_others():
    """It is paused when it goes: what waited for it goes on."""

    async def main():
        words = [chunk(WORD * 20)] * 2000
        faultd = await serve([send(STREAM_HEAD, chunk(ROLE), *words, *chunks([FINISH, DONE]), LAST_CHUNK)])
        async with gateway(SHARING, providers={"openai": faultd}) as running:
            leader = await asking(running.port, STREAM)
            leader.writer.transport.pause_reading()
            await until(lambda: any(one.paused for one in running.app.server.connections))
            (connection,) = running.app.server.connections
            follower = await asking(running.port, STREAM)
            await until(lambda: running.app.runtime.recorder.inflight == 2)
            leader.writer.transport.abort()
            outcome = Outcome(await follower.rest())
            assert outcome.verdict == "answer"
            assert outcome.text.count("word ") == 40_000
            assert connection not in running.app.server.connections
            assert not connection.paused  # or every chunk would be a step of the strand

    run(main())


def test_a_slow_follower_holds_up_nobody():
    async def main():
        words = [chunk(WORD * 20)] * 2000
        faultd = await serve([send(STREAM_HEAD, chunk(ROLE), *words, *chunks([FINISH, DONE]), LAST_CHUNK)])
        async with gateway({**SHARING, "WRITE_TIMEOUT": "300ms"}, providers={"openai": faultd}) as running:
            leader = await asking(running.port, STREAM)
            follower = await asking(running.port, STREAM)
            follower.writer.transport.pause_reading()
            assert Outcome(await leader.rest()).verdict == "answer"
            follower.writer.transport.resume_reading()
            raw = await follower.rest()
            assert not raw or Outcome(raw).text.count("word ") <= 40_000
            await until(lambda: not left_in(running.app))

    run(main())


@pytest.mark.race
def test_K09_K10_K11_many_marked_requests_with_callers_who_leave():
    """Each byte is its own caller's; one record and one count each: answered, left, shed, refused, unknown."""
    chance = random.Random(SEED)
    count = 200

    async def main():
        settings = {"MAX_STREAMS": "10", "QUEUE_TIMEOUT": "20ms", "LOG_QUEUE": "100000"}
        async with gateway(settings, mock=MockSettings(chunk_ms=2, stream_words=20, latency_ms=5)) as running:

            async def one(number):
                await asyncio.sleep(chance.random() * 0.3)
                marker = f"m{number:05d}"
                body = STREAM.replace(b"gpt-4o", b"openai/" + marker.encode())
                kind = number % 5
                if kind == 1:
                    body = body[:-1]
                fields = (f"X-Request-ID: {marker}",)
                path = "/v1/nowhere" if kind == 2 else "/v1/chat/completions"
                if kind == 3:
                    caller = await Caller.connect(running.port)
                    caller.send(post(body, path, *fields))
                    await asyncio.sleep(chance.random() * 0.05)
                    caller.writer.transport.abort()
                    return None
                outcome = await ask(running.port, body, path, *fields)
                assert outcome.headers["x-nulpoint-request-id"] == marker
                if outcome.verdict == "answer":
                    chunks_ = [json.loads(event) for event in outcome.events if event != b"[DONE]"]
                    assert {one["model"] for one in chunks_} == {marker}
                return outcome.status

            statuses = await asyncio.gather(*map(one, range(count)))
            await until(lambda: not left_in(running.app))
            assert set(statuses) == {None, 200, 400, 404, 503}
            page = running.app.runtime.status.metrics()[2].decode()
            lines = [line for line in page.splitlines() if line.startswith("gateway_http_requests_total")]
            counted = sum(float(line.split()[-1]) for line in lines)
            records = [json.loads(line) for line in running.log().splitlines()]
            ids = [record["id"] for record in records]
            assert len(set(ids)) == len(ids) == counted
            # Who leaves before the request has come whole was never a request.
            assert set(ids) >= {f"m{number:05d}" for number, status in enumerate(statuses) if status}
            for status in (200, 400, 404, 503):
                assert sum(record["status"] == status for record in records) >= statuses.count(status)
            assert "gateway_inflight_requests 0.0" in page

    run(main())
