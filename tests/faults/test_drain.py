"""Process faults, X01 to X03: what a gateway that is told to stop does to whom."""

import asyncio
import contextlib
import json
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from nulpoint.app.app import App
from nulpoint.config import ConfigSource
from nulpoint.mock import MockSettings, start
from support.client_outcome import Outcome
from support.event_loop import run, until
from support.http_client import CHAT, STREAM, Caller, post
from support.ports import free_port
from support.processes import process, wait_until_up
from support.running_gateway import gateway
from support.scripted_provider import send, serve, silence, wait

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(event):
    data = b"data: " + event + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


WORD = chunk(b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}')
END = (
    chunk(b'{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
    + chunk(b"[DONE]")
    + b"0\r\n\r\n"
)


def status_of(port, path="/readiness"):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def numbered(body, number):
    return body.replace(b"hi", b"number %d" % number)


def test_X01_readiness_turns_at_once_new_requests_are_served_for_the_delay_and_streams_finish():
    async def main():
        provider = await start("openai", settings=MockSettings(stream_words=120, chunk_ms=25.0))
        port = free_port()
        environ = {"PORT": str(port), "OPENAI_API_KEY": "x", "OPENAI_BASE_URL": f"{provider.url}/v1"}
        try:
            with process("serve", SHUTDOWN_DELAY="2s", LOG_LEVEL="error", **environ) as child:
                await asyncio.to_thread(wait_until_up, port)
                callers = [await Caller.connect(port) for _ in range(200)]
                for number, caller in enumerate(callers):
                    caller.send(post(numbered(STREAM, number)))
                await asyncio.gather(*(caller.reader.readuntil(b"data: ") for caller in callers))
                child.send_signal(signal.SIGTERM)
                told = time.monotonic()
                while await asyncio.to_thread(status_of, port) != 503:
                    assert time.monotonic() - told <= 1.5
                late = await Caller.connect(port)  # within the delay
                late.send(post(numbered(CHAT, 201)))
                assert (await late.answer())[0] == 200
                while await asyncio.to_thread(status_of, port):
                    assert time.monotonic() - told < 20, "it goes on accepting"
                    await asyncio.sleep(0.01)
                assert time.monotonic() - told >= 1.9
                bodies = await asyncio.gather(*(caller.rest() for caller in callers))
                last = time.monotonic()
                await asyncio.to_thread(child.wait, 60)
                assert time.monotonic() - last <= 10
                assert child.returncode == 0
                assert sum(body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for body in bodies) == 200
        finally:
            await provider.close()

    run(main())


def test_X02_what_is_longer_than_the_window_is_told_so_and_logged():
    streams = 40

    async def main():
        faultd = await serve([send(STREAM_HEAD, WORD), silence()])
        port = free_port()
        environ = {"PORT": str(port), "OPENAI_API_KEY": "x", "OPENAI_BASE_URL": f"{faultd.url}/v1"}
        try:
            with process("serve", SHUTDOWN_DELAY="100ms", SHUTDOWN_TIMEOUT="700ms", **environ) as child:
                await asyncio.to_thread(wait_until_up, port)
                callers = [await Caller.connect(port) for _ in range(streams)]
                for number, caller in enumerate(callers):
                    caller.send(post(numbered(STREAM, number)))
                await asyncio.gather(*(caller.reader.readuntil(b"word ") for caller in callers))
                faultd.scripts[:] = [[silence()]]
                unanswered = await Caller.connect(port)
                unanswered.send(post(CHAT))
                await until(lambda: len(faultd.requests) == streams + 1)
                child.send_signal(signal.SIGTERM)
                told = time.monotonic()
                ends = await asyncio.gather(*(caller.rest() for caller in callers))
                assert (await unanswered.answer())[0] == 503
                out, _ = await asyncio.to_thread(child.communicate, timeout=60)
                assert 0.6 <= time.monotonic() - told <= 0.7 + 10
                assert child.returncode == 0
                assert all(end.endswith(b'"code":"shutting_down"}}\n\n\r\n') for end in ends)
                records = [json.loads(line) for line in out.splitlines() if b'"POST"' in line]
                assert len(records) == streams + 1
                assert {record["code"] for record in records} == {"shutting_down"}
        finally:
            await faultd.close()

    run(main())


CASES = {
    "before the provider answers": (STREAM, [silence()], 503),
    "before content": (STREAM, [send(STREAM_HEAD), silence()], 503),
    "in the middle": (STREAM, [send(STREAM_HEAD, WORD), silence()], 200),
    "not a stream": (CHAT, [silence()], 503),
    "in a whole answer": (CHAT, [send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), silence()], 503),
}


@pytest.mark.parametrize(("body", "script", "status"), CASES.values(), ids=CASES)
def test_X02_at_every_stage_alone_and_shared(body, script, status):
    """The provider is not to blame, no other target is tried, and those who share the call hear the same."""

    async def main():
        faultd = await serve(script)
        async with gateway(
            {"CACHE_MODE": "memory", "CB_ERROR_THRESHOLD": "1"}, providers={"openai": faultd, "mistral": faultd}
        ) as running:
            callers = [await Caller.connect(running.port) for _ in range(3)]
            for caller in callers:
                caller.send(post(body))
            await until(lambda: faultd.requests and running.app.runtime.recorder.inflight == 3)
            if status == 200:
                await asyncio.gather(*(caller.reader.readuntil(b"word ") for caller in callers))
            await running.app.stop()
            for caller in callers:
                rest = await caller.rest()
                assert b'"code":"shutting_down"' in rest
                assert b"[DONE]" not in rest
                if status == 503:
                    outcome = Outcome(rest)
                    assert (outcome.status, outcome.verdict) == (503, "error")
                    assert outcome.headers["retry-after"] == "1"
                    assert outcome.headers["connection"] == "close"
            assert len(faultd.requests) == 1
            assert running.app.runtime.provider_health["openai"].breaker.state.name == "CLOSED"
            assert running.app.runtime.client.connections() == 0

    run(main())


def test_X02_a_half_sent_request_and_one_that_waits_for_its_turn():
    async def main():
        faultd = await serve([silence()])
        async with gateway({"MAX_REQUESTS": "1", "QUEUE_TIMEOUT": "10s"}, providers={"openai": faultd}) as running:
            first, waiting, half = [await Caller.connect(running.port) for _ in range(3)]
            first.send(post(numbered(CHAT, 1)) + post(numbered(CHAT, 3)))
            await until(lambda: faultd.requests)
            waiting.send(post(numbered(CHAT, 2)))
            half.send(post(CHAT)[:-5])
            await until(lambda: running.app.runtime.recorder.inflight == 2)
            await asyncio.sleep(0.02)
            await running.app.stop()
            for caller in (first, waiting, half):
                assert (await caller.answer())[0] == 503
                assert await caller.rest() == b""
            assert len(faultd.requests) == 1

    run(main())


def test_an_answer_during_the_drain_says_that_the_connection_closes():
    async def main():
        go_on = asyncio.Event()
        faultd = await serve([wait(go_on), send(STREAM_HEAD, WORD, END)])
        async with gateway(providers={"openai": faultd}) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(STREAM))
            await until(lambda: faultd.requests)
            drain = asyncio.create_task(running.app.drain())
            await until(lambda: running.app.server.draining)
            go_on.set()
            outcome = Outcome(await caller.rest())
            assert outcome.verdict == "answer"
            assert outcome.headers["connection"] == "close"
            assert await drain

    run(main())


def test_a_caller_who_does_not_listen_does_not_hold_up_the_end():
    async def main():
        faultd = await serve([send(STREAM_HEAD, *[WORD * 100] * 500), silence()])
        environ = {"PORT": "0", "OPENAI_API_KEY": "x", "OPENAI_BASE_URL": f"{faultd.url}/v1"}
        place = ConfigSource({**environ, "SHUTDOWN_TIMEOUT": "100ms"}, Path("/nonexistent"))
        app = App(place.load(), place, 2)
        with contextlib.closing(app):
            caller = await Caller.connect(await app.listen())
            caller.writer.transport.pause_reading()
            caller.send(post(STREAM))
            await until(lambda: any(one.paused for one in app.server.connections))
            began = time.monotonic()
            assert not await app.drain()
            assert time.monotonic() - began <= 0.1 + 10
            assert app.runtime.recorder.inflight == 0
        await faultd.close()

    run(main())
