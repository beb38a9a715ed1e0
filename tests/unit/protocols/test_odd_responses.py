"""A wrong type anywhere in a provider's response results in a failure for the client, never in a proper end."""

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.conversation.emulation import NO_EMULATION, ToolEmulation
from nulpoint.conversation.usage import MAX_TOKENS
from nulpoint.errors import Failure, Kind
from nulpoint.formats import sse
from nulpoint.protocols.client_protocol import IncompleteStreamError
from nulpoint.protocols.openai.accumulate import accumulate
from nulpoint.protocols.openai.chat import EXTRA_FIELDS
from nulpoint.protocols.openai.client import OPENAI_CLIENT
from nulpoint.protocols.openai.text_completion.request import CompletionRequest
from nulpoint.protocols.openai.usage import read_metadata
from nulpoint.protocols.registry import EMBEDDINGS
from support.bedrock_judge import framed
from support.chat_codec import CODECS, codec_for_model
from support.odd_values import MISSING, ODD, odd_ones, places, replaced

ANTHROPIC_USAGE = {
    "input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": 1, "cache_creation_input_tokens": 3,
    "cache_creation": {"ephemeral_1h_input_tokens": 3}, "output_tokens_details": {"thinking_tokens": 2},
}  # fmt: skip
CITATION = {"type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "c"}
ANTHROPIC_BLOCKS = [
    {"type": "thinking", "thinking": "hm", "signature": "s"},
    {"type": "text", "text": "hi", "citations": [CITATION]},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"input": "x"}},
]


def anthropic():
    message = {"id": "i", "type": "message", "role": "assistant", "model": "m", "content": ANTHROPIC_BLOCKS,
               "stop_reason": "tool_use", "stop_details": {"explanation": "e"}, "usage": ANTHROPIC_USAGE}  # fmt: skip
    deltas = [
        {"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "s"},
        {"type": "text_delta", "text": "hi"}, {"type": "citations_delta", "citation": CITATION},
        {"type": "input_json_delta", "partial_json": "{}"},
    ]  # fmt: skip
    pieces = [(0, deltas[:2]), (1, deltas[2:4]), (2, deltas[4:])]
    events = [{"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}]
    for index, block_deltas in pieces:
        block = {**ANTHROPIC_BLOCKS[index], "text": "", "input": {}}
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in block_deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": {"explanation": "e"}}
    events.append({"type": "message_delta", "delta": delta, "usage": ANTHROPIC_USAGE})
    return message, [*events, {"type": "message_stop"}]


def bedrock():
    usage = {
        "inputTokens": 5,
        "outputTokens": 7,
        "totalTokens": 12,
        "cacheReadInputTokens": 1,
        "cacheWriteInputTokens": 1,
    }
    cited = {"title": "t", "location": {"web": {"url": "u", "domain": "d"}}}
    use = {"toolUseId": "t", "name": "f", "input": {"input": "x"}}
    blocks = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}, {"text": "hi"},
        {"citationsContent": {"content": [{"text": "c"}], "citations": [cited]}}, {"toolUse": use},
    ]  # fmt: skip
    whole = {"output": {"message": {"role": "assistant", "content": blocks}}, "stopReason": "tool_use", "usage": usage,
             "metrics": {"latencyMs": 1}}  # fmt: skip
    said = [
        {"reasoningContent": {"text": "hm"}}, {"reasoningContent": {"signature": "s"}}, {"text": "hi"}, {"citation": cited},
        {"toolUse": {"input": "{}"}}, {"toolResult": [{"text": "r"}]},
    ]  # fmt: skip
    events = [
        {"messageStart": {"role": "assistant"}},
        *(
            {"contentBlockDelta": {"contentBlockIndex": at, "delta": one}}
            for at, one in zip((0, 0, 1, 2), said, strict=False)
        ),
        {"contentBlockStart": {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}}},
        *(
            {"contentBlockDelta": {"contentBlockIndex": at, "delta": one}}
            for at, one in zip((3, 4), said[4:], strict=True)
        ),
        {"contentBlockStop": {"contentBlockIndex": 3}},
        {"messageStop": {"stopReason": "tool_use"}},
        {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}},
    ]
    return whole, events


def gemini():
    counts = [{"modality": "TEXT", "tokenCount": 5}]
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 7, "thoughtsTokenCount": 2, "totalTokenCount": 14,
             "cachedContentTokenCount": 1, "promptTokensDetails": counts, "candidatesTokensDetails": counts}  # fmt: skip
    grounding = {"groundingChunks": [{"web": {"uri": "u", "title": "t"}}],
                 "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 2}, "groundingChunkIndices": [0]}]}  # fmt: skip
    token = {"token": "hi", "logProbability": -0.5}
    logprobs = {"chosenCandidates": [token], "topCandidates": [{"candidates": [token]}]}
    call = {"id": "c", "name": "f", "args": {"input": "x"}}
    parts = [{"text": "hm", "thought": True, "thoughtSignature": "s"}, {"text": "hi"}, {"functionCall": call}]

    def answer(parts, **more):
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **more}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "i"}

    ended = {"finishReason": "STOP", "groundingMetadata": grounding, "logprobsResult": logprobs,
             "citationMetadata": {"citationSources": [{"uri": "u"}]}}  # fmt: skip
    pieces = [
        {"name": "g", "partialArgs": [{"jsonPath": "$.a[0].b", "stringValue": "x", "willContinue": True}], "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.a[0].b", "stringValue": "y"}], "willContinue": True}, {},
    ]  # fmt: skip
    events = [*(answer([part]) for part in parts), *(answer([{"functionCall": piece}]) for piece in pieces),
              answer([], **ended)]  # fmt: skip
    return {**answer(parts, **ended), "promptFeedback": {"safetyRatings": []}}, events


def mistral():
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "hi"}]
    call = {"id": "abcdefghi", "type": "function", "index": 0, "function": {"name": "f", "arguments": '{"input":"x"}'}}
    message = {"role": "assistant", "content": content, "tool_calls": [call]}
    named = {"id": "i", "created": 1, "model": "m"}
    whole = {**named, "object": "chat.completion", "usage": usage,
             "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}  # fmt: skip

    def chunk(delta, finish=None, **more):
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return {**named, "object": "chat.completion.chunk", "choices": choices, **more}

    more = {"index": 0, "function": {"name": "", "arguments": "}"}}
    events = [chunk({"role": "assistant", "content": ""}), chunk({"content": content[:1]}), chunk({"content": content}),
              chunk({"content": "hi"}), chunk({"tool_calls": [call]}), chunk({"tool_calls": [more]}),
              chunk({"content": ""}, "tool_calls", usage=usage)]  # fmt: skip
    return whole, events


WIRES = {"anthropic": anthropic, "bedrock": bedrock, "gemini": gemini, "mistral": mistral}
WRAPPED = {
    "plain": (NO_EMULATION, False),
    "a custom tool": (ToolEmulation(custom_tools=frozenset({"f"})), False),
    "a schema": (ToolEmulation(schema_tool="f"), False),
    "functions": (NO_EMULATION, True),
}


def written(wire, events):
    if wire == "bedrock":
        one_each = [
            next(iter(event.items())) if isinstance(event, dict) and event else ("x", event) for event in events
        ]
        return framed(*one_each)
    body = b"".join(sse.encode(written_json(event)) for event in events)
    return body + (b"data: [DONE]\n\n" if wire == "mistral" else b"")


def written_json(value):
    return json.dumps(value).encode()


def streamed(codec, pieces, *, completions=False, show_usage=True):
    """Return what the client gets of a stream. Only a stream without a failure may have ended, and properly."""
    watcher = (for_completions(codec) if completions else codec).stream(1, show_usage)
    out = b"".join([*map(watcher.feed, pieces), watcher.close()])
    facts = watcher.metadata()
    check_usage(facts.usage)
    assert facts.model is None or isinstance(facts.model, str)
    failure = watcher.failure
    if failure is not None:
        assert not watcher.finished()
        assert b"[DONE]" not in out
        check_failure(failure)
    assert watcher.finished() is out.endswith(b"data: [DONE]\n\n")
    decoder = sse.SseDecoder()
    chunks = [json.loads(event.data) for event in decoder.feed(out) if event.data != b"[DONE]"]
    for chunk in chunks:
        for choice in chunk["choices"]:
            check_choice(choice, {"text": choice["text"]} if completions else choice["delta"])
        check_counts(chunk.get("usage"))
    return chunks, failure, watcher.finished()


def check_failure(failure):
    assert failure.kind is not Kind.INTERNAL
    assert OPENAI_CLIENT.error_body(failure)


def check_usage(usage):
    if usage is not None:
        counts = [usage.prompt, usage.completion, usage.cached, usage.reasoning, usage.written, usage.written_1h]
        assert all(type(count) is int and 0 <= count <= MAX_TOKENS for count in counts)


def check_counts(usage):
    """Check the usage that clients get, which may include unknown members."""
    for name, value in (usage or {}).items():
        if name.endswith("_details"):
            check_counts(value)
        elif name.endswith("_tokens"):
            assert value is None or (type(value) is int and value >= 0)


def check_choice(choice, said):
    assert type(choice["index"]) is int
    assert choice["finish_reason"] is None or choice["finish_reason"] in (
        "stop", "length", "tool_calls", "content_filter", "function_call",
    )  # fmt: skip
    for name in ("content", "refusal", "reasoning_content", "text"):
        assert said.get(name) is None or isinstance(said[name], str), name
    for call in said.get("tool_calls") or ():
        assert call.get("id") is None or isinstance(call["id"], str)
        made = call.get("function") or call.get("custom") or {}
        for name in ("name", "arguments", "input"):
            assert made.get(name) is None or isinstance(made[name], str)
    for note in said.get("annotations") or ():
        cited = note["url_citation"]
        assert [type(cited[name]) for name in ("start_index", "end_index", "title", "url")] == [int, int, str, str]
    assert isinstance(said.get(EXTRA_FIELDS, {}), dict)


def codec_for(wire, wrapped):
    emulation, legacy_functions = wrapped
    return codec_for_model(wire, "m").restoring(emulation, legacy_functions=legacy_functions)


def for_completions(codec):
    """Return the codec for a client of completions that sent the same conversation."""
    return codec._replace(request=CompletionRequest(codec.request.conversation))


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("completions", [False, True])
def test_without_anything_odd_the_answers_are_whole(wire, wrapped, completions):
    whole, events = WIRES[wire]()
    codec = codec_for(wire, wrapped)
    chunks, failure, finished = streamed(codec, [written(wire, events)], completions=completions)
    assert (failure, finished) == (None, True)
    assert chunks[-1]["usage"]["prompt_tokens"] > 0
    assert json.loads(codec.decode(written_json(whole), 1))["choices"][0]["finish_reason"]


@pytest.mark.parametrize(
    ("wire", "way"),
    [
        pytest.param(wire, way, id=f"{wire}: {'.'.join(map(str, way))}")
        for wire, make in WIRES.items()
        for way in places(make()[1])[1:]
    ],
)
def test_an_odd_value_in_a_stream(wire, way):
    """The result is the same whether or not the client asked for usage."""
    _, events = WIRES[wire]()
    for odd in [MISSING, *ODD]:
        try:
            body = written(wire, replaced(events, way, odd))
        except (TypeError, ValueError):  # such a type cannot be encoded in a frame
            continue
        results = [streamed(codec_for_model(wire, "m"), [body], show_usage=shown)[1:] for shown in (True, False)]
        assert str(results[0]) == str(results[1])


@pytest.mark.parametrize("wire", WIRES)
@given(st.data())
def test_any_odd_stream_at_any_cut(wire, data):
    _, events = WIRES[wire]()
    wrapped = data.draw(st.sampled_from([*WRAPPED.values()]))
    completions = data.draw(st.booleans())
    codec = codec_for(wire, wrapped)
    try:
        body = written(wire, [data.draw(odd_ones(event)) if data.draw(st.booleans()) else event for event in events])
    except (TypeError, ValueError):
        return
    end, step = data.draw(st.integers(0, len(body))), data.draw(st.sampled_from([7, 300, 10_000]))
    body = body[: data.draw(st.sampled_from([end, len(body)]))]
    once = streamed(codec, [body], completions=completions)
    cut = streamed(codec, [body[at : at + step] for at in range(0, len(body), step)], completions=completions)
    assert str(cut) == str(once)


@pytest.mark.parametrize("wire", WIRES)
def test_an_odd_value_in_a_whole_answer(wire):
    whole, _ = WIRES[wire]()
    for way in places(whole):
        for odd in [MISSING, *ODD] if way else ODD:
            decoded(codec_for(wire, WRAPPED["plain"]), written_json(replaced(whole, way, odd)))


@pytest.mark.parametrize("wire", WIRES)
@given(st.data())
def test_any_odd_whole_answer(wire, data):
    whole, _ = WIRES[wire]()
    wrapped = data.draw(st.sampled_from([*WRAPPED.values()]))
    decoded(codec_for(wire, wrapped), written_json(data.draw(odd_ones(whole))))


def decoded(codec, body):
    try:
        made = codec.decode(body, 1)
        completion, text = json.loads(made), json.loads(for_completions(codec).decode(body, 1))
    except Failure as failure:
        check_failure(failure)
        return
    assert isinstance(completion["id"], str)
    assert isinstance(completion["model"], str)
    check_counts(completion.get("usage"))
    check_usage(read_metadata(made).usage)
    for choice, other in zip(completion["choices"], text["choices"], strict=True):
        check_choice(choice, choice["message"])
        assert isinstance(other["text"], str)


VECTOR = [0.5, -0.25, 1]
EMBEDDED = {
    "bedrock": {"embedding": VECTOR, "inputTextTokenCount": 3},
    "gemini": {"embeddings": [{"values": VECTOR}], "usageMetadata": {"promptTokenCount": 3}},
    "vertex": {
        "predictions": [{"embeddings": {"values": VECTOR, "statistics": {"token_count": 3.0, "truncated": False}}}]
    },
}


@pytest.mark.parametrize("wire", EMBEDDED)
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_odd_embeddings(wire, encoding):
    request = written_json({"model": "m", "input": ["a"], "encoding_format": encoding})
    good = EMBEDDED[wire]
    assert EMBEDDINGS[wire].decode(written_json(good), request, "m")
    for way in places(good):
        for odd in [MISSING, *ODD] if way else ODD:
            body = written_json(replaced(good, way, odd))
            try:
                made = json.loads(EMBEDDINGS[wire].decode(body, request, "m"))
            except Failure as failure:
                check_failure(failure)
                continue
            for item in made["data"] if encoding == "float" else ():
                assert all(type(number) in (int, float) and math.isfinite(number) for number in item["embedding"])
            check_counts(made.get("usage"))


CHUNKS = [
    {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "a"}}]},
    {
        "id": "c",
        "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f"}}]}}],
    },
    {
        "id": "c",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "logprobs": {"content": [{"token": "a"}]}}],
    },
]


@given(
    st.lists(st.one_of(*map(odd_ones, CHUNKS)) | st.sampled_from(CHUNKS), max_size=5),
    st.sampled_from(["chat", "completions"]),
)
def test_odd_chunks_are_assembled_or_not_whole(chunks, route):
    with contextlib.suppress(IncompleteStreamError):
        assert json.loads(accumulate(route, map(written_json, chunks)))["choices"]


def test_every_codec_is_tried():
    assert {codec.stream(1, True).__class__ for codec in CODECS.values()} == {
        codec_for_model(wire, "m").stream(1, True).__class__ for wire in WIRES
    }
