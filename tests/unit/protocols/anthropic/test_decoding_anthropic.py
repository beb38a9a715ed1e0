"""Tests responses of Anthropic's API as hosts vary them.

Missing, odd or unknown members must neither crash the gateway nor be read as something else.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.errors import Failure
from nulpoint.formats.sse import MAX_EVENT_BYTES
from nulpoint.protocols.anthropic.response import parse
from support.corpus.gateway import show_stream
from support.corpus.records import HOSTS
from support.corpus.variants import NO_ANSWERS, broken, framed, refused, streamed, whole

USAGE = {"input_tokens": 3, "output_tokens": 4}


def message(*blocks, **more):
    made = {"id": "m1", "type": "message", "role": "assistant", "model": "claude", "content": list(blocks)}
    return {**made, "stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE, **more}


TEXT = {"type": "text", "text": "hi"}
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}


@pytest.mark.parametrize(
    ("answer", "finish", "text", "calls"),
    [
        (message(stop_reason="max_tokens"), "length", "", 0),
        (message(content=None, stop_reason="max_tokens"), "length", "", 0),
        (message(TEXT, TEXT), "stop", "hihi", 0),
        (message(TEXT, stop_reason=None), "stop", "hi", 0),
        (message(CALL, stop_reason=None), "tool_calls", None, 1),
        (message(CALL, stop_reason="tool_use"), "tool_calls", None, 1),
        (message({**CALL, "input": '{"a":1}'}, stop_reason="tool_use"), "tool_calls", None, 1),
        (message({**CALL, "input": None}, stop_reason="tool_use"), "tool_calls", None, 1),
        (message(CALL, stop_reason="max_tokens"), "length", None, 1),
        (message(TEXT, stop_reason="model_context_window_exceeded"), "length", "hi", 0),
        (message(TEXT, stop_reason="pause_turn"), "stop", "hi", 0),
        (message(TEXT, stop_reason="something_new"), "stop", "hi", 0),
        (message(stop_reason="refusal"), "content_filter", None, 0),
        (message({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, TEXT), "stop", "hi", 0),
        (message({"type": "mcp_tool_use", "id": "s", "name": "x", "server_name": "y", "input": {}}), "stop", "", 0),
        (message({"type": "text", "text": None}, {"type": "hologram", "beam": 1}), "stop", "", 0),
        ({"content": [TEXT]}, "stop", "hi", 0),
    ],
)
def test_anthropic_responses(answer, finish, text, calls):
    choice, extra, shown = whole("anthropic", answer)
    assert (choice["finish_reason"], choice["message"]["content"]) == (finish, text)
    assert len(choice["message"].get("tool_calls") or []) == calls
    assert (shown.usage is not None) == ("usage" in answer)
    if answer.get("stop_reason") not in (None, "end_turn", "tool_use", "max_tokens"):
        assert extra["stop_reason"] == answer["stop_reason"]
    if any(block["type"] not in ("text", "tool_use") for block in answer["content"] or []):
        assert extra["content"] == answer["content"]


@pytest.mark.parametrize(
    "body", [*NO_ANSWERS, {"content": 5}, {"content": ["x"]}, message({"type": "text", "text": 5})]
)
def test_malformed_anthropic_responses(body):
    failure = refused("anthropic", body)
    assert (failure.status, failure.code) == (502, "provider_malformed")


def events(*blocks, stop="end_turn", usage=USAGE):
    """Return the events of a stream of blocks. Each block is a list of its start and its deltas."""
    made = [{"type": "message_start", "message": message(content=[], stop_reason=None, usage=usage)}]
    for index, (first, *deltas) in enumerate(blocks):
        made.append({"type": "content_block_start", "index": index, "content_block": first})
        made += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        made.append({"type": "content_block_stop", "index": index})
    made.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": usage and {"output_tokens": 9}})
    return [*made, {"type": "message_stop"}]


EMPTY = {"type": "text", "text": ""}
PIECE = {"type": "text_delta", "text": "hé\u2028"}
CALLED = {**CALL, "input": {}}


@pytest.mark.parametrize(
    "blocks", [[], [{"type": "text", "text": ""}], [{"type": "thinking", "thinking": "", "signature": "s"}]]
)
def test_anthropic_responses_that_hold_nothing_may_be_tried_again(blocks):
    assert refused("anthropic", message(*blocks)).code == "provider_error"
    assert refused("anthropic", message(content=None)).code == "provider_error"
    failure, begun = broken("anthropic", framed(*events(*[[block] for block in blocks])))
    assert (failure.code, begun) == ("provider_error", False)


@pytest.mark.parametrize(
    ("sent", "text", "arguments", "finish"),
    [
        (events([EMPTY, PIECE]), "hé\u2028", [], "stop"),
        (events(stop="max_tokens"), "", [], "length"),
        # The stream begins a second time before any content.
        ([events()[0], *events([EMPTY, PIECE])], "hé\u2028", [], "stop"),
        # The input arrives all at once, as some hosts of this format send it, or is missing, or arrives in pieces.
        (events([CALL], stop="tool_use"), "", ['{"a":1}'], "tool_calls"),
        (events([CALLED], stop="tool_use"), "", ["{}"], "tool_calls"),
        (events([CALLED, {"type": "input_json_delta", "partial_json": ""}], stop="tool_use"), "", ["{}"], "tool_calls"),
        (events([CALLED, {"type": "input_json_delta", "partial_json": '{"a"'},
                 {"type": "input_json_delta", "partial_json": ":2}"}], [{**CALL, "id": "t2"}], stop=None),
         "", ['{"a":2}', '{"a":1}'], "tool_calls"),
        # The token limit cuts the response inside a call whose block never ends.
        ([one for one in events([CALLED, {"type": "input_json_delta", "partial_json": '{"a'}], stop="max_tokens")
          if one["type"] != "content_block_stop"], "", ['{"a'], "length"),
        ([one for one in events([CALLED], stop="tool_use") if one["type"] != "content_block_stop"], "", ["{}"],
         "tool_calls"),
        # The block has no start event.
        ([one for one in events([EMPTY, PIECE]) if one["type"] != "content_block_start"], "hé\u2028", [], "stop"),
        # The stream has events and deltas of unknown types.
        ([events()[0], {"type": "news"}, *events([EMPTY, PIECE, {"type": "odd_delta", "odd": 1}])[1:]], "hé\u2028", [],
         "stop"),
        # The provider runs a tool itself, which is not a call for the client.
        (events([{**CALLED, "type": "server_tool_use"}, {"type": "input_json_delta", "partial_json": "{}"}]), "", [],
         "stop"),
        # Events after the end are ignored.
        ([*events([EMPTY, PIECE]), *events([EMPTY, PIECE])], "hé\u2028", [], "stop"),
    ],
)  # fmt: skip
def test_anthropic_streams(sent, text, arguments, finish):
    choice = streamed("anthropic", framed(*sent)).choices[0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, finish)
    assert [call["function"]["arguments"] for call in choice["message"].get("tool_calls") or []] == arguments


def test_anthropic_usage_is_reported_only_if_known():
    shown = show_stream(HOSTS["anthropic"], [framed(*events([EMPTY, PIECE], usage=None))], usage=True)
    assert (shown.failure, shown.facts.usage) == (None, None)
    assert b'"usage"' not in shown.body
    assert streamed("anthropic", framed(*events([EMPTY, PIECE]))).usage["total_tokens"] == 12


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
LIMITED = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}, "request_id": "r"}


@pytest.mark.parametrize(
    ("body", "status", "code", "began"),
    [
        (framed(OVERLOADED), 502, "server_is_overloaded", False),
        (framed({"type": "ping"}, LIMITED), 429, "rate_limit_exceeded", False),
        (framed(*events([EMPTY, PIECE])[:3], OVERLOADED), 502, "server_is_overloaded", True),
        (framed(*events()[:1], {"type": "error", "error": {"type": "invalid_request_error", "message": "m"}}), 400,
         "provider_400", False),
        (framed(*events()[:1], {"type": "error"}), 502, "provider_500", False),
        (framed(*events([EMPTY, PIECE])[:3]), 502, "stream_cut", True),
        (framed(*events([EMPTY, PIECE])[:-1]), 502, "stream_cut", True),
        (framed({"type": "message_stop"}), 502, "provider_malformed", False),
        (framed(*events([EMPTY, PIECE])[:3], *events([EMPTY, PIECE])), 502, "provider_malformed", True),
        (framed(events()[0], {"type": "content_block_delta", "index": 0,
                              "delta": {"type": "input_json_delta", "partial_json": "{"}}), 502,
         "provider_malformed", False),
        (framed(events()[0]) + b"data: {oops\n\n", 502, "provider_malformed", False),
        (framed(events()[0]) + b'data: {"type":"\xff"}\n\n', 502, "provider_malformed", False),
        (framed(events()[0], 5), 502, "provider_malformed", False),
        (b"", 502, "stream_cut", False),
    ],
)  # fmt: skip
def test_anthropic_streams_that_fail(body, status, code, began):
    failure, begun = broken("anthropic", body)
    assert (failure.status, failure.code, begun) == (status, code, began)


@pytest.mark.parametrize("wire", ["anthropic", "gemini", "mistral"])
def test_an_endless_event_is_rejected(wire):
    piece = b"x" * (MAX_EVENT_BYTES // 4)
    shown = show_stream(HOSTS[wire], [b"data: ", *[piece] * 5], usage=True)
    assert (shown.failure.status, shown.failure.code) == (502, "provider_malformed")


COUNTS = st.none() | st.integers(0, 9)
MORE_USAGE = st.fixed_dictionaries(
    {},
    optional={
        "cache_read_input_tokens": COUNTS,
        "cache_creation_input_tokens": COUNTS,
        "cache_creation": st.none() | st.dictionaries(
            st.sampled_from(["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "other"]), COUNTS
        ),
        "output_tokens_details": st.just({"thinking_tokens": 2}),
        "service_tier": st.none() | st.sampled_from(["standard", ""]),
        "inference_geo": st.none() | st.just("eu"),
        "server_tool_use": st.none() | st.just({"web_search_requests": 1}),
    },
)  # fmt: skip
MORE = st.fixed_dictionaries(
    {},
    optional={
        "stop_reason": st.sampled_from(["max_tokens", "stop_sequence", "refusal", "tool_use", None]),
        "stop_sequence": st.none() | st.just("END"),
        "stop_details": st.none() | st.just({"explanation": "no"}),
        "container": st.none() | st.just({"id": "c"}),
    },
)
BLOCKS = st.lists(st.sampled_from([TEXT, {"type": "text", "text": ""}, {**TEXT, "citations": None}, CALL]), max_size=2)


@given(BLOCKS, MORE_USAGE, MORE)
def test_the_short_way_of_responses_gives_the_same_as_the_long_way(blocks, usage, more):
    answer = message(*blocks, **{**more, "usage": {**USAGE, **usage}})

    def parsed(other):
        try:
            return parse(json.dumps({**answer, **other}).encode())
        except Failure as failure:
            return str(failure)

    assert parsed({}) == parsed({"unknown": None})
