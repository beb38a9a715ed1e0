"""Tests that a hit in memory is the same response each time, however the bytes of its request arrive."""

import asyncio
import itertools
import json

import pytest

from support.event_loop import run
from support.http_client import Caller, post
from support.running_gateway import gateway

BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
KEY = "Authorization: Bearer sk-canary-of-a-caller"
ONE = post(BODY, "/v1/chat/completions", KEY)
OTHER = post(BODY.replace(b"hi", b"ho"), "/v1/chat/completions", KEY)
STREAM = post(BODY[:-1] + b',"stream":true}', "/v1/chat/completions", KEY)
MEMORY = {"CACHE_MODE": "memory"}


async def ask(caller, data):
    caller.send(data)
    status, headers, body = await caller.answer()
    assert status == 200
    return headers, body


async def warmed(running, *requests):
    """Return a client's connection. The responses to these requests are in the cache."""
    caller = await Caller.connect(running.port)
    for data in requests:
        for _ in range(4):
            await ask(caller, data)
    return caller


@pytest.mark.parametrize("data", [ONE, STREAM], ids=["whole", "stream"])
def test_every_hit_is_the_same(data):
    async def main():
        async with gateway(MEMORY) as running:
            caller = await warmed(running, data)
            first, body = await ask(caller, data)
            second, same = await ask(caller, data)
            assert same == body
            ids = ("x-request-id", "x-nulpoint-request-id")
            assert len({headers[name] for headers in (first, second) for name in ids}) == 2
            assert {**first, **dict.fromkeys(ids, "")} == {**second, **dict.fromkeys(ids, "")}
            assert running.mock.requests == 1
            records = [json.loads(line) for line in running.log().splitlines()]
            assert len(records) == 6
            assert len({record["id"] for record in records}) == 6
            varying = {"time": "", "id": "", "total_us": 0, "added_us": 0}
            assert len({json.dumps({**record, **varying}) for record in records[1:]}) == 1
            running.app.runtime.status.update_gauges()
            page = running.app.metrics.page().decode()
            assert "cache_hits_total 5.0" in page
            assert 'gateway_cache_operations_total{op="get",result="hit"} 5.0' in page
            assert 'gateway_http_requests_total{route="chat",status="200"} 6.0' in page

    run(main())


def test_the_cache_stores_no_key_of_a_client():
    async def main():
        async with gateway({**MEMORY, "ALLOW_CLIENT_API_KEYS": "true"}) as running:
            await warmed(running, ONE)
            ((key, entry),) = running.app.runtime.backends.cache.memory._entries.items()
            assert b"canary" not in key
            assert "canary" not in repr(entry)

    run(main())


def test_however_the_bytes_arrive():
    """Cut at every place, before and after other requests, each request gets its own response."""

    async def main():
        async with gateway(MEMORY) as running:
            caller = await warmed(running, ONE, OTHER)
            answers = {data: (await ask(caller, data))[1] for data in (ONE, OTHER)}
            assert answers[ONE] != answers[OTHER]
            for data in (ONE, OTHER):
                for cut in range(1, len(data)):
                    caller.send(data[:cut])
                    await asyncio.sleep(0)
                    caller.send(data[cut:])
                    assert (await caller.answer())[2] == answers[data]
            for few in itertools.product((ONE, OTHER), repeat=3):
                caller.send(b"".join(few))
                for data in few:
                    assert (await caller.answer())[2] == answers[data]
                caller.send(few[0] + few[1][:40])
                await asyncio.sleep(0.001)
                caller.send(few[1][40:] + few[2])
                for data in few:
                    assert (await caller.answer())[2] == answers[data]
            assert running.mock.requests == 2

    run(main())


def test_head_and_body_may_arrive_separately_as_sdks_send_them():
    """A head alone is never taken for a whole request, whatever was answered before it."""

    async def main():
        async with gateway(MEMORY) as running:
            caller = await Caller.connect(running.port)
            for data in (ONE, ONE, OTHER, ONE, OTHER, OTHER, STREAM, STREAM, ONE):
                end = data.index(b"\r\n\r\n") + 4
                caller.send(data[:end])
                await asyncio.sleep(0.005)
                caller.send(data[end:])
                status, headers, _ = await asyncio.wait_for(caller.answer(), 2)
                assert status == 200
                assert ("event-stream" in headers["content-type"]) == (data is STREAM)
            assert running.mock.requests == 2  # a stream and a whole response share an entry

    run(main())


def test_garbage_after_a_request_is_not_part_of_it():
    async def main():
        async with gateway(MEMORY) as running:
            await warmed(running, OTHER)
            for _ in range(4):
                caller = await Caller.connect(running.port)
                caller.send(OTHER + b"garbage\r\n\r\n")
                assert (await caller.answer())[0] == 200
                assert (await caller.answer())[0] == 400

    run(main())


def test_connection_request_id_and_origin_headers():
    async def main():
        async with gateway(MEMORY) as running:
            closing = post(BODY, "/v1/chat/completions", "Connection: close")
            old = closing.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Connection: close\r\n", b"")
            for data in (closing, old):
                for _ in range(5):
                    caller = await Caller.connect(running.port)
                    headers, _ = await ask(caller, data)
                    assert headers["connection"] == "close"
                    assert await caller.rest() == b""
            given = post(BODY, "/v1/chat/completions", "X-Request-ID: mine")
            caller = await warmed(running, given)
            assert (await ask(caller, given))[0]["x-request-id"] == "mine"
            origin = post(BODY, "/v1/chat/completions", "Origin: https://page")
            await warmed(running, origin)
            assert (await ask(caller, origin))[0]["access-control-allow-origin"] == "*"
            running.app.server.draining = True
            assert (await ask(caller, given))[0]["connection"] == "close"

    run(main())


def test_the_cache_decides_each_time():
    async def main():
        async with gateway({**MEMORY, "CACHE_TTL": "300ms"}) as running:
            caller = await warmed(running, ONE)
            young = post(BODY, "/v1/chat/completions", KEY, "Cache-Control: max-age=1")
            await warmed(running, young)
            renewing = post(BODY, "/v1/chat/completions", KEY, "Cache-Control: no-cache")
            _, renewed = await ask(caller, renewing)
            headers, body = await ask(caller, ONE)
            assert (headers["x-cache"], body) == ("HIT", renewed)
            await asyncio.sleep(0.31)
            headers, body = await ask(caller, ONE)
            assert headers["x-cache"] == "MISS"
            assert body != renewed
            running.app.runtime.backends.cache.memory._entries.clear()
            assert (await ask(caller, ONE))[0]["x-cache"] == "MISS"
            for age, outcome in ((0, "HIT"), (5, "MISS")):
                running.app.deadlines.unix += age
                assert (await ask(caller, young))[0]["x-cache"] == outcome

    run(main())


def test_a_bug_is_a_500():
    async def main():
        async with gateway(MEMORY) as running:
            caller = await warmed(running, ONE)
            (entry,) = running.app.runtime.backends.cache.memory._entries.values()
            entry.value = object()
            caller.send(ONE)
            assert (await caller.answer())[0] == 500

    run(main())
