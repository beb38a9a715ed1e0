"""Tests that Gemini's responses and streams become the parts of a conversation, in order, for every candidate."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.conversation.emulation import EmulationWriter, ToolEmulation
from nulpoint.conversation.parts import Citation, ProviderPart, Reasoning, Refusal, Text, ToolCall
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import Failure
from nulpoint.protocols.gemini.response import parse
from nulpoint.protocols.gemini.stream import GeminiStreamParser
from support.chat_codec import CODECS
from support.corpus.cuts import cuts
from support.corpus.variants import framed, streamed
from support.line_writer import LineWriter

USAGE = {"promptTokenCount": 3, "candidatesTokenCount": 4, "thoughtsTokenCount": 2, "totalTokenCount": 9}


def event(*parts, index=0, reason=None, **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": index, **more}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": "g", "responseId": "r"}


def call(name, identifier, **arguments):
    return {"functionCall": {"name": name, "id": identifier, "args": arguments}}


def body_of(response):
    return json.dumps(response).encode()


def lines_of(pieces, writer=None):
    parser = GeminiStreamParser(writer or LineWriter())
    lines = b"".join([*map(parser.feed, pieces), parser.close()]).decode().splitlines()
    assert (parser.failure, parser.finished()) == (None, True)
    return lines


SIGNED = {**call("f", "c1", a=1), "thoughtSignature": "s2"}
IMAGE = {"inlineData": {"mimeType": "image/png", "data": "cG5n"}}
SOURCE = {
    "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
    "groundingSupports": [{"segment": {"startIndex": 3, "endIndex": 5}, "groundingChunkIndices": [0]}],
}
THOUGHTS = [{"text": "h", "thought": True}, {"text": "m", "thought": True, "thoughtSignature": "s1"}]


def test_the_parts_of_a_response_keep_their_order():
    sent = [*THOUGHTS, {"text": "é a"}, SIGNED, IMAGE, {"text": ""}, {"text": "b"}, {"functionCall": {"name": "g"}}]
    response = parse(body_of(event(*sent, reason="STOP", groundingMetadata=SOURCE)))
    (choice,) = response.choices
    *parts, last = choice.parts
    assert parts == [
        Reasoning("h", {"gemini": {}}),
        Reasoning("m", {"gemini": {"signature": "s1"}}),
        Text("é a"),
        ToolCall("c1", None, "f", '{"a":1}', provider_data={"google": {"thought_signature": "s2"}}),
        ProviderPart(IMAGE, "gemini"),
        Text("b", (Citation("https://a.example", "A", (2, 4)),)),
    ]
    assert (last.name, last.arguments, last.id.startswith("call_")) == ("g", "{}", True)
    assert (response.id, response.model, choice.finish_reason) == ("chatcmpl-r", "g", "tool_calls")
    assert choice.provider_data["gemini"] == {"groundingMetadata": SOURCE, "parts": sent}


def test_usage_reports_no_cache_writes():
    counts = {**USAGE, "toolUsePromptTokenCount": 1, "cachedContentTokenCount": 2, "totalTokenCount": 10,
              "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
              "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1}]}  # fmt: skip
    usage = parse(body_of({**event({"text": "a"}, reason="STOP"), "usageMetadata": counts})).usage
    assert usage == UsageReport(
        4, 6, 2, 2, None, 0, 10, prompt_details={"audio_tokens": 2}, completion_details={"image_tokens": 1}
    )
    assert parse(body_of({**event({"text": "a"}, reason="STOP"), "usageMetadata": {}})).usage is None


def test_a_choice_for_each_candidate():
    token = {"token": "a", "logProbability": -0.5}
    first = event({"text": "a"}, reason="STOP", logprobsResult={"chosenCandidates": [token]})["candidates"]
    second = event(call("f", "c"), index=3, reason="STOP", avgLogprobs=-1)["candidates"]
    response = parse(body_of({**event(), "candidates": [*first, *second], "createTime": "t"}))
    assert [(choice.index, choice.finish_reason) for choice in response.choices] == [(0, "stop"), (3, "tool_calls")]
    assert response.choices[0].logprobs["content"][0]["token"] == "a"
    assert response.choices[0].provider_data["gemini"]["createTime"] == "t"
    assert response.choices[1].logprobs is None
    assert response.choices[1].provider_data["gemini"] == {"avgLogprobs": -1, "parts": [call("f", "c")]}


def test_a_blocked_prompt_is_a_refusal():
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}, "responseId": "r"}
    (choice,) = parse(body_of(blocked)).choices
    assert (choice.parts, choice.finish_reason) == ((Refusal("the prompt was blocked: SAFETY"),), "content_filter")
    assert lines_of([framed(blocked)]) == [
        "begin chatcmpl-r ", "refusal the prompt was blocked: SAFETY", "finish content_filter ['gemini']", "usage 3 0", "end",
    ]  # fmt: skip


PIECES = [{"name": "p", "id": "c2", "willContinue": True}, {"partialArgs": [{"jsonPath": "$.x", "stringValue": "1"}]}]
STREAM = framed(
    event({"text": ""}),
    *[event(part) for part in THOUGHTS],
    event({"text": "é "}),
    event({"text": "a"}, {"text": "b"}),
    event({"text": "one"}, index=1),
    event({"text": "c"}),
    event(SIGNED),
    event({"text": "d"}),
    event({"text": "two"}, index=1),
    event(IMAGE),
    event(IMAGE),
    *[event({"functionCall": piece}) for piece in PIECES],
    event({"text": ""}, index=1, reason="MAX_TOKENS"),
    event({"text": "e", "thoughtSignature": "s3"}, reason="STOP", groundingMetadata=SOURCE),
)


def test_any_split_of_a_stream_gives_the_same_calls_in_order():
    for body in (STREAM, STREAM.replace(b"\n", b"\r\n")):
        for pieces in cuts(body):
            assert lines_of(pieces) == [
                "begin chatcmpl-r g", "part reasoning", "reasoning h", "reasoning m", "signature gemini s1",
                "part text", "text é ", "text a", "text b", "choice 1", "part text", "text one", "choice 0", "text c",
                "call 0 c1 f {'google': {'thought_signature': 's2'}}", 'arguments 0 {"a":1}', "end of call 0",
                "part text", "text d", "choice 1", "text two", "choice 0", *["part other", f"provider part gemini {json.dumps(IMAGE)}"] * 2,
                "call 1 c2 p", 'arguments 1 {"x":"1"}', "end of call 1", "part text", "text e", "signature gemini s3",
                "citation https://a.example (2, 4)", "finish tool_calls ['gemini']", "choice 1", "finish length []",
                "usage 3 6", "end",
            ]  # fmt: skip


def test_a_stream_may_begin_with_any_candidate():
    body = framed(event({"text": "b"}, index=1, reason="STOP"), event({"text": "a"}, reason="STOP"))
    assert lines_of([body])[:3] == ["begin chatcmpl-r g", "choice 1", "part text"]
    choices = streamed("gemini", body).choices
    assert [choices[index]["message"]["content"] for index in (0, 1)] == ["a", "b"]


def with_null(sent):
    """Return an event with a member that takes it the long way and says nothing."""
    return {**sent, "candidates": [{**candidate, "finishReason": None} for candidate in sent["candidates"]]}


def described(events):
    """Return the calls of a stream, its failure and what is known of it, cut after every event."""
    parser = GeminiStreamParser(LineWriter())
    known = [(parser.feed(framed(sent)), parser.metadata()) for sent in events]
    ended = parser.feed(framed(*[event(index=index, reason="STOP") for index in range(2)]))
    return known, ended, parser.close(), str(parser.failure)


COUNTS = st.dictionaries(
    st.sampled_from([*USAGE, "cachedContentTokenCount", "unknown", "serviceTier"]), st.integers(-1, 2**40) | st.text()
)
PLAIN = st.builds(
    lambda part, index, usage: {**event(part, index=index), "usageMetadata": usage},
    st.fixed_dictionaries({"text": st.text(max_size=3)}, optional={"thought": st.booleans()}),
    st.integers(0, 1),
    st.sampled_from([USAGE, {"promptTokenCount": 5}, None]) | COUNTS,
)


@given(st.lists(PLAIN, max_size=6))
def test_the_short_way_of_events_gives_the_same_as_the_long_way(events):
    assert described(events) == described([with_null(sent) for sent in events])


@given(PLAIN, st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", None]))
def test_the_short_way_of_responses_gives_the_same_as_the_long_way(response, reason):
    response["candidates"][0]["finishReason"] = reason or "STOP"

    def parsed(more):
        try:
            return parse(body_of({**response, **more}))
        except Failure as failure:
            return str(failure)

    assert parsed({}) == parsed({"promptFeedback": None})


SHELL = {**call("shell", "c", input="ls"), "thoughtSignature": "s"}
TWO = framed(
    event({"text": "x"}),
    event({"text": "y"}, index=1),
    event(SHELL),
    event(call("answer", "d", city="Oslo"), index=1),
    event(reason="STOP"),
    event(index=1, reason="STOP"),
)


def test_emulations_are_undone_in_each_candidate_of_a_stream():
    emulation = ToolEmulation(frozenset({"shell"}), "answer")
    for pieces in cuts(TWO):
        assert lines_of(pieces, EmulationWriter(LineWriter(), emulation)) == [
            "begin chatcmpl-r g", "part text", "text x", "choice 1", "part text", "text y",
            "choice 0", "custom call 0 c shell ls {'google': {'thought_signature': 's'}}",
            "choice 1", "part text", 'text {"city":"Oslo"}',
            "choice 0", "finish tool_calls ['gemini']", "choice 1", "finish stop ['gemini']", "usage 3 6", "end",
        ]  # fmt: skip


@pytest.mark.parametrize("wire", ["gemini", "vertex"])
def test_chat_clients_get_emulated_calls_with_their_signature(wire):
    codec = CODECS[wire].restoring(ToolEmulation(frozenset({"shell"}), "answer"))
    custom = {"id": "c", "type": "custom", "custom": {"name": "shell", "input": "ls"},
              "extra_content": {"google": {"thought_signature": "s"}}}  # fmt: skip
    candidates = [
        *event(SHELL, reason="STOP")["candidates"],
        *event(call("answer", "d", city="Oslo"), index=1, reason="STOP")["candidates"],
    ]
    first, second = json.loads(codec.decode(body_of({**event(), "candidates": candidates}), 0))["choices"]
    assert (first["message"]["tool_calls"], first["finish_reason"]) == ([custom], "tool_calls")
    assert (second["message"]["content"], second["finish_reason"]) == ('{"city":"Oslo"}', "stop")
    stream = codec.stream(0, False)
    sent = stream.feed(TWO) + stream.close()
    chunks = [json.loads(line[6:])["choices"][0] for line in sent.split(b"\n") if line.startswith(b"data: {")]
    (fragment,) = [chunk["delta"]["tool_calls"][0] for chunk in chunks if "tool_calls" in chunk["delta"]]
    assert fragment == {"index": 0, **custom}
    text = "".join(chunk["delta"].get("content") or "" for chunk in chunks if chunk["index"] == 1)
    assert text == 'y{"city":"Oslo"}'
    ends = {chunk["index"]: chunk["finish_reason"] for chunk in chunks if chunk["finish_reason"]}
    assert ends == {0: "tool_calls", 1: "stop"}
