"""Tests the Anthropic codec with tables of requests, and end to end with the official SDK."""

import json

import openai
import pytest

from nulpoint.errors import Failure
from support.chat_codec import CODECS
from support.event_loop import run
from support.running_gateway import gateway

MODEL = "claude-haiku-4-5"
HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}

TURN = [*HI, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c1", "content": "1"}]


def user_file(data):
    return [{"role": "user", "content": [{"type": "file", "file": {"file_data": data, "filename": "a"}}]}]


def encoded(model=MODEL, **members):
    body, dropped, _ = CODECS["anthropic"].encode(json.dumps({"model": "x", "messages": HI, **members}).encode(), model)
    return json.loads(body), dropped


@pytest.mark.parametrize(
    ("members", "sent"),
    [
        ({}, {"max_tokens": 64_000, "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}),
        ({"max_completion_tokens": 5, "max_tokens": 5}, {"max_tokens": 5}),
        ({"stop": ["a", "b"], "temperature": 0.5}, {"stop_sequences": ["a", "b"], "temperature": 0.5}),
        ({"tools": [TOOL]}, {"tools": [{"name": "f", "input_schema": {"type": "object"}}]}),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
        (
            {"tools": [TOOL], "parallel_tool_calls": False},
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tool_choice": {"type": "tool", "name": "f"}},
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}},
            {
                "output_config": {
                    "format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}
                }
            },
        ),
        ({"reasoning_effort": "low"}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ({"user": "u1"}, {"metadata": {"user_id": "u1"}}),
        ({"top_k": 3, "container": {"id": "x"}}, {"top_k": 3, "container": {"id": "x"}}),
        ({"service_tier": "default", "stream": True}, {"service_tier": "standard_only", "stream": True}),
    ],
)
def test_requests(members, sent):
    body, dropped = encoded(**members)
    assert {name: body.get(name) for name in sent} == sent
    assert dropped == []
    assert body["model"] == MODEL


def test_reasoning_by_model():
    body, dropped = encoded("claude-opus-4-7", reasoning_effort="high", temperature=0.2)
    assert (body["thinking"], body["output_config"]) == (SHOWN, {"effort": "high"})
    assert dropped == ["temperature"]
    body, dropped = encoded("claude-3-5-haiku-latest", reasoning_effort="high")
    assert "thinking" not in body
    assert dropped == ["reasoning_effort"]
    assert body["max_tokens"] == 8192


SHOWN = {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("model", "members", "thinking", "dropped"),
    [
        ("claude-sonnet-4-5", {}, {"type": "enabled", "budget_tokens": 24_576}, []),
        ("claude-sonnet-4-5", {"max_tokens": 10_000}, {"type": "enabled", "budget_tokens": 5_000}, []),
        ("claude-sonnet-4-5", {"max_tokens": 2_047}, None, ["reasoning_effort"]),
        ("claude-sonnet-4-5", {"tools": [TOOL], "tool_choice": "required"}, None, ["reasoning_effort"]),
        ("claude-opus-4-6", {"tools": [TOOL], "tool_choice": "required"}, None, ["reasoning_effort"]),
        ("claude-opus-4-8", {"tools": [TOOL], "tool_choice": "required"}, SHOWN, []),
        ("claude-sonnet-4-5", {"messages": [*HI, {"role": "assistant", "content": "So"}]}, None, ["reasoning_effort"]),
        ("claude-sonnet-4-5", {"messages": TURN, "tools": [TOOL]}, None, ["reasoning_effort"]),
        ("claude-opus-4-6", {"messages": TURN, "tools": [TOOL]}, {"type": "adaptive"}, []),
        ("claude-opus-4-6", {"thinking": {"type": "disabled"}}, {"type": "disabled"}, []),
    ],
)
def test_thinking_only_where_it_is_accepted(model, members, thinking, dropped):
    """The budget never exceeds the client's limit, and a turn that began without thinking continues without it."""
    body, lost = encoded(model, reasoning_effort="high", **members)
    assert (body.get("thinking"), lost) == (thinking, dropped)
    assert body["max_tokens"] == members.get("max_tokens", body["max_tokens"])


@pytest.mark.parametrize(
    ("model", "thinking", "config"),
    [
        ("claude-opus-5", {"type": "disabled"}, None),
        ("claude-haiku-5-5", {"type": "disabled"}, None),
        ("claude-opus-5-5", None, {"effort": "low"}),  # these models reject `disabled` with 400
        ("claude-sonnet-5-5", {"type": "between_tools"}, None),
        ("claude-fable-5-2", None, {"effort": "low"}),
    ],
)
def test_thinking_that_cannot_be_turned_off_is_low(model, thinking, config):
    body, dropped = encoded(model, reasoning_effort="none")
    assert (body.get("thinking"), body.get("output_config")) == (thinking, config)
    assert dropped == (["reasoning_effort"] if config else [])


def test_dropped_members_are_reported():
    _, dropped = encoded(seed=1, logit_bias={"1": 2}, logprobs=True, n=1, store=False, frequency_penalty=0)
    assert sorted(dropped) == ["logit_bias", "logprobs", "seed"]


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"n": 2}, "n"),
        ({"temperature": 1.5}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {
                "messages": [
                    *HI,
                    {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "[1]"}}]},
                    {"role": "tool", "tool_call_id": "c1", "content": ""},
                ]
            },
            "messages[1].tool_calls[0].function.arguments",
        ),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"functions": [{}]}, "functions[0]"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0]"),
        ({"messages": user_file("data:application/zip;base64,AA==")}, "messages[0].content.file.file_data"),
        ({"messages": user_file("data:text/plain;base64,/w==")}, "messages[0].content.file.file_data"),
        ({"messages": user_file("JVBER")}, "messages[0].content.file.file_data"),
        ({"messages": user_file(None)}, "messages[0].content.file.file_data"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/bmp;base64,AA=="}]}
                ]
            },
            "messages[0].content.image_url",
        ),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ],
)
def test_wrong_requests_name_the_member(members, param):
    with pytest.raises(Failure) as caught:
        encoded(**members)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_system_messages_tool_results_and_media():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"}}
    body, _ = encoded(
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": [{"type": "text", "text": "and kind", "cache_control": {"type": "x"}}]},
            {"role": "user", "content": [image, {"type": "text", "text": "look"}, file]},
            {"role": "assistant", "content": "", "tool_calls": [CALL, {**CALL, "id": "c2"}]},
            {"role": "tool", "tool_call_id": "c2", "content": "two"},
            {"role": "user", "content": "go on"},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "one"}]},
        ]
    )
    assert [block["text"] for block in body["system"]] == ["be brief", "and kind"]
    assert body["system"][1]["cache_control"] == {"type": "x"}
    user, assistant, results = body["messages"]
    assert user["content"][0]["source"] == {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert user["content"][2]["title"] == "a.pdf"
    assert [block["type"] for block in assistant["content"]] == ["tool_use", "tool_use"]
    assert [block["type"] for block in results["content"]] == ["tool_result", "tool_result", "text"]


LATER = [*HI, {"role": "assistant", "content": "yes"}, {"role": "system", "content": "brief"}, *HI]


@pytest.mark.parametrize(
    ("model", "messages", "roles"),
    [
        ("claude-opus-4-8", LATER, "user assistant user system"),
        ("claude-fable-5", LATER, "user assistant user system"),
        ("claude-opus-4-8", [{"role": "system", "content": "brief"}, *HI], "user"),
        (
            "claude-opus-4-8",
            [*HI, {"role": "system", "content": "a"}, {"role": "developer", "content": "b"}],
            "user system",
        ),
        ("claude-opus-4-8", [*HI, LATER[1], LATER[2], LATER[1], *HI], "user assistant user assistant user"),
        ("claude-opus-4-8", LATER[:3], "user assistant user"),
        ("claude-sonnet-5", LATER, "user assistant user"),
        ("claude-sonnet-4-5", LATER, "user assistant user"),
    ],
)
def test_later_system_messages_stay_in_their_place(model, messages, roles):
    """They follow the user's turn, or are part of it where the model takes none there or there is no such turn."""
    body, dropped = encoded(model, messages=messages)
    assert [turn["role"] for turn in body["messages"]] == roles.split()
    assert ("system" in body) == (messages[0]["role"] == "system")
    if "system" not in (*roles.split(), *body):
        texts = [block["text"] for block in body["messages"][2]["content"]]
        assert texts[0] == "<system-message>\nbrief\n</system-message>"
    assert dropped == []


def test_tools_of_a_conversation_are_declared_but_not_called():
    body, dropped = encoded(messages=TURN)
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]
    assert (body["tool_choice"], dropped) == ({"type": "none"}, [])


def test_unusual_conversations_are_translated():
    cut = {**CALL, "id": "é", "function": {"name": "f", "arguments": '{"a":'}}
    messages = [*HI, {"role": "assistant", "content": " ", "tool_calls": [cut]},
                {"role": "tool", "tool_call_id": "é", "content": " ", "is_error": True, "cache_control": {"type": "ephemeral"}}]  # fmt: skip
    body, _ = encoded(messages=messages, tools=[TOOL])
    (use,), (result,) = [turn["content"] for turn in body["messages"][1:]]
    assert use["input"] == {"INVALID_JSON": '{"a":'}
    assert use["id"] == result["tool_use_id"]
    assert result == {"type": "tool_result", "tool_use_id": use["id"], "content": " ", "is_error": True,
                      "cache_control": {"type": "ephemeral"}}  # fmt: skip
    body, _ = encoded(messages=[*HI, {"role": "assistant", "content": "So: \n"}])
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "So:"}]


def test_anthropic_members_replace_translated_members():
    members = {
        "output_config": {"task_budget": {"type": "tokens", "total": 1}},
        "metadata": {"user_id": "a"},
        "user": "b",
    }
    body, dropped = encoded("claude-opus-4-6", reasoning_effort="low", **members)
    assert body["output_config"] == {"effort": "low", **members["output_config"]}
    assert (body["metadata"], dropped) == ({"user_id": "a"}, ["user"])
    file = {"type": "file", "file": {"file_id": "file_011"}}
    own = {"type": "search_result", "source": "s", "title": "t", "content": []}
    body, _ = encoded(messages=[{"role": "user", "content": [file, own]}])
    assert body["messages"][0]["content"] == [
        {"type": "document", "source": {"type": "file", "file_id": "file_011"}},
        own,
    ]


def test_results_in_anthropic_format_pass_unchanged():
    own = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "1"}]}
    body, _ = encoded(messages=[*HI, {"role": "assistant", "tool_calls": [CALL]}, own], tools=[TOOL])
    assert body["messages"][2] == own


def test_web_search_becomes_a_tool():
    place = {"type": "approximate", "approximate": {"city": "Oslo"}}
    body, _ = encoded(web_search_options={"user_location": place}, tools=[TOOL])
    assert body["tools"][1] == {"type": "web_search_20250305", "name": "web_search",
                                "user_location": {"type": "approximate", "city": "Oslo"}}  # fmt: skip
    _, dropped = encoded(web_search_options={}, tools=[TOOL], tool_choice="none")
    assert dropped == ["web_search_options"]


def test_thinking_comes_back_exactly_in_the_next_turn():
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "so"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
    ]
    answer = {"id": "m", "type": "message", "role": "assistant", "model": MODEL, "content": blocks,
              "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 2}}  # fmt: skip
    message = json.loads(CODECS["anthropic"].decode(json.dumps(answer).encode(), 0))["choices"][0]["message"]
    assert message["reasoning_content"] == "hm"
    result = {"role": "tool", "tool_call_id": "c1", "content": "ok"}
    body, dropped = encoded(messages=[*HI, message, result])
    assert body["messages"][1]["content"] == blocks
    assert dropped == []
    body, dropped = encoded(messages=[*HI, {**message, "content": "changed"}, result])
    assert [block["type"] for block in body["messages"][1]["content"]] == ["text", "tool_use"]
    assert dropped == ["messages.reasoning_content"]


@pytest.mark.parametrize(
    ("kind", "status"), [("overloaded_error", 502), ("rate_limit_error", 429), ("invalid_request_error", 400)]
)
def test_an_error_event_is_a_failure_of_its_kind(kind, status):
    stream = CODECS["anthropic"].stream(0, False)
    event = {"type": "error", "error": {"type": kind, "message": "no"}}
    assert stream.feed(b"event: error\ndata: " + json.dumps(event).encode() + b"\n\n") == b""
    assert not stream.finished()
    assert (stream.failure.status, stream.failure.message) == (status, "no")


@pytest.mark.parametrize("event", ["{", "[]", '{"type":"content_block_delta","index":7,"delta":{}}'])
def test_malformed_event_is_a_failure(event):
    stream = CODECS["anthropic"].stream(0, False)
    stream.feed(f"data: {event}\n\n".encode())
    assert stream.failure.code == "provider_malformed"


def test_the_official_sdk_end_to_end():
    async def main():
        async with gateway({"MAX_RETRIES": "1", "CB_ERROR_THRESHOLD": "1000"}, names=("anthropic",)) as running:
            client = openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0)
            answer = await client.chat.completions.create(model=MODEL, messages=HI)
            assert answer.choices[0].message.content
            assert answer.choices[0].finish_reason == "stop"
            assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
            stream = await client.chat.completions.create(
                model=MODEL, messages=HI, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
            assert chunks[-1].usage.total_tokens > 0
            await tool_loop(client)
            for fault, error in (("rate_limit=3", openai.RateLimitError), ("status=500", openai.InternalServerError)):
                running.mocks["anthropic"].set_fault(*fault.split("=")[:1], arg=float(fault.split("=")[1]))
                with pytest.raises(error):
                    await client.chat.completions.create(model=MODEL, messages=HI)
            for fault in ("error_mid_stream", "cut_mid_stream", "end_mid_stream"):
                running.mocks["anthropic"].set_fault(fault)
                with pytest.raises(openai.APIError):
                    stream = await client.chat.completions.create(model=MODEL, messages=HI, stream=True)
                    [chunk async for chunk in stream]
            running.mocks["anthropic"].clear()
            await strictness(client)
            await client.close()

    async def tool_loop(client):
        messages = list(HI)
        for turn in range(3):
            answer = await client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
            message = answer.choices[0].message
            assert answer.choices[0].finish_reason == "tool_calls"
            messages.append(message.model_dump(exclude_none=True))
            messages += [{"role": "tool", "tool_call_id": call.id, "content": "42"} for call in message.tool_calls]
            last = await client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
            assert last.choices[0].message.content
            messages += [last.choices[0].message.model_dump(exclude_none=True), {"role": "user", "content": f"{turn}"}]

    async def strictness(client):
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=HI, seed=1)
        assert raw.headers["x-nulpoint-dropped"] == "seed"
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(
                model=MODEL, messages=HI, seed=1, extra_headers={"x-nulpoint-strict": "true"}
            )
        assert caught.value.param == "seed"
        assert "anthropic" in caught.value.message

    run(main())


def test_legacy_completions_through_the_codec():
    async def main():
        async with gateway({"MAX_RETRIES": "1", "CB_ERROR_THRESHOLD": "1000"}, names=("anthropic",)) as running:
            client = openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0)
            whole = await client.completions.create(model=MODEL, prompt="hi")
            assert whole.choices[0].text
            stream = await client.completions.create(model=MODEL, prompt="hi", stream=True)
            assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text
            await client.close()

    run(main())
