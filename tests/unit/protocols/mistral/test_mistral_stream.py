"""Mistral's stream parser makes the calls of a client's writer in order, however the network splits the stream."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.conversation.emulation import EmulationWriter, ToolEmulation
from nulpoint.conversation.parts import Reasoning, Text, ToolCall
from nulpoint.conversation.usage import Usage
from nulpoint.protocols.mistral.response import parse
from nulpoint.protocols.mistral.stream import MistralStreamParser
from support.chat_codec import CODECS
from support.corpus.cuts import cuts
from support.line_writer import LineWriter

DONE = b"data: [DONE]\n\n"
COUNTS = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}
FRAME = {"id": "r", "object": "chat.completion.chunk", "created": 5, "model": "magistral"}


def choice(index=0, finish=None, delta=None, **members):
    return {"index": index, "delta": {**(delta or {}), **members}, "finish_reason": finish}


def chunk(*choices, **members):
    return {**FRAME, "choices": list(choices), **members}


def piece(index=0, finish=None, **delta):
    """Return a chunk of one choice."""
    return chunk(choice(index, finish, delta))


def thinking(*texts, closed=True):
    return {"type": "thinking", "thinking": [{"type": "text", "text": text} for text in texts], "closed": closed}


def call(index, text, **members):
    return {"index": index, "function": {"name": "", "arguments": text}, **members}


def started(index, call_id, name, arguments=""):
    return {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}


def body(chunks):
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in chunks) + DONE


def written(writer, pieces):
    parser = MistralStreamParser(writer)
    lines = b"".join([*map(parser.feed, pieces), parser.close()]).decode().splitlines()
    assert (parser.failure, parser.finished()) == (None, True)
    return lines


def finished_data(chunks):
    """Return Mistral's own data that a chat client gets, merged from all chunks, and the parser's metadata."""
    stream = CODECS["mistral"].stream(1, False)
    sent = stream.feed(body(chunks)) + stream.close()
    assert stream.failure is None
    merged = {}
    for line in sent.decode().split("\n\n")[:-2]:
        for one in json.loads(line.removeprefix("data: "))["choices"]:
            data = one["delta"].get("provider_specific_fields", {}).get("mistral", {})
            merged.setdefault(one["index"], {}).update(data)
    return merged, stream.metadata()


REFERENCE = {"type": "reference", "reference_ids": [1]}
PARTS = [
    piece(role="assistant", content=""),
    piece(content=[thinking("h", closed=False)]),
    piece(content=[thinking("m")]),
    piece(content="Os"),
    piece(content="lo"),
    piece(content=[REFERENCE]),
    piece(content="."),
    piece(content=[{"type": "text", "text": "!"}]),
    piece(tool_calls=[started(0, "aaaaaaaaa", "f"), started(1, "bbbbbbbbb", "g")]),
    piece(tool_calls=[call(0, '{"a":'), call(1, "{")]),
    piece(tool_calls=[call(0, "1}")]),
    piece(tool_calls=[call(1, "}")]),
    piece(content="so"),
    piece(tool_calls=[{"id": "ccccccccc", "function": {"name": "h", "arguments": None}}]),
    {**piece(finish="tool_calls", content=""), "usage": COUNTS},
]
LINES = [
    "begin r magistral", "part reasoning", "reasoning h", "reasoning m", "part text", "text Os", "text lo",
    "part other", "part text", "text .", "text !", "call 0 aaaaaaaaa f", "call 1 bbbbbbbbb g",
    'arguments 0 {"a":', "arguments 1 {", "arguments 0 1}", "arguments 1 }", "part text", "text so",
    "call 2 ccccccccc h", "end of call 0", "end of call 1", "arguments 2 {}", "end of call 2",
    "finish tool_calls ['mistral']", "usage 3 9", "end",
]  # fmt: skip


def test_any_split_of_a_stream_gives_the_same_calls_in_order():
    for pieces in cuts(body(PARTS)):
        assert written(LineWriter(), pieces) == LINES


def test_the_parts_of_a_stream_are_told_as_those_of_a_complete_response():
    data, metadata = finished_data(PARTS)
    content = [thinking("hm"), {"type": "text", "text": "Oslo"}, REFERENCE, {"type": "text", "text": ".!"},
               {"type": "text", "text": "so"}]  # fmt: skip
    assert data == {0: {"content": content}}
    assert (metadata.usage, metadata.model) == (Usage(3, 9), "magistral")
    answer = {**FRAME, "choices": [{"index": 0, "message": {"content": content}, "finish_reason": "stop"}]}
    (said,) = parse(json.dumps(answer).encode()).choices
    assert said.parts == (Reasoning("hm"), Text("Oslo"), Text(".!"), Text("so"))
    assert said.provider_data == {"mistral": {"content": content}}


def test_thinking_with_references_is_a_part_of_its_own():
    mixed = {"type": "thinking", "thinking": [{"type": "text", "text": "b"}, REFERENCE], "closed": True}
    chunks = [piece(content=[thinking("a")]), piece(content=[mixed]), piece(content=[thinking("c")]),
              piece(content=[{"type": "thinking", "thinking": "d"}]), piece(finish="stop")]  # fmt: skip
    data, _ = finished_data(chunks)
    assert data[0]["content"] == [thinking("a"), mixed, thinking("cd")]
    assert [line for line in written(LineWriter(), [body(chunks)]) if line.startswith("reasoning")] == [
        "reasoning a", "reasoning b", "reasoning c", "reasoning d",
    ]  # fmt: skip


SEVERAL = [
    chunk(choice(0, content="a"), choice(1, content="x")),
    piece(1, content="y"),
    piece(1, content="z"),
    piece(0, content="b"),
    piece(1, tool_calls=[started(0, "aaaaaaaaa", "f", "{}")]),
    piece(0, "length", content=""),
    piece(1, "tool_calls"),
]


def test_several_choices_may_be_mixed():
    for pieces in cuts(body(SEVERAL)):
        assert written(LineWriter(), pieces) == [
            "begin r magistral", "part text", "text a", "choice 1", "part text", "text x", "text y", "text z",
            "choice 0", "text b", "choice 1", "call 0 aaaaaaaaa f", "arguments 0 {}", "choice 0", "finish length []",
            "choice 1", "end of call 0", "finish tool_calls []", "end",
        ]  # fmt: skip


@pytest.mark.parametrize("first", [[], [chunk(usage=COUNTS)]])
def test_a_stream_begins_with_its_first_choice(first):
    lines = written(LineWriter(), [body([*first, piece(2, content="a"), piece(2, "stop")])])
    assert lines[:4] == ["begin r magistral", "choice 2", "part text", "text a"]


SHELL = [piece(0, tool_calls=[started(0, "aaaaaaaaa", "shell", '{"input":')]), piece(0, tool_calls=[call(0, '"ls"}')])]
PLACE = started(0, "bbbbbbbbb", "place", '{"city":')
END_OF_PLACE = piece(1, tool_calls=[call(0, '"Oslo"}')])
FUNCTION = started(1, "ccccccccc", "f", "{}")


@pytest.mark.parametrize(
    ("calls", "lines", "end", "finish"),
    [
        ([PLACE], [], [], "stop"),
        ([PLACE, FUNCTION], ["call 1 ccccccccc f", "arguments 1 {}"], ["end of call 1"], "tool_calls"),
    ],
)
def test_custom_tools_and_a_schema_are_restored_in_each_choice(calls, lines, end, finish):
    chunks = [SHELL[0], piece(1, tool_calls=calls), SHELL[1], END_OF_PLACE]
    chunks += [piece(1, "tool_calls"), piece(0, "tool_calls")]
    for pieces in cuts(body(chunks)):
        emulating = EmulationWriter(LineWriter(), ToolEmulation(frozenset({"shell"}), "place"))
        assert written(emulating, pieces) == [
            "begin r magistral", "choice 1", "part text", 'text {"city":', *lines, "choice 0", "choice 1",
            'text "Oslo"}', *end, f"finish {finish} []", "choice 0", "custom call 0 aaaaaaaaa shell ls",
            "finish tool_calls []", "end",
        ]  # fmt: skip


DELTAS = st.one_of(
    st.text(max_size=3).map(lambda text: {"content": text}),
    st.lists(st.text(max_size=3), min_size=1, max_size=2).map(lambda texts: {"content": [thinking(*texts)]}),
    st.text(max_size=3).map(lambda text: {"content": [{"type": "text", "text": text}]}),
    st.text("ab", max_size=2).map(lambda text: {"tool_calls": [call(0, text)]}),
    st.just({"content": [REFERENCE]}),
)


@given(st.lists(st.tuples(st.integers(0, 1), DELTAS), min_size=1, max_size=12))
def test_plain_chunks_are_read_as_all_others(deltas):
    """A member that is null says nothing, but its chunk is not plain."""
    chunks = [
        chunk(choice(0, None, {"content": "a"})),
        *[chunk(choice(index, None, delta)) for index, delta in deltas],
        chunk(choice(0, "stop"), choice(1, "stop")),
    ]
    others = [{**one, "unknown": None} for one in chunks]
    assert written(LineWriter(), [body(chunks)]) == written(LineWriter(), [body(others)])
    assert finished_data(chunks) == finished_data(others)


def test_members_of_a_stream_without_a_place_are_told_once():
    tokens = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -0.25}]
    first = {**choice(0, None, {"content": "a", "aside": "x"}), "logprobs": {"content": tokens[:1]}}
    last = {**choice(0, "stop", {"content": "b", "aside": "y"}), "logprobs": {"content": tokens[1:]}, "flag": False}
    chunks = [
        {**chunk(first), "tier": "t"},
        {**chunk(last), "tier": "t", "p": "padding"},
        {**chunk(), "tier": "t", "usage": {**COUNTS, "num_cached_tokens": 2, "seconds": 7}},
    ]
    stream = CODECS["mistral"].stream(1, True)
    sent = (stream.feed(body(chunks)) + stream.close()).decode().split("\n\n")
    *_, end, late, usage, done, nothing = sent
    end, late, usage = (json.loads(event.removeprefix("data: ")) for event in (end, late, usage))
    assert (done, nothing, {one["created"] for one in (end, late, usage)}) == ("data: [DONE]", "", {5})
    assert end["choices"] == [
        {
            "index": 0,
            "delta": {
                "provider_specific_fields": {
                    "mistral": {"response": {"tier": "t"}, "choice": {"flag": False}, "message": {"aside": "xy"}}
                }
            },
            "logprobs": {"content": tokens},
            "finish_reason": "stop",
        }
    ]
    assert late["choices"][0]["delta"] == {
        "provider_specific_fields": {"mistral": {"usage": {"num_cached_tokens": 2, "seconds": 7}}}
    }
    assert usage["usage"] == {**COUNTS, "prompt_tokens_details": {"cached_tokens": 2}}


def test_members_of_a_response_without_a_place_are_told_once():
    tokens = {"content": [{"token": "a", "logprob": -0.5}]}
    function = {"name": "f", "arguments": "", "more": 0}
    called = {"id": "aaaaaaaaa", "index": 0, "type": "odd", "function": function, "note": None}
    choices = [
        {"index": 4, "message": {"content": "a", "prefix": False}, "logprobs": tokens, "finish_reason": "new", "x": 1},
        {"index": 5, "message": {"tool_calls": [called]}, "logprobs": [], "finish_reason": None},
    ]
    details = {"cached_tokens": 2, "audio_tokens": 1, "note": "n"}
    usage = {**COUNTS, "prompt_tokens_details": details, "service_tier": "standard",
             "completion_tokens_details": {"reasoning_tokens": 4}}  # fmt: skip
    response = parse(json.dumps({**FRAME, "choices": choices, "usage": usage, "tier": "t"}).encode())
    assert (response.id, response.model, response.created) == ("r", "magistral", 5)
    first, second = response.choices
    assert (first.index, first.parts, first.logprobs, first.finish_reason) == (4, (Text("a"),), tokens, "stop")
    assert first.provider_data == {
        "mistral": {
            "finish_reason": "new",
            "choice": {"x": 1},
            "message": {"prefix": False},
            "response": {"tier": "t"},
            "usage": {"service_tier": "standard", "prompt_tokens_details": details},
        }
    }
    data = {"mistral": {"type": "odd", "function": {"more": 0}}}
    assert second.parts == (ToolCall("aaaaaaaaa", None, "f", "{}", provider_data=data),)
    assert (second.finish_reason, second.logprobs) == ("tool_calls", None)
    assert second.provider_data == {"mistral": {"choice": {"logprobs": []}}}
    report = response.usage
    assert report.counts() == Usage(3, 9, cached=2, reasoning=4)
    assert (report.total, report.prompt_details, report.completion_details) == (12, {"audio_tokens": 1}, {})


def test_members_of_a_call_without_a_place_are_told():
    chunks = [piece(tool_calls=[{**started(0, "aaaaaaaaa", "f"), "note": 0}]),
              piece(tool_calls=[call(0, "{}", note="n")]), piece(finish="tool_calls")]  # fmt: skip
    data, _ = finished_data(chunks)
    assert data == {0: {"message": {"tool_calls": [{"index": 0, "note": "n"}]}}}
    stream = CODECS["mistral"].stream(1, False)
    begun = json.loads(stream.feed(body(chunks)).split(b"\n\n")[1].removeprefix(b"data: "))
    assert begun["choices"][0]["delta"]["tool_calls"][0]["extra_content"] == {"mistral": {"note": 0}}


@pytest.mark.parametrize("details", [5, "x", [1], {"a": -1}])
def test_details_that_are_no_counts_are_told_as_they_came(details):
    usage = {**COUNTS, "completion_tokens_details": details}
    answer = {**FRAME, "choices": [{"message": {"content": "a"}}], "usage": usage}
    response = parse(json.dumps(answer).encode())
    assert response.choices[0].provider_data == {"mistral": {"usage": {"completion_tokens_details": details}}}
    assert response.usage.counts() == Usage(3, 9)


@pytest.mark.parametrize("more", [{"content": "b"}, {"tool_calls": [started(0, "aaaaaaaaa", "f")]}])
def test_a_choice_does_not_continue_after_its_finish_reason(more):
    parser = MistralStreamParser(LineWriter())
    parser.feed(body([piece(content="a"), piece(finish="stop"), piece(finish="stop", content=""), piece(**more)]))
    assert parser.failure.code == "provider_malformed"
    assert not parser.finished()
