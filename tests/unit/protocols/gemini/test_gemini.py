"""The Gemini codec: requests as tables, and the official SDK end to end."""

import json

import openai
import pytest

from nulpoint.errors import Failure
from nulpoint.protocols.provider_errors import provider_failure
from support.chat_codec import CODECS
from support.event_loop import run
from support.running_gateway import gateway

MODEL = "gemini-2.5-flash"
HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}

SKIPPED = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="  # the signature that Google documents for lost ones


def encoded(model=MODEL, **members):
    body, dropped, _ = CODECS["gemini"].encode(json.dumps({"model": "x", "messages": HI, **members}).encode(), model)
    return json.loads(body), dropped


@pytest.mark.parametrize(
    ("members", "sent"),
    [
        ({}, {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": None}),
        ({"max_tokens": 5, "stop": "a", "seed": 1},
         {"generationConfig": {"maxOutputTokens": 5, "stopSequences": ["a"], "seed": 1}}),
        ({"tools": [TOOL]}, {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}]}),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
         {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}}),
        ({"reasoning_effort": "none"},
         {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0, "includeThoughts": False}}}),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}},
         {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}}}),
        ({"tools": [{"googleSearch": {}}], "safetySettings": [{}]},
         {"tools": [{"googleSearch": {}}], "safetySettings": [{}]}),
        ({"topK": 3}, {"generationConfig": {"topK": 3}}),
        ({"messages": [{"role": "system", "content": "be"}]},
         {"systemInstruction": {"parts": [{"text": "be"}]}, "contents": [{"role": "user", "parts": [{"text": " "}]}]}),
    ],
)  # fmt: skip
def test_requests(members, sent):
    body, dropped = encoded(**members)
    assert {name: body.get(name) for name in sent} == sent
    assert dropped == []


@pytest.mark.parametrize(
    ("model", "effort", "told"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8_192}),
        ("gemini-2.5-flash", "max", {"thinkingBudget": 24_576}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("models/gemini-2.5-pro", "xhigh", {"thinkingBudget": 32_768}),
        ("gemini-3-pro-preview", "minimal", {"thinkingLevel": "LOW"}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "HIGH"}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "MEDIUM"}),
        ("gemini-3.6-flash", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.5-flash-lite", "minimal", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "LOW"}),
        ("gemini-4-argon", "none", {"thinkingLevel": "LOW"}),
        ("gemini-flash-latest", "low", {"thinkingLevel": "LOW"}),
        ("gemini-2.0-flash", "low", None),
        ("gemma-3-27b-it", "low", None),
    ],
)
def test_thinking_by_model(model, effort, told):
    body, _ = encoded(model, reasoning_effort=effort)
    shown = {**told, "includeThoughts": effort != "none"} if told else None
    assert body.get("generationConfig", {}).get("thinkingConfig") == shown


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(("model", "inside"), [("gemini-2.5-flash", False), ("gemini-3.6-flash", True)])
def test_images_of_results(model, inside):
    result = {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "see"}, IMAGE]}
    body, dropped = encoded(model, messages=[*HI, {"role": "assistant", "tool_calls": [CALL]}, result], tools=[TOOL])
    response = body["contents"][2]["parts"][0]["functionResponse"]
    image = [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]
    assert response["response"] == {"output": "see"}
    assert (response.get("parts"), [turn["parts"] for turn in body["contents"][3:]]) == (
        (image, []) if inside else (None, [image])
    )
    assert dropped == []


def test_a_later_system_message_is_the_users_text_beside_no_result():
    brief = {"role": "system", "content": "brief"}
    result = {"role": "tool", "tool_call_id": "c1", "content": "1"}
    body, _ = encoded(
        messages=[brief, *HI, {"role": "assistant", "tool_calls": [CALL]}, brief, result, *HI], tools=[TOOL]
    )
    assert body["systemInstruction"] == {"parts": [{"text": "brief"}]}
    assert [next(iter(part)) for turn in body["contents"][1:] for part in turn["parts"]] == [
        "functionCall", "functionResponse", "text", "text",
    ]  # fmt: skip
    assert body["contents"][3] == {"role": "user", "parts": [{"text": "brief"}, {"text": "hi"}]}


def test_strict_functions_are_validated():
    strict = {"type": "function", "function": {**TOOL["function"], "strict": True}}
    body, dropped = encoded(tools=[strict])
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert dropped == []


def test_speech_and_search():
    body, _ = encoded("gemini-2.5-flash-preview-tts", modalities=["audio"], audio={"voice": "Kore", "format": "pcm16"})
    assert body["generationConfig"] == {
        "responseModalities": ["AUDIO"],
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
    }
    body, _ = encoded("gemini-3.6-flash", web_search_options={}, tools=[TOOL])
    assert [next(iter(tool)) for tool in body["tools"]] == ["functionDeclarations", "googleSearch"]
    assert body["toolConfig"] == {"includeServerSideToolInvocations": True}


def test_what_cannot_be_said_is_named():
    _, dropped = encoded(user="u", logit_bias={"1": 1}, tools=[TOOL], parallel_tool_calls=False, store=False)
    assert sorted(dropped) == ["logit_bias", "parallel_tool_calls", "user"]
    assert encoded("gemini-3-pro", reasoning_effort="low")[0]["generationConfig"]["thinkingConfig"] == {
        "thinkingLevel": "LOW",
        "includeThoughts": True,
    }


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": [{"role": "tool", "tool_call_id": "z", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ],
)
def test_wrong_requests_name_the_member(members, param):
    with pytest.raises(Failure) as caught:
        encoded(**members)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_results_of_one_turn_stand_together_and_are_objects():
    body, _ = encoded(
        messages=[
            *HI,
            {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "c2"}]},
            {"role": "tool", "tool_call_id": "c2", "content": "[1]"},
            {"role": "tool", "tool_call_id": "c1", "content": '{"b":2}'},
        ]
    )
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    results = [part["functionResponse"] for part in body["contents"][2]["parts"]]
    assert [(one["name"], one["id"], one["response"]) for one in results] == [
        ("f", "c2", {"output": [1]}),
        ("f", "c1", {"b": 2}),
    ]


def test_signatures_come_back_exactly_in_the_next_turn():
    parts = [
        {"text": "hm", "thought": True},
        {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "sig"},
        {"functionCall": {"name": "f", "args": {}}},
    ]
    whole = {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}], "responseId": "r"}
    choice = json.loads(CODECS["gemini"].decode(json.dumps(whole).encode(), 0))["choices"][0]
    message = choice["message"]
    assert (choice["finish_reason"], message["reasoning_content"]) == ("tool_calls", "hm")
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "1"} for call in message["tool_calls"]]
    assert len({call["id"] for call in message["tool_calls"]}) == 2
    body, _ = encoded(messages=[*HI, message, *results])
    assert body["contents"][1]["parts"] == parts
    del message["provider_specific_fields"]  # as a client that drops unknown members
    body, dropped = encoded(messages=[*HI, message, *results])
    assert body["contents"][1]["parts"][0]["thoughtSignature"] == "sig"
    assert dropped == ["messages.reasoning_content"]


@pytest.mark.parametrize(("signature", "model", "sent"), [
    (None, "gemini-3.8-flash", SKIPPED), ("s", "gemini-3.8-flash", "s"), (None, "gemini-2.0-flash", None),
])  # fmt: skip
def test_a_call_of_an_older_gemini_is_signed_for_a_newer_one(signature, model, sent):
    original = {"functionCall": {"name": "f", "args": {}, "id": "c"}} | (
        {"thoughtSignature": signature} if signature else {}
    )
    message = {"role": "assistant", "content": "t", "tool_calls": [{**CALL, "id": "c"}]}
    message["provider_specific_fields"] = {"gemini": {"parts": [{"text": "t"}, original]}}
    body, dropped = encoded(model, messages=[*HI, message, {"role": "tool", "tool_call_id": "c", "content": "1"}])
    assert body["contents"][1]["parts"][1].get("thoughtSignature") == sent
    assert dropped == []


def test_a_cache_mark_of_the_whole_request_is_named():
    assert encoded(messages=HI, cache_control={"type": "ephemeral"})[1] == ["cache_control"]


def test_a_blocked_prompt_is_a_filtered_answer():
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3}}
    choice = json.loads(CODECS["gemini"].decode(json.dumps(body).encode(), 0))["choices"][0]
    assert choice["finish_reason"] == "content_filter"
    assert "SAFETY" in choice["message"]["refusal"]
    stream = CODECS["gemini"].stream(0, False)
    out = stream.feed(b"data: " + json.dumps(body).encode() + b"\r\n\r\n") + stream.close()
    assert b'"content_filter"' in out
    assert stream.finished()


def test_the_wait_it_names_and_a_bad_key():
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "45.8s"}]
    error = {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}}
    assert provider_failure("gemini", 429, json.dumps([error]).encode(), None).retry_after == 45.8
    error["error"]["details"] = [{"reason": "API_KEY_INVALID"}]
    assert provider_failure("gemini", 400, json.dumps(error).encode(), None).status == 401


def test_the_official_sdk_end_to_end():
    async def main():
        async with gateway({"MAX_RETRIES": "1", "CB_ERROR_THRESHOLD": "1000"}, names=("gemini",)) as running:
            client = openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0)
            answer = await client.chat.completions.create(model=MODEL, messages=HI)
            assert answer.choices[0].message.content
            stream = await client.chat.completions.create(
                model=MODEL, messages=HI, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == answer.choices[0].message.content
            assert chunks[-1].usage.total_tokens > 0
            await tool_loop(client)
            for wanted in ("float", "base64"):
                vectors = await client.embeddings.create(
                    model="gemini-embedding-001", input=["a", "b"], dimensions=8, encoding_format=wanted
                )
                assert len(vectors.data) == 2
            with pytest.raises(openai.BadRequestError) as caught:
                await client.embeddings.create(model="gemini-embedding-001", input=[1, 2])
            assert caught.value.param == "input"
            for fault in ("cut_mid_stream", "end_mid_stream"):
                running.mocks["gemini"].set_fault(fault)
                with pytest.raises(openai.APIError):
                    stream = await client.chat.completions.create(model=MODEL, messages=HI, stream=True)
                    [chunk async for chunk in stream]
            await client.close()

    async def tool_loop(client):
        messages = [{"role": "user", "content": "parallel"}]
        answer = await client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
        message = answer.choices[0].message
        assert answer.choices[0].finish_reason == "tool_calls"
        messages.append(message.model_dump(exclude_none=True))
        messages += [{"role": "tool", "tool_call_id": call.id, "content": "42"} for call in message.tool_calls]
        last = await client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
        assert last.choices[0].message.content

    run(main())
