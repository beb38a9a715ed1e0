"""A further client protocol needs nothing but its own file and a row of the table of operations."""

import json

import pytest

from nulpoint.providers.operations import OPERATIONS
from support.event_loop import run
from support.http_client import Caller, post
from support.provider_bytes import answer
from support.running_gateway import gateway
from support.scripted_provider import fin, send, serve
from support.toy_protocol import TOY

MODELS = {
    "openai": "gpt-5.4",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-large-latest",
    "bedrock": "bedrock/amazon.nova-pro-v1:0",
}


@pytest.fixture(autouse=True)
def toy_row(monkeypatch):
    monkeypatch.setitem(OPERATIONS, TOY.name, TOY)


async def ask(running, *path, **members):
    caller = await Caller.connect(running.port)
    caller.send(post(json.dumps(members).encode(), *(path or ("/v1/toy",))))
    return await caller.answer()


@pytest.mark.parametrize("provider", MODELS)
def test_every_provider_answers_in_the_client_s_protocol(provider):
    async def main():
        async with gateway(names=(provider,)) as running:
            asked = {"model": MODELS[provider], "say": "hello there"}
            status, headers, body = await ask(running, **asked)
            assert (status, headers["x-nulpoint-provider"]) == (200, provider)
            assert json.loads(body)["said"]
            status, headers, body = await ask(running, **asked, stream=True)
            assert (status, headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
            lines = [line.removeprefix("data: ") for line in body.decode().splitlines() if line]
            said = "".join(line.removeprefix("text ") for line in lines if line.startswith("text "))
            assert said.split()
            assert lines[0].startswith("begin ")
            assert any(line.startswith("finish stop") for line in lines)
            assert any(line.startswith("usage ") for line in lines)
            assert lines[-1] == "end"
            records = [json.loads(line) for line in running.log().splitlines()]
            assert {(record["route"], record["provider"]) for record in records} == {("toy", provider)}
            assert all(record["usage"]["completion"] for record in records)

    run(main())


def test_errors_have_the_client_s_form():
    async def main():
        async with gateway({"GATEWAY_API_KEYS": "sk-gateway-1"}, names=("anthropic",)) as running:
            status, _, body = await ask(running, model="claude-haiku-4-5", say="hi")
            assert (status, list(json.loads(body))) == (401, ["oops", "about"])
            caller = await Caller.connect(running.port)
            caller.send(b"GET /v1/toy HTTP/1.1\r\nhost: x\r\n\r\n")
            status, _, body = await caller.answer()
            assert (status, list(json.loads(body))) == (405, ["oops", "about"])
        async with gateway({"MAX_BODY_BYTES": "1000"}, names=("anthropic",)) as running:
            status, _, body = await ask(running, model="claude-haiku-4-5", say=5)
            assert (status, json.loads(body)) == (400, {"oops": "`say` must be text", "about": "say"})
            status, _, body = await ask(running, model="claude-haiku-4-5", say="x" * 1000)
            assert (status, list(json.loads(body))) == (413, ["oops", "about"])

    run(main())


STREAM = b"".join(
    b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())
    for event in (
        {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "c",
                                              "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "half of"}},
    )
)  # fmt: skip


def test_a_stream_that_was_cut_ends_in_an_error_of_the_client_s_protocol():
    async def main():
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        provider = await serve([send(head + STREAM), fin()])
        settings = {"ANTHROPIC_API_KEY": "sk-configured-anthropic", "ANTHROPIC_BASE_URL": provider.url + "/v1"}
        async with gateway(settings, providers={}) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(b'{"model": "claude-haiku-4-5", "say": "hi", "stream": true}', "/v1/toy"))
            lines = [line for line in (await caller.rest()).decode().splitlines() if line.startswith("data:")]
            assert lines[-2] == "data: text half of"
            assert lines[-1].startswith("data: error ")
            assert "data: end" not in lines
        await provider.close()

    run(main())


def test_another_provider_takes_over_before_the_first_content():
    async def main():
        broken = await serve([send(answer(b'{"type":"error","error":{"message":"broken"}}', 500))] * 4)
        settings = {"ANTHROPIC_API_KEY": "sk-configured-anthropic", "ANTHROPIC_BASE_URL": broken.url + "/v1"}
        async with gateway(settings, names=("gemini",)) as running:
            status, headers, body = await ask(running, model="claude-haiku-4-5", say="hi", stream=True, fallbacks=None)
            assert (status, headers["x-nulpoint-provider"]) == (200, "gemini")
            assert body.endswith(b"data: end\n\n")
        await broken.close()

    run(main())


def test_responses_are_cached():
    async def main():
        async with gateway({"CACHE_MODE": "memory"}, names=("anthropic",)) as running:
            asked = {"model": "claude-haiku-4-5", "say": "hi"}
            first = await ask(running, **asked)
            again = await ask(running, **asked)
            assert (first[1]["x-cache"], again[1]["x-cache"], again[2]) == ("MISS", "HIT", first[2])
            streamed = [await ask(running, **asked, stream=True) for _ in range(2)]
            assert [one[1]["x-cache"] for one in streamed] == ["MISS", "MISS"]  # this protocol cannot convert them

    run(main())
