"""Completions of a host with OpenAI's format that has only chat: what it gets, and what the client gets back."""

import json

import openai
import pytest

from support.event_loop import run
from support.http_client import Caller, post
from support.provider_bytes import LAST_CHUNK, STREAM_HEAD, answer, chunks, event
from support.running_gateway import gateway
from support.scripted_provider import send, serve

CONFIG = """
providers:
  - name: own
    base_url: {url}/v1
    key_env: OWN_KEY
    rename: {{max_tokens: max_completion_tokens}}
    drop: [user]
"""
ASKED = {"model": "own/m", "prompt": "hi", "max_tokens": 5, "user": "u", "logprobs": 2, "top_k": 3}
FRAME = {"id": "chatcmpl-1", "created": 7, "model": "m-1"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "cost": 0.5}
CUSTOM = {"id": "c", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
MESSAGE = {
    "role": "assistant",
    "content": "hello",
    "reasoning_content": "hm",
    "tool_calls": [CUSTOM],
    "new": {"a": [1]},
}
CHOICE = {"index": 0, "message": MESSAGE, "finish_reason": "stop", "seed": 9}
WHOLE = {**FRAME, "object": "chat.completion", "choices": [CHOICE], "usage": USAGE, "system_fingerprint": "fp"}
HEAD = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m-1"}


def piece(delta, finish=None, **more):
    return {
        **FRAME,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }


EVENTS = [
    piece({"role": "assistant", "content": ""}), piece({"content": "hel"}), piece({"content": "lo", "new": 1}),
    piece({"tool_calls": [{"index": 0, **CUSTOM}]}), piece({}, "stop", system_fingerprint="fp"),
    {**FRAME, "object": "chat.completion.chunk", "choices": [], "usage": USAGE},
]  # fmt: skip
STREAM = (
    STREAM_HEAD
    + b"".join(chunks([event(json.dumps(one).encode()) for one in EVENTS] + [event(b"[DONE]")]))
    + LAST_CHUNK
)


def exchange(directory, response, **members):
    """Return what the client got (status, headers, body), the path that the host got, and the request."""

    async def main():
        host = await serve([send(response)])
        (directory / "config.yaml").write_text(CONFIG.format(url=host.url))
        async with gateway({"OWN_KEY": "sk-own-key-1"}, providers={}, directory=directory) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(json.dumps({**ASKED, **members}).encode(), "/v1/completions"))
            got = await caller.answer()
        (received,) = host.requests
        await host.close()
        head, _, body = received.partition(b"\r\n\r\n")
        return got, head.split()[1].decode(), json.loads(body)

    return run(main())


def test_the_host_gets_a_chat_and_the_client_a_completion(tmp_path):
    (status, headers, body), path, sent = exchange(tmp_path, answer(json.dumps(WHOLE).encode()))
    assert path == "/v1/chat/completions"
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert sent == {**chat, "max_completion_tokens": 5, "top_k": 3}
    assert (status, headers["x-nulpoint-dropped"]) == (200, "logprobs,user")
    members = {"reasoning_content": "hm", "tool_calls": [CUSTOM], "new": {"a": [1]}, "seed": 9}
    choice = {"index": 0, "text": "hello", "logprobs": None, "finish_reason": "stop", **members}
    made = json.loads(body)
    assert made.pop("created") > 0
    assert made == {"id": "cmpl-1", "object": "text_completion", "model": "m-1", "choices": [choice], "usage": USAGE,
                    "system_fingerprint": "fp"}  # fmt: skip
    openai.types.Completion.model_validate_json(body)


@pytest.mark.parametrize("options", [None, {"include_usage": True}, {"include_usage": False, "other": 1}])
def test_the_host_gets_a_chat_and_the_client_a_stream_of_completions(tmp_path, options):
    asked = {} if options is None else {"stream_options": options}
    (status, headers, body), path, sent = exchange(tmp_path, STREAM, stream=True, **asked)
    assert (path, sent["stream"], sent["messages"]) == (
        "/v1/chat/completions", True, [{"role": "user", "content": "hi"}],
    )  # fmt: skip
    assert sent["stream_options"] == {**(options or {}), "include_usage": True}
    assert (sent["max_completion_tokens"], "max_tokens" in sent, "user" in sent, "logprobs" in sent) == (
        5,
        *[False] * 3,
    )
    assert (status, headers["x-nulpoint-dropped"]) == (200, "logprobs,user")
    *events, done = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    assert done == "[DONE]"
    made = list(map(json.loads, events))
    shows_usage = (options or {}).get("include_usage", False)
    assert [one["usage"] for one in made if one.get("usage")] == ([USAGE] if shows_usage else [])
    assert all(
        one.items() >= {name: value for name, value in HEAD.items() if name != "created"}.items() for one in made
    )
    choices = [one["choices"][0] for one in made if one["choices"]]
    assert "".join(choice["text"] for choice in choices) == "hello"
    assert [choice["tool_calls"] for choice in choices if "tool_calls" in choice] == [[{"index": 0, **CUSTOM}]]
    last = made[-2] if shows_usage else made[-1]
    assert (last["system_fingerprint"], last["choices"][0]["new"], last["choices"][0]["finish_reason"]) == (
        "fp",
        1,
        "stop",
    )


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_chat_cannot_express_is_rejected_before_the_host_is_asked(tmp_path, stream):
    async def main():
        host = await serve([send(STREAM)])
        (tmp_path / "config.yaml").write_text(CONFIG.format(url=host.url))
        async with gateway({"OWN_KEY": "sk-own-key-1"}, providers={}, directory=tmp_path) as running:
            caller = await Caller.connect(running.port)
            body = json.dumps({**ASKED, "stream": stream, "suffix": "b"}).encode()
            caller.send(post(body, "/v1/completions"))
            status, _, body = await caller.answer()
            error = json.loads(body)["error"]
            assert (status, error["param"], error["code"]) == (400, "suffix", "unsupported_parameter")
        assert host.requests == []
        await host.close()

    run(main())
