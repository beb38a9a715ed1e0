"""Tests Bedrock's responses and streams: valid by its service model, cut or broken, and unexpected."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.conversation.parts import Citation, ProviderPart, Reasoning, Text, ToolCall
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import Failure, Kind
from nulpoint.protocols.bedrock.response import parse
from nulpoint.protocols.bedrock.stream import BedrockStreamParser
from nulpoint.protocols.registry import EMBEDDINGS
from support.bedrock_judge import fits, frame, framed, parsed_stream, service
from support.chat_codec import CODECS, codec_for_model
from support.corpus.cuts import cuts
from support.corpus.records import HOSTS
from support.corpus.variants import NO_ANSWERS, broken, refused, streamed, whole
from support.line_writer import LineWriter
from support.round_trip import handed_back, named_calls, signatures, spoken

USAGE = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
TEXT = {"text": "hi"}
CALL = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}}
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "abcd"}}}
HIDDEN = {"reasoningContent": {"redactedContent": "YWJj"}}
WEB = {"title": "T", "location": {"web": {"url": "https://example.com/", "domain": "example.com"}}}
CITED = {"citationsContent": {"content": [{"text": "said"}], "citations": [WEB]}}
SERVER = {"toolUse": {"toolUseId": "s", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}}
PICTURE = {"image": {"format": "png", "source": {"bytes": "cG5n"}}}


def message(*blocks, stop="end_turn", **more):
    answer = {"output": {"message": {"role": "assistant", "content": list(blocks)}}, "stopReason": stop,
              "usage": USAGE, "metrics": {"latencyMs": 5}, **more}  # fmt: skip
    if stop in service().shape_for("StopReason").enum:
        fits(answer, service().shape_for("ConverseResponse"))
    return answer


@pytest.mark.parametrize(
    ("answer", "finish", "text", "calls"),
    [
        (message(stop="max_tokens"), "length", "", 0),
        (message(TEXT, TEXT), "stop", "hihi", 0),
        (message(CALL, stop="tool_use"), "tool_calls", None, 1),
        (message(TEXT, CALL, {"toolUse": {**CALL["toolUse"], "toolUseId": "t2"}}, stop="tool_use"), "tool_calls", "hi", 2),
        (message(CALL, stop="max_tokens"), "length", None, 1),
        (message(TEXT, stop="model_context_window_exceeded"), "length", "hi", 0),
        (message(TEXT, stop="stop_sequence"), "stop", "hi", 0),
        (message(TEXT, stop="guardrail_intervened", trace={"guardrail": {"actionReason": "x"}}), "content_filter", "hi", 0),
        (message(TEXT, stop="content_filtered"), "content_filter", "hi", 0),
        (message(TEXT, stop="something_new"), "stop", "hi", 0),
        (message(TEXT, stop="malformed_tool_use"), "stop", "hi", 0),
        (message(THOUGHT, HIDDEN, TEXT, CALL, stop="tool_use"), "tool_calls", "hi", 1),
        (message(SERVER, CITED, PICTURE), "stop", "said", 0),
        (message(TEXT, additionalModelResponseFields={"stop_sequence": "x"}, performanceConfig={"latency": "standard"},
                 serviceTier={"type": "default"}), "stop", "hi", 0),
    ],
)  # fmt: skip
def test_bedrock_responses(answer, finish, text, calls):
    choice, extra, shown = whole("bedrock", answer)
    blocks = answer["output"]["message"]["content"]
    assert (choice["finish_reason"], choice["message"]["content"]) == (finish, text)
    assert len(choice["message"].get("tool_calls") or []) == calls
    assert shown.frame["model"] == "some-model"
    for name in set(answer) - {"output", "stopReason", "usage"}:
        assert extra[name] == answer[name]
    if any(set(block) & {"reasoningContent", "citationsContent", "image"} for block in blocks):
        assert extra["content"] == blocks
    else:
        assert "content" not in extra
    assert ("stopReason" in extra) == (answer["stopReason"] not in ("end_turn", "tool_use", "max_tokens"))


def test_bedrock_usage_includes_cached_tokens():
    answer = message(TEXT)
    answer["usage"] = {**USAGE, "cacheReadInputTokens": 10, "cacheWriteInputTokens": 5,
                       "cacheDetails": [{"ttl": "1h", "inputTokens": 5}]}  # fmt: skip
    _, extra, shown = whole("bedrock", answer)
    assert (shown.usage["prompt_tokens"], shown.usage["completion_tokens"], shown.usage["total_tokens"]) == (18, 4, 22)
    assert shown.usage["prompt_tokens_details"] == {"cached_tokens": 10, "cache_write_tokens": 5}
    assert extra["usage"] == {"cacheDetails": answer["usage"]["cacheDetails"]}


def test_bedrock_reasoning_and_citations_are_shown():
    said = whole("bedrock", message(THOUGHT, TEXT, CITED))[0]["message"]
    assert said["reasoning_content"] == "hm"
    assert said["annotations"] == [
        {"type": "url_citation", "url_citation": {"start_index": 2, "end_index": 6, "title": "T", "url": "https://example.com/"}}
    ]  # fmt: skip


def test_the_parts_of_a_response_keep_their_order():
    answer = message(THOUGHT, TEXT, CALL, SERVER, HIDDEN, CITED, {"text": ""}, PICTURE, TEXT, stop="tool_use")
    response = parse(json.dumps(answer).encode(), "the.model", "id")
    assert response.choices[0].parts == (
        Reasoning("hm", {"bedrock": {"signature": "abcd"}}), Text("hi"), ToolCall("t1", None, "f", '{"a":1}'),
        ProviderPart(SERVER, "bedrock"), Reasoning("", {"bedrock": {"redacted": "YWJj"}}),
        Text("said", (Citation("https://example.com/", "T"),), {"bedrock": {"citations": [WEB]}}),
        ProviderPart(PICTURE, "bedrock"), Text("hi"),
    )  # fmt: skip
    assert (response.id, response.model, response.usage) == ("chatcmpl-id", "the.model", UsageReport(3, 4, 0, None, 0))


@pytest.mark.parametrize(
    "body",
    [*NO_ANSWERS, {"message": "no"}, {"output": {"message": {"content": 5}}, "stopReason": "end_turn"},
     message(stop="malformed_model_output"), {"output": {"message": {"content": ["x"]}}, "stopReason": "x"}],
)  # fmt: skip
def test_malformed_bedrock_responses(body):
    failure = refused("bedrock", body)
    assert (failure.status, failure.code) == (502, "provider_malformed")


# -- streams -----------------------------------------------------------------------------------------------------------


def events(*blocks, stop="end_turn", metadata=True):
    """Yield the events of a stream of blocks, with the padding AWS adds. Each block is its start or None, and deltas."""
    yield "messageStart", {"role": "assistant", "p": "abcd"}
    for index, (start, *deltas) in enumerate(blocks):
        if start is not None:
            yield "contentBlockStart", {"start": start, "contentBlockIndex": index, "p": "ab"}
        for delta in deltas:
            yield "contentBlockDelta", {"delta": delta, "contentBlockIndex": index, "p": "abcdefgh"}
        yield "contentBlockStop", {"contentBlockIndex": index, "p": "a"}
    yield "messageStop", {"stopReason": stop, "p": "abc"}
    if metadata:
        yield "metadata", {"usage": USAGE, "metrics": {"latencyMs": 9}, "p": "abcde"}


PIECE = {"text": "hé\u2028"}
START = {"toolUse": {"toolUseId": "t1", "name": "f"}}


def input_delta(text):
    return {"toolUse": {"input": text}}


@pytest.mark.parametrize(
    ("sent", "text", "arguments", "finish"),
    [
        (events([None, PIECE]), "hé\u2028", [], "stop"),
        (events([None, PIECE, {"text": ""}], [None, PIECE]), "hé\u2028" * 2, [], "stop"),
        (events(stop="max_tokens"), "", [], "length"),
        (events([START], stop="tool_use"), "", ["{}"], "tool_calls"),
        (events([START, input_delta("")], stop="tool_use"), "", ["{}"], "tool_calls"),
        (events([None, PIECE], [START, input_delta('{"a"'), input_delta(":1}")], [{"toolUse": {"toolUseId": "t2", "name": "g"}},
                input_delta("{}")], stop="tool_use"), "hé\u2028", ['{"a":1}', "{}"], "tool_calls"),
        (events([START, input_delta('{"a')], stop="max_tokens"), "", ['{"a'], "length"),
        (events([None, PIECE], stop="guardrail_intervened"), "hé\u2028", [], "content_filter"),
        ([*events([None, PIECE]), *events([None, PIECE])], "hé\u2028", [], "stop"),  # events after the end are ignored
        ([("news", {"a": 1}), *events([None, PIECE])], "hé\u2028", [], "stop"),
        (events([{"toolUse": {**SERVER["toolUse"], "input": None}}, input_delta("{}")], [None, PIECE]), "hé\u2028", [], "stop"),
    ],
)  # fmt: skip
def test_bedrock_streams(sent, text, arguments, finish):
    choice = streamed("bedrock", framed(*sent)).choices[0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, finish)
    assert [call["function"]["arguments"] for call in choice["message"].get("tool_calls") or []] == arguments


def test_a_message_that_has_ended_is_complete_without_usage():
    answer = streamed("bedrock", framed(*events([None, PIECE], metadata=False)), usage=False)
    assert (answer.choices[0]["message"]["content"], answer.choices[0]["finish_reason"]) == ("hé\u2028", "stop")


def test_a_stream_has_the_same_content_as_a_complete_response():
    result = {"toolResult": [{"text": "found"}]}
    sent = framed(*events(
        [None, {"reasoningContent": {"text": "h"}}, {"reasoningContent": {"text": "m"}},
         {"reasoningContent": {"signature": "ab"}}, {"reasoningContent": {"signature": "cd"}}],
        [None, {"reasoningContent": {"redactedContent": "YWJj"}}],
        [None, {"text": "sa"}, {"text": "id"}, {"citation": WEB}],
        [START, input_delta('{"a":'), input_delta("1}")],
        [{"toolResult": {"toolUseId": "s"}}, result],
        [{"image": {"format": "png"}}, {"image": {"source": {"bytes": "cG5n"}}}],
        stop="tool_use",
    ))  # fmt: skip
    assert [next(iter(event)) for event in parsed_stream(sent)][-2:] == ["messageStop", "metadata"]
    answer = streamed("bedrock", sent)
    said = answer.choices[0]["message"]
    assert (said["reasoning_content"], said["content"], len(said["annotations"])) == ("hm", "said", 1)
    assert said["provider_specific_fields"]["bedrock"] == {
        "content": [
            THOUGHT,
            HIDDEN,
            CITED,
            CALL,
            {"toolResult": {"toolUseId": "s", "content": [{"text": "found"}]}},
            PICTURE,
        ],
        "metrics": {"latencyMs": 9},
    }
    assert answer.usage["total_tokens"] == 7


RUN = {"toolUse": {**SERVER["toolUse"], "input": {}}}
FOUND = {"toolResult": {"toolUseId": "s", "content": [{"text": "found"}]}}
PARTS = framed(*events(
    [None, {"reasoningContent": {"text": "hm"}}, {"reasoningContent": {"signature": "s1"}}],
    [None, {"text": "sa"}, {"text": "id"}, {"citation": WEB}],
    [None, {"text": "more"}],
    [{"toolUse": {**SERVER["toolUse"], "input": None}}, input_delta("{}")],
    [{"toolResult": {"toolUseId": "s"}}, {"toolResult": [{"text": "found"}]}],
    [None, {"citation": WEB}, {"text": "so"}],
    [None, {"reasoningContent": {"redactedContent": "YWJj"}}],
    [START, input_delta('{"a":'), input_delta("1}")],
    [{"toolUse": {"toolUseId": "t2", "name": "g"}}],
    stop="tool_use",
))  # fmt: skip


def test_any_split_of_a_stream_gives_the_same_calls_in_order():
    for pieces in cuts(PARTS):
        parser = BedrockStreamParser(LineWriter(), "the.model", "id")
        lines = b"".join([*map(parser.feed, pieces), parser.close()]).decode().splitlines()
        assert parser.failure is None
        assert lines == [
            "begin chatcmpl-id the.model", "part reasoning", "reasoning hm", "signature bedrock s1",
            "part text", "text sa", "text id", "citation https://example.com/", "part text", "text more",
            "part other", f"provider part bedrock {json.dumps(RUN)}",
            "part other", f"provider part bedrock {json.dumps(FOUND)}",
            "part text", "citation https://example.com/", "text so", "part reasoning", "redacted bedrock YWJj",
            "call 0 t1 f", 'arguments 0 {"a":', "arguments 0 1}", "end of call 0",
            "call 1 t2 g", "arguments 1 {}", "end of call 1", "finish tool_calls ['bedrock']", "usage 3 4", "end",
        ]  # fmt: skip


GOOD = framed(*events([None, PIECE, PIECE]))


STOPPED = len(framed(*events([None, PIECE, PIECE], metadata=False)))


@pytest.mark.parametrize("length", [length for length in range(0, len(GOOD), 7) if length != STOPPED])
def test_a_cut_stream_is_never_complete(length):
    """A stream is cut before `messageStop` has arrived, and after it inside another event."""
    failure, _ = broken("bedrock", GOOD[:length])
    assert (failure.status, failure.code) == (502, "stream_cut")


@pytest.mark.parametrize("place", range(0, len(framed(*events([None, PIECE]))), 5))
def test_a_changed_byte_ends_the_stream(place):
    body = bytearray(framed(*events([None, PIECE])))
    body[place] ^= 0x20
    failure, _ = broken("bedrock", bytes(body))
    assert failure.status == 502


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("throttlingException", 429, Kind.RATE_LIMIT),
        ("validationException", 400, Kind.REJECTED),
        ("serviceUnavailableException", 502, Kind.UPSTREAM),
        ("internalServerException", 502, Kind.UPSTREAM),
        ("modelStreamErrorException", 502, Kind.UPSTREAM),
        ("modelTimeoutException", 504, Kind.TIMEOUT),
        ("accessDeniedException", 401, Kind.AUTH),
        ("serviceQuotaExceededException", 429, Kind.RATE_LIMIT),
        ("modelNotReadyException", 502, Kind.UPSTREAM),
        ("somethingNew", 502, Kind.UPSTREAM),
    ],
)
@pytest.mark.parametrize("content", [0, 2])
def test_an_exception_in_a_stream_is_a_typed_failure(name, status, kind, content):
    sent = [*events([None, PIECE, PIECE])][: 1 + content]
    failure, began = broken("bedrock", framed(*sent, (name, {"message": "It broke."}, "exception")))
    assert (failure.status, failure.kind, failure.message, began) == (status, kind, "It broke.", bool(content))


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (frame("InternalError", b"", "error"), "InternalError"),
        (frame("contentBlockDelta", b"{"), "provider_malformed"),
        (frame("contentBlockDelta", {"delta": {"text": 5}, "contentBlockIndex": 0}), "provider_malformed"),
        (frame("contentBlockDelta", {"delta": 5, "contentBlockIndex": 0}), "provider_malformed"),
        (frame("contentBlockDelta", {"delta": {"image": 5}, "contentBlockIndex": 1}), "provider_malformed"),
        (frame("contentBlockStart", {"start": {"toolUse": {}}, "contentBlockIndex": 1}), "provider_malformed"),
        (frame("messageStart", {"role": "assistant"}), "provider_malformed"),
        (b"data: {}\n\n" * 9, "provider_malformed"),
    ],
)
def test_malformed_bedrock_events(last, code):
    failure, _ = broken("bedrock", framed(*[*events([None, PIECE])][:2]) + last)
    assert (failure.status, failure.code) == (502, code)


def test_unreadable_model_output_may_be_retried():
    failure, began = broken("bedrock", framed(*events(stop="malformed_tool_use")))
    assert (failure.status, failure.code, began) == (502, "provider_malformed", False)


def test_a_stream_without_a_message_is_malformed():
    assert broken("bedrock", framed(("messageStop", {"stopReason": "end_turn"})))[0].status == 502


@given(st.lists(st.one_of(spoken, st.sampled_from(["\u2028", '"\\', "\x00", "😀"])), min_size=1, max_size=5),
       st.lists(st.integers(0, 5000), max_size=5))  # fmt: skip
def test_any_text_at_any_split(texts, cuts):
    body = framed(*events([None, *({"text": text} for text in texts)]))
    edges = sorted({0, len(body), *(cut % len(body) for cut in cuts)})
    stream = codec_for_model("bedrock", "the.model").stream(1, False)
    sent = b"".join([stream.feed(body[a:b]) for a, b in itertools.pairwise(edges)]) + stream.close()
    chunks = [json.loads(event[6:]) for event in sent.decode().split("\n\n")[:-2]]
    assert [text for chunk in chunks if (text := chunk["choices"][0]["delta"].get("content"))] == texts
    assert {chunk["model"] for chunk in chunks} == {"the.model"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert (stream.finished(), stream.metadata().usage.prompt, stream.metadata().model) == (True, 3, "the.model")


# -- responses that the client sends back ------------------------------------------------------------------------------

thoughts = st.builds(
    lambda text, sign: {"reasoningContent": {"reasoningText": {"text": text, "signature": sign}}}, spoken, signatures
)


@given(st.lists(thoughts | st.just(HIDDEN), max_size=2), st.lists(spoken, max_size=2), named_calls)
def test_a_bedrock_response_is_sent_back_unchanged(thinking, said, made):
    said = said or ([] if made else ["hi"])  # hidden thinking alone is no answer
    content = thinking + [{"text": text} for text in said] or [TEXT]
    content += [
        {"toolUse": {"toolUseId": f"t{at}", "name": name, "input": given}} for at, (name, given) in enumerate(made)
    ]
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    sent, _ = handed_back("bedrock", model, message(*content, stop="tool_use" if made else "end_turn"))
    returned = sent["messages"][1]["content"]
    if thinking:
        assert returned == content
    else:
        assert "".join(block.get("text", "") for block in returned) == "".join(
            block.get("text", "") for block in content
        )
        assert [block for block in returned if "toolUse" in block] == [block for block in content if "toolUse" in block]


# -- embeddings --------------------------------------------------------------------------------------------------------

TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-multilingual-v3"


def encoded(model, **members):
    body, dropped, _ = EMBEDDINGS["bedrock"].encode(json.dumps({"model": model, **members}).encode(), model)
    return json.loads(body), dropped


def test_embeddings_requests_by_maker():
    assert encoded(TITAN, input=["a"], dimensions=256, normalize=False, user="u") == (
        {"inputText": "a", "dimensions": 256, "normalize": False}, ["user"]
    )  # fmt: skip
    assert encoded("amazon.titan-embed-text-v1", input="a", dimensions=256) == ({"inputText": "a"}, ["dimensions"])
    assert encoded("amazon.titan-embed-image-v1", input="a", dimensions=256)[0] == {
        "inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 256},
    }  # fmt: skip
    assert encoded(COHERE, input=["a", "b"], input_type="search_query", truncate="END", dimensions=8) == (
        {"texts": ["a", "b"], "input_type": "search_query", "truncate": "END"}, ["dimensions"]
    )  # fmt: skip
    assert encoded("us.cohere.embed-v4:0", input="a", dimensions=256)[0] == {
        "texts": ["a"], "input_type": "search_document", "embedding_types": ["float"], "output_dimension": 256,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "texts", "param", "reason"),
    [
        (TITAN, ["a", "b"], "input", "one text per request"),
        (COHERE, ["a"] * 97, "input", "at most 96"),
        (TITAN, [1, 2], "input", "token ids"),
        (TITAN, [], "input", "a text"),
        ("amazon.nova-pro-v1:0", "a", "model", "amazon.titan-embed"),
        ("../x", "a", "model", "must be the id"),
    ],
)
def test_embeddings_requests_that_are_rejected(model, texts, param, reason):
    with pytest.raises(Failure) as caught:
        encoded(model, input=texts)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert reason in caught.value.message


def decoded(response, **members):
    request = json.dumps({"input": "a", **members}).encode()
    return json.loads(EMBEDDINGS["bedrock"].decode(json.dumps(response).encode(), request, "m"))


def test_embeddings_responses_by_maker():
    titan = decoded({"embedding": [0.5, 1.0], "inputTextTokenCount": 3, "embeddingsByType": {"float": [0.5, 1.0]}})
    assert titan["data"] == [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]
    assert titan["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    cohere = {"id": "x", "response_type": "embeddings_floats", "embeddings": [[1.0], [2.0]], "texts": ["a", "b"]}
    assert [entry["embedding"] for entry in decoded(cohere)["data"]] == [[1.0], [2.0]]
    add_count = EMBEDDINGS["bedrock"].add_token_count
    assert "usage" not in decoded(cohere)
    assert json.loads(add_count(json.dumps(decoded(cohere)).encode(), b"12"))["usage"]["prompt_tokens"] == 12
    counted = EMBEDDINGS["bedrock"].decode(b'{"embedding": [1.0], "inputTextTokenCount": 3}', b"{}", "m")
    assert add_count(counted, b"12") == add_count(counted, b"x") == counted
    typed = {"embeddings": {"float": [[1.0]], "int8": [[1]]}}
    packed = decoded(typed, encoding_format="base64")
    assert packed["data"][0]["embedding"] == "AACAPw=="
    assert packed["provider_specific_fields"]["bedrock"]["embeddings"] == {"int8": [[1]]}


@pytest.mark.parametrize("response", [{}, {"embeddings": 5}, {"embedding": None}, {"embeddings": {"int8": []}}])
def test_responses_without_embeddings_are_malformed(response):
    with pytest.raises(Failure) as caught:
        decoded(response)
    assert caught.value.status == 502


@pytest.mark.parametrize("name", ["../x", "a b", "", "a?b", "é", "a" * 2049, "a\r\nb"])
def test_a_model_name_cannot_change_the_path(name):
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "x"}]}).encode()
    with pytest.raises(Failure) as caught:
        CODECS["bedrock"].encode(body, name)
    assert (caught.value.status, caught.value.param) == (400, "model")


def test_bedrock_is_in_the_catalogue():
    assert HOSTS["bedrock"].wire == "bedrock"
