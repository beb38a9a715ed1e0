"""A further endpoint is one row of the table, and its name in the record of a provider."""

import asyncio
import json

import msgspec
import pytest

from nulpoint.protocols.result_list import read_result_list
from nulpoint.providers.operations import OPERATIONS, Operation
from support.event_loop import run
from support.http_client import Caller, post
from support.provider_bytes import answer
from support.running_gateway import gateway
from support.scripted_provider import send, serve

TOYS = Operation(name="toys", noun="toys", path="/toys", read_metadata=read_result_list)
RESULT = answer(b'{"results":[1],"usage":{"total_tokens":7}}')
BROKEN = answer(b'{"error":{"message":"broken"}}', 500)
CONFIG = """
providers:
  - {name: first, base_url: 'FIRST/v1', key_env: null, auth: none, operations: [toys]}
  - {name: second, base_url: 'SECOND/v1', key_env: null, auth: none, operations: [toys]}
  - {name: plain, base_url: 'FIRST/v1', key_env: null, auth: none}
aliases: {bear: first/bear}
fallbacks:
  bear: [first/bear, second/bear]
"""


@pytest.fixture
def play(monkeypatch, tmp_path):
    """Return a function that serves a row with two scripted providers, and runs `use(running, first, second)`."""

    def serving(row, use, *scripts, **settings):
        monkeypatch.setitem(OPERATIONS, row.name, row)

        async def main():
            first, second = await serve(*[[send(script)] for script in scripts]), await serve([send(RESULT)])
            text = CONFIG.replace("FIRST", first.url).replace("SECOND", second.url)
            (tmp_path / "config.yaml").write_text(text)
            async with gateway(settings, providers={}, directory=tmp_path) as running:
                await use(running, first, second)
            await first.close()
            await second.close()

        run(main())

    return serving


async def ask(running, body, path="/v1/toys"):
    caller = await Caller.connect(running.port)
    caller.send(post(body, path))
    return await caller.answer()


BEAR = b'{"model":"first/bear", "x":[1.0]}'


def test_a_row_is_an_endpoint(play):
    async def use(running, first, second):
        status, _, given = await ask(running, BEAR)
        assert (status, given) == (200, RESULT.partition(b"\r\n\r\n")[2])
        head, _, body = first.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/toys HTTP/1.1\r\n")
        assert body == b'{"model":"bear", "x":[1.0]}'
        assert (await ask(running, BEAR))[1]["x-cache"] == "HIT"
        assert (await ask(running, BEAR, "/openai/deployments/first%2Fbear/toys"))[0] == 200
        status, _, given = await ask(running, b'{"model":"plain/x"}')
        assert (status, json.loads(given)["error"]["code"]) == (400, "toys_not_supported")
        record = json.loads(running.log().splitlines()[0])
        assert (record["route"], record["usage"]["prompt"]) == ("toys", 7)

    play(TOYS, use, RESULT, CACHE_MODE="memory")


def test_the_model_may_stand_in_the_path_alone(play):
    async def use(running, first, second):
        for body in (b"{}", b'{"x":1}', b'{"model":"other","x":1}'):
            assert (await ask(running, body, "/toys/first%2Fbear/play"))[0] == 200
            head, _, sent = first.requests[-1].partition(b"\r\n\r\n")
            assert head.startswith(b"POST /v1/toys/bear/play HTTP/1.1\r\n")
            assert json.loads(sent) == ({"x": 1} if b"x" in body else {})

    play(msgspec.structs.replace(TOYS, path="/toys/{model}/play"), use, RESULT)


def test_another_method(play):
    async def use(running, first, second):
        caller = await Caller.connect(running.port)
        caller.send(b"PUT" + post(BEAR, "/v1/toys").removeprefix(b"POST"))
        assert (await caller.answer())[0] == 200
        assert first.requests[0].startswith(b"PUT /v1/toys ")
        status, headers, _ = await ask(running, BEAR)
        assert (status, headers["allow"]) == (405, "PUT, OPTIONS")

    play(msgspec.structs.replace(TOYS, method="PUT"), use, RESULT)


def test_two_rows_may_share_a_path(play, monkeypatch):
    monkeypatch.setitem(OPERATIONS, "put", msgspec.structs.replace(TOYS, name="put", method="PUT"))

    async def use(running, first, second):
        assert (await ask(running, b"{}", "/v1/toys"))[0] == 400
        caller = await Caller.connect(running.port)
        caller.send(b"GET /v1/toys HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await caller.answer())[1]["allow"] in ("POST, PUT, OPTIONS", "PUT, POST, OPTIONS")

    play(TOYS, use, RESULT)


@pytest.mark.parametrize(
    ("changes", "model", "attempts"),
    [
        ({}, b"first/bear", ("first", "first")),
        ({"retried": False}, b"first/bear", ("first",)),
        ({}, b"bear", ("first", "second")),
        ({"fallback": None}, b"bear", ("first", "first")),
        ({"fallback": None, "retried": False}, b"bear", ("first",)),
    ],
)
def test_a_row_says_whether_it_is_tried_again_and_elsewhere(play, changes, model, attempts):
    async def use(running, first, second):
        status, _, _ = await ask(running, b'{"model":"%b"}' % model)
        assert status == (200 if len(attempts) > 1 else 502)
        assert (len(first.requests), len(second.requests)) == (attempts.count("first"), attempts.count("second"))

    play(msgspec.structs.replace(TOYS, **changes), use, BROKEN, RESULT)


@pytest.mark.parametrize(
    ("changes", "calls", "cached"),
    [({}, 1, "HIT"), ({"shared": False}, 3, "HIT"), ({"cached": None}, 3, None)],
)
def test_a_row_says_whether_it_is_shared_and_cached(play, changes, calls, cached):
    async def use(running, first, second):
        answers = await asyncio.gather(*(ask(running, BEAR) for _ in range(3)))
        assert [status for status, _, _ in answers] == [200] * 3
        assert len(first.requests) == calls
        assert (await ask(running, BEAR))[1].get("x-cache") in (cached, cached or "BYPASS")

    play(msgspec.structs.replace(TOYS, **changes), use, RESULT, CACHE_MODE="memory")
