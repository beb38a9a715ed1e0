"""Tests the legacy completions API as a client protocol: reading requests, writing responses and streams."""

import json

import pytest

from nulpoint.conversation.parts import Citation, Reasoning, Refusal, Text, ToolCall
from nulpoint.conversation.response import Choice, ConversationResponse
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import Failure
from nulpoint.protocols.openai.chat_provider.request import render
from nulpoint.protocols.openai.chat_provider.response import parse
from nulpoint.protocols.openai.chat_provider.stream import OpenAIChatStreamParser
from nulpoint.protocols.openai.text_completion.reader import read_completion
from nulpoint.protocols.openai.text_completion.writer import CompletionStreamWriter, write_completion
from support.corpus.cuts import cuts
from support.corpus.openai_client import events_of
from support.corpus.openai_client import read_completion as texts_of

REQUESTS = {
    "a text": {"prompt": "hi"},
    "a list with one text": {"prompt": ["hi"], "max_tokens": 5, "stop": ["\n"], "temperature": 0.5},
    "members without an effect": {"prompt": "", "suffix": "", "echo": False, "best_of": 1},
    "members that are null": {"prompt": "hi", "suffix": None, "echo": None, "best_of": None, "logprobs": None, "user": None},
    "log probabilities": {"prompt": "hi", "logprobs": 3},
    "none of them": {"prompt": "hi", "logprobs": 0},
    "unknown members": {"prompt": "hi", "top_k": 5, "stream": True, "stream_options": {"include_usage": True}},
    "members of chat": {"prompt": "hi", "messages": [1], "response_format": {"type": "json_object"},
                        "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
}  # fmt: skip
NOT_IN_CHAT = ("prompt", "messages", "suffix", "echo", "best_of", "logprobs")


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_a_conversation_of_one_message(request_):
    body = json.dumps({"model": "m", **request_}).encode()
    conversation = read_completion(body)
    chat = json.loads(render(conversation, "m").body)
    (prompt,) = [request_["prompt"]] if isinstance(request_["prompt"], str) else request_["prompt"]
    others = {name: value for name, value in request_.items() if name not in NOT_IN_CHAT}
    assert chat == {"model": "m", **others, "messages": [{"role": "user", "content": prompt}]}
    (message,) = conversation.messages
    assert (message.role, message.path, message.text()) == ("user", "prompt", request_["prompt"] and "hi")
    assert list(conversation.dropped) == (["logprobs"] if request_.get("logprobs") is not None else [])


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b'{"model":"m"}', "prompt", "missing_required_parameter"),
        (b'{"model":"m","prompt":null}', "prompt", "unsupported_parameter"),
        (b'{"model":"m","prompt":["a","b"]}', "prompt", "unsupported_parameter"),
        (b'{"model":"m","prompt":[]}', "prompt", "unsupported_parameter"),
        (b'{"model":"m","prompt":[1,2]}', "prompt", "unsupported_parameter"),
        (b'{"model":"m","prompt":[[1,2]]}', "prompt", "unsupported_parameter"),
        (b'{"model":"m","prompt":"a","suffix":"b"}', "suffix", "unsupported_parameter"),
        (b'{"model":"m","prompt":"a","echo":true}', "echo", "unsupported_parameter"),
        (b'{"model":"m","prompt":"a","best_of":3}', "best_of", "unsupported_parameter"),
        (b'{"model":"m","prompt":"a","tools":5}', "tools", "invalid_value"),
        (b'{"model":"m","prompt":"\xff"}', None, "invalid_json"),
    ],
)  # fmt: skip
def test_what_a_conversation_cannot_express_is_rejected(body, param, code):
    with pytest.raises(Failure) as caught:
        read_completion(body)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


def response(*parts, finish="stop", data=None, index=0, usage=None):
    choice = Choice(tuple(parts), finish, data or {}, index)
    return ConversationResponse("chatcmpl-1", "m", (choice,), usage)


def written(response):
    body = write_completion(response, 7)
    texts_of(body)
    return json.loads(body)


def test_a_response_is_a_completion():
    assert written(response(Text("a"), Text("b"), usage=UsageReport(3, 4))) == {
        "id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m",
        "choices": [{"index": 0, "text": "ab", "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }  # fmt: skip


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("parts", "finish", "data", "members"),
    [
        ([Reasoning("hm")], "length", None, {"reasoning_content": "hm", "finish_reason": "length"}),
        ([Refusal("no")], "content_filter", None, {"refusal": "no", "finish_reason": "content_filter"}),
        ([ToolCall("c", None, "f", "{}")], "tool_calls", None, {"tool_calls": [CALL]}),
        ([], "stop", {"anthropic": {"a": 1}}, {"provider_specific_fields": {"anthropic": {"a": 1}}}),
        ([], "stop", {"openai": {"choice": {"seed": 1}, "message": {"new": 2}}}, {"seed": 1, "new": 2}),
        ([], "stop", {"openai": {"choice": {"finish_reason": "eos", "seed": 1}}},
         {"seed": 1, "provider_specific_fields": {"openai": {"choice": {"finish_reason": "eos"}}}}),
        ([], "stop", {"openai": {"message": {"provider_specific_fields": {"openai": 1}}, "usage": {"cost": 1}}},
         {"provider_specific_fields": {"openai": {"usage": {"cost": 1}}}}),
    ],
)  # fmt: skip
def test_what_a_message_has_beside_its_text_stands_in_the_choice(parts, finish, data, members):
    (choice,) = written(response(*parts, finish=finish, data=data))["choices"]
    assert choice == {"index": 0, "text": "", "logprobs": None, "finish_reason": "stop", **members}


def test_citations_stand_in_the_choice():
    (choice,) = written(response(Text("Oslo", (Citation("https://a.example", "T"),))))["choices"]
    cited = {"start_index": 0, "end_index": 4, "title": "T", "url": "https://a.example"}
    assert choice["annotations"] == [{"type": "url_citation", "url_citation": cited}]


def test_members_of_a_host_stand_where_it_put_them():
    choices = [
        {"index": at, "message": {"role": "assistant", "content": "a", "reasoning_details": [1]}, "finish_reason": "stop", "seed": at}
        for at in (0, 1)
    ]  # fmt: skip
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "cost": 0.5}
    chat = {"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "m", "choices": choices,
            "usage": usage, "system_fingerprint": "fp", "citations": ["u"]}  # fmt: skip
    body = json.dumps(chat).encode()
    rest = {"text": "a", "logprobs": None, "finish_reason": "stop", "reasoning_details": [1]}
    assert written(parse(body)) == {
        "id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m", "usage": usage, "system_fingerprint": "fp",
        "citations": ["u"], "choices": [{"index": at, "seed": at, **rest} for at in (0, 1)],
    }  # fmt: skip


def test_the_older_form_of_calls():
    made = response(ToolCall("c", None, "f", "{}", "legacy"), finish="tool_calls")
    (choice,) = json.loads(write_completion(made, 7, legacy_functions=True))["choices"]
    assert (choice["function_call"], choice["finish_reason"]) == ({"name": "f", "arguments": "{}", "id": "c"}, "stop")


# -- streams -----------------------------------------------------------------------------------------------------------


def chunk(delta, finish=None, index=0, **more):
    choices = [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": choices,
        **more,
    }


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "cost": 0.5}
USED = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 7,
    "model": "m",
    "choices": [],
    "usage": USAGE,
}
SAID = [
    chunk({"role": "assistant", "content": "", "refusal": None}), chunk({"content": "a\u2028b é"}), chunk({"reasoning_content": "hm"}),
    chunk({"content": "c"}), chunk({"refusal": "no"}), chunk({"role": "assistant", "content": "", "refusal": None}, index=1),
    chunk({"content": "d"}, index=1), chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
]  # fmt: skip
# What the choices of the chunks say: the index of the choice, and the members that have a value.
WRITTEN = [
    (0, {}), (0, {"text": "a\u2028b é"}), (0, {"reasoning_content": "hm"}), (0, {"text": "c"}), (0, {"refusal": "no"}), (1, {}),
    (1, {"text": "d"}), (0, {"tool_calls": [{"index": 0, **CALL, "function": {"name": "f", "arguments": ""}}]}),
    (0, {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}), (0, {"finish_reason": "stop"}),
    (1, {"finish_reason": "length"}),
]  # fmt: skip
ENDS = [chunk({}, "tool_calls", system_fingerprint="fp"), chunk({}, "length", 1), USED]


def framed(events):
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


def streamed(make, pieces):
    transformer = make()
    sent = b"".join([*map(transformer.feed, pieces), transformer.close()])
    assert (transformer.failure, transformer.finished()) == (None, True)
    *events, done = events_of(sent)
    assert done == "[DONE]"
    return [json.loads(event) for event in events]


@pytest.mark.parametrize("show_usage", [True, False])
def test_a_stream_of_completions_is_that_of_a_chat_in_another_form(show_usage):
    body = framed([*SAID, *ENDS])
    frame = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m"}
    plain = {"text": "", "logprobs": None, "finish_reason": None}
    expected = [{**frame, "choices": [{"index": index, **plain, **members}]} for index, members in WRITTEN]
    expected[-2]["system_fingerprint"] = "fp"
    if show_usage:
        expected.append({**frame, "choices": [], "usage": USAGE})
    for pieces in cuts(body):
        made = streamed(lambda: OpenAIChatStreamParser(CompletionStreamWriter(7, show_usage)), pieces)
        assert made == expected


def test_the_last_chunk_has_what_stands_beside_the_text():
    writer = CompletionStreamWriter(7, True)
    first = writer.begin("chatcmpl-1", "m") + writer.start_part("text") + writer.text("Oslo") + writer.text("")
    data = {"openai": {"response": {"fp": 1}, "choice": {"finish_reason": "eos", "seed": 2}}, "anthropic": {"a": 1}}
    last = writer.citation(Citation("https://a.example", "T")) + writer.finish("stop", data)
    begun, text, finish = [json.loads(event) for event in events_of(first + last) if event]
    frame = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m"}
    choice = {"index": 0, "text": "", "logprobs": None, "finish_reason": None}
    assert begun == {**frame, "choices": [choice]}
    assert text == {**frame, "choices": [{**choice, "text": "Oslo"}]}
    cited = {"start_index": 0, "end_index": 4, "title": "T", "url": "https://a.example"}
    members = {
        "annotations": [{"type": "url_citation", "url_citation": cited}], "seed": 2, "finish_reason": "stop",
        "provider_specific_fields": {"openai": {"choice": {"finish_reason": "eos"}}, "anthropic": {"a": 1}},
    }  # fmt: skip
    assert finish == {**frame, "fp": 1, "choices": [{**choice, **members}]}
