"""The paths at which operations and pages are served, by method, and a model's name in the path."""

import base64
import gzip
import json
import re

import pytest

from nulpoint.mock import start
from nulpoint.providers.operations import OPERATIONS
from support.event_loop import run
from support.http_client import Caller, post
from support.running_gateway import gateway

BODIES = {
    "chat": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]},
    "completions": {"model": "gpt-oss-20b", "prompt": "hi"},
    "embeddings": {"model": "text-embedding-3-small", "input": "hi"},
    "moderations": {"model": "omni-moderation-latest", "input": "hi"},
    "rerank": {"model": "together/a-reranker", "query": "hi", "documents": ["hi", "ho"]},
}
PREFIXES = ("/v1", "", "/openai/v1", "/openai")
CHAT_PATH = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
HELLO = b'{"messages":[{"role":"user","content":"hi"}]}'


async def ask(running, method, path, body=b"", *fields):
    caller = await Caller.connect(running.port)
    data = post(body, path, "Connection: close", *fields)
    caller.send(method.encode() + data.removeprefix(b"POST"))
    answer = await caller.answer()
    await caller.close()
    return answer


def sent(running):
    return json.loads(base64.b64decode(running.mock.last["body"]))


def test_every_operation_has_a_body_here():
    assert set(BODIES) == set(OPERATIONS)


def test_every_spelling_and_method():
    async def main():
        openai = await start("openai")
        settings = {"TOGETHER_API_KEY": "sk-t", "TOGETHER_BASE_URL": f"{openai.url}/v1"}  # the mock serves for both
        async with gateway(settings, providers={"openai": openai}) as running:
            await use(running)

    async def use(running):
        for name, operation in OPERATIONS.items():
            body = json.dumps(BODIES[name]).encode()
            deployment = "/openai/deployments/" + BODIES[name]["model"].replace("/", "%2F")
            for prefix in (*PREFIXES, deployment):
                path = f"{prefix}{operation.path}?api-version=2024-10-21"
                status, headers, _ = await ask(running, "POST", path, body)
                assert (status, path) == (200, path)
                assert headers["access-control-allow-origin"] == "*"
                status, headers, answer = await ask(running, "GET", path)
                assert (status, headers["allow"]) == (405, "POST, OPTIONS"), path
                assert json.loads(answer)["error"]["code"] == "method_not_allowed"
                status, headers, _ = await ask(running, "OPTIONS", path)
                assert (status, headers["allow"]) == (204, "POST, OPTIONS"), path
        routes = set(re.findall(r'route="([^"]+)"', (await ask(running, "GET", "/metrics"))[2].decode()))
        assert routes == {*OPERATIONS, *("/v1" + operation.path for operation in OPERATIONS.values())}

    run(main())


def test_the_pages_of_models():
    async def main():
        async with gateway() as running:
            for prefix in PREFIXES:
                status, _, listed = await ask(running, "GET", f"{prefix}/models?api-version=2024-10-21")
                assert status == 200
                assert "gpt-5.4" in {model["id"] for model in json.loads(listed)["data"]}
                status, _, one = await ask(running, "GET", f"{prefix}/models/openai%2Fgpt-5.4")
                assert (status, json.loads(one)["id"]) == (200, "openai/gpt-5.4")
                status, headers, _ = await ask(running, "POST", f"{prefix}/models", b"{}")
                assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS")

    run(main())


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/chat/completions", "/openai/deployments", "/openai/deployments/a"])
def test_other_paths_are_unknown(path):
    async def main():
        async with gateway() as running:
            for method in ("GET", "POST", "OPTIONS"):
                status, _, body = await ask(running, method, path, b"{}")
                error = json.loads(body)["error"]
                assert (status, error["code"]) == (404, "unknown_path")
                assert "/v1/moderations, /v1/rerank" in error["message"]

    run(main())


@pytest.mark.parametrize("prefix", [*PREFIXES, "/openai/deployments/gpt-4o"])
def test_a_gateway_key_is_required_at_every_spelling(prefix):
    async def main():
        async with gateway({"GATEWAY_API_KEYS": "gk-1"}) as running:
            body = json.dumps(BODIES["chat"]).encode()
            assert (await ask(running, "POST", f"{prefix}/chat/completions", body))[0] == 401
            answered = await ask(running, "POST", f"{prefix}/chat/completions", body, "api-key: gk-1")
            assert answered[0] == 200
            if "deployments" not in prefix:
                assert (await ask(running, "GET", f"{prefix}/models"))[0] == 401

    run(main())


# -- the model in the path ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        HELLO,
        b' { "messages":[{"role":"user","content":"hi"}]} ',
        b'{"messages":[{"role":"user","content":"hi"}],"model":"gpt-4.1-mini"}',
        b'{"model":null,"messages":[{"role":"user","content":"hi"}]}',
        b'{"mod\\u0065l":7,"messages":[{"role":"user","content":"hi"}],"metadata":{"model":"x"}}',
    ],
)
@pytest.mark.parametrize("cache", ["none", "memory"])
def test_the_deployment_is_the_model(body, cache):
    async def main():
        async with gateway({"CACHE_MODE": cache}) as running:
            status, headers, _ = await ask(running, "POST", CHAT_PATH.format("gpt-4o"), body)
            assert (status, headers["x-nulpoint-model"], sent(running)["model"]) == (200, "gpt-4o", "gpt-4o")
            assert base64.b64decode(running.mock.last["body"]).count(b'"gpt-4o"') == 1

    run(main())


def test_the_name_is_decoded_and_routed_as_one_in_the_body():
    async def main():
        async with gateway(names=("openai", "anthropic")) as running:
            path = CHAT_PATH.format("anthropic%2Fclaude-sonnet-5")
            status, headers, _ = await ask(running, "POST", path, HELLO)
            assert (status, headers["x-nulpoint-provider"], headers["x-nulpoint-model"]) == (
                200, "anthropic", "claude-sonnet-5",
            )  # fmt: skip

    run(main())


def test_other_members_go_byte_for_byte():
    async def main():
        async with gateway() as running:
            body = HELLO[:-1] + b',"x": 1e300 , "y":[1.0,"\\u00e9"]}'
            assert (await ask(running, "POST", CHAT_PATH.format("gpt-4o"), body))[0] == 200
            assert base64.b64decode(running.mock.last["body"]) == b'{"model":"gpt-4o",' + body[1:]

    run(main())


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("%20", HELLO, "invalid_value"),
        ("x" * 2049, HELLO, "invalid_value"),
        ("%ff", HELLO, "invalid_value"),
        ("gpt-4o", b"[]", "invalid_type"),
        ("gpt-4o", b"{", "invalid_json"),
        ("gpt-4o", b'{"a":' + b"[" * 5000, "invalid_json"),
        ("gpt-4o", b'{"model":"a","model":"b","messages":[]}', "duplicate_field"),
        ("gpt-4o", b'{"Model":"a","messages":[]}', "ambiguous_field"),
        ("groq%2Fx", HELLO, "provider_not_configured"),
    ],
)
def test_a_name_in_the_path_is_checked_as_one_in_the_body_is(name, body, code):
    async def main():
        async with gateway() as running:
            status, _, answer = await ask(running, "POST", CHAT_PATH.format(name), body)
            assert (status, json.loads(answer)["error"]["code"]) == (400, code)
            assert running.mock.requests == 0
            record = json.loads(running.log().splitlines()[-1])
            assert (record["route"], record["status"]) == ("chat", 400)

    run(main())


def test_an_empty_body_gets_the_model():
    async def main():
        async with gateway() as running:
            for body in (b"{}", b" { } "):
                assert (await ask(running, "POST", CHAT_PATH.format("gpt-4o"), body))[0] == 400  # no messages
                assert sent(running) == {"model": "gpt-4o"}

    run(main())


def test_both_spellings_share_the_cache_if_the_requests_are_the_same():
    async def main():
        async with gateway({"CACHE_MODE": "memory"}) as running:
            body = json.dumps(BODIES["chat"]).encode()
            assert (await ask(running, "POST", "/v1/chat/completions", body))[1]["x-cache"] == "MISS"
            assert (await ask(running, "POST", CHAT_PATH.format("gpt-4o"), HELLO))[1]["x-cache"] == "HIT"
            assert (await ask(running, "POST", CHAT_PATH.format("gpt-4.1"), HELLO))[1]["x-cache"] == "MISS"

    run(main())


def test_a_compressed_body_gets_the_model_too():
    async def main():
        async with gateway() as running:
            body = gzip.compress(HELLO)
            answer = await ask(running, "POST", CHAT_PATH.format("gpt-4o"), body, "Content-Encoding: gzip")
            assert (answer[0], sent(running)["model"]) == (200, "gpt-4o")

    run(main())
