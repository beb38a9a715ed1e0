"""Requests that are answered without being read again: exactly those whose bytes are known, whatever came before."""

import asyncio
import itertools
import json

import pytest

from nulpoint.http.server.repeated_requests import MOST, MOST_BYTES, Again
from support.event_loop import run
from support.http_client import Caller, post
from support.running_gateway import gateway

BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
KEY = "Authorization: Bearer sk-canary-of-a-caller"
ONE = post(BODY, "/v1/chat/completions", KEY)
OTHER = post(BODY.replace(b"hi", b"ho"), "/v1/chat/completions", KEY)
STREAM = post(BODY[:-1] + b',"stream":true}', "/v1/chat/completions", KEY)
MEMORY = {"CACHE_MODE": "memory"}


class Known:
    def __init__(self, number):
        self.number = number


def test_only_small_requests_are_known_and_not_too_many():
    again = Again()

    def note(data, number):
        for _ in range(2):
            again.note(data, lambda: Known(number))

    note(b"x" * MOST_BYTES, 0)
    note(b"y" * (MOST_BYTES + 1), 1)
    assert again.find(b"x" * MOST_BYTES).number == 0
    assert again.find(b"y" * (MOST_BYTES + 1)) is None
    for number in range(MOST):
        note(b"%d" % number, number)
    assert again.find(b"x" * MOST_BYTES) is None  # the oldest has gone
    assert again.find(b"0").number == 0
    note(b"0", "new")
    assert again.find(b"0").number == "new"
    assert again.find(b"1").number == 1


def test_nothing_is_made_for_what_came_once():
    again = Again()
    again.note(b"x", lambda: pytest.fail("made"))
    assert again.find(b"x") is None


async def asked(caller, data):
    caller.send(data)
    status, headers, body = await caller.answer()
    assert status == 200
    return headers, body


async def warmed(running, *requests):
    """A caller; the requests are known."""
    caller = await Caller.connect(running.port)
    for data in requests:
        for _ in range(4):
            await asked(caller, data)
    return caller


def known(running):
    return {key: repeat for key, repeat in running.app.server.again._known.items() if repeat is not None}


@pytest.mark.parametrize("data", [ONE, STREAM], ids=["whole", "stream"])
def test_an_answer_without_reading_is_the_same(data):
    async def main():
        async with gateway(MEMORY) as running:
            caller = await warmed(running, data)
            assert len(known(running)) == 1
            unread, same = await asked(caller, data)
            running.app.server.again._known.clear()
            read, body = await asked(caller, data)
            assert same == body
            ids = ("x-request-id", "x-nulpoint-request-id")
            assert len({headers[name] for headers in (read, unread) for name in ids}) == 2
            assert {**read, **dict.fromkeys(ids, "")} == {**unread, **dict.fromkeys(ids, "")}
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


def test_nothing_of_a_request_is_stored():
    async def main():
        async with gateway({**MEMORY, "ALLOW_CLIENT_API_KEYS": "true"}) as running:
            await warmed(running, ONE)
            (repeat,) = known(running).values()
            seen, todo = set(), [*known(running).items(), repeat]
            while todo:
                one = todo.pop()
                if (
                    id(one) in seen
                    or isinstance(one, type)
                    or (type(one).__module__ in ("builtins",) and callable(one))
                ):
                    continue
                seen.add(id(one))
                assert b"canary" not in one if isinstance(one, bytes) else "canary" not in str(one)[:10_000]
                if isinstance(one, (tuple, list)):
                    todo += one
                elif isinstance(one, dict):
                    todo += [*one.keys(), *one.values()]
                elif type(one).__name__ in ("RepeatedHit", "Request", "Record", "Question"):
                    todo += [
                        getattr(one, name)
                        for name in [*getattr(one, "__slots__", ()), *getattr(one, "__struct_fields__", ())]
                    ]

    run(main())


def test_every_way_the_bytes_may_come():
    """At every split, before and behind other requests: each gets its own answer."""

    async def main():
        async with gateway(MEMORY) as running:
            caller = await warmed(running, ONE, OTHER)
            answers = {data: (await asked(caller, data))[1] for data in (ONE, OTHER)}
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
            assert len(known(running)) == 2

    run(main())


def test_head_and_body_apart_as_sdks_send_them():
    """What was answered at once in another way leaves nothing behind that a head alone could be taken for."""

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
            assert known(running) == {}

    run(main())


def test_garbage_behind_a_request_is_not_part_of_it():
    async def main():
        async with gateway(MEMORY) as running:
            await warmed(running, OTHER)
            for _ in range(4):
                caller = await Caller.connect(running.port)
                caller.send(OTHER + b"garbage\r\n\r\n")
                assert (await caller.answer())[0] == 200
                assert (await caller.answer())[0] == 400

    run(main())


def test_how_the_connection_goes_on():
    async def main():
        async with gateway(MEMORY) as running:
            closing = post(BODY, "/v1/chat/completions", "Connection: close")
            old = closing.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Connection: close\r\n", b"")
            for data in (closing, old):
                for _ in range(5):
                    caller = await Caller.connect(running.port)
                    headers, _ = await asked(caller, data)
                    assert headers["connection"] == "close"
                    assert await caller.rest() == b""
            given = post(BODY, "/v1/chat/completions", "X-Request-ID: mine")
            caller = await warmed(running, given)
            assert (await asked(caller, given))[0]["x-request-id"] == "mine"
            origin = post(BODY, "/v1/chat/completions", "Origin: https://page")
            await warmed(running, origin)
            assert (await asked(caller, origin))[0]["access-control-allow-origin"] == "*"
            running.app.server.draining = True
            assert (await asked(caller, given))[0]["connection"] == "close"

    run(main())


def test_the_cache_decides_each_time():
    async def main():
        async with gateway({**MEMORY, "CACHE_TTL": "300ms"}) as running:
            caller = await warmed(running, ONE)
            young = post(BODY, "/v1/chat/completions", KEY, "Cache-Control: max-age=1")
            await warmed(running, young)
            renewing = post(BODY, "/v1/chat/completions", KEY, "Cache-Control: no-cache")
            _, renewed = await asked(caller, renewing)
            headers, body = await asked(caller, ONE)
            assert (headers["x-cache"], body) == ("HIT", renewed)
            await asyncio.sleep(0.31)
            headers, body = await asked(caller, ONE)
            assert headers["x-cache"] == "MISS"
            assert body != renewed
            running.app.runtime.backends.cache.memory._entries.clear()
            assert (await asked(caller, ONE))[0]["x-cache"] == "MISS"
            for age, outcome in ((0, "HIT"), (5, "MISS")):
                running.app.deadlines.unix += age
                assert (await asked(caller, young))[0]["x-cache"] == outcome

    run(main())


@pytest.mark.parametrize("settings", [{"CACHE_MODE": "none"}, {**MEMORY, "RPM_LIMIT": "1000"}], ids=str)
def test_where_there_is_something_to_ask_every_request_is_read(settings):
    async def main():
        async with gateway(settings) as running:
            await warmed(running, ONE)
            assert running.app.server.again is None

    run(main())


def test_a_bug_is_a_500_here_too():
    async def main():
        async with gateway(MEMORY) as running:
            caller = await warmed(running, ONE)
            (repeat,) = known(running).values()
            repeat._parts = None
            caller.send(ONE)
            assert (await caller.answer())[0] == 500

    run(main())
