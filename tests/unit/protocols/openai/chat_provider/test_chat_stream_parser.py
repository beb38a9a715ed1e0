"""Tests that streams of chat completion chunks are read, however the network splits them, and never when cut."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.conversation.emulation import EmulationWriter, ToolEmulation
from nulpoint.conversation.usage import Usage
from nulpoint.protocols.openai.chat_client.writer import ChatStreamWriter
from nulpoint.protocols.openai.chat_provider.stream import OpenAIChatStreamParser
from support.corpus.cuts import cuts
from support.corpus.openai_client import read_stream
from support.line_writer import LineWriter


def chunk(delta=None, finish=None, index=0, **more):
    choices = [{"index": index, "delta": delta or {}, "finish_reason": finish}]
    frame = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return json.dumps({**frame, "choices": choices, **more})


def framed(*events, end="\n"):
    return "".join(f"data: {event}{end}{end}" for event in events).encode()


def call(index, **members):
    return chunk({"tool_calls": [{"index": index, **members}]})


ROLE = chunk({"role": "assistant", "content": "", "refusal": None})
HELLO, WORLD = chunk({"content": "hello"}), chunk({"content": " world"})
FINISH = chunk({}, "stop")
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
USED = json.dumps({"id": "c", "model": "m", "choices": [], "usage": USAGE})
CITED = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 2, "title": "T", "url": "https://a.example"},
}
WHOLE = framed(ROLE, HELLO, WORLD, FINISH, USED, "[DONE]")
BEGIN, END = "begin c m", ["usage 3 4", "end"]
USED_EVENT = f"data: {USED}".encode()
SAID = ["part text", "text hello", "text  world"]


def outcome(pieces, writer=None, **options):
    parser = OpenAIChatStreamParser(writer or LineWriter(), **options)
    lines = b"".join([*map(parser.feed, pieces), parser.close()]).decode().splitlines()
    assert not (parser.failure and parser.finished())
    return lines, parser


def read(body, **options):
    """Return the calls of the writer, which must be the same at every cut of the network, and the parser."""
    lines, parser = outcome([body], **options)
    for pieces in cuts(body):
        again, other = outcome(pieces, **options)
        assert (again, str(other.failure), other.finished()) == (lines, str(parser.failure), parser.finished())
        assert other.metadata() == parser.metadata()
    return lines, parser


STREAMS = {
    "text": ([ROLE, HELLO, WORLD, FINISH], [*SAID, "finish stop []"]),
    "reasoning by both names": (
        [chunk({"reasoning_content": "a"}), chunk({"reasoning": "b"}), chunk({"reasoning": "c", "reasoning_content": "c"}), HELLO, FINISH],
        ["part reasoning", "reasoning a", "reasoning b", "reasoning c", "part text", "text hello", "finish stop []"],
    ),
    "a refusal in pieces": (
        [chunk({"refusal": "I "}), chunk({"refusal": "cannot"}), FINISH], ["refusal I ", "refusal cannot", "finish stop []"],
    ),
    "calls whose pieces are mixed": (
        [HELLO, call(0, id="a", type="function", function={"name": "f", "arguments": ""}),
         call(1, id="b", type="function", function={"name": "g", "arguments": "{"}), call(0, function={"arguments": "{}"}),
         call(1, function={"arguments": "}"}), WORLD, chunk({}, "tool_calls")],
        ["part text", "text hello", "call 0 a f", "call 1 b g", "arguments 1 {", "arguments 0 {}", "arguments 1 }",
         "part text", "text  world", "end of call 0", "end of call 1", "finish tool_calls []"],
    ),
    "several calls with one index": (
        [call(0, id="a", function={"name": "f", "arguments": "{}"}), call(0, id="b", function={"name": "f", "arguments": "{}"}), FINISH],
        ["call 0 a f", "arguments 0 {}", "call 1 b f", "arguments 1 {}", "end of call 0", "end of call 1", "finish stop []"],
    ),
    "an id that is repeated with every piece": (
        [call(0, id="a", function={"name": "f", "arguments": "{"}), call(0, id="a", function={"name": "f", "arguments": "}"}), FINISH],
        ["call 0 a f", "arguments 0 {", "arguments 0 }", "end of call 0", "finish stop []"],
    ),
    "calls without an index": (
        [chunk({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]}),
         chunk({"tool_calls": [{"id": "b", "function": {"name": "g"}}]}), chunk({}, "")],
        ["call 0 a f", 'arguments 0 {"x":1}', "call 1 b g", "end of call 0", "end of call 1", "finish tool_calls []"],
    ),
    "a custom tool": (
        [call(0, id="a", type="custom", custom={"name": "shell", "input": ""}), call(0, custom={"input": "l"}),
         call(0, custom={"input": "s"}), chunk({}, "tool_calls")],
        ["custom call 0 a shell ls", "finish tool_calls []"],
    ),
    "the older form of calls": (
        [chunk({"function_call": {"name": "f", "arguments": "{"}}), chunk({"function_call": {"arguments": "}"}}), chunk({}, "function_call")],
        ["call 0 None f", "arguments 0 {", "arguments 0 }", "end of call 0", "finish tool_calls []"],
    ),
    "citations": (
        [HELLO, chunk({"annotations": [CITED]}), FINISH],
        ["part text", "text hello", "citation https://a.example (0, 2)", "finish stop []"],
    ),
    "several choices": (
        [HELLO, chunk({"content": "ho"}, index=1), WORLD, chunk({}, "length", 1), FINISH],
        ["part text", "text hello", "choice 1", "part text", "text ho", "choice 0", "text  world", "choice 1", "choice 0",
         "finish stop []", "choice 1", "finish length []"],
    ),
    "members that come after the finish reason": (
        [HELLO, FINISH, WORLD, chunk({"reasoning_details": [1]})], ["part text", "text hello", "text  world", "finish stop ['openai']"],
    ),
    "an unknown finish reason": ([HELLO, chunk({}, "eos")], ["part text", "text hello", "finish stop ['openai']"]),
    "no finish reason": ([HELLO], ["part text", "text hello", "finish stop []"]),
    "a frame without a name before the first choice": (
        [json.dumps({"id": "", "model": "", "choices": [], "prompt_filter_results": []}), HELLO, FINISH],
        ["part text", "text hello", "finish stop ['openai']"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "calls"), STREAMS.values(), ids=STREAMS)
def test_any_split_of_a_stream_gives_the_same_calls_in_order(events, calls):
    lines, parser = read(framed(*events, USED, "[DONE]"))
    assert (parser.failure, parser.finished()) == (None, True)
    assert lines == [BEGIN, *calls, *END]
    assert (parser.metadata().usage, parser.metadata().model) == (Usage(3, 4), "m")


class Finished(LineWriter):
    """Keeps what the parser says at the end of each choice."""

    def __init__(self):
        self.data, self.probabilities = [], []

    def logprobs(self, logprobs):
        self.probabilities.append(logprobs)
        return b""

    def finish(self, reason, provider_data):
        self.data.append(provider_data)
        return b""


class Progress(LineWriter):
    def progress(self):
        return b"progress\n"


def test_a_stream_makes_progress_while_nothing_can_be_sent():
    """The client's and the gateway's idle timeouts must not end it."""
    custom = [call(0, id="a", custom={"name": "f", "input": ""}), call(0, custom={"input": "x"})]
    events = [chunk({"audio": {"data": "eA=="}}), HELLO, chunk({"content": "a", "audio": {"data": "eA=="}}), *custom]
    lines, _ = outcome([framed(*events)], Progress())
    assert lines == [BEGIN, "progress", "part text", "text hello", "text a", "progress", "progress"]


def test_calls_that_are_no_tool_calls_are_not_lost():
    new = {"type": "new", "new": {"a": 1}}
    pieces = [{"id": "a", **new}, {"id": "b", **new}, {"index": 0, "id": "c", **new}, {"index": 0, "more": "x"}]
    custom = {"index": 1, "id": "d", "custom": {"name": "f", "input": "x"}, "extra_content": {"google": {}}}
    writer = Finished()
    lines, _ = outcome([framed(*[chunk({"tool_calls": [piece]}) for piece in [*pieces, custom]], "[DONE]")], writer)
    assert "custom call 0 d f x" in lines
    kept = [*pieces[:2], {**pieces[2], **pieces[3]}]
    assert writer.data[0]["openai"]["message"]["tool_calls"] == [*kept, {"index": 0, "extra_content": {"google": {}}}]


def test_unknown_members_of_chunks_are_put_together_by_their_place():
    events = [
        chunk({"content": "a", "reasoning_details": [{"index": 0, "text": "x"}], "new": "x"}, system_fingerprint="fp"),
        chunk({"reasoning_details": [{"index": 0, "text": "y"}], "new": "y"}, x_groq={"id": "r"}, obfuscation="zzz"),
        call(0, id="c", type="builtin", function={"name": "f"}, more="p"),
        call(0, function={"arguments": "{}"}, more="q", extra_content={"google": {}}),
        json.dumps({"choices": [{"index": 0, "content_filter_offsets": {"a": 1}, "message": {}, "text": "a"}]}),
        json.dumps({"choices": [{"index": 1, "delta": {"content": "b"}, "logprobs": 0.5, "finish_reason": "eos"}]}),
        json.dumps({"choices": [], "x_groq": {"usage": {**USAGE, "queue_time": 0.5}}}),
    ]
    writer = Finished()
    lines, parser = outcome([framed(*events, "[DONE]")], writer)
    first = {
        "response": {"system_fingerprint": "fp", "x_groq": {"id": "r", "usage": {**USAGE, "queue_time": 0.5}}},
        "usage": {"queue_time": 0.5}, "choice": {"content_filter_offsets": {"a": 1}},
        "message": {"reasoning_details": [{"index": 0, "text": "xy"}], "new": "xy",
                    "tool_calls": [{"index": 0, "type": "builtin", "more": "pq", "extra_content": {"google": {}}}]},
    }  # fmt: skip
    second = {"choice": {"logprobs": 0.5, "finish_reason": "eos"}}
    assert writer.data == [{"openai": first}, {"openai": second}]
    assert (parser.metadata().usage, lines[-2:]) == (Usage(3, 4), END)


def test_log_probabilities_are_put_together():
    events = [json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "logprobs": {"content": [{"token": text}], "refusal": None}}]})
              for text in "abc"]  # fmt: skip
    writer = Finished()
    outcome([framed(*events, FINISH, "[DONE]")], writer)
    assert writer.probabilities == [{"content": [{"token": text} for text in "abc"], "refusal": None}]


def test_a_custom_tool_that_was_sent_as_a_function_is_restored():
    events = [call(0, id="a", function={"name": "shell", "arguments": '{"input":"ls"}'}), chunk({}, "tool_calls")]
    body = framed(*events, USED, "[DONE]")
    lines, _ = outcome([body], EmulationWriter(LineWriter(), ToolEmulation(frozenset({"shell"}))))
    assert lines == [BEGIN, "custom call 0 a shell ls", "finish tool_calls []", *END]


ERROR = {"message": "the model broke", "code": 429}
FAILURES = {
    "an error event": (framed(HELLO) + b'event: error\ndata: {"error":{"message":"m","code":429}}\n\n', "rate_limit_exceeded"),
    "an error beside choices": (framed(HELLO, chunk({}, "stop", error=ERROR), "[DONE]"), "rate_limit_exceeded"),
    "an error as an object": (framed(HELLO, '{"object":"error","message":"m"}'), "provider_500"),
    "an error with spaces before it": (b'data:   {"error":"m"}\n\n', "provider_500"),
    "an error without its empty line": (framed(HELLO)[:-1] + b'\ndata: {"error":{"message":"m","code":429}}', "rate_limit_exceeded"),
    "an error after the end": (framed(HELLO, FINISH, "[DONE]", json.dumps({"error": ERROR})), "rate_limit_exceeded"),
    "more content after the end": (framed(HELLO, FINISH, "[DONE]", HELLO), "provider_malformed"),
    "an end that continues": (framed(HELLO, FINISH, "[DONE] or not"), "provider_malformed"),
    "no JSON": (framed(HELLO, "{oops", FINISH, "[DONE]"), "provider_malformed"),
    "no object": (framed(HELLO, "[]", "[DONE]"), "provider_malformed"),
    "text of another type": (framed(chunk({"content": ["a"]}), "[DONE]"), "provider_malformed"),
    "lists that do not fit": (framed(chunk({"new": "x"}), chunk({"new": [1]}), "[DONE]"), "provider_malformed"),
    "no choice": (framed(USED, "[DONE]"), "provider_malformed"),
    "only the end": (framed("[DONE]"), "provider_malformed"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code"), FAILURES.values(), ids=FAILURES)
def test_a_stream_with_an_error_fails_and_does_not_end(body, code):
    lines, parser = read(body)
    assert parser.failure.code == code
    assert not parser.finished()
    assert "end" not in lines


def test_a_failure_of_the_writer_is_one_of_the_stream():
    body = framed(chunk({"content": "a"}, model="m" * 5000), FINISH, "[DONE]")
    lines, parser = outcome([body], ChatStreamWriter(1, True))
    assert (lines, parser.failure.code) == ([], "provider_malformed")


@pytest.mark.parametrize(
    "after", [b": bye\n\n", b"\n\n\n", b"data: [DONE]\n\n", b": by", b'data: {"cut', b"data: [DONE]\ndata: [DONE]\n\n"]
)
def test_what_may_follow_the_end(after):
    lines, parser = read(WHOLE + after)
    assert (parser.failure, parser.finished()) == (None, True)
    assert lines == [BEGIN, *SAID, "finish stop []", *END]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_any_way(end):
    body = b"\xef\xbb\xbf: hi\n\n" + framed(ROLE, HELLO, ": keepalive", "", WORLD, FINISH, USED, "[DONE]", end=end)
    assert read(body)[0] == [BEGIN, *SAID, "finish stop []", *END]


@pytest.mark.parametrize("length", range(0, WHOLE.index(b"[DONE]") + 5, 7))
def test_a_cut_stream_is_never_complete(length):
    """A stream has ended with its finish reason, unless the beginning of another event follows."""
    body = WHOLE[:length]
    lines, parser = outcome([body])
    beginning = body[body.rindex(b"\n") + 1 :] if b"\n" in body else body
    shows_nothing = b"data: ".startswith(beginning) or beginning == USED_EVENT
    complete = FINISH.encode() in body and shows_nothing
    assert (parser.finished(), "end" in lines) == (complete, complete)


@pytest.mark.parametrize(
    ("events", "complete"),
    [
        ([HELLO, FINISH], True), ([HELLO, FINISH, USED], True), ([HELLO, FINISH, "[DONE]"], True), ([HELLO], False), ([], False),
        ([HELLO, chunk({}, "")], False), ([HELLO, FINISH, chunk({"content": "b"}, index=1)], False),
        ([HELLO, FINISH, chunk({"content": "b"}, index=1), chunk({}, "stop", 1)], True),
    ],
)  # fmt: skip
def test_a_stream_without_an_end_event_has_ended_when_every_choice_has(events, complete):
    lines, parser = read(framed(*events))
    assert (parser.failure, parser.finished(), lines[-1:] == ["end"]) == (None, complete, complete)
    last_without_empty_line = read(framed(*events)[:-2])[1]
    assert last_without_empty_line.finished() is complete


EVENTS = [event for events, _ in STREAMS.values() for event in events]


@given(
    st.lists(st.sampled_from([*EVENTS, USED, "[DONE]", "{", ": x", '{"error":1}']), max_size=8),
    st.lists(st.integers(0, 3000), max_size=6),
)
def test_any_events_at_any_split_give_the_same_calls(events, places):
    body = framed(*events)
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(edges)]
    results = []
    for split in ([body], pieces, [body[at : at + 1] for at in range(len(body))]):
        lines, parser = outcome(split)
        results.append((lines, str(parser.failure), parser.finished(), parser.metadata()))
    assert results[1] == results[2] == results[0]


def test_a_client_of_the_chat_api_gets_a_stream_that_its_sdk_accepts():
    events = [
        ROLE,
        chunk({"reasoning": "hm"}),
        HELLO,
        WORLD,
        chunk({"annotations": [CITED]}),
        chunk({"refusal": "no"}),
        FINISH,
    ]
    parser = OpenAIChatStreamParser(ChatStreamWriter(1, True))
    answer = read_stream(parser.feed(framed(*events, USED, "[DONE]")) + parser.close(), usage=True)
    message = answer.choices[0]["message"]
    assert (message["content"], message["reasoning_content"], message["refusal"]) == ("hello world", "hm", "no")
    assert (message["annotations"], answer.usage) == ([CITED], USAGE)
