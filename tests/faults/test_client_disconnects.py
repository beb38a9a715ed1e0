"""Tests of clients that disconnect, at any moment and in any number.

Cancellations at the connection pool itself are tested in tests/unit/http/client/test_upstream_client.py, clients that
read slowly also in tests/integration/test_server.py.
"""

import asyncio
import contextlib
import json
import os
import random
import socket
import struct

import pytest
import uvloop

from nulpoint.mock import MockSettings, start
from support.client_outcome import Outcome, ask
from support.event_loop import run, until
from support.http_client import CHAT, STREAM, Caller, post
from support.provider_bytes import GOOD, ROLE, STREAM_HEAD, WORD, answer, chunk, good_stream
from support.running_gateway import gateway, left_in
from support.scripted_provider import pause, say, send, serve, silence
from support.simulated_time import SimulatedTimeLoop

SEED = int(os.environ.get("NULPOINT_TEST_SEED", "1"))
RESET = struct.pack("ii", 1, 0)
TIMES = 50

# When the client disconnects: its request, the provider's script, and the bytes the client has read by then, if any.
MOMENTS = {
    "stream, after the third chunk": (STREAM, [send(STREAM_HEAD, chunk(ROLE), *[chunk(WORD)] * 3), silence()], b"word"),
    "stream, after the head": (STREAM, [send(STREAM_HEAD, chunk(ROLE)), silence()], b"\r\n\r\n"),
    "stream, before the first byte": (STREAM, [silence()], None),
    "whole response, before the first byte": (CHAT, [silence()], None),
    "whole response, within the body": (CHAT, [send(answer(b"{}")[:-1]), silence()], None),
}


def numbered(body, number):
    return body.replace(b'"hi"', b'"%d"' % number)


def leave(client, how):
    """Disconnect the client and return the time on the event loop's clock."""
    if how == "reset":
        sock = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.writer.transport.abort()
    elif how == "close":
        client.writer.transport.abort()
    else:  # a half-close counts as disconnecting, although the other direction stays open
        client.writer.write_eof()
    return asyncio.get_running_loop().time()


def files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.race
@pytest.mark.parametrize(
    "loop_factory", [uvloop.new_event_loop, SimulatedTimeLoop], ids=["real time", "simulated time"]
)
@pytest.mark.parametrize("how", ["reset", "close", "half-close"])
@pytest.mark.parametrize(("body", "script", "shown"), MOMENTS.values(), ids=MOMENTS)
def test_a_client_that_disconnects_ends_the_provider_s_work(body, script, shown, how, loop_factory):
    """The upstream connection is closed at once at every moment; the request is logged as 499 and counts as no failure.

    Simulated time shows that nothing waits for a timer; real time shows that it also works on uvloop.
    """

    async def main():
        provider = await serve(script)
        async with gateway(providers={"openai": provider, "mistral": await start("mistral")}) as running:
            baseline = len(asyncio.all_tasks()), files()
            seconds = []
            for number in range(TIMES):
                client = await Caller.connect(running.port)
                client.send(post(numbered(body, number)))
                if shown is not None:
                    await client.reader.readuntil(shown)
                await until(lambda number=number: len(provider.requests) == number + 1)
                disconnected_at = leave(client, how)
                await asyncio.wait_for(provider.talks[-1].ended.wait(), 10)
                seconds.append(provider.talks[-1].ended_at - disconnected_at)
                await client.close()
                Caller.opened.remove(client)
            if loop_factory is SimulatedTimeLoop:
                assert max(seconds) == 0
            await until(lambda: not left_in(running.app))
            await until(lambda: files() <= baseline[1] + 2 and provider.open == 0)
            assert len(asyncio.all_tasks()) <= baseline[0] + TIMES + 1  # the rest are tasks of the provider's scripts
            assert not any(health.breaker._failures for health in running.app.runtime.provider_health.values())
            assert running.mocks["mistral"].requests == 0
            records = [json.loads(line) for line in running.log().splitlines()]
            assert [record["status"] for record in records] == [499] * TIMES

    run(main(), loop_factory=loop_factory)


def test_disconnecting_while_waiting_for_admission_or_a_connection_or_a_retry():
    """A request whose client disconnects stops waiting wherever it waits, and nothing is sent for it."""

    async def main():
        provider = await serve([silence()], [send(answer(b"{}", 500, b"retry-after: 1"))])
        settings = {
            "MAX_STREAMS": "1",
            "QUEUE_TIMEOUT": "10s",
            "UPSTREAM_MAX_CONNECTIONS": "1",
            "UPSTREAM_WAIT_TIMEOUT": "10s",
        }
        async with gateway(settings, providers={"openai": provider}) as running:
            first = await Caller.connect(running.port)
            first.send(post(numbered(STREAM, 1)))
            await until(lambda: provider.requests)
            at_admission, at_the_pool = await Caller.connect(running.port), await Caller.connect(running.port)
            at_admission.send(post(numbered(STREAM, 2)))
            at_the_pool.send(post(numbered(CHAT, 3)))
            await until(lambda: running.app.runtime.recorder.inflight == 3)
            for client in (at_admission, at_the_pool):
                client.writer.transport.abort()
            await until(lambda: running.app.runtime.recorder.inflight == 1)
            first.writer.transport.abort()
            await until(lambda: not left_in(running.app))
            backing_off = await Caller.connect(running.port)
            backing_off.send(post(numbered(CHAT, 4)))
            await until(lambda: len(provider.requests) == 2)
            await until(lambda: running.app.runtime.provider_health["openai"].retry_budget.running == 1)
            backing_off.writer.transport.abort()
            await until(lambda: not left_in(running.app))
            assert len(provider.requests) == 2
            assert [json.loads(line)["status"] for line in running.log().splitlines()] == [499] * 4

    run(main())


@pytest.mark.race
def test_a_storm_of_disconnecting_clients_leaves_the_pool_usable():
    rng = random.Random(SEED)

    async def main():
        provider = await serve(choose=lambda _: [pause(rng.choice((0, 0.002, 0.01))), send(GOOD)])
        settings = {"UPSTREAM_MAX_CONNECTIONS": "10", "LOG_LEVEL": "error"}
        async with gateway(settings, providers={"openai": provider}) as running:

            async def impatient(number):
                for turn in range(25):
                    client = await Caller.connect(running.port)
                    client.send(post(numbered(CHAT, 1000 * number + turn)))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(client.answer(), rng.choice((0.001, 0.005, 0.02)))
                    await client.close()
                    Caller.opened.remove(client)

            await asyncio.gather(*map(impatient, range(20)))
            await until(lambda: not left_in(running.app))
            assert running.app.runtime.client.connections() <= 10
            outcomes = await asyncio.gather(*(ask(running.port, numbered(CHAT, 10**6 + n)) for n in range(100)))
            assert [outcome.verdict for outcome in outcomes] == ["answer"] * 100

    run(main())


@pytest.mark.race
def test_disconnecting_at_any_byte_of_the_request_or_of_the_response():
    """After 500 requests of all kinds nothing is left open, and the log agrees with the metrics."""
    rng = random.Random(SEED)
    times = 500
    requests = (CHAT, STREAM, STREAM.replace(b"gpt-4o", b"claude-haiku-4-5"), CHAT.replace(b'"hi"', b'"same"'))

    async def main():
        mock = MockSettings(latency_ms=2, chunk_ms=1)
        async with gateway(mock=mock, names=("openai", "anthropic")) as running:
            baseline = files()
            for server in running.mocks.values():
                server.set_fault("slow_drip", 30, 1)

            async def disconnect_somewhere(number):
                client = await Caller.connect(running.port)
                body = rng.choice(requests)
                message = post(numbered(body, number), "/v1/chat/completions", f"X-Request-ID: n{number}")
                if rng.random() < 0.3:
                    client.send(message[: rng.randrange(len(message))])
                    await asyncio.sleep(rng.choice((0, 0.001)))
                else:
                    client.send(message * rng.choice((1, 1, 1, 2)))
                    with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError):
                        await asyncio.wait_for(client.reader.readexactly(rng.randrange(1, 4000)), rng.random() * 0.05)
                leave(client, rng.choice(("reset", "close", "half-close")))
                if rng.random() < 0.5:
                    await asyncio.sleep(0.001)
                await client.close()
                Caller.opened.remove(client)

            for start_at in range(0, times, 50):
                await asyncio.gather(*map(disconnect_somewhere, range(start_at, start_at + 50)))
            await until(lambda: not left_in(running.app))
            await until(lambda: not running.app.server.connections)
            for server in running.mocks.values():
                server.clear()
            for body in requests:
                assert (await ask(running.port, body)).verdict == "answer"
            running.app.runtime.client.close()
            await until(lambda: files() <= baseline + 2)
            assert all(health.breaker.state.name == "CLOSED" for health in running.app.runtime.provider_health.values())
            ids = [json.loads(line)["id"] for line in running.log().splitlines()]
            page = running.app.runtime.status.metrics()[2].decode()
            counted = [line for line in page.splitlines() if line.startswith("gateway_http_requests_total")]
            assert sum(float(line.split()[-1]) for line in counted) == len(ids)
            assert "gateway_inflight_requests 0.0" in page

    run(main())


def test_a_client_that_disconnects_from_a_good_stream_counts_against_no_provider():
    async def main():
        provider = await serve([send(STREAM_HEAD, chunk(ROLE), chunk(WORD * 5000)), silence()])
        async with gateway({"CB_ERROR_THRESHOLD": "1"}, providers={"openai": provider}) as running:
            client = await Caller.connect(running.port)
            client.writer.transport.pause_reading()
            client.send(post(STREAM))
            await until(lambda: running.app.runtime.recorder.inflight == 1)
            leave(client, "reset")
            await until(lambda: not left_in(running.app))
            assert running.app.runtime.provider_health["openai"].breaker.state.name == "CLOSED"

    run(main())


def test_a_pause_of_a_slow_client_does_not_count_as_silence_of_the_provider():
    """The idle timer does not fire while the provider keeps sending and only the client does not read."""

    async def main():
        paused, go_on = asyncio.Event(), asyncio.Event()

        async def flood(talk):
            while not paused.is_set():
                talk.transport.write(chunk(WORD * 10))
                await asyncio.sleep(0)

        steady = [step for _ in range(8) for step in (pause(0.1), send(chunk(WORD)))]
        end = [send(good_stream().removeprefix(STREAM_HEAD)), say(go_on)]
        provider = await serve([send(STREAM_HEAD), flood, *steady, *end])
        async with gateway({"STREAM_IDLE_TIMEOUT": "350ms"}, providers={"openai": provider}) as running:
            loop, sock = asyncio.get_running_loop(), socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", running.port))
            await loop.sock_sendall(sock, post(STREAM, "/v1/chat/completions", "Connection: close"))
            while not any(connection.paused for connection in running.app.server.connections):
                await asyncio.sleep(0)
            paused.set()
            (upstream,) = next(iter(running.app.runtime.client._pools.values()))._open
            await asyncio.wait_for(go_on.wait(), 5)
            assert not upstream._paused_reading, "the case is not met"
            raw = b""
            while data := await loop.sock_recv(sock, 1 << 20):
                raw += data
            sock.close()
            assert Outcome(raw).verdict == "answer"

    run(main())
