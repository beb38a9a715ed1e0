"""The mock providers speak each API as the real ones do."""

import asyncio
import json
import urllib.error
import urllib.request

import pytest

from conftest import run
from nulpoint.mock import MockSettings, SettingsError, faults, start

TOOL = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def fetch(url, body, headers):
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def ask(name, path, body, settings=None, **headers):
    async def main():
        server = await start(name, settings=settings)
        try:
            return await asyncio.to_thread(fetch, server.url + path, body, headers)
        finally:
            await server.close()

    return run(main())


ANTHROPIC = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
MESSAGE = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}


def events(raw):
    return [json.loads(line[6:]) for line in raw.decode().splitlines() if line.startswith("data: {")]


def test_anthropic():
    status, raw = ask("anthropic", "/v1/messages", MESSAGE, **ANTHROPIC)
    assert (status, json.loads(raw)["stop_reason"]) == (200, "end_turn")
    _, raw = ask("anthropic", "/v1/messages", {**MESSAGE, "stream": True, "tools": [TOOL]}, **ANTHROPIC)
    kinds = [event["type"] for event in events(raw)]
    assert (kinds[0], kinds[1], kinds[-2], kinds[-1]) == ("message_start", "ping", "message_delta", "message_stop")
    pieces = [e["delta"]["partial_json"] for e in events(raw) if e.get("delta", {}).get("type") == "input_json_delta"]
    assert pieces[0] == ""
    assert json.loads("".join(pieces)) == {"city": "text"}
    assert b"[DONE]" not in raw
    assert ask("anthropic", "/v1/messages", MESSAGE, **{"x-api-key": "k"})[0] == 400
    assert json.loads(ask("anthropic", "/v1/messages", MESSAGE)[1])["error"]["type"] == "authentication_error"


def test_gemini():
    key = {"x-goog-api-key": "k"}
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    status, raw = ask("gemini", "/v1beta/models/g:generateContent", body, **key)
    assert (status, json.loads(raw)["candidates"][0]["finishReason"]) == (200, "STOP")
    _, raw = ask("gemini", "/v1beta/models/g:streamGenerateContent?alt=sse", body, **key)
    assert raw.count(b"\r\n\r\n") == 11
    assert b"[DONE]" not in raw
    batch = {"requests": [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 4}] * 2}
    _, raw = ask("gemini", "/v1beta/models/g:batchEmbedContents", batch, **key)
    assert [len(one["values"]) for one in json.loads(raw)["embeddings"]] == [4, 4]
    status, raw = ask("gemini", "/v1beta/models/g:generateContent", body)
    assert (status, json.loads(raw)["error"]["details"][0]["reason"]) == (400, "API_KEY_INVALID")


def test_mistral():
    key = {"Authorization": "Bearer k"}
    body = {"model": "mistral-large-latest", "messages": [{"role": "user", "content": "x"}]}
    assert ask("mistral", "/v1/chat/completions", {**body, "store": True}, **key)[0] == 422
    assert (
        ask(
            "mistral", "/v1/chat/completions", {**body, "messages": [{"role": "tool", "tool_call_id": "call_1"}]}, **key
        )[0]
        == 400
    )
    _, raw = ask("mistral", "/v1/chat/completions", {**body, "stream": True}, **key)
    assert events(raw)[-1]["usage"]["total_tokens"] > 0
    assert events(raw)[-1]["choices"][0]["finish_reason"] == "stop"


def test_the_same_requests_get_the_same_answers():
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
    key = {"Authorization": "Bearer k"}
    settings = MockSettings(error_rate=0.5, seed=7, stream_words=3)
    assert ask("openai", "/v1/chat/completions", body, settings, **key) == ask(
        "openai", "/v1/chat/completions", body, settings, **key
    )


def test_faults_by_admin_call_and_header():
    async def main():
        server = await start("openai")
        key = {"Authorization": "Bearer k"}

        def call(path, body, **headers):
            return asyncio.to_thread(fetch, server.url + path, body, {**key, **headers})

        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
        assert (await call("/mock/fault", {"fault": "status", "arg": 503, "count": 1}))[0] == 200
        assert (await call("/v1/chat/completions", body))[0] == 503
        assert (await call("/v1/chat/completions", body))[0] == 200
        assert (await call("/v1/chat/completions", body, **{"x-mock-fault": "rate_limit=3"}))[0] == 429
        assert (await call("/v1/chat/completions", body, **{"x-mock-fault": "nonsense"}))[0] == 400
        assert (await call("/mock/fault", {"fault": "nonsense"}))[0] == 400
        stats = json.loads((await call("/mock/stats", None))[1])
        assert stats["requests"] == 4
        assert stats["last_request"]["path"] == "/v1/chat/completions"
        await server.close()

    run(main())


def test_settings():
    assert MockSettings.from_environment({"MOCK_LATENCY_MS": "5", "MOCK_SEED": "9"}).seed == 9
    with pytest.raises(SettingsError, match=r"MOCK_ERROR_RATE(.|\n)*MOCK_STREAM_WORDS"):
        MockSettings.from_environment({"MOCK_ERROR_RATE": "2", "MOCK_STREAM_WORDS": "x"})


@pytest.mark.parametrize("name", faults.FAULTS)
def test_every_fault_can_be_made(name):
    assert faults.parse(name).name == name
