"""Request bodies at the socket: their names have one meaning on every route, and what they make is bounded."""

import asyncio
import json

import pytest

from nulpoint.http.coroutine_runner import WakeEvent
from support.event_loop import run, until
from support.http_client import Caller, post
from support.running_gateway import gateway

ROUTES = {
    "/v1/chat/completions": b'"messages":[{"role":"user","content":"hi"}]',
    "/v1/completions": b'"prompt":"hi"',
    "/v1/embeddings": b'"input":"hi"',
}
# By its own name (the body passes byte for byte), and by one that is rewritten or translated.
MODELS = ["gpt-4o", "openai/gpt-4o", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash"]
BAD = [
    (b'"Model":"other"', "Model", "ambiguous_field"),
    (b'"mod\\u0045l":"other"', "modEl", "ambiguous_field"),
    (b'"mod\\u0065l":"other"', "model", "duplicate_field"),
    (b'"Stream":true', "Stream", "ambiguous_field"),
    (b'"\xc5\xbftream":true', "\u017ftream", "ambiguous_field"),
    (b'"stream":false,"stream":false', "stream", "duplicate_field"),
    (b'"Max_tokens":1', "Max_tokens", "ambiguous_field"),
    (b'"max_to\xe2\x84\xaaens":1', "max_to\u212aens", "ambiguous_field"),
    (b'"max_tokens":1,"max_tokens":2', "max_tokens", "duplicate_field"),
    (b'"N":2', "N", "ambiguous_field"),
]


async def ask(caller, path, body):
    caller.send(post(body, path))
    status, headers, answer = await caller.answer()
    return status, headers, json.loads(answer)


@pytest.mark.parametrize("path", ROUTES)
def test_a_name_with_two_meanings_is_refused_on_every_route(path):
    async def main():
        async with gateway(names=("openai", "anthropic", "gemini")) as running:
            caller = await Caller.connect(running.port)
            for model in MODELS:
                for more, param, code in BAD:
                    for body in (b'{"model":"%b",%b,%b}', b'{"model":"%b", %b, %b, "user" : "' + b"u" * 2000 + b'"}'):
                        sent = body % (model.encode(), ROUTES[path], more)
                        status, _, answer = await ask(caller, path, sent)
                        error = answer["error"]
                        assert (status, error["param"], error["code"]) == (400, param, code), sent
                        assert f"`{param}`" in error["message"]
            assert all(mock.requests == 0 for mock in running.mocks.values())

    run(main())


def test_token_limits_are_not_evaded_by_spelling():
    async def main():
        for spelling in (
            b'"max_tokens":150000', b'"max_tokens":"150000"', b'"max_tokens":15e4', b'"max_tokens":75000,"n":"2"',
            b'"m\\u0061x_tokens":150000', b'"max_tokens":150000,"n":[]', b'"max_tokens":15e4,"user":"%b"' % (b"u" * 2000),
        ):  # fmt: skip
            async with gateway({"TPM_LIMIT": "1000000"}) as running:
                caller = await Caller.connect(running.port)
                body = b'{"model":"gpt-4o","messages":[],%b}' % spelling
                _, headers, _ = await ask(caller, "/v1/chat/completions", body)
                assert 849_000 < int(headers["x-ratelimit-remaining-tokens"]) <= 850_000, spelling

    run(main())


def many(count):
    message = b'{"role":"user","content":"hi"}'
    return b'"messages":[%b]' % b",".join([message] * count)


def test_json_nodes_are_bounded_where_the_gateway_decodes_them_and_nowhere_else():
    async def main():
        async with gateway({"MAX_JSON_NODES": "2000"}, names=("openai", "anthropic")) as running:
            caller = await Caller.connect(running.port)
            path = "/v1/chat/completions"
            status, _, _ = await ask(caller, path, b'{"model":"gpt-4o",%b}' % many(400))
            assert status == 200
            status, _, answer = await ask(caller, path, b'{"model":"claude-haiku-4-5",%b}' % many(400))
            assert (status, answer["error"]["code"]) == (400, "too_many_json_nodes")
            assert "MAX_JSON_NODES" in answer["error"]["message"]
            assert running.mocks["anthropic"].requests == 0
            prose = b'"messages":[{"role":"user","content":"%b"}]' % (b"Well, [then]: " * 2000)
            status, _, _ = await ask(caller, path, b'{"model":"claude-haiku-4-5",%b}' % prose)
            assert status == 200
            status, _, _ = await ask(caller, path, b'{"model":"claude-haiku-4-5",%b}' % many(390))
            assert status == 200

    run(main())


def test_a_request_of_many_members_or_megabytes_is_answered():
    async def main():
        async with gateway({"TPM_LIMIT": "100000000"}) as running:
            caller = await Caller.connect(running.port)
            path = "/v1/chat/completions"
            many_members = b'{"model":"gpt-4o"%b}' % (b',"a":1' * 400_000)
            status, _, answer = await ask(caller, path, many_members)
            assert (status, answer["error"]["code"]) == (400, "too_many_members")
            for model in (b"gpt-4o", b"openai/gpt-4o"):
                body = b'{"messages":[{"role":"user","content":"%b"}], "model" : "%b"}' % (b"word " * 300_000, model)
                status, _, answer = await ask(caller, path, body)
                assert status == 200
            status, _, answer = await ask(caller, path, body[:-1] + b',"Model":1}')
            assert (status, answer["error"]["param"]) == (400, "Model")

    run(main())


def test_a_very_long_body_may_not_be_all_brackets_and_numbers():
    async def main():
        async with gateway({"GATEWAY_API_KEYS": "gateway-key", "LOG_LEVEL": "info"}) as running:
            caller = await Caller.connect(running.port)
            text = b'{"model":"gpt-4o","messages":[{"role":"user","content":"%b"}]}' % (b"[1], " * 1_800_000)
            brackets = b'{"model":"gpt-4o","messages":[%b{}]}' % (b"{}," * 3_000_000)
            key = "authorization: Bearer gateway-key"
            for body, field, expected in (
                (text, key, (200, None)),
                (brackets, key, (400, "too_many_json_nodes")),
                (brackets, "x-none: 1", (401, "invalid_api_key")),
                (text, key, (200, None)),
            ):
                caller.send(post(body, "/v1/chat/completions", field))
                status, _, answer = await caller.answer()
                assert (status, json.loads(answer).get("error", {}).get("code")) == expected
            assert running.mock.requests == 2
            statuses = [json.loads(line)["status"] for line in running.log().splitlines()]
            assert statuses == [200, 400, 401, 200]

    run(main())


def test_a_client_that_leaves_while_its_very_long_body_is_checked_is_recorded():
    async def main():
        async with gateway() as running:
            thread, checking = running.app.runtime.translation, asyncio.Event()

            async def wait_forever(work):
                checking.set()
                await WakeEvent()

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(thread, "run", wait_forever)
                caller = await Caller.connect(running.port)
                caller.send(post(b'{"model":"gpt-4o","prompt":"%b"}' % (b"word " * 2_000_000), "/v1/completions"))
                await checking.wait()
                assert running.app.runtime.recorder.inflight == 1
                caller.writer.close()
                await until(lambda: not running.app.server.connections)
            (record,) = [json.loads(line) for line in running.log().splitlines()]
            assert (record["status"], record["error"], running.mock.requests) == (499, "caller_left", 0)

    run(main())
