"""Tests that a stream can be written for any client: a toy client protocol, in one class, behind Anthropic's parser."""

import json

import pytest

from nulpoint.conversation.emulation import EmulationWriter, ToolEmulation
from nulpoint.conversation.usage import Usage
from nulpoint.protocols.anthropic.stream import AnthropicStreamParser
from support.corpus.cuts import cuts
from support.line_writer import LineWriter


def start(index, **block):
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index, kind, **members):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **members}}


def stop(index):
    return {"type": "content_block_stop", "index": index}


MESSAGE = {"id": "m", "model": "claude", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}
EVENTS = [
    {"type": "message_start", "message": MESSAGE},
    start(0, type="thinking", thinking=""),
    delta(0, "thinking_delta", thinking="hm"),
    delta(0, "signature_delta", signature="s1"),
    stop(0),
    start(1, type="text", text=""),
    delta(1, "text_delta", text="Oslo"),
    delta(1, "citations_delta", citation={"url": "https://a.example", "title": "A"}),
    stop(1),
    start(2, type="redacted_thinking", data="s2"),
    stop(2),
    start(5, type="server_tool_use", id="w", name="web_search", input={}),
    delta(5, "input_json_delta", partial_json='{"query":'),
    delta(5, "input_json_delta", partial_json='"x"}'),
    stop(5),
    start(3, type="tool_use", id="c", name="shell", input={}),
    delta(3, "input_json_delta", partial_json='{"input":'),
    delta(3, "input_json_delta", partial_json='"ls"}'),
    stop(3),
    start(4, type="tool_use", id="d", name="f", input={"a": 1}),
    stop(4),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]
BEGINNING = [
    "begin m claude", "part reasoning", "reasoning hm", "signature anthropic s1", "part text", "text Oslo",
    "citation https://a.example", "part reasoning", "redacted anthropic s2", "part other",
    'provider part anthropic {"type": "server_tool_use", "id": "w", "name": "web_search", "input": {"query": "x"}}',
]  # fmt: skip
SECOND_CALL = ["call 1 d f", 'arguments 1 {"a":1}', "end of call 1"]
END = ["usage 3 9", "end"]


def body(events):
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)


def written(writer, pieces):
    parser = AnthropicStreamParser(writer)
    lines = b"".join([*map(parser.feed, pieces), parser.close()]).decode().splitlines()
    assert (parser.failure, parser.finished()) == (None, True)
    assert parser.metadata().usage == Usage(3, 9)
    return lines


def test_any_split_of_a_stream_gives_the_same_calls_in_order():
    expected = [
        *BEGINNING, "call 0 c shell", 'arguments 0 {"input":', 'arguments 0 "ls"}', "end of call 0",
        *SECOND_CALL, "finish tool_calls ['anthropic']", *END,
    ]  # fmt: skip
    for pieces in cuts(body(EVENTS)):
        assert written(LineWriter(), pieces) == expected


@pytest.mark.parametrize(
    ("emulation", "first_call", "finish"),
    [
        (ToolEmulation(frozenset({"shell"})), ["custom call 0 c shell ls"], "tool_calls"),
        (ToolEmulation(schema_tool="shell"), ["part text", 'text {"input":', 'text "ls"}'], "tool_calls"),
        (ToolEmulation(frozenset({"other"})), ["call 0 c shell", 'arguments 0 {"input":', 'arguments 0 "ls"}', "end of call 0"], "tool_calls"),
    ],
)  # fmt: skip
def test_an_emulation_is_undone_for_any_client(emulation, first_call, finish):
    lines = written(EmulationWriter(LineWriter(), emulation), [body(EVENTS)])
    assert lines == [*BEGINNING, *first_call, *SECOND_CALL, f"finish {finish} ['anthropic']", *END]


def test_a_response_without_calls_for_the_client_does_not_finish_with_calls():
    events = [event for event in EVENTS if event.get("index") != 4]
    lines = written(EmulationWriter(LineWriter(), ToolEmulation(schema_tool="shell")), [body(events)])
    assert lines[-3:] == ["finish stop ['anthropic']", *END]


def test_blocks_without_a_start_event_begin_parts():
    first, *rest = EVENTS
    deltas = [event for event in rest if event["type"] != "content_block_start" and event.get("index", 0) < 2]
    lines = written(LineWriter(), [body([first, *deltas])])
    assert lines[1:7] == BEGINNING[1:7]
