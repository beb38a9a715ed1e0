"""The first content of a stream is found at every split of its bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.protocols.first_content import MAX_HELD_BYTES, FirstContentDetector
from nulpoint.protocols.openai.client import has_content
from nulpoint.protocols.openai.stream import MAX_PENDING_BYTES, PassThrough, UsageStripper

ROLE = (
    '{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}]}'
)


def chunk(delta, more=""):
    return f'{{"id":"c","choices":[{{"index":0,"delta":{delta}{more}}}]}}'


def event(data, end="\n"):
    return f"data: {data}{end}{end}".encode()


def opening(*data):
    one = FirstContentDetector(has_content)
    one.feed(b"".join(event(part) for part in data))
    return one


FINISH = chunk("{}", ',"finish_reason":"stop"')
CONTENT = {
    "text": chunk('{"content":"a"}'),
    "a space": chunk('{"content":" "}'),
    "reasoning": chunk('{"reasoning_content":"hm"}'),
    "reasoning as OpenRouter has it": chunk('{"role":"assistant","content":"","reasoning":"hm"}'),
    "a list of parts": chunk('{"content":[{"type":"text","text":"a"}]}'),
    "a refusal": chunk('{"refusal":"I cannot"}'),
    "a tool call": chunk('{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":""}}]}'),
    "a function call": chunk('{"function_call":{"name":"f","arguments":""}}'),
    "audio": chunk('{"audio":{"id":"a","transcript":"b"}}'),
    "what nobody knows yet": chunk('{"hologram":"x"}'),
    "a finish at the limit": chunk("{}", ',"finish_reason":"length"'),
    "a finish of a filter": chunk('{"content":null}', ',"finish_reason":"content_filter"'),
    "the second choice": '{"choices":[{"index":0,"delta":{}},{"index":1,"delta":{"content":"a"}}]}',
    "a legacy completion": '{"id":"c","choices":[{"index":0,"text":"a","finish_reason":null}]}',
    "content beside an error": '{"choices":[{"delta":{"content":"a"}}],"error":{"message":"no"}}',
    "no JSON": "{broken",
    "JSON of another kind": '"text"',
    "choices that are no list of objects": '{"choices":["a"]}',
    "bytes that are no text": '{"choices":"\udcff"}',
    "JSON too deep to be read": "[" * 100_000,
}
NOTHING = {
    "a role": ROLE,
    "a role alone": chunk('{"role":"assistant"}'),
    "an empty delta": chunk("{}"),
    "an empty text": chunk('{"content":""}'),
    "nulls": chunk('{"content":null,"tool_calls":null,"reasoning_content":null}', ',"finish_reason":null'),
    "an empty list of calls": chunk('{"tool_calls":[]}'),
    "usage only": '{"id":"c","choices":[],"usage":{"prompt_tokens":3}}',
    "no choices": '{"id":"c","object":"chat.completion.chunk"}',
    "choices null": '{"id":"c","choices":null}',
    "no delta": '{"choices":[{"index":0}]}',
    "a delta that is no object": '{"choices":[{"index":0,"delta":null}]}',
    "a legacy completion's empty beginning": '{"choices":[{"index":0,"text":"","finish_reason":null}]}',
    "an end that explains nothing": FINISH,
    "a call as the end, but no call": chunk("{}", ',"finish_reason":"tool_calls"'),
    "a failure as the end": chunk("{}", ',"finish_reason":"error"'),
    "a provider's own fields": chunk(
        '{"provider_specific_fields":{"anthropic":{"usage":{}}}}', ',"finish_reason":"stop"'
    ),
    "the end": "[DONE]",
    "the end with spaces": " [DONE] ",
    "no error": '{"id":"c","choices":[],"error":null}',
    "filter results of the prompt": '{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}',
}


def encoded(data):
    return data.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("data", CONTENT.values(), ids=CONTENT)
def test_content(data):
    one = FirstContentDetector(has_content)
    one.feed(b"data: " + encoded(data) + b"\n\n")
    assert (one.has_event, one.has_content) == (True, True)


@pytest.mark.parametrize("data", NOTHING.values(), ids=NOTHING)
def test_what_is_no_content(data):
    one = opening(data)
    assert (one.has_event, one.has_content) == (True, False)


@pytest.mark.parametrize(
    "data", [b"", b": ping\n\n", b"\n\n", b": a\n\n: b\n\n", b"event: x\n\n", b"id: 7\nretry: 5\n\n"]
)
def test_what_says_nothing_at_all_does_not_even_begin_it(data):
    one = FirstContentDetector(has_content)
    one.feed(data)
    assert (one.has_event, one.has_content) == (False, False)
    assert one.take_held() == data


def test_all_that_came_is_held_and_given_once():
    one = FirstContentDetector(has_content)
    parts = [b": ping\n\n", event(ROLE), event(CONTENT["text"])]
    for part in parts:
        one.feed(part)
    assert one.take_held() == b"".join(parts)
    assert one.take_held() == b""


def test_what_is_held_is_bounded():
    one, fed, ping = FirstContentDetector(has_content), b"", event(NOTHING["an empty delta"])
    while not one.has_content:
        one.feed(ping)
        fed += ping
        assert len(fed) <= MAX_HELD_BYTES + len(ping)
    assert len(fed) > MAX_HELD_BYTES
    assert one.take_held() == fed


def test_an_event_that_is_passed_on_in_pieces_is_content():
    watcher, one = PassThrough(), FirstContentDetector(has_content)
    data = event(chunk(f'{{"content":"{"x" * MAX_PENDING_BYTES * 2}"}}'))
    one.feed(watcher.feed(data[: MAX_PENDING_BYTES + 100]))
    assert (one.has_event, one.has_content) == (True, True)


# -- every split -------------------------------------------------------------------------------------------------------

BEFORE = b": waiting\r\n\r\n" + event(ROLE) + event(NOTHING["usage only"], "\r\n") + event(NOTHING["nulls"], "\r")
STREAMS = {
    "content": BEFORE + event(CONTENT["a tool call"]) + event(FINISH) + event("[DONE]"),
    "finish only": event(FINISH) + event("[DONE]"),
    "end only": b": ping\n\n" + event("[DONE]"),
    "nothing": BEFORE,
}


def through(data, cuts, watcher):
    """Feed a detector as the relay does: with the complete events that a transformer returns."""
    one, edges = FirstContentDetector(has_content), [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    parts = [watcher.feed(data[begin:end]) for begin, end in itertools.pairwise(edges)]
    for part in [*parts, watcher.close()]:
        one.feed(part)
    return one.has_event, one.has_content, one.take_held()


@pytest.mark.parametrize("name", STREAMS)
def test_every_single_split(name):
    data = STREAMS[name]
    whole = FirstContentDetector(has_content)
    whole.feed(data)
    expected = whole.has_event, whole.has_content, data
    for cut in range(len(data) + 1):
        assert through(data, [cut], PassThrough()) == expected, cut
    assert through(data, range(len(data)), PassThrough()) == expected  # one byte per read


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 10_000), max_size=8))
def test_any_split(name, cuts):
    data = STREAMS[name]
    for watcher in (PassThrough, UsageStripper):
        begun, found, held = through(data, cuts, watcher())
        assert found == (name == "content")
        assert begun
        assert held == (data if watcher is PassThrough else data.replace(event(NOTHING["usage only"], "\r\n"), b""))
