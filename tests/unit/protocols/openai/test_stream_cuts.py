"""The client's stream, and the metadata of the stream, do not depend on how the network splits the provider's."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.cache.recorder import StreamRecorder
from nulpoint.protocols.openai.chat_provider.stream import OpenAIChatStreamParser
from nulpoint.protocols.openai.stream import MAX_PENDING_BYTES, PassThrough, UsageStripper, without_usage
from nulpoint.protocols.openai.text_completion.writer import CompletionStreamWriter


def host_without_end():
    return PassThrough(finish_ends=True)


def completions():
    return OpenAIChatStreamParser(CompletionStreamWriter(1, False))


WATCHERS = {
    "pass on": PassThrough,
    "until the finish": host_without_end,
    "hide usage": UsageStripper,
    "completions": completions,
    "recorded": lambda: StreamRecorder(PassThrough(), without_usage, max_bytes=1 << 20),
}


def chunk(content="a", finish=None, **more):
    choices = [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]
    return json.dumps({"id": "c", "model": "m", "choices": choices, **more})


USED = '{"id":"c","choices":[],"usage":{"prompt_tokens":3}}'
DATA = [
    chunk(), chunk("é\\n\"error\""), chunk("\u2028"), chunk(finish="stop"), USED, USED.replace(":{", ":\n {"),
    '{"choices":[],"usage":[1]}', '{"choices":[{"index":0,"delta":{},"finish_reason":null}],"error":null}',
    '{"error":{"message":"broken"}}', '{"\\u0065rr\\u006Fr":{"message":"broken"}}', '{"object":"error","message":"broken"}',
    chunk("h\\u0065llo"), "[DONE]", " [DONE] ", "[DONE] or not", "{", "[]", "null", "", ":", "1.5", '{"choices":[1.5]}',
]  # fmt: skip
NAMES = [
    "",
    "event: error",
    "event:error",
    "event : error",
    "event: message",
    "event",
    ": comment",
    "id: 1",
    "retry",
    "\ufeff",
]
ENDS = ["\n", "\r\n", "\r"]


@st.composite
def events(draw):
    """Generate an event as a host might write it: fields in any order, several data lines, any line ends."""
    end = draw(st.sampled_from(ENDS))
    space = draw(st.sampled_from([" ", ""]))
    data = draw(st.sampled_from(DATA))
    lines = [f"data:{space}{line}" for line in data.split("\n")]
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(NAMES)))
    mixed = draw(st.sampled_from([end, end, end, *ENDS]))
    return end.join(line for line in lines if line) + end + draw(st.sampled_from([mixed, mixed, mixed, ""]))


ANYTHING = st.one_of(
    st.lists(events(), max_size=6).map(lambda made: "".join(made).encode()),
    st.lists(st.sampled_from(["data", ":", " ", "\r", "\n", "event", "error", "[DONE]", '"', "{", "}", "\\u0065"])).map(
        lambda pieces: "".join(pieces).encode()
    ),
)


def outcome(make, pieces):
    watcher = make()
    passed = [*map(watcher.feed, pieces), watcher.close()]
    failure = watcher.failure
    assert not (failure and watcher.finished())
    assert not watcher.finished() or b"[DONE]" in passed[-1]
    watcher.metadata()
    return b"".join(passed), failure and (str(failure), failure.code), watcher.finished()


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def large(content, *, at_end="", name=""):
    text = json.dumps({"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": "stop"}]})
    return f"{name}data: {text[:-1]}{at_end}}}\n\n".encode()


LARGE = {
    "ordinary": (large("x" * MAX_PENDING_BYTES), False),
    "with escapes": (large('é"\n' * MAX_PENDING_BYTES), False),
    "an error in its end": (large("x" * MAX_PENDING_BYTES, at_end=',"error":{"message":"m"}'), True),
    "an error by name": (large("x" * MAX_PENDING_BYTES, name="event: error\n"), True),
    "an error of many words": (b'data: {"error":{"message":"' + b"so " * MAX_PENDING_BYTES + b'"}}\n\n', True),
    "over many lines": (b"event: message\n" + b"data: {}\n" * 9000 + b"\n", False),
    "never ending": (b"data: {" + b"x" * 5_000_000, False),
    "never ending error": (b"event: error\ndata: {" + b"x" * 5_000_000, True),
}


@pytest.mark.parametrize(("event", "failed"), LARGE.values(), ids=LARGE)
def test_the_cuts_make_no_difference_to_a_very_large_event(event, failed):
    before, after = f"data: {chunk()}\n\n".encode(), b"data: [DONE]\n\n"
    results = []
    for step in (10_000, MAX_PENDING_BYTES, 65_536, 1_000_003):
        data = before + event + after
        results.append(outcome(PassThrough, [data[at : at + step] for at in range(0, len(data), step)]))
    assert all(result == results[0] for result in results)
    body, failure, finished = results[0]
    assert (failure is not None) is failed
    assert finished is (not failed and event.endswith(b"\n\n"))
    assert body.startswith(before)
    assert failed or body.startswith(before + event)


AFTER = {
    "a comment": (b": bye\n\n", True),
    "empty lines": (b"\n\n\n", True),
    "once more": (b"data: [DONE]\n\n", True),
    "the beginning of a comment": (b": by", True),
    "content": (f"data: {chunk()}\n\n".encode(), False),
    "content without its empty line": (f"data: {chunk()}".encode(), False),
    "usage": (f"data: {USED}\n\n".encode(), False),
    "an error": (b'event: error\ndata: {"message":"m"}\n\n', False),
    "no JSON": (b"data: what\n\n", False),
}
LONG_LINE = b"data: {" + b"x" * MAX_PENDING_BYTES  # a translated stream drops it, because it is cut off


@pytest.mark.parametrize("make", [PassThrough, UsageStripper, completions])
@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize(("after", "whole"), AFTER.values(), ids=AFTER)
def test_nothing_follows_the_end(after, whole, apart, make):
    check_after_end(after, whole, apart, make)


@pytest.mark.parametrize("make", [PassThrough, UsageStripper])
@pytest.mark.parametrize("apart", [True, False])
def test_a_very_long_line_does_not_follow_the_end(apart, make):
    check_after_end(LONG_LINE, False, apart, make)


def check_after_end(after, whole, apart, make):
    said = f"data: {chunk(finish='stop')}\n\ndata: [DONE]\n\n".encode()
    body, failure, finished = outcome(make, [said, after] if apart else [said + after])
    assert (failure is None, finished) == (whole, whole)
    assert body.endswith(b"data: [DONE]\n\n") is whole
    until_then = outcome(make, [said])[0]
    assert body == (until_then if whole else until_then.removesuffix(b"data: [DONE]\n\n"))


@pytest.mark.parametrize("choices", [1, 2])
def test_a_host_without_a_terminal_event_has_ended_when_every_choice_has(choices):
    pieces = []
    for index in range(choices):
        for finish in (None, "stop"):
            assert outcome(host_without_end, pieces) == (b"".join(pieces), None, False)
            piece = {"choices": [{"index": number, "delta": {}, "finish_reason": finish if number == index else None}
                                 for number in range(index, choices)]}  # fmt: skip
            pieces.append(f"data: {json.dumps(piece)}\n\n".encode())
    pieces += [b": a comment\n\n"] * 5
    assert outcome(host_without_end, pieces) == (b"".join(pieces) + b"data: [DONE]\n\n", None, True)


ENDED = f"data: {chunk(finish='stop')}\n\n".encode()


@pytest.mark.parametrize(
    ("pieces", "sent", "finished"),
    [
        ([ENDED], ENDED + b"data: [DONE]\n\n", True),
        ([ENDED, f"data: {USED}\n\n".encode()], ENDED + f"data: {USED}\n\ndata: [DONE]\n\n".encode(), True),
        ([ENDED.rstrip()], ENDED + b"data: [DONE]\n\n", True),  # only its empty line is missing
        ([ENDED, b"data: [DONE]\n\n"], ENDED + b"data: [DONE]\n\n", True),  # the end is not sent twice
        ([ENDED, b'data: {"choices":[{"index":1,"delta":{"content":"b"}}]}\n\n'], None, False),
        ([ENDED, b'data: {"error":{"message":"broken"}}\n\n'], ENDED, False),
        ([f"data: {USED}\n\n".encode()], None, False),  # no choice at all
        ([b": ping\n\n"], None, False),
        ([], None, False),
    ],
)  # fmt: skip
def test_the_end_is_added_once_and_only_to_a_complete_response(pieces, sent, finished):
    body, _, has_finished = outcome(host_without_end, pieces)
    assert body == (b"".join(pieces) if sent is None else sent)
    assert has_finished is finished


def test_the_end_is_added_for_every_host_whose_stream_has_ended_in_good_order():
    assert outcome(PassThrough, [ENDED]) == (ENDED + b"data: [DONE]\n\n", None, True)
    assert outcome(PassThrough, [ENDED[:-2]]) == (ENDED + b"data: [DONE]\n\n", None, True)
    assert outcome(PassThrough, [ENDED, b'data: {"cho']) == (ENDED, None, False)
    assert outcome(PassThrough, [ENDED.replace(b'"stop"', b"null")])[2] is False


@pytest.mark.parametrize("make", WATCHERS.values(), ids=WATCHERS)
@given(ANYTHING, st.lists(st.integers(0, 5000), max_size=8))
def test_the_cuts_of_the_network_make_no_difference(make, data, places):
    whole = outcome(make, [data])
    assert outcome(make, cut(data, places)) == whole
    assert outcome(make, [data[at : at + 1] for at in range(len(data))]) == whole
