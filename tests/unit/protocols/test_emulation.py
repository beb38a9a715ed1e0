"""Tests that emulated features are restored in the response, complete or streamed, at any split of the stream."""

import json
from datetime import date

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from nulpoint.mock.settings import MockSettings
from support.chat_codec import CODECS
from support.event_loop import run
from support.request_table import CUSTOM, FORMAT, HI, TOOL
from support.running_gateway import gateway

OLD, WHILE_OLD_LIVED = "claude-3-5-haiku-latest", date(2026, 1, 31)
MODELS = {"anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash", "mistral": "mistral-large-latest"}


def anthropic_response(*calls):
    blocks = [
        {"type": "tool_use", "id": f"t{index}", "name": name, "input": arguments}
        for index, (name, arguments) in enumerate(calls)
    ]
    return {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": blocks, "stop_reason": "tool_use",
            "usage": {"input_tokens": 1, "output_tokens": 2}}  # fmt: skip


def anthropic_events(response):
    yield {"type": "message_start", "message": {**response, "content": [], "stop_reason": None}}
    for index, block in enumerate(response["content"]):
        text = json.dumps(block["input"])
        yield {"type": "content_block_start", "index": index, "content_block": {**block, "input": {}}}
        for piece in ("", text[:7], text[7:]):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}}
    yield {"type": "message_stop"}


def decoded(model, request, *calls, provider="anthropic"):
    """Return the choice of a complete response with these calls, and the chunks of its stream.

    The stream is fed in pieces of several sizes, which must all give the same chunks.
    """
    codec = CODECS[provider].answering(json.dumps({"model": model, "messages": HI, **request}).encode(), model)
    assert codec.emulation.any() or codec.request.conversation.has_legacy_functions()
    response = anthropic_response(*calls)
    completion = codec.decode(json.dumps(response).encode(), 0)
    ChatCompletion.model_validate_json(completion, strict=True)
    body = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in anthropic_events(response))
    streamed = {streamed_in(codec, body, size) for size in (1, 7, len(body))}
    assert len(streamed) == 1
    return json.loads(completion)["choices"][0], list(map(json.loads, streamed.pop()))


def streamed_in(codec, body, size):
    stream = codec.stream(0, True)
    out = b"".join(stream.feed(body[at : at + size]) for at in range(0, len(body), size)) + stream.close()
    assert stream.finished()
    assert stream.failure is None
    assert stream.metadata().usage.completion == 2
    *events, done = [line[6:] for line in out.decode().split("\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    return tuple(events)


def test_a_schema_for_an_older_model_comes_back_as_content():
    choice, chunks = decoded(OLD, {"response_format": FORMAT}, ("place", {"city": "Oslo"}))
    assert (json.loads(choice["message"]["content"]), choice["finish_reason"]) == ({"city": "Oslo"}, "stop")
    assert "tool_calls" not in choice["message"]
    deltas = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert json.loads("".join(choice["delta"].get("content") or "" for choice in deltas)) == {"city": "Oslo"}
    assert not any("tool_calls" in choice["delta"] for choice in deltas)
    assert deltas[-1]["finish_reason"] == "stop"
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)


def test_custom_calls_come_back_as_custom_calls():
    calls = ("shell", {"input": 'ls "é"'}), ("weather", {"city": "Oslo"}), ("shell", {"input": "pwd"})
    choice, chunks = decoded(MODELS["anthropic"], {"tools": [CUSTOM, TOOL]}, *calls)
    shown = [
        call["custom"]["input"] if call["type"] == "custom" else call["type"]
        for call in choice["message"]["tool_calls"]
    ]
    assert shown == ['ls "é"', "function", "pwd"]
    assert choice["finish_reason"] == "tool_calls"
    fragments = [
        call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", [])
    ]
    assert [(call["index"], call["custom"]) for call in fragments if "custom" in call] == [
        (0, {"name": "shell", "input": 'ls "é"'}),
        (2, {"name": "shell", "input": "pwd"}),
    ]
    text = "".join(call["function"]["arguments"] for call in fragments if "function" in call)
    assert json.loads(text) == {"city": "Oslo"}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]][-1] == "tool_calls"


def test_clients_that_send_functions_get_function_call():
    choice, chunks = decoded(MODELS["anthropic"], {"functions": [TOOL["function"]]}, ("weather", {"city": "Oslo"}))
    message = choice["message"]
    assert message["function_call"] == {"name": "weather", "arguments": '{"city":"Oslo"}', "id": "t0"}
    assert (choice["finish_reason"], "tool_calls" in message) == ("function_call", False)
    deltas = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    pieces = [choice["delta"]["function_call"] for choice in deltas if "function_call" in choice["delta"]]
    assert pieces[0]["name"] == "weather"
    assert json.loads("".join(piece["arguments"] for piece in pieces)) == {"city": "Oslo"}
    assert deltas[-1]["finish_reason"] == "function_call"
    messages = [*HI, message, {"role": "function", "name": "weather", "content": "rain"}]
    request = json.dumps({"messages": messages, "functions": [TOOL["function"]]}).encode()
    sent = json.loads(CODECS["anthropic"].encode(request, MODELS["anthropic"]).body)
    assert [block["tool_use_id"] for block in sent["messages"][2]["content"]] == ["t0"]


def test_cut_custom_input_is_returned_unchanged():
    codec = CODECS["mistral"].answering(json.dumps({"messages": HI, "tools": [CUSTOM]}).encode(), "m")
    call = {"id": "abcdefghi", "function": {"name": "shell", "arguments": '{"input": "l'}}
    answer = {
        "id": "x",
        "choices": [{"index": 0, "message": {"content": "", "tool_calls": [call]}, "finish_reason": "length"}],
    }
    choice = json.loads(codec.decode(json.dumps(answer).encode(), 0))["choices"][0]
    assert choice["message"]["tool_calls"][0]["custom"] == {"name": "shell", "input": '{"input": "l'}
    assert choice["finish_reason"] == "length"


@pytest.mark.parametrize("provider", MODELS)
def test_the_official_sdk_end_to_end(provider):
    model = MODELS[provider]

    async def main():
        async with gateway(names=(provider,), mock=MockSettings(today=WHILE_OLD_LIVED)) as running:
            client = openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0)
            await custom(client)
            await legacy(client)
            if provider == "anthropic":
                await schema(client)
            await client.close()

    async def custom(client):
        answer = await client.chat.completions.create(model=model, messages=HI, tools=[CUSTOM])
        message = answer.choices[0].message
        (call,) = message.tool_calls
        assert (call.type, call.custom.name, answer.choices[0].finish_reason) == ("custom", "shell", "tool_calls")
        messages = [
            *HI,
            message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "42"},
        ]
        last = await client.chat.completions.create(model=model, messages=messages, tools=[CUSTOM])
        assert last.choices[0].message.content

    async def legacy(client):
        functions = [TOOL["function"]]
        answer = await client.chat.completions.create(model=model, messages=HI, functions=functions)
        message = answer.choices[0].message
        assert (message.function_call.name, answer.choices[0].finish_reason) == ("weather", "function_call")
        said = {"role": "function", "name": "weather", "content": "rain"}
        messages = [*HI, message.model_dump(exclude_none=True), said]
        last = await client.chat.completions.create(model=model, messages=messages, functions=functions)
        assert last.choices[0].message.content
        stream = await client.chat.completions.create(model=model, messages=HI, functions=functions, stream=True)
        chunks = [chunk async for chunk in stream]
        calls = [chunk.choices[0].delta.function_call for chunk in chunks if chunk.choices]
        assert [call.name for call in calls if call and call.name] == ["weather"]
        json.loads("".join(call.arguments for call in calls if call))

    async def schema(client):
        answer = await client.chat.completions.create(model=OLD, messages=HI, response_format=FORMAT)
        assert set(json.loads(answer.choices[0].message.content)) >= {"city"}
        stream = await client.chat.completions.create(model=OLD, messages=HI, response_format=FORMAT, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert set(json.loads(text)) >= {"city"}

    run(main())
