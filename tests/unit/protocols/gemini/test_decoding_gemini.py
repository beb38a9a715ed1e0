"""Gemini's responses with missing, unusual and unknown members are translated correctly or rejected."""

import json

import pytest

from nulpoint.errors import Kind
from support.chat_codec import CODECS
from support.corpus.variants import NO_ANSWERS, broken, framed, refused, streamed, whole

COUNTS = {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}


def gemini(*parts, reason="STOP", **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [{**candidate, **more}], "usageMetadata": COUNTS, "modelVersion": "g", "responseId": "r"}


SAID = {"text": "hi"}
CALLS = {"functionCall": {"name": "f", "args": {"a": 1}}}
ODD = ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE",
       "MALFORMED_RESPONSE", "OTHER", "NO_IMAGE", "IMAGE_OTHER", "FINISH_REASON_UNSPECIFIED", "NEVER_SEEN"]  # fmt: skip
BROKEN = ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE",
          "CONTINUATION"]  # fmt: skip
FILTERED = ["SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION", "PUP_LIMITED_DISABLED"]  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "reason", "finish"),
    [
        ([SAID], "STOP", "stop"), ([SAID], None, "stop"), ([SAID], 1, "stop"),
        ([CALLS], "STOP", "tool_calls"), ([CALLS], None, "tool_calls"), ([CALLS], "MAX_TOKENS", "length"),
        ([CALLS], "SAFETY", "content_filter"), ([CALLS], "OTHER", "stop"), ([], "MAX_TOKENS", "length"),
        ([SAID], "TOO_MANY_TOOL_CALLS", "length"), ([CALLS], "UNEXPECTED_TOOL_CALL", "tool_calls"),
        *[([], reason, "content_filter") for reason in FILTERED],
        *[([SAID], reason, "stop") for reason in ("OTHER", "NO_IMAGE", "IMAGE_OTHER", "FINISH_REASON_UNSPECIFIED", "NEW")],
    ],
)  # fmt: skip
def test_gemini_reasons(parts, reason, finish):
    answer = gemini(*parts, reason=reason)
    choice, extra, shown = whole("gemini", answer)
    assert choice["finish_reason"] == finish
    assert extra.get("finishReason") == (None if reason in ("STOP", "MAX_TOKENS") else reason)
    assert shown.usage["total_tokens"] == 7
    if reason is not None:
        streaming = streamed("gemini", framed(answer)).choices[0]
        assert (streaming["finish_reason"], streaming["message"]["content"] or None) == (
            finish, choice["message"]["content"] or None)  # fmt: skip


@pytest.mark.parametrize("reason", BROKEN)
def test_gemini_answers_that_are_not_whole_are_failures(reason):
    failure = refused("gemini", gemini(SAID, reason=reason))
    assert (failure.status, failure.code, reason in failure.message) == (502, "provider_error", True)
    stream = CODECS["gemini"].stream(0, False)
    shown = stream.feed(framed(gemini(SAID, reason=reason))) + stream.close()
    assert (b"hi" in shown, b"DONE" in shown, stream.finished()) == (True, False, False)
    assert stream.failure.message == failure.message
    two = gemini(SAID, reason="STOP")
    two["candidates"].append({"content": {"parts": [SAID]}, "finishReason": reason, "index": 1})
    assert [
        choice["finish_reason"]
        for choice in json.loads(CODECS["gemini"].decode(json.dumps(two).encode(), 0))["choices"]
    ] == ["stop", "length"]


@pytest.mark.parametrize("reason", [*ODD, None])
@pytest.mark.parametrize("parts", [[], [{"text": ""}], [{"text": "hm", "thought": True}], [{"thoughtSignature": "s"}]])
def test_gemini_answers_that_hold_nothing_may_be_tried_again(parts, reason):
    failure = refused("gemini", gemini(*parts, reason=reason))
    assert (failure.status, failure.kind, failure.code) == (502, Kind.UPSTREAM, "provider_error")
    assert str(reason or "no reason") in failure.message
    if reason is not None and not any(part.get("thought") for part in parts):
        assert broken("gemini", framed(gemini(*parts, reason=reason)))[1] is False


@pytest.mark.parametrize(
    "parts", [[], [{"text": ""}], [{"thoughtSignature": "s"}], [{"text": "", "thoughtSignature": "s"}]]
)
def test_gemini_answers_that_hold_nothing_and_end_as_usual_may_be_tried_again(parts):
    failure = refused("gemini", gemini(*parts))
    assert (failure.status, failure.kind, failure.code) == (502, Kind.UPSTREAM, "provider_error")
    assert broken("gemini", framed(gemini(*parts)))[1] is False
    assert whole("gemini", gemini({"text": "hm", "thought": True}))[0]["message"]["reasoning_content"] == "hm"


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ({"promptFeedback": {"blockReason": "SAFETY"}}, "the prompt was blocked: SAFETY"),
        ({"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": "why"}, "candidates": []},
         "the prompt was blocked: OTHER: why"),
        ({"promptFeedback": {"safetyRatings": [{"category": "c", "blocked": True}]}}, "the prompt was blocked"),
    ],
)  # fmt: skip
def test_gemini_blocked_prompts(answer, refusal):
    choice, extra, _ = whole("gemini", answer)
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", None)
    assert choice["message"]["refusal"] == refusal
    assert extra["promptFeedback"] == answer["promptFeedback"]
    choice = streamed("gemini", framed(answer), usage=False).choices[0]
    assert (choice["finish_reason"], choice["message"]["refusal"]) == ("content_filter", refusal)
    assert choice["message"]["provider_specific_fields"]["gemini"]["promptFeedback"] == answer["promptFeedback"]


def test_gemini_pieces_that_are_missing_or_mixed():
    choice, _, shown = whole("gemini", {"candidates": [{"content": None, "finishReason": "MAX_TOKENS"}]})
    assert (choice["message"]["content"], shown.usage) == ("", None)
    two = {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"} for text in "ab"]}
    assert [one["message"]["content"] for one in whole("gemini", two)[2].choices.values()] == ["a", "b"]
    mixed, extra, _ = whole("gemini", gemini({**SAID, **CALLS}, {"functionCall": {"name": "g", "args": None}}))
    assert mixed["message"]["content"] == "hi"
    assert [call["function"]["arguments"] for call in mixed["message"]["tool_calls"]] == ['{"a":1}', "{}"]
    assert len(extra["parts"]) == 2


def test_gemini_answers_without_an_id_have_calls_with_ids_of_their_own():
    answers = [{**gemini({"functionCall": {"name": name}}, CALLS), "responseId": None} for name in "fg"]
    ids = [call["id"] for one in answers for call in whole("gemini", one)[0]["message"]["tool_calls"]]
    assert len(set(ids)) == 4
    assert ids[:2] == [call["id"] for call in whole("gemini", answers[0])[0]["message"]["tool_calls"]]


def test_gemini_logprobs():
    chosen = [{"token": "h", "tokenId": 1, "logProbability": -0.5}, {"token": "é", "tokenId": 2}]
    result = {"chosenCandidates": chosen, "topCandidates": [{"candidates": chosen}]}
    choice, extra, _ = whole("gemini", gemini(SAID, logprobsResult=result))
    content = choice["logprobs"]["content"]
    assert [(one["token"], one["logprob"], one["bytes"]) for one in content] == [
        ("h", -0.5, [104]), ("é", 0.0, [195, 169])]  # fmt: skip
    assert [len(one["top_logprobs"]) for one in content] == [2, 0]
    assert extra["logprobsResult"] == result
    halves = [{"chosenCandidates": [one], "topCandidates": [{"candidates": [one]}]} for one in chosen]
    sent = [gemini(SAID, reason=None, logprobsResult=halves[0]), gemini(SAID, logprobsResult=halves[1])]
    streaming = streamed("gemini", framed(*sent)).choices[0]["logprobs"]["content"]
    assert [one["token"] for one in streaming] == ["h", "é"]


def test_gemini_citations_and_counts_by_kind():
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}, {"maps": {}}],
        "groundingSupports": [
            {
                "segment": {"startIndex": 3, "endIndex": 5},
                "groundingChunkIndices": [0, 1, 7],
            },  # positions in the bytes of "é x y"
            {"groundingChunkIndices": [0]},
        ],
    }
    choice, extra, shown = whole("gemini", {
        **gemini({"text": "é x y"}, groundingMetadata=grounding),
        "usageMetadata": {**COUNTS, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}, {"modality": "X"}]},
    })  # fmt: skip
    notes = [note["url_citation"] for note in choice["message"]["annotations"]]
    assert [(note["url"], note["title"], note["start_index"], note["end_index"]) for note in notes] == [
        ("https://a", "A", 2, 4), ("https://a", "A", 0, 0)]  # fmt: skip
    assert extra["groundingMetadata"] == grounding
    assert shown.usage["prompt_tokens_details"] == {"cached_tokens": 0, "audio_tokens": 2}
    assert extra["usageMetadata"]["promptTokensDetails"][0]["tokenCount"] == 2


@pytest.mark.parametrize("body", [*NO_ANSWERS, {"candidates": 5}, {"candidates": ["x"]}, gemini("x"), gemini(5)])
def test_what_is_no_answer_of_gemini(body):
    failure = refused("gemini", body)
    assert (failure.status, failure.code) == (502, "provider_malformed")


GEMINI_ERROR = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}
BARE = json.dumps(GEMINI_ERROR, indent=2).replace("\n", "\r\n").encode() + b"\r\n"
BEGUN = framed(gemini(SAID, reason=None))


@pytest.mark.parametrize(
    ("body", "status", "code", "began"),
    [
        (BARE, 502, "server_is_overloaded", False),
        (BEGUN + BARE, 502, "server_is_overloaded", True),
        (BEGUN + BARE + b"\r\n" + framed(gemini(SAID)), 502, "server_is_overloaded", True),
        (BEGUN + b"[" + BARE + b"]", 502, "server_is_overloaded", True),
        (framed(GEMINI_ERROR), 502, "server_is_overloaded", False),
        (BEGUN + framed({"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}), 429,
         "rate_limit_exceeded", True),
        (BEGUN, 502, "stream_cut", True),
        (BEGUN + b"nonsense\n\n", 502, "stream_cut", True),
        (BEGUN + b"data: nonsense\n\n", 502, "provider_malformed", True),
        (framed({"promptFeedback": {"safetyRatings": [{}]}}, gemini(SAID, reason=None)), 502, "stream_cut", True),
        (framed({"usageMetadata": {}}), 502, "stream_cut", False),
    ],
)  # fmt: skip
def test_gemini_streams_that_fail(body, status, code, began):
    failure, begun = broken("gemini", body)
    assert (failure.status, failure.code, begun) == (status, code, began)
    if code == "server_is_overloaded":
        assert failure.message == "busy"


@pytest.mark.parametrize(
    ("body", "text", "calls", "finish"),
    [
        # The call and the end come in two events, the end comes alone, or an old model sends STOP every time.
        (framed(gemini(CALLS, reason=None), gemini()), "", 1, "tool_calls"),
        (framed(gemini(CALLS, reason=None), gemini(CALLS, reason=None), gemini({"text": ""})), "", 2, "tool_calls"),
        (framed(gemini(SAID), gemini(SAID)), "hihi", 0, "stop"),
        # An event has several data lines, no empty line between events, or no empty line at the end.
        (b"data: " + json.dumps(gemini(SAID), indent=1).replace("\n", "\ndata: ").encode() + b"\n\n", "hi", 0, "stop"),
        (framed(gemini(SAID, reason=None), gemini(SAID)).replace(b"\n\n", b"\n"), "hihi", 0, "stop"),
        (framed(gemini(SAID)).rstrip(), "hi", 0, "stop"),
        (b"\xef\xbb\xbf: hello\r\n\r\ndata:\r\n\r\n" + framed(gemini(SAID)).replace(b"\n", b"\r\n"), "hi", 0, "stop"),
        (framed(gemini(SAID)).replace(b"\n", b"\r"), "hi", 0, "stop"),
    ],
)
def test_gemini_streams(body, text, calls, finish):
    choice = streamed("gemini", body).choices[0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, finish)
    assert len(choice["message"].get("tool_calls") or []) == calls


def test_gemini_candidates_end_each_by_itself():
    first, second = gemini({"text": "a"}, reason=None), gemini({"text": "b"}, reason=None)
    second["candidates"][0]["index"] = 1
    ends = gemini(), gemini(CALLS)
    ends[1]["candidates"][0]["index"] = 1
    choices = streamed("gemini", framed(first, second, *ends)).choices
    assert [(one["message"]["content"], one["finish_reason"]) for one in choices.values()] == [
        ("a", "stop"), ("b", "tool_calls")]  # fmt: skip
    assert broken("gemini", framed(first, second, ends[0]))[0].code == "stream_cut"


def pieces_of_call(*pieces, signature="s"):
    first = {"functionCall": {"name": "f", "willContinue": True}, "thoughtSignature": signature}
    more = [{"functionCall": {"partialArgs": [piece], "willContinue": True}} for piece in pieces]
    return [gemini(part, reason=None) for part in (first, *more)]


def test_gemini_calls_in_pieces():
    sent = pieces_of_call(
        {"jsonPath": "$.city", "stringValue": "Ro", "willContinue": True},
        {"jsonPath": "$.city", "stringValue": "me"},
        {"jsonPath": "$.list[1].n", "numberValue": 2},
        {"jsonPath": "$['odd key']", "boolValue": False},
        {"jsonPath": "$.none", "nullValue": "NULL_VALUE"},
    )
    body = framed(*sent, gemini({"functionCall": {}}, reason=None), gemini(CALLS))
    message = streamed("gemini", body).choices[0]["message"]
    arguments = {"city": "Rome", "list": [None, {"n": 2}], "odd key": False, "none": None}
    assert [json.loads(call["function"]["arguments"]) for call in message["tool_calls"]] == [arguments, {"a": 1}]
    assert message["provider_specific_fields"]["gemini"]["parts"] == [
        {"functionCall": {"name": "f", "args": arguments}, "thoughtSignature": "s"}, CALLS]  # fmt: skip
    cut = framed(*sent, gemini(reason="MAX_TOKENS"))
    choice = streamed("gemini", cut).choices[0]
    assert (choice["finish_reason"], len(choice["message"]["tool_calls"])) == ("length", 1)
    assert broken("gemini", framed(*sent, *pieces_of_call({"jsonPath": 5})))[0].code == "provider_malformed"
