"""Hosts of OpenAI's chat format get what they accept, at the socket: with a scripted host in place of each."""

import json

import pytest

from support.event_loop import run
from support.http_client import Caller, post
from support.provider_bytes import answer
from support.running_gateway import gateway
from support.scripted_provider import send, serve

ANSWER = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello", "reasoning": "hm"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip
FROM_CLAUDE = [
    {"role": "user", "content": "hi"},
    {
        "role": "assistant", "content": "a", "reasoning_content": "r",
        "provider_specific_fields": {"anthropic": {"content": [{"type": "thinking", "thinking": "r", "signature": "s"}]}},
    },
    {"role": "user", "content": "go"},
]  # fmt: skip
PLAIN = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "go"}]


def exchange(directory, name, config="", headers=(), **members):
    """Return what the client got (status, headers, body), and the request of the host: None if it got none."""
    provider, _, _ = name.partition("/")

    async def main():
        host = await serve([send(answer(json.dumps(ANSWER).encode()))])
        (directory / "config.yaml").write_text(config)
        settings = {f"{provider.upper()}_API_KEY": "sk-1234567", f"{provider.upper()}_BASE_URL": f"{host.url}/v1"}
        async with gateway(settings, providers={}, directory=directory) as running:
            caller = await Caller.connect(running.port)
            body = json.dumps({"model": name, "messages": PLAIN, **members}).encode()
            caller.send(post(body, "/v1/chat/completions", *headers))
            got = await caller.answer()
        received = host.requests
        await host.close()
        return got, received[0].partition(b"\r\n\r\n")[2] if received else None

    return run(main())


@pytest.mark.parametrize("name", ["groq/openai/gpt-oss-120b", "cerebras/gpt-oss-120b", "fireworks/accounts/a/models/m"])
def test_a_host_that_rejects_unknown_members_gets_a_conversation_of_claude(tmp_path, name):
    (status, headers, body), received = exchange(tmp_path, name, messages=FROM_CLAUDE)
    assert status == 200
    assert json.loads(received)["messages"] == PLAIN
    assert headers["x-nulpoint-dropped"] == "messages.reasoning_content"
    assert json.loads(body) == ANSWER  # the names of the host


def test_a_strict_client_gets_an_error_instead(tmp_path):
    (status, _, body), received = exchange(
        tmp_path, "groq/m", messages=FROM_CLAUDE, headers=["x-nulpoint-strict: true"]
    )
    assert (status, received) == (400, None)
    assert json.loads(body)["error"]["param"] == "messages.reasoning_content"


def test_a_limit_that_the_host_would_ignore_gets_its_name(tmp_path):
    (_, headers, _), received = exchange(tmp_path, "deepseek/deepseek-flash", max_completion_tokens=5)
    assert json.loads(received)["max_tokens"] == 5
    assert b"max_completion_tokens" not in received
    assert "x-nulpoint-dropped" not in headers


def test_a_request_with_nothing_to_change_keeps_its_bytes(tmp_path):
    _, received = exchange(tmp_path, "groq/m", top_k=3, temperature=0.5)
    assert received == json.dumps({"model": "m", "messages": PLAIN, "top_k": 3, "temperature": 0.5}).encode()


def test_a_model_without_tools_in_chat_says_so_itself(tmp_path):
    tools = [{"type": "function", "function": {"name": "f"}}]
    (status, _, body), received = exchange(tmp_path, "openai/gpt-6.2-sol", tools=tools)
    assert (status, received) == (400, None)
    assert "choose another model" in json.loads(body)["error"]["message"]
    fact = "models: {openai/gpt-6.2-sol: {chat_tools: always}}\n"
    (status, _, _), received = exchange(tmp_path, "openai/gpt-6.2-sol", fact, tools=tools)
    assert status == 200
    assert json.loads(received)["tools"] == tools


def test_a_record_of_the_users_own_has_a_dialect(tmp_path):
    config = "providers: [{name: groq, dialect: {reasoning: reasoning_content, accepts: {}}}]\n"
    (_, headers, _), received = exchange(
        tmp_path, "groq/m", config, messages=[{"role": "assistant", "content": "a", "reasoning": "r", "name": "n"}]
    )
    assert json.loads(received)["messages"] == [
        {"role": "assistant", "content": "a", "name": "n", "reasoning_content": "r"}
    ]
    assert "x-nulpoint-dropped" not in headers


def test_completions_of_a_host_with_chat_only_are_adapted_as_well(tmp_path):
    async def main():
        host = await serve([send(answer(json.dumps(ANSWER).encode()))])
        settings = {"DEEPSEEK_API_KEY": "sk-1234567", "DEEPSEEK_BASE_URL": f"{host.url}/v1"}
        async with gateway(settings, providers={}, directory=tmp_path) as running:
            caller = await Caller.connect(running.port)
            asked = {"model": "deepseek/deepseek-flash", "prompt": "hi", "max_tokens": 5, "presence_penalty": 1}
            caller.send(post(json.dumps(asked).encode(), "/v1/completions"))
            _, headers, _ = await caller.answer()
        (received,) = host.requests
        await host.close()
        return headers, json.loads(received.partition(b"\r\n\r\n")[2])

    headers, received = run(main())
    assert received["max_tokens"] == 5
    assert headers["x-nulpoint-dropped"] == "presence_penalty"
