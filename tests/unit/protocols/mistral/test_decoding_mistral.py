"""Mistral's responses with missing, unusual and unknown members are translated correctly or rejected."""

import pytest

from support.corpus.variants import NO_ANSWERS, broken, framed, refused, streamed, whole


def mistral(message, finish="stop", **more):
    choice = {"index": 0, "message": message, "finish_reason": finish}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return {"id": "x", "object": "chat.completion", "created": 5, "model": "m", "choices": [choice], "usage": usage,
            **more}  # fmt: skip


FUNCTION = {"id": "abcdefghi", "function": {"name": "f", "arguments": '{"a":1}'}}
THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True}


@pytest.mark.parametrize(
    ("message", "finish", "seen", "text", "arguments"),
    [
        ({"content": "hi", "tool_calls": None}, "stop", "stop", "hi", []),
        ({"role": "assistant"}, "length", "length", "", []),
        ({"content": ""}, "model_length", "length", "", []),
        ({"content": "hi"}, None, "stop", "hi", []),
        ({"content": "hi"}, "something_new", "stop", "hi", []),
        ({"content": [THOUGHT, {"type": "text", "text": "hi"}, {"type": "reference", "reference_ids": [1]}]}, "stop",
         "stop", "hi", []),
        ({"content": [{"type": "thinking", "thinking": "hm"}]}, "stop", "stop", "", []),
        ({"content": "", "tool_calls": [FUNCTION]}, "tool_calls", "tool_calls", None, ['{"a":1}']),
        ({"tool_calls": [{**FUNCTION, "id": "null"}, {"function": {"name": "g", "arguments": {"b": 2}}},
                         {"id": None, "function": {"name": "h"}}]}, None, "tool_calls", None,
         ['{"a":1}', '{"b":2}', "{}"]),
    ],
)  # fmt: skip
def test_mistral_answers(message, finish, seen, text, arguments):
    choice, extra, _ = whole("mistral", mistral(message, finish))
    assert (choice["finish_reason"], choice["message"]["content"]) == (seen, text)
    calls = choice["message"].get("tool_calls") or []
    assert [call["function"]["arguments"] for call in calls] == arguments
    assert all(len(call["id"]) == 9 for call in calls)
    assert ("finish_reason" in extra) == (finish == "something_new")
    if isinstance(message.get("content"), list):
        assert extra["content"] == message["content"]


def test_mistral_members_that_are_missing():
    bare = {"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}], "usage": {"prompt_tokens": 2}}
    _, _, shown = whole("mistral", bare)
    assert [one["message"]["content"] for one in shown.choices.values()] == ["a", "b"]
    assert (shown.frame["created"], shown.usage["total_tokens"]) == (1_700_000_000, 2)


@pytest.mark.parametrize("body", [*NO_ANSWERS, {"choices": []}, {"choices": ["x"]}, {"choices": [{}]}])
def test_what_is_no_answer_of_mistral(body):
    failure = refused("mistral", body)
    assert (failure.status, failure.code) == (502, "provider_malformed")


def test_mistral_failures_with_a_good_status():
    assert refused("mistral", mistral({"content": "x"}, "error")).code == "provider_error"
    body = {"object": "error", "message": "slow", "type": "rate_limited", "code": "1300", "raw_status_code": 429}
    failure = refused("mistral", body)
    assert (failure.status, failure.code, failure.type) == (429, "rate_limit_exceeded", "rate_limit_error")


def mistral_chunk(delta, finish=None, **more):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [choice], **more}


FIRST = mistral_chunk({"role": "assistant", "content": ""})
LAST = mistral_chunk({"content": ""}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7})
DONE = b"data: [DONE]\n\n"


def calling(*calls):
    return mistral_chunk({"tool_calls": list(calls)})


@pytest.mark.parametrize(
    ("chunks", "arguments"),
    [
        # Complete calls have the same index, no index, or no ids that differ.
        ([calling({**FUNCTION, "index": 0}, {**FUNCTION, "id": "bbbbbbbbb", "index": 0})], ['{"a":1}'] * 2),
        ([calling(FUNCTION, {**FUNCTION, "id": "bbbbbbbbb"})], ['{"a":1}'] * 2),
        ([calling({**FUNCTION, "id": "null"}, {**FUNCTION, "id": "null"})], ['{"a":1}'] * 2),
        ([calling({**FUNCTION, "id": None, "index": 0}, {**FUNCTION, "id": None, "index": 1})], ['{"a":1}'] * 2),
        # Calls in pieces have an index or none, and may repeat the name.
        ([calling({"id": "aaaaaaaaa", "index": 0, "function": {"name": "f", "arguments": ""}}),
          calling({"index": 0, "function": {"name": "", "arguments": '{"a":'}}),
          calling({"index": 0, "id": "aaaaaaaaa", "function": {"name": "f", "arguments": "1}"}})], ['{"a":1}']),
        ([calling({"id": "aaaaaaaaa", "function": {"name": "f", "arguments": '{"a"'}}),
          calling({"function": {"arguments": ":1}"}})], ['{"a":1}']),
        ([calling({"id": "aaaaaaaaa", "index": 0, "function": {"name": "f", "arguments": '{"a"'}},
                  {"id": "bbbbbbbbb", "index": 1, "function": {"name": "g", "arguments": "{"}}),
          calling({"index": 0, "function": {"arguments": ":1}"}}, {"index": 1, "function": {"arguments": "}"}})],
         ['{"a":1}', "{}"]),
        ([calling({**FUNCTION, "function": {"name": "f", "arguments": {"a": 1}}})], ['{"a":1}']),
        ([calling({**FUNCTION, "function": {"name": "f", "arguments": None}})], ["{}"]),
    ],
)  # fmt: skip
def test_mistral_streams_of_calls(chunks, arguments):
    choice = streamed("mistral", framed(FIRST, *chunks, LAST) + DONE).choices[0]
    assert [call["function"]["arguments"] for call in choice["message"]["tool_calls"]] == arguments


def test_mistral_chunks_without_choices_or_members():
    bare = [{"choices": [{"delta": {"content": "a"}}]}, {"choices": []}, {"choices": [{"finish_reason": "odd"}]},
            {"usage": {"prompt_tokens": 1, "completion_tokens": None}}]  # fmt: skip
    shown = streamed("mistral", framed(*bare) + b"data: : keepalive\n\n" + DONE)
    assert (shown.choices[0]["message"]["content"], shown.usage["total_tokens"]) == ("a", 1)
    extra = shown.choices[0]["message"]["provider_specific_fields"]
    assert (shown.choices[0]["finish_reason"], extra) == ("stop", {"mistral": {"finish_reason": "odd"}})


@pytest.mark.parametrize(
    ("body", "code", "began"),
    [
        (framed({"object": "error", "message": "slow", "code": "1300", "raw_status_code": 429}), "rate_limit_exceeded",
         False),
        (framed(FIRST, {"error": {"message": "m", "type": "overloaded_error"}}), "server_is_overloaded", False),
        (framed(FIRST, mistral_chunk({}, "error")) + DONE, "provider_error", False),
        (framed(FIRST) + DONE, "stream_cut", False),
        (framed(FIRST, mistral_chunk({"content": "a"})), "stream_cut", True),
        (framed(FIRST, LAST), "provider_error", False),
        (framed(FIRST, {"choices": [5]}), "provider_malformed", False),
        (framed(FIRST) + b"data: \xff\n\n", "provider_malformed", False),
    ],
)  # fmt: skip
def test_mistral_streams_that_fail(body, code, began):
    failure, begun = broken("mistral", body)
    assert (failure.code, begun) == (code, began)
