"""Tests of stopping the gateway: what clients see while it drains and when the time is over."""

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
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def numbered(body, number):
    return body.replace(b"hi", b"number %d" % number)


def test_readiness_fails_at_once_new_requests_are_served_during_the_delay_and_streams_finish():
    async def main():
        provider = await start("openai", settings=MockSettings(stream_words=120, chunk_ms=25.0))
        port = free_port()
        environ = {"PORT": str(port), "OPENAI_API_KEY": "x", "OPENAI_BASE_URL": f"{provider.url}/v1"}
        try:
            with process("serve", SHUTDOWN_DELAY="6s", LOG_LEVEL="error", **environ) as child:
                await asyncio.to_thread(wait_until_up, port)
                clients = [await Caller.connect(port) for _ in range(200)]
                for number, client in enumerate(clients):
                    client.send(post(numbered(STREAM, number)))
                await asyncio.gather(*(client.reader.readuntil(b"data: ") for client in clients))
                child.send_signal(signal.SIGTERM)
                signalled_at = time.monotonic()
                while await asyncio.to_thread(status_of, port) != 503:
                    assert time.monotonic() - signalled_at <= 5
                late = await Caller.connect(port)  # within the delay
                late.send(post(numbered(CHAT, 201)))
                assert (await late.answer())[0] == 200
                while await asyncio.to_thread(status_of, port):
                    assert time.monotonic() - signalled_at < 40, "the gateway still accepts connections"
                    await asyncio.sleep(0.01)
                assert time.monotonic() - signalled_at >= 5.9
                bodies = await asyncio.gather(*(client.rest() for client in clients))
                streams_ended_at = time.monotonic()
                await asyncio.to_thread(child.wait, 60)
                assert time.monotonic() - streams_ended_at <= 30
                assert child.returncode == 0
                assert sum(body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for body in bodies) == 200
        finally:
            await provider.close()

    run(main())


def test_requests_that_exceed_the_shutdown_timeout_get_an_error_and_are_logged():
    streams = 40

    async def main():
        provider = await serve([send(STREAM_HEAD, WORD), silence()])
        port = free_port()
        environ = {"PORT": str(port), "OPENAI_API_KEY": "x", "OPENAI_BASE_URL": f"{provider.url}/v1"}
        try:
            with process("serve", SHUTDOWN_DELAY="100ms", SHUTDOWN_TIMEOUT="700ms", **environ) as child:
                await asyncio.to_thread(wait_until_up, port)
                clients = [await Caller.connect(port) for _ in range(streams)]
                for number, client in enumerate(clients):
                    client.send(post(numbered(STREAM, number)))
                await asyncio.gather(*(client.reader.readuntil(b"word ") for client in clients))
                provider.scripts[:] = [[silence()]]
                waiting = await Caller.connect(port)
                waiting.send(post(CHAT))
                await until(lambda: len(provider.requests) == streams + 1)
                child.send_signal(signal.SIGTERM)
                signalled_at = time.monotonic()
                ends = await asyncio.gather(*(client.rest() for client in clients))
                assert (await waiting.answer())[0] == 503
                out, _ = await asyncio.to_thread(child.communicate, timeout=60)
                assert 0.6 <= time.monotonic() - signalled_at <= 0.7 + 10
                assert child.returncode == 0
                assert all(end.endswith(b'"code":"shutting_down"}}\n\n\r\n') for end in ends)
                records = [json.loads(line) for line in out.splitlines() if b'"POST"' in line]
                assert len(records) == streams + 1
                assert {record["code"] for record in records} == {"shutting_down"}
        finally:
            await provider.close()

    run(main())


CASES = {
    "before the provider answers": (STREAM, [silence()], 503),
    "before content": (STREAM, [send(STREAM_HEAD), silence()], 503),
    "in the middle": (STREAM, [send(STREAM_HEAD, WORD), silence()], 200),
    "not a stream": (CHAT, [silence()], 503),
    "in a whole response": (CHAT, [send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), silence()], 503),
}


@pytest.mark.parametrize(("body", "script", "status"), CASES.values(), ids=CASES)
def test_shutdown_at_every_stage_of_shared_requests(body, script, status):
    """The breaker counts no failure, no other target is tried, and all who share the call get the same error."""

    async def main():
        provider = await serve(script)
        async with gateway(
            {"CACHE_MODE": "memory", "CB_ERROR_THRESHOLD": "1"}, providers={"openai": provider, "mistral": provider}
        ) as running:
            clients = [await Caller.connect(running.port) for _ in range(3)]
            for client in clients:
                client.send(post(body))
            await until(lambda: provider.requests and running.app.runtime.recorder.inflight == 3)
            if status == 200:
                await asyncio.gather(*(client.reader.readuntil(b"word ") for client in clients))
            await running.app.stop()
            for client in clients:
                rest = await client.rest()
                assert b'"code":"shutting_down"' in rest
                assert b"[DONE]" not in rest
                if status == 503:
                    outcome = Outcome(rest)
                    assert (outcome.status, outcome.verdict) == (503, "error")
                    assert outcome.headers["retry-after"] == "1"
                    assert outcome.headers["connection"] == "close"
            assert len(provider.requests) == 1
            assert running.app.runtime.provider_health["openai"].breaker.state.name == "CLOSED"
            assert running.app.runtime.client.connections() == 0

    run(main())


def test_shutdown_with_a_half_sent_request_and_one_that_waits_for_admission():
    async def main():
        provider = await serve([silence()])
        async with gateway({"MAX_REQUESTS": "1", "QUEUE_TIMEOUT": "10s"}, providers={"openai": provider}) as running:
            first, waiting, half_sent = [await Caller.connect(running.port) for _ in range(3)]
            first.send(post(numbered(CHAT, 1)) + post(numbered(CHAT, 3)))
            await until(lambda: provider.requests)
            waiting.send(post(numbered(CHAT, 2)))
            half_sent.send(post(CHAT)[:-5])
            await until(lambda: running.app.runtime.recorder.inflight == 2)
            await asyncio.sleep(0.02)
            await running.app.stop()
            for client in (first, waiting, half_sent):
                assert (await client.answer())[0] == 503
                assert await client.rest() == b""
            assert len(provider.requests) == 1

    run(main())


def test_a_response_during_the_drain_says_that_the_connection_closes():
    async def main():
        go_on = asyncio.Event()
        provider = await serve([wait(go_on), send(STREAM_HEAD, WORD, END)])
        async with gateway(providers={"openai": provider}) as running:
            client = await Caller.connect(running.port)
            client.send(post(STREAM))
            await until(lambda: provider.requests)
            drain = asyncio.create_task(running.app.drain())
            await until(lambda: running.app.server.draining)
            go_on.set()
            outcome = Outcome(await client.rest())
            assert outcome.verdict == "answer"
            assert outcome.headers["connection"] == "close"
            assert await drain

    run(main())


def test_a_client_that_does_not_read_does_not_delay_the_shutdown():
    async def main():
        provider = await serve([send(STREAM_HEAD, *[WORD * 100] * 500), silence()])
        environ = {"PORT": "0", "OPENAI_API_KEY": "x", "OPENAI_BASE_URL": f"{provider.url}/v1"}
        source = ConfigSource({**environ, "SHUTDOWN_TIMEOUT": "100ms"}, Path("/nonexistent"))
        app = App(source.load(), source, 2)
        with contextlib.closing(app):
            client = await Caller.connect(await app.listen())
            client.writer.transport.pause_reading()
            client.send(post(STREAM))
            await until(lambda: any(connection.paused for connection in app.server.connections))
            began = time.monotonic()
            assert not await app.drain()
            assert time.monotonic() - began <= 0.1 + 10
            assert app.runtime.recorder.inflight == 0
        await provider.close()

    run(main())
