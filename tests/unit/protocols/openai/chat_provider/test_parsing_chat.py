"""Tests that complete responses of the chat completions API are read as conversations, and that nothing is lost."""

import json

import hypothesis
import pytest
from openai.types.chat import ChatCompletion

from nulpoint.conversation.parts import Citation, Reasoning, Refusal, Text, ToolCall
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import Failure
from nulpoint.protocols.openai.chat_client.writer import write_response
from nulpoint.protocols.openai.chat_provider.response import parse
from nulpoint.protocols.openai.text_completion.writer import write_completion
from nulpoint.protocols.openai.usage import read_metadata
from support.corpus.records import CORPUS, recordings
from support.odd_values import odd_ones

FUNCTION = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
CUSTOM = {"id": "c2", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
LOGPROBS = {"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}], "refusal": None}
CITED = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 4, "title": "T", "url": "https://a.example"},
}
USAGE = {
    "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1, "audio_tokens": 0, "text_tokens": None},
    "completion_tokens_details": {"reasoning_tokens": 1, "accepted_prediction_tokens": 2},
}  # fmt: skip


def choice(message, finish="stop", index=0, **more):
    return {"index": index, "message": {"role": "assistant", **message}, "finish_reason": finish, **more}


def body(*choices, **more):
    completion = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
    return json.dumps({**completion, **more}).encode()


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ({"content": "hi", "refusal": None, "annotations": []}, [Text("hi")]),
        ({"content": None}, []),
        ({"content": "", "tool_calls": [FUNCTION]}, [ToolCall("c1", None, "f", '{"a":1}')]),
        ({"content": None, "tool_calls": [CUSTOM, FUNCTION]},
         [ToolCall("c2", None, "shell", "ls", "custom"), ToolCall("c1", None, "f", '{"a":1}')]),
        ({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, [ToolCall(None, None, "f", "{}", "legacy")]),
        ({"content": "hi", "refusal": "no", "reasoning_content": "hm"}, [Reasoning("hm"), Text("hi"), Refusal("no")]),
        ({"content": "hi", "reasoning": "hm"}, [Reasoning("hm"), Text("hi")]),
        ({"content": "hi", "reasoning": "hm", "reasoning_content": "hm"}, [Reasoning("hm"), Text("hi")]),
        ({"content": "Oslo", "annotations": [CITED]}, [Text("Oslo", (Citation("https://a.example", "T", (0, 4)),))]),
        ({"content": None, "tool_calls": [{**FUNCTION, "extra_content": {"google": {"thought_signature": "s"}}}]},
         [ToolCall("c1", None, "f", '{"a":1}', provider_data={"google": {"thought_signature": "s"}})]),
    ],
)  # fmt: skip
def test_a_message_is_read_as_parts(message, parts):
    (read,) = parse(body(choice(message))).choices
    assert list(read.parts) == parts
    assert read.provider_data == {}


@pytest.mark.parametrize(
    ("message", "others"),
    [
        ({"content": "hi", "reasoning_details": [{"type": "reasoning.text"}]}, {"reasoning_details": [{"type": "reasoning.text"}]}),
        ({"content": "hi", "reasoning": "a", "reasoning_content": "b"}, {"reasoning": "a"}),
        ({"content": "hi", "annotations": [{"type": "file_citation", "file_id": "f"}]},
         {"annotations": [{"type": "file_citation", "file_id": "f"}]}),
        ({"content": "hi", "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "content": "x"}}]},
         {"annotations": [{"type": "url_citation", "url_citation": {"url": "u", "content": "x"}}]}),
        ({"content": "hi", "tool_calls": [{"id": "x", "type": "new", "new": {}}]},
         {"tool_calls": [{"index": 0, "id": "x", "type": "new", "new": {}}]}),
        ({"content": "hi", "tool_calls": [FUNCTION, {**FUNCTION, "type": "builtin", "more": 1}]},
         {"tool_calls": [{"index": 1, "type": "builtin", "more": 1}]}),
        ({"content": "hi", "function_call": {"name": "f", "more": 1}}, {"function_call": {"more": 1}}),
        ({"content": "hi", "provider_specific_fields": [1]}, {"provider_specific_fields": [1]}),
    ],
)  # fmt: skip
def test_what_a_message_has_beside_its_parts_is_not_lost(message, others):
    assert parse(body(choice(message))).choices[0].provider_data == {"openai": {"message": others}}


def test_unknown_members_are_in_the_provider_data_by_their_place():
    usage = {**USAGE, "cost": 0.5, "prompt_tokens_details": {"kinds": ["text"]}}
    choices = (choice({"content": "a"}, seed=1), choice({"content": "b"}, index=1, logprobs=0.5))
    response = parse(body(*choices, usage=usage, system_fingerprint="fp", service_tier=None))
    assert [one.provider_data for one in response.choices] == [
        {"openai": {"response": {"system_fingerprint": "fp"}, "usage": {"cost": 0.5, "prompt_tokens_details": {"kinds": ["text"]}},
                    "choice": {"seed": 1}}},
        {"openai": {"choice": {"logprobs": 0.5}}},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({"anthropic": {"a": 1}}, {"anthropic": {"a": 1}, "openai": {"choice": {"seed": 1}}}),
        ({"openai": {"a": 1}}, {"openai": {"choice": {"seed": 1}, "message": {"provider_specific_fields": {"openai": {"a": 1}}}}}),
    ],
)  # fmt: skip
def test_a_host_that_is_a_gateway_itself_keeps_its_fields(fields, data):
    message = {"content": "a", "provider_specific_fields": fields}
    assert parse(body(choice(message, seed=1))).choices[0].provider_data == data


@pytest.mark.parametrize(
    ("given", "read", "kept"),
    [
        ("stop", "stop", {}), ("length", "length", {}), ("tool_calls", "tool_calls", {}), ("function_call", "tool_calls", {}),
        ("content_filter", "content_filter", {}), (None, "tool_calls", {}), ("", "tool_calls", {}),
        ("eos", "stop", {"openai": {"choice": {"finish_reason": "eos"}}}),
    ],
)  # fmt: skip
def test_finish_reasons(given, read, kept):
    (one,) = parse(body(choice({"content": None, "tool_calls": [FUNCTION]}, given))).choices
    assert (one.finish_reason, one.provider_data) == (read, kept)


def test_usage_has_all_details():
    report = parse(body(choice({"content": "a"}), usage=USAGE)).usage
    assert report == UsageReport(
        5, 3, 2, 1, 1, 0, 9, {"audio_tokens": 0}, {"accepted_prediction_tokens": 2}
    )  # fmt: skip
    nested = parse(body(choice({"content": "a"}), x_groq={"usage": {"prompt_tokens": 1}})).usage
    assert nested == UsageReport(1)


@pytest.mark.parametrize(
    "usage", [[1], "x", {"prompt_tokens": "5"}, {"prompt_tokens": -1}, {"prompt_tokens_details": 5}]
)
def test_malformed_usage_does_not_spoil_the_response(usage):
    response = parse(body(choice({"content": "a"}), usage=usage))
    assert response.usage is None
    kept = usage if isinstance(usage, dict) else {"usage": usage}
    assert response.choices[0].provider_data == {"openai": {"usage": kept}}


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        (b"<html>", 502, "provider_malformed"), (b"[]", 502, "provider_malformed"), (body(), 502, "provider_malformed"),
        (b'{"id":"c"}', 502, "provider_malformed"), (body(choice({"content": 5})), 502, "provider_malformed"),
        (body(choice({"content": "a"}, index=-1)), 502, "provider_malformed"),
        (body(choice({"tool_calls": [5]})), 502, "provider_malformed"),
        (b'{"error":{"message":"slow down","code":429}}', 429, "rate_limit_exceeded"),
        (b'{"object":"error","message":"broken"}', 502, "provider_500"),
        (body(choice({"content": "a"}, None), error={"message": "broken", "code": 502}), 502, "provider_502"),
    ],
)  # fmt: skip
def test_what_is_no_response_fails(given, status, code):
    with pytest.raises(Failure) as caught:
        parse(given)
    assert (caught.value.status, caught.value.code) == (status, code)


RICH = json.loads(
    body(
        choice({"content": "Oslo", "refusal": None, "reasoning_content": "hm", "annotations": [CITED]}, logprobs=LOGPROBS),
        choice({"content": None, "tool_calls": [FUNCTION, CUSTOM]}, "tool_calls", 1, seed=5),
        usage=USAGE, system_fingerprint="fp",
    )
)  # fmt: skip


def test_a_response_is_the_same_after_reading_and_writing():
    given = json.loads(json.dumps({**RICH, "system_fingerprint": None}))
    given["choices"][1].pop("seed")
    made = write_response(parse(json.dumps(given).encode()), 1, legacy_functions=False)
    ChatCompletion.model_validate_json(made, strict=True)
    written = json.loads(made)
    del given["system_fingerprint"], given["usage"]["prompt_tokens_details"]["text_tokens"]
    given["choices"][1]["message"]["refusal"], given["choices"][1]["logprobs"] = None, None
    assert written == given


@hypothesis.given(odd_ones(RICH))
def test_an_odd_response_is_read_or_fails(odd):
    try:
        response = parse(json.dumps(odd).encode())
    except Failure as failure:
        assert failure.status >= 400  # noqa: PT017 - any other exception fails the test
        return
    written = write_response(response, 1, legacy_functions=False)
    assert isinstance(json.loads(write_completion(response, 1))["choices"], list)
    assert read_metadata(written).usage is None or response.usage is not None


NAMED_OTHERWISE = {"role", "reasoning", "tool_calls", "function_call", "annotations", "finish_reason", "logprobs"}


@pytest.mark.skipif(not CORPUS.exists(), reason="the recordings are not here")
def test_nothing_in_recorded_responses_is_lost_in_completions():
    """Some names differ: `reasoning` is called `reasoning_content`, tool calls have no index, and what a host adds to a
    citation is among its fields."""
    read = 0
    for recording in recordings():
        if recording.left_out() or recording.kind != "answer" or recording.host.wire != "openai":
            continue
        try:
            made = parse(recording.body)
        except Failure:
            continue
        before, after = json.loads(recording.body), json.loads(write_completion(made, 1))
        for choice, other in zip(before["choices"], after["choices"], strict=True):
            message = choice.pop("message")
            text = message.pop("content", None) or ""
            assert isinstance(text, list) or other["text"] == text, recording.name
            one = {**choice, **message}
            lost = {name for name, value in one.items() if value and other.get(name) != value}
            assert lost <= {
                "role",
                "reasoning",
                "tool_calls",
                "function_call",
                "annotations",
                "finish_reason",
                "logprobs",
            }, recording.name
            assert "annotations" not in lost or "provider_specific_fields" in other, recording.name
        lost = {name for name, value in before.items() if value and after.get(name) != value}
        assert lost <= {"id", "object", "created", "choices", "usage"}, recording.name
        read += 1
    assert read > 300
