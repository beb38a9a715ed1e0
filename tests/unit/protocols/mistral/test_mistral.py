"""The Mistral protocol: requests as tables, and the official SDK end to end against a mock as strict as the real one."""

import json
import re

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.protocols.mistral.response import parse
from support.chat_codec import CODECS
from support.event_loop import run
from support.running_gateway import gateway

MODEL = "mistral-large-latest"
HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "call_abc", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def encoded(model=MODEL, **members):
    body, dropped, _ = CODECS["mistral"].encode(json.dumps({"model": "x", "messages": HI, **members}).encode(), model)
    return json.loads(body), dropped


@pytest.mark.parametrize(
    ("members", "sent"),
    [
        ({}, {"model": MODEL, "messages": HI}),
        ({"max_completion_tokens": 5, "seed": 0}, {"max_tokens": 5, "random_seed": 0}),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tools": [TOOL], "tool_choice": "any"}),
        ({"tools": []}, {"tools": None}),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        ),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"safe_prompt": True, "top_k": 2}, {"safe_prompt": True, "top_k": 2}),
        ({"prediction": {"type": "content", "content": [{"type": "text", "text": "a"}]}},
         {"prediction": {"type": "content", "content": "a"}}),
        ({"messages": [{"role": "developer", "content": "d"}, *HI]},
         {"messages": [{"role": "system", "content": "d"}, *HI]}),
        ({"messages": [*HI, {"role": "assistant", "content": "so"}]},
         {"messages": [*HI, {"role": "assistant", "content": "so", "prefix": True}]}),
        ({"messages": [{"role": "assistant", "content": None}, *HI]}, {"messages": HI}),
    ],
)  # fmt: skip
def test_requests(members, sent):
    body, dropped = encoded(**members)
    assert {name: body.get(name) for name in sent} == sent
    assert dropped == []


def test_what_cannot_be_said_is_named():
    body, dropped = encoded(user="u", logit_bias={"1": 1}, verbosity="low", store=False, stream_options={})
    assert sorted(dropped) == ["logit_bias", "verbosity"]
    assert set(body) == {"model", "messages", "metadata"}
    assert body["metadata"] == {"user": "u"}


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role"),
        ({"functions": [{}]}, "functions[0]"),
    ],
)
def test_wrong_requests_name_the_member(members, param):
    with pytest.raises(Failure) as caught:
        encoded(**members)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_call_ids_become_nine_characters_the_same_on_both_sides():
    body, _ = encoded(
        messages=[
            *HI,
            {"role": "assistant", "content": "", "tool_calls": [CALL, {**CALL, "id": "abcDEF123"}]},
            {"role": "tool", "tool_call_id": "call_abc", "content": "1"},
            {"role": "tool", "tool_call_id": "abcDEF123", "content": "2"},
        ]
    )
    ids = [call["id"] for call in body["messages"][1]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in body["messages"][2:]]
    assert ids[1] == "abcDEF123"
    assert re.fullmatch(r"[A-Za-z0-9]{9}", ids[0])


def test_media():
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}}
    audio = {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}
    body, _ = encoded(messages=[{"role": "user", "content": [file, audio]}])
    assert body["messages"][0]["content"] == [
        {"type": "document_url", "document_url": "data:application/pdf;base64,AA", "document_name": "a.pdf"},
        {"type": "input_audio", "input_audio": "QUJD"},
    ]


def test_media_of_results_follow_in_a_message_of_the_user():
    """After a result Mistral only accepts a message of the assistant, and rejects an empty one."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
    calls = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{**CALL, "id": "aaaaaaaa1"}, {**CALL, "id": "aaaaaaaa2"}],
    }
    seen = {"role": "tool", "tool_call_id": "aaaaaaaa1", "content": [{"type": "text", "text": "see"}, image]}
    other = {"role": "tool", "tool_call_id": "aaaaaaaa2", "content": "2"}
    body, dropped = encoded(messages=[*HI, calls, seen, {"role": "system", "content": "brief"}, other, *HI])
    assert [message["role"] for message in body["messages"]] == [
        "user", "assistant", "tool", "tool", "assistant", "user", "system", "user",
    ]  # fmt: skip
    assert body["messages"][2]["content"] == "see"
    assert body["messages"][5]["content"] == [{"type": "text", "text": "From the result of call aaaaaaaa1:"}, image]
    assert dropped == []


def test_a_last_system_message_is_the_users():
    body, _ = encoded(messages=[*HI, {"role": "assistant", "content": "yes"}, {"role": "system", "content": "go"}])
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]


def test_members_of_messages_that_mistral_refuses_are_named():
    spoke = {"role": "assistant", "content": "x", "audio": {"id": "a"}, "annotations": [{"type": "url_citation"}]}
    body, dropped = encoded(messages=[*HI, spoke, {**HI[0], "name": "ann"}])
    assert body["messages"][1:] == [{"role": "assistant", "content": "x"}, *HI]
    assert dropped == ["messages.audio", "messages.name"]


def test_thinking_comes_back_exactly_in_the_next_turn():
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True},
        {"type": "text", "text": "so"},
    ]
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    whole = json.dumps({"id": "x", "choices": [choice]}).encode()
    message = json.loads(CODECS["mistral"].decode(whole, 0))["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("so", "hm")
    body, _ = encoded("magistral-medium-latest", messages=[*HI, message, *HI])
    assert body["messages"][1]["content"] == content
    body, _ = encoded("magistral-medium-latest", messages=[*HI, {**message, "content": "new"}, *HI])
    assert [part["type"] for part in body["messages"][1]["content"]] == ["thinking", "text"]
    body, dropped = encoded("mistral-large-2512", messages=[*HI, message, *HI])
    assert (body["messages"][1]["content"], dropped) == ("so", ["messages.reasoning_content"])


@pytest.mark.parametrize(
    ("model", "content", "dropped"),
    [
        ("mistral-large-latest", "a", ["messages.reasoning_content"]),
        ("codestral-latest", "a", ["messages.reasoning_content"]),
        (
            "mistral-small-latest",
            [{"type": "thinking", "thinking": [{"type": "text", "text": "r"}]}, {"type": "text", "text": "a"}],
            [],
        ),
    ],
)
def test_reasoning_of_another_provider_goes_only_to_models_that_reason(model, content, dropped):
    of_claude = {"anthropic": {"content": [{"type": "thinking", "thinking": "r", "signature": "s"}]}}
    spoke = {"role": "assistant", "content": "a", "reasoning_content": "r", "provider_specific_fields": of_claude}
    body, named = encoded(model, messages=[*HI, spoke, *HI])
    assert (body["messages"][1]["content"], named) == (content, dropped)


@pytest.mark.parametrize(
    ("model", "effort", "sent", "dropped"),
    [
        ("mistral-small-latest", "high", "high", []),
        ("mistral-small-latest", "none", "none", []),
        ("mistral-medium-3-5", "medium", "high", ["reasoning_effort"]),
        ("mistral-large-2512", "low", None, ["reasoning_effort"]),
        ("mistral-large-2512", "none", None, []),
        ("magistral-medium-latest", "none", "high", ["reasoning_effort"]),
    ],
)
def test_the_level_of_reasoning_is_one_that_the_model_accepts(model, effort, sent, dropped):
    body, named = encoded(model, reasoning_effort=effort)
    assert (body.get("reasoning_effort"), named) == (sent, dropped)


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/JPG;base64,AAAA"}},
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:application/pdf;base64,AAAA"}},
            {"type": "document_url", "document_url": "data:application/pdf;base64,AAAA"},
        ),
        (
            {"type": "file", "file": {"file_data": "data:image/png;base64,AAAA"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/x-pdf;base64,AAAA", "filename": "a.pdf"}},
            {"type": "document_url", "document_url": "data:application/pdf;base64,AAAA", "document_name": "a.pdf"},
        ),
    ],
)
def test_media_have_the_member_and_the_spelling_that_mistral_knows(part, sent):
    body, dropped = encoded(messages=[{"role": "user", "content": [part]}])
    assert (body["messages"][0]["content"], dropped) == ([sent], [])


def test_members_of_other_providers_are_named_and_its_own_are_sent():
    body, dropped = encoded(thinking={"type": "enabled"}, cache_control={"type": "ephemeral"}, safe_prompt=True)
    assert body == {"model": MODEL, "messages": HI, "safe_prompt": True}
    assert dropped == ["thinking", "cache_control"]


@pytest.mark.parametrize(
    ("events", "status"),
    [
        (b'data: {"object":"error","message":"full","raw_status_code":429}\n\n', 429),
        (b"data: {\n\n", 502),
        (
            b'data: {"id":"x","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"error"}]}\n\n',
            502,
        ),
    ],
)
def test_failures_in_a_stream(events, status):
    stream = CODECS["mistral"].stream(0, False)
    assert stream.feed(events + b"data: [DONE]\n\n") == b""
    assert not stream.finished()
    assert stream.failure.status == status


def test_the_official_sdk_end_to_end():
    async def main():
        async with gateway({"MAX_RETRIES": "1", "CB_ERROR_THRESHOLD": "1000"}, names=("mistral",)) as running:
            client = openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0)
            await chat_and_stream(client)
            await tool_loop(client)
            vectors = await client.embeddings.create(model="mistral-embed", input=["a", "b"], dimensions=8)
            assert [len(one.embedding) for one in vectors.data] == [8, 8]
            mock = running.mocks["mistral"]
            mock.set_fault("rate_limit", arg=3)
            with pytest.raises(openai.RateLimitError):
                await client.chat.completions.create(model=MODEL, messages=HI)
            for fault in ("cut_mid_stream", "end_mid_stream", "error_mid_stream"):
                mock.set_fault(fault)
                with pytest.raises(openai.APIError):
                    stream = await client.chat.completions.create(model=MODEL, messages=HI, stream=True)
                    [chunk async for chunk in stream]
            await client.close()

    async def chat_and_stream(client):
        answer = await client.chat.completions.create(model=MODEL, messages=HI, seed=3, user="u")
        assert answer.choices[0].message.content
        for wants_usage in (False, True):
            stream = await client.chat.completions.create(
                model=MODEL, messages=HI, stream=True, stream_options={"include_usage": wants_usage}
            )
            chunks = [chunk async for chunk in stream]
            told = [chunk for chunk in chunks if chunk.usage]
            assert bool(told) == wants_usage
            assert all(chunk.choices == [] for chunk in told)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == answer.choices[0].message.content

    async def tool_loop(client):
        messages = list(HI)
        answer = await client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
        message = answer.choices[0].message
        assert answer.choices[0].finish_reason == "tool_calls"
        messages.append(message.model_dump(exclude_none=True))
        messages += [{"role": "tool", "tool_call_id": call.id, "content": "42"} for call in message.tool_calls]
        last = await client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
        assert last.choices[0].message.content

    run(main())


@given(
    st.text(max_size=4),
    st.sampled_from(["stop", "length", "tool_calls", None]),
    st.dictionaries(st.sampled_from(["service_tier", "num_cached_tokens", "prompt_tokens_details"]), st.none()
                    | st.integers(0, 9) | st.just("x") | st.just({"cached_tokens": 2})),
    st.sampled_from([None, []]),
    st.booleans(),
)  # fmt: skip
def test_the_short_way_of_responses_gives_the_same_as_the_long_way(text, reason, more_usage, calls, has_total):
    usage = {"prompt_tokens": 3, "completion_tokens": 4, **({"total_tokens": 8} if has_total else {}), **more_usage}
    message = {"role": "assistant", "content": text, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    response = {"id": "i", "object": "chat.completion", "created": 7, "model": "m", "choices": [choice], "usage": usage}

    def parsed(more):
        try:
            return parse(json.dumps({**response, **more}).encode())
        except Failure as failure:
            return str(failure)

    assert parsed({}) == parsed({"unknown": None})
