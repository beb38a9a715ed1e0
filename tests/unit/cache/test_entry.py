"""Tests cache entries: a hit equals a miss, stored and requested as a body or as a stream."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from nulpoint.cache.entry import CacheEntry
from nulpoint.formats import sse
from nulpoint.protocols.client_protocol import IncompleteStreamError
from nulpoint.protocols.openai.accumulate import accumulate
from nulpoint.protocols.openai.chunking import PIECE
from nulpoint.protocols.openai.stored_forms import CompletionForms
from nulpoint.protocols.openai.usage import read_completion
from support.paths import CORPUS
from support.sdk_responses import by_sdk, shown, without_nulls

CHAT, COMPLETIONS = CompletionForms("chat"), CompletionForms("completions")


def whole(body, streamed=False, usage_event=b""):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CacheEntry(content, usage_event, streamed, "openai", "m", None, 0.0)


def kept_stream(wire):
    parts = CHAT.from_stream(wire)
    if parts is None:
        raise IncompleteStreamError
    content, usage_event = parts
    return whole(content, True, usage_event)


def datas(stream):
    decoder = sse.SseDecoder()
    return [event.data for event in [*decoder.feed(stream), *decoder.close()]]


def stream_by_sdk(answer, with_usage=True):
    *events, done = datas(answer.as_stream(CHAT, with_usage))
    assert done == b"[DONE]"
    return shown(by_sdk([json.loads(event) for event in events]))


def body_by_sdk(answer):
    return shown(ChatCompletion.construct(**json.loads(answer.as_body(CHAT))).to_dict())


# -- generated ---------------------------------------------------------------------------------------------------------

NAME = st.text(max_size=4)
TEXT = st.text(max_size=12) | st.sampled_from(["a" * (PIECE + 1), "\u2028\U0001f600" * 1500, "{}", ": \n\n"])
MAYBE = st.none() | TEXT
TOKEN = st.fixed_dictionaries(
    {"token": NAME, "logprob": st.integers(-9, 0), "bytes": st.just([1]), "top_logprobs": st.just([])}
)
CALL = st.one_of(
    st.fixed_dictionaries({"id": NAME, "type": st.just("function"),
                           "function": st.fixed_dictionaries({"name": NAME, "arguments": TEXT})},
                          optional={"extra_content": st.just({"google": {"thought_signature": "s"}})}),
    st.fixed_dictionaries({"id": NAME, "type": st.just("custom"),
                           "custom": st.fixed_dictionaries({"name": NAME, "input": TEXT})}),
)  # fmt: skip
CITATION = {"url": "u", "title": "t", "start_index": 1, "end_index": 2}
MESSAGE = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": MAYBE, "refusal": MAYBE},
    optional={
        "reasoning_content": TEXT,
        "tool_calls": st.lists(CALL, min_size=1, max_size=3),
        "annotations": st.just([{"type": "url_citation", "url_citation": CITATION}]),
        "provider_specific_fields": st.just({"anthropic": {"content": [{"type": "thinking", "signature": "x"}]}}),
        "function_call": st.just({"name": "f", "arguments": "{}"}),
        "audio": st.just({"id": "a", "data": "AAAA", "expires_at": 1, "transcript": "t"}),
        "unheard_of": st.integers() | TEXT | st.just({"a": [1, {"index": 3}]}),
    },
)
FINISH = st.sampled_from(["stop", "length", "tool_calls", "function_call"])
LOGPROBS = st.none() | st.fixed_dictionaries({"content": st.lists(TOKEN, max_size=3), "refusal": st.none()})
USAGE = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 99), "completion_tokens": st.integers(0, 99), "total_tokens": st.just(9)}
)


def numbered(choices):
    return [{"index": index, **choice} for index, choice in enumerate(choices)]


def bodies(choice, kind):
    choices = st.lists(st.fixed_dictionaries(choice), min_size=1, max_size=3).map(numbered)
    return st.fixed_dictionaries(
        {"id": NAME, "object": st.just(kind), "created": st.integers(0, 9), "model": NAME, "choices": choices},
        optional={
            "usage": USAGE,
            "service_tier": st.just("flex"),
            "system_fingerprint": NAME,
            "citations": st.just(["u"]),
        },
    )


CHATS = bodies({"message": MESSAGE, "finish_reason": FINISH, "logprobs": LOGPROBS}, "chat.completion")
TEXTS = bodies(
    {
        "text": TEXT,
        "finish_reason": FINISH,
        "logprobs": st.none() | st.fixed_dictionaries({"tokens": st.lists(NAME), "text_offset": st.just([0])}),
    },
    "text_completion",
)


@given(CHATS)
def test_a_chat_kept_whole_and_asked_for_as_a_stream(body):
    answer = whole(body)
    expected = body_by_sdk(answer)
    assert stream_by_sdk(answer) == expected
    assert stream_by_sdk(answer, with_usage=False) == {n: v for n, v in expected.items() if n != "usage"}
    for event in datas(answer.as_stream(CHAT, True))[:-1]:
        if b'"custom"' not in event:  # the SDK's chunk types do not have custom tools
            ChatCompletionChunk.model_validate_json(event, strict=True)
        assert len(event) < 16 * PIECE


@given(CHATS)
def test_a_chat_there_and_back(body):
    for choice in body["choices"]:
        choice["message"].pop("audio", None)
    again = kept_stream(whole(body).as_stream(CHAT, True)).as_body(CHAT)
    ChatCompletion.model_validate_json(again, strict=True)
    assert without_nulls(json.loads(again)) == without_nulls(body)


@given(TEXTS)
def test_a_completion_there_and_back(body):
    stream = whole(body).as_stream(COMPLETIONS, True)
    for event in datas(stream)[:-1]:
        assert Completion.construct(**json.loads(event)).choices is not None
    again = kept_stream(stream).as_body(COMPLETIONS)
    assert without_nulls(json.loads(again)) == without_nulls(body)


def fragments(body, draw):
    """Return the chunks that a provider might send for a body: choices in turn, texts split anywhere, roles and nulls."""
    turns = []
    for choice in body["choices"]:
        message, index = choice["message"], choice["index"]
        deltas = [{"role": "assistant", "content": message["content"] and "", "refusal": None}]
        for name in ("reasoning_content", "content", "refusal"):
            deltas += [{name: piece} for piece in cut(message.get(name) or "", draw)]
        for number, call in enumerate(message.get("tool_calls", ())):
            kind, name = ("function", "arguments") if call["type"] == "function" else ("custom", "input")
            deltas.append({"tool_calls": [{**call, "index": number, kind: {**call[kind], name: ""}}]})
            deltas += [
                {"tool_calls": [{"index": number, kind: {name: piece}}]} for piece in cut(call[kind][name], draw)
            ]
        deltas += [{name: message[name]} for name in ("annotations", "provider_specific_fields") if name in message]
        turns.append([{"index": index, "delta": delta, "finish_reason": None} for delta in deltas])
        turns[-1].append({"index": index, "delta": {}, "finish_reason": choice["finish_reason"]})
        tokens = (choice["logprobs"] or {"content": []})["content"]
        for token, chunk in zip(
            tokens, turns[-1][1:], strict=False
        ):  # the SDK adds the logprobs of a first chunk twice
            chunk["logprobs"] = {"content": [token], "refusal": None}
    order = draw(st.permutations([number for number, turn in enumerate(turns) for _ in turn]))
    head = {"id": body["id"], "object": "chat.completion.chunk", "created": body["created"], "model": body["model"]}
    chunks = [{**head, "choices": [turns[number].pop(0)]} for number in order]
    return [*chunks, *([{**head, "choices": [], "usage": body["usage"]}] if "usage" in body else [])]


def cut(text, draw):
    size = draw(st.integers(1, 5)) if len(text) < 20 else 1000
    return [text[start : start + size] for start in range(0, len(text), size)]


@given(CHATS, st.data())
def test_a_chat_kept_as_a_stream_and_asked_for_whole(body, data):
    chunks = fragments(body, data.draw)
    wire = b"".join(sse.encode(json.dumps(chunk).encode()) for chunk in chunks) + b"data: [DONE]\n\n"
    answer = kept_stream(wire)
    assert body_by_sdk(answer) == shown(by_sdk(in_order(chunks)))
    assert answer.as_stream(CHAT, True) == wire
    assert answer.as_stream(CHAT, False).count(b'"usage": {') == 0


def in_order(chunks):
    """Move the first chunk of choice 0 to the front, then that of choice 1, as the SDK requires."""
    return sorted(chunks, key=lambda chunk: chunk["choices"][0]["index"] if chunk["choices"] else 99)


# -- recorded streams --------------------------------------------------------------------------------------------


def recordings(stream):
    for name in ("openai", "extra_openai", "extra_compat"):
        with gzip.open(CORPUS / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                record = json.loads(line)
                if record["kind"] == "chat" and record["status"] == 200 and record["is_stream"] == stream:
                    yield f"{name}:{number}", record["response_body"].encode()


needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="the recorded traffic is not here")
# These hosts send a list in pieces without an index, which the SDK cannot accumulate.
TOO_MUCH_FOR_THE_SDK = {"extra_compat:91", "extra_compat:266"}
# These have no finish reason, one of an older API, audio, or tool calls without an index.
NEVER_KEPT = {"openai:252", "openai:377", "openai:792", "openai:793", "extra_compat:115"}


@needs_corpus
def test_recorded_answers_asked_for_as_streams():
    for name, body in recordings(stream=False):
        assert read_completion(body).ended == (name not in NEVER_KEPT), name
        if read_completion(body).ended:
            answer = whole(body)
            assert seen(stream_by_sdk(answer)) == seen(body_by_sdk(answer)), name
            said = json.loads(body)
            events = [json.loads(event) for event in datas(answer.as_stream(CHAT, True))[:-1]]
            assert unknown(said) <= set().union(*map(unknown, events)), name


@needs_corpus
def test_recorded_streams_asked_for_whole():
    for name, wire in recordings(stream=True):
        try:
            answer = kept_stream(wire)
            body = answer.as_body(CHAT)
        except IncompleteStreamError:
            assert name in NEVER_KEPT, name
            continue
        events = [json.loads(event) for event in datas(wire) if event != b"[DONE]"]
        if name not in TOO_MUCH_FOR_THE_SDK:
            assert seen(shown(by_sdk(without_repeats(events)))) == seen(body_by_sdk(answer)), name
        assert set().union(*map(unknown, events)) <= unknown(json.loads(body)) | {"obfuscation"}, name


def seen(completion):
    """Return the part that the SDK accumulates correctly: only the members of choices and responses that it knows."""
    for choice in completion["choices"]:
        for name in (
            "reasoning_details",
            "executed_tools",
        ):  # the SDK concatenates repeated values and values of other types
            choice["message"].pop(name, None)
        choice["message"].setdefault("role", "assistant")
    names = ("index", "message", "finish_reason", "logprobs")
    choices = [{name: choice.get(name) for name in names} for choice in completion["choices"]]
    return {"usage": completion.get("usage"), "choices": choices}


def unknown(answer):
    """Return the names of all members with a value, including those in choices, except texts."""
    known = {"choices", "object", "usage", "index", "delta", "message", "finish_reason", "logprobs"}
    names = [name for name, value in answer.items() if value is not None]
    of_choices = [name for choice in answer.get("choices") or () for name, value in choice.items() if value is not None]
    return {*names, *of_choices} - known


def without_repeats(chunks):
    """Remove repeated roles, which the SDK would concatenate."""
    seen = set()
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            if choice["index"] in seen:
                (choice.get("delta") or {}).pop("role", None)
            seen.add(choice["index"])
    return chunks


def test_entries_with_an_index_grow_by_index_and_type():
    def chunk(*details):
        return json.dumps({"choices": [{"index": 0, "delta": {"reasoning_details": details}}]}).encode()

    summary = {"type": "reasoning.summary", "index": 0, "format": "f1"}
    chunks = [chunk({**summary, "summary": "a", "id": None}), chunk({**summary, "summary": "b", "id": "r1"}),
              chunk({"type": "reasoning.encrypted", "index": 0, "data": "x"}),
              chunk({"index": 0, "summary": "c"}, {**summary, "index": 1, "summary": "d"}), END]  # fmt: skip
    (choice,) = json.loads(accumulate("chat", chunks))["choices"]
    assert choice["message"]["reasoning_details"] == [
        {**summary, "summary": "abc", "id": "r1"},
        {"type": "reasoning.encrypted", "index": 0, "data": "x"},
        {**summary, "index": 1, "summary": "d"},
    ]


def test_entries_that_a_host_repeats_whole():
    tool = {"index": 0, "type": "search", "arguments": "{}"}
    pieces = [
        {"choices": [{"index": 0, "delta": {"executed_tools": [each]}}]} for each in (tool, {**tool, "output": "o"})
    ]
    (choice,) = json.loads(accumulate("chat", [*(json.dumps(piece).encode() for piece in pieces), END]))["choices"]
    assert choice["message"]["executed_tools"] == [{**tool, "output": "o"}]


# -- streams that are not cached --------------------------------------------------------------------------------------------------

CHUNK = '{"id":"c","choices":[{"index":0,"delta":{"content":"a \\"error\\" \\"finish_reason\\":\\"x\\""},"finish_reason":%s}]}'


def wire(*datas):
    return "".join(f"data: {data}\n\n" for data in datas).encode()


@pytest.mark.parametrize("reason", ["content_filter", "error", "insufficient_system_resource", "eos"])
def test_a_reason_that_may_not_last(reason):
    assert CHAT.from_stream(wire(CHUNK % f'"{reason}"', "[DONE]")) is None
    assert not read_completion(
        b'{"choices":[{"message":{},"finish_reason":"stop"},{"finish_reason":"%b"}]}' % reason.encode()
    ).ended


@pytest.mark.parametrize(
    "stream",
    [
        wire("[DONE]"),
        wire(CHUNK % "null", "[DONE]"),
        wire(CHUNK % '""', "[DONE]"),
        wire(CHUNK % '"stop"', '{"error":{"message":"no"}}', "[DONE]"),
        wire('{"choices":[],"error":"x"}', CHUNK % '"stop"', "[DONE]"),
        wire(CHUNK % '"stop"', '{"error', "[DONE]"),
        b"event: error\ndata: {}\n\n" + wire(CHUNK % '"stop"', "[DONE]"),
        b"",
    ],
)
def test_a_stream_that_is_not_kept(stream):
    assert CHAT.from_stream(stream) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"choices":[]}', b'{"choices":null}', b'{"choices":[{"finish_reason":null}]}', b'{"choices":[{}]}',
     b'{"error":{"message":"no"},"choices":[{"finish_reason":"stop"}]}', b'{"choices":[{"finish_reason":"stop"}]'],
)  # fmt: skip
def test_a_body_that_is_not_kept(body):
    assert not read_completion(body).ended


def test_comments_and_framing_are_left_behind():
    plain = wire(CHUNK % "null", CHUNK % '"stop"', "[DONE]")
    odd = b"\xef\xbb\xbf: ping\r\n\r\n" + plain.replace(b"\n", b"\r\n").replace(b'{"id"', b'{\r\ndata: "id"')
    first = json.loads(datas(kept_stream(odd).as_stream(CHAT, True))[0])
    assert first == json.loads(CHUNK % "null")
    assert kept_stream(plain).as_stream(CHAT, False) == plain
    assert kept_stream(b": ping\n\n" + plain).as_stream(CHAT, False) == plain


USED = '{"id":"c","choices":[],"usage":{"prompt_tokens":1}}'
FINISH_WITH_USAGE = '{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}'


def test_usage_as_asked():
    stream = wire(CHUNK % '"stop"', USED, "[DONE]")
    assert kept_stream(stream).as_stream(CHAT, True) == stream
    assert kept_stream(stream).as_stream(CHAT, False) == wire(CHUNK % '"stop"', "[DONE]")
    assert json.loads(kept_stream(stream).as_body(CHAT))["usage"] == {"prompt_tokens": 1}
    inline = wire(FINISH_WITH_USAGE, "[DONE]")  # this host always reports usage, so the client gets it as on a miss
    assert kept_stream(inline).as_stream(CHAT, False) == inline
    assert json.loads(kept_stream(inline).as_body(CHAT))["usage"] == {"prompt_tokens": 1}


def call_chunk(*calls):
    return json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": list(calls)}}]}).encode()


END = b'{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}'


@pytest.mark.parametrize(
    "calls",
    [
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
            {"index": 0, "id": "b", "function": {}},
        ],
        [{"id": "a", "function": {"name": "f", "arguments": "{}"}}],
        [{"index": "x", "id": "a"}, {"index": 1, "id": "b"}],
        ["f"],
    ],
)
def test_calls_that_cannot_be_told_apart(calls):
    stream = b"".join(map(sse.encode, (call_chunk(*calls), END)))
    with pytest.raises(IncompleteStreamError):
        kept_stream(stream).as_body(CHAT)


def test_interleaved_calls_in_one_chunk_and_several():
    one = {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": '{"x'}}
    two = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    chunks = [call_chunk(one, two), call_chunk({"index": 0, "function": {"arguments": "{"}}),
              call_chunk({"index": 1, "id": "b", "function": {"name": "g", "arguments": '":1}'}},
                         {"index": 0, "id": "", "function": {"arguments": "}"}}), END]  # fmt: skip
    (choice,) = json.loads(accumulate("chat", chunks))["choices"]
    assert choice["message"]["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"x":1}'}},
    ]


@pytest.mark.parametrize(
    "body", [{"choices": [1]}, {"choices": [{"message": [1]}]}, {"choices": [{"message": {"tool_calls": [None]}}]}, {}]
)
def test_a_body_of_another_shape_has_no_other_form(body):
    with pytest.raises(IncompleteStreamError):
        whole(body).as_stream(CHAT, True)


def test_the_order_of_a_stream_made_of_a_body():
    message = {"role": "assistant", "content": "text", "reasoning_content": "why", "refusal": None, "annotations": []}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "citations": ["u"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "native_finish_reason": "end"}]}  # fmt: skip
    chunks = [json.loads(event) for event in datas(whole(body).as_stream(CHAT, True))[:-1]]
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "reasoning_content": "", "content": "", "refusal": None},
        {"reasoning_content": "why"},
        {"content": "text"},
        {"annotations": []},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]
    assert [choice.get("native_finish_reason") for choice in choices] == [None, None, None, "end"]
    assert [chunk.get("citations") for chunk in chunks] == [["u"], None, None, None]
    assert {(chunk["id"], chunk["object"], chunk["model"]) for chunk in chunks} == {("c", "chat.completion.chunk", "m")}
