"""Caller faults, C01 to C04 and C28: callers who leave, at any moment and in any number.

C04 at the pool itself is in tests/unit/http/client/test_upstream_client.py, C05 (the slow reader) in tests/integration/test_server.py.
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
TIMES = 50  # of 1,000

MOMENTS = {
    "C01 after the third chunk": (STREAM, [send(STREAM_HEAD, chunk(ROLE), *[chunk(WORD)] * 3), silence()], b"word"),
    "C01 after the head": (STREAM, [send(STREAM_HEAD, chunk(ROLE)), silence()], b"\r\n\r\n"),
    "C02 before the first byte": (STREAM, [silence()], None),
    "C03 before the first byte, whole": (CHAT, [silence()], None),
    "C03 in a whole answer": (CHAT, [send(answer(b"{}")[:-1]), silence()], None),
}


def numbered(body, number):
    return body.replace(b'"hi"', b'"%d"' % number)


def leave(caller, how):
    """Gives the moment."""
    if how == "reset":
        sock = caller.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        caller.writer.transport.abort()
    elif how == "close":
        caller.writer.transport.abort()
    else:  # the other direction stays open: it is leaving all the same
        caller.writer.write_eof()
    return asyncio.get_running_loop().time()


def files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.race
@pytest.mark.parametrize(
    "loop_factory", [uvloop.new_event_loop, SimulatedTimeLoop], ids=["real time", "simulated time"]
)
@pytest.mark.parametrize("how", ["reset", "close", "half-close"])
@pytest.mark.parametrize(("body", "script", "shown"), MOMENTS.values(), ids=MOMENTS)
def test_C01_C02_C03_a_caller_who_leaves_ends_the_provider_s_work(body, script, shown, how, loop_factory):
    """At once, at every moment; it counts as 499, for nobody's fault.

    Simulated time shows that nothing waits for a timer; the real loop shows that it happens there too.
    """

    async def main():
        faultd = await serve(script)
        async with gateway(providers={"openai": faultd, "mistral": await start("mistral")}) as running:
            baseline = len(asyncio.all_tasks()), files()
            seconds = []
            for number in range(TIMES):
                caller = await Caller.connect(running.port)
                caller.send(post(numbered(body, number)))
                if shown is not None:
                    await caller.reader.readuntil(shown)
                await until(lambda number=number: len(faultd.requests) == number + 1)
                left = leave(caller, how)
                await asyncio.wait_for(faultd.talks[-1].ended.wait(), 10)
                seconds.append(faultd.talks[-1].ended_at - left)
                await caller.close()
                Caller.opened.remove(caller)
            if loop_factory is SimulatedTimeLoop:
                assert max(seconds) == 0
            await until(lambda: not left_in(running.app))
            await until(lambda: files() <= baseline[1] + 2 and faultd.open == 0)
            assert len(asyncio.all_tasks()) <= baseline[0] + TIMES + 1  # the scripts', which wait for nothing more
            assert not any(standing.breaker._failures for standing in running.app.runtime.provider_health.values())
            assert running.mocks["mistral"].requests == 0
            records = [json.loads(line) for line in running.log().splitlines()]
            assert [record["status"] for record in records] == [499] * TIMES

    run(main(), loop_factory=loop_factory)


def test_C03_leaving_while_waiting_for_a_place_or_a_connection_or_the_next_attempt():
    """Wherever a request waits, leaving ends it, and nothing is sent for it."""

    async def main():
        faultd = await serve([silence()], [send(answer(b"{}", 500, b"retry-after: 1"))])
        settings = {
            "MAX_STREAMS": "1",
            "QUEUE_TIMEOUT": "10s",
            "UPSTREAM_MAX_CONNECTIONS": "1",
            "UPSTREAM_WAIT_TIMEOUT": "10s",
        }
        async with gateway(settings, providers={"openai": faultd}) as running:
            first = await Caller.connect(running.port)
            first.send(post(numbered(STREAM, 1)))
            await until(lambda: faultd.requests)
            at_the_gate, at_the_pool = await Caller.connect(running.port), await Caller.connect(running.port)
            at_the_gate.send(post(numbered(STREAM, 2)))
            at_the_pool.send(post(numbered(CHAT, 3)))
            await until(lambda: running.app.runtime.recorder.inflight == 3)
            for caller in (at_the_gate, at_the_pool):
                caller.writer.transport.abort()
            await until(lambda: running.app.runtime.recorder.inflight == 1)
            first.writer.transport.abort()
            await until(lambda: not left_in(running.app))
            backing_off = await Caller.connect(running.port)
            backing_off.send(post(numbered(CHAT, 4)))
            await until(lambda: len(faultd.requests) == 2)
            await until(lambda: running.app.runtime.provider_health["openai"].retry_budget.running == 1)
            backing_off.writer.transport.abort()
            await until(lambda: not left_in(running.app))
            assert len(faultd.requests) == 2
            assert [json.loads(line)["status"] for line in running.log().splitlines()] == [499] * 4

    run(main())


@pytest.mark.race
def test_C04_a_storm_of_callers_who_leave_leaves_the_pool_whole():
    chance = random.Random(SEED)

    async def main():
        faultd = await serve(choose=lambda _: [pause(chance.choice((0, 0.002, 0.01))), send(GOOD)])
        settings = {"UPSTREAM_MAX_CONNECTIONS": "10", "LOG_LEVEL": "error"}
        async with gateway(settings, providers={"openai": faultd}) as running:

            async def restless(number):
                for turn in range(25):
                    caller = await Caller.connect(running.port)
                    caller.send(post(numbered(CHAT, 1000 * number + turn)))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(caller.answer(), chance.choice((0.001, 0.005, 0.02)))
                    await caller.close()
                    Caller.opened.remove(caller)

            await asyncio.gather(*map(restless, range(20)))
            await until(lambda: not left_in(running.app))
            assert running.app.runtime.client.connections() <= 10
            outcomes = await asyncio.gather(*(ask(running.port, numbered(CHAT, 10**6 + n)) for n in range(100)))
            assert [outcome.verdict for outcome in outcomes] == ["answer"] * 100

    run(main())


@pytest.mark.race
def test_C28_leaving_at_any_byte_of_the_request_or_of_the_answer():
    """500 times, with all kinds of requests at once: everything goes back to nothing, log and metrics agree."""
    chance = random.Random(SEED)
    times = 500
    requests = (CHAT, STREAM, STREAM.replace(b"gpt-4o", b"claude-sonnet-4-5"), CHAT.replace(b'"hi"', b'"same"'))

    async def main():
        mock = MockSettings(latency_ms=2, chunk_ms=1)
        async with gateway(mock=mock, names=("openai", "anthropic")) as running:
            baseline = files()
            for server in running.mocks.values():
                server.set_fault("slow_drip", 30, 1)

            async def one(number):
                caller = await Caller.connect(running.port)
                body = chance.choice(requests)
                message = post(numbered(body, number), "/v1/chat/completions", f"X-Request-ID: n{number}")
                if chance.random() < 0.3:
                    caller.send(message[: chance.randrange(len(message))])
                    await asyncio.sleep(chance.choice((0, 0.001)))
                else:
                    caller.send(message * chance.choice((1, 1, 1, 2)))
                    with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError):
                        await asyncio.wait_for(
                            caller.reader.readexactly(chance.randrange(1, 4000)), chance.random() * 0.05
                        )
                leave(caller, chance.choice(("reset", "close", "half-close")))
                if chance.random() < 0.5:
                    await asyncio.sleep(0.001)
                await caller.close()
                Caller.opened.remove(caller)

            for start_at in range(0, times, 50):
                await asyncio.gather(*map(one, range(start_at, start_at + 50)))
            await until(lambda: not left_in(running.app))
            await until(lambda: not running.app.server.connections)
            for server in running.mocks.values():
                server.clear()
            for body in requests:
                assert (await ask(running.port, body)).verdict == "answer"
            running.app.runtime.client.close()
            await until(lambda: files() <= baseline + 2)
            assert all(
                standing.breaker.state.name == "CLOSED" for standing in running.app.runtime.provider_health.values()
            )
            ids = [json.loads(line)["id"] for line in running.log().splitlines()]
            page = running.app.runtime.status.metrics()[2].decode()
            counted = [line for line in page.splitlines() if line.startswith("gateway_http_requests_total")]
            assert sum(float(line.split()[-1]) for line in counted) == len(ids)
            assert "gateway_inflight_requests 0.0" in page

    run(main())


def test_a_caller_who_leaves_a_good_stream_is_not_counted_against_anybody():
    async def main():
        faultd = await serve([send(STREAM_HEAD, chunk(ROLE), chunk(WORD * 5000)), silence()])
        async with gateway({"CB_ERROR_THRESHOLD": "1"}, providers={"openai": faultd}) as running:
            caller = await Caller.connect(running.port)
            caller.writer.transport.pause_reading()
            caller.send(post(STREAM))
            await until(lambda: running.app.runtime.recorder.inflight == 1)
            leave(caller, "reset")
            await until(lambda: not left_in(running.app))
            assert running.app.runtime.provider_health["openai"].breaker.state.name == "CLOSED"

    run(main())


def test_C05_a_slow_reader_s_pause_is_not_the_provider_s():
    """The provider goes on steadily while its caller does not read: the idle timer is for silence."""

    async def main():
        paused, go_on = asyncio.Event(), asyncio.Event()

        async def flood(talk):
            while not paused.is_set():
                talk.transport.write(chunk(WORD * 10))
                await asyncio.sleep(0)

        steady = [step for _ in range(8) for step in (pause(0.1), send(chunk(WORD)))]
        end = [send(good_stream().removeprefix(STREAM_HEAD)), say(go_on)]
        faultd = await serve([send(STREAM_HEAD), flood, *steady, *end])
        async with gateway({"STREAM_IDLE_TIMEOUT": "350ms"}, providers={"openai": faultd}) as running:
            loop, sock = asyncio.get_running_loop(), socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", running.port))
            await loop.sock_sendall(sock, post(STREAM, "/v1/chat/completions", "Connection: close"))
            while not any(one.paused for one in running.app.server.connections):
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
