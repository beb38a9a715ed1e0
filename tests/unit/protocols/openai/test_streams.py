"""Server-sent events and stream transformers have the same output for any split of the bytes."""

import itertools
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.conversation.usage import Usage
from nulpoint.formats import sse
from nulpoint.protocols.openai.chat_provider.stream import OpenAIChatStreamParser
from nulpoint.protocols.openai.stream import MAX_PENDING_BYTES, PassThrough, UsageStripper
from nulpoint.protocols.openai.text_completion.writer import CompletionStreamWriter

CHUNK = (
    '{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"a\u2028b é"},"finish_reason":null}],"usage":null}'
)
FINISH = '{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}'
USED = '{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'


def framed(*data, end="\n"):
    return "".join(f"data: {one}{end}{end}" for one in data).encode()


FINISH_EVENT, USED_EVENT, DONE_EVENT = (f"data: {data}".encode() for data in (FINISH, USED, "[DONE]"))
SAMPLE = b": ping\n\n" + framed(CHUNK, FINISH, USED, "[DONE]")
WITHOUT_USAGE = b": ping\n\n" + framed(CHUNK, FINISH, "[DONE]")


def pieces(data, cuts):
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


def feed(watcher, parts):
    return b"".join([*(watcher.feed(part) for part in parts), watcher.close()])


CUTS = st.lists(st.integers(0, 10_000), max_size=6)


@given(CUTS, st.sampled_from(["\n", "\r\n", "\r"]))
def test_the_decoder_gives_the_same_events_at_any_split(cuts, end):
    data = (
        b"\xef\xbb\xbf"
        + framed(CHUNK, USED, end=end)
        + f"event: e{end}data:x{end}data: y{end}id: 1{end}{end}data: last".encode()
    )
    decoder = sse.SseDecoder()
    events = [event for part in pieces(data, cuts) for event in decoder.feed(part)] + decoder.close()
    assert [event.data.decode() for event in events] == [CHUNK, USED, "x\ny", "last"]
    assert [event.name for event in events] == [b"", b"", b"e", b""]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"data: a\r", b"", b"\ndata: b\r\n\r\n"], ["a\nb"]),
        ([b"data: a\r\n\r", b"\n", b"data: b\r\r"], ["a", "b"]),
        (["data: a\x0b\x0c\x1c\x85\u2028b\n\n".encode()], ["a\x0b\x0c\x1c\x85\u2028b"]),
        ([b"data\n\ndata:\n\n: comment\n\ndata: a\n\n"], ["a"]),
        ([b"data: a\n", b"data\n", b"data:b"], ["a\n\nb"]),
    ],
)
def test_lines_end_where_the_standard_says(parts, expected):
    decoder = sse.SseDecoder()
    events = [event for part in parts for event in decoder.feed(part)] + decoder.close()
    assert [event.data.decode() for event in events] == expected


@pytest.mark.parametrize("piece", [b"x" * 100_000, b"data: " + b"x" * 100_000 + b"\n"])
def test_an_event_without_an_end_is_not_kept(piece):
    decoder = sse.SseDecoder()
    with pytest.raises(sse.EventTooLargeError):
        for _ in range(sse.MAX_EVENT_BYTES // 100_000 + 1):
            decoder.feed(piece)


@pytest.mark.parametrize("reader", [sse.SseDecoder, sse.SseSplitter])
@pytest.mark.parametrize("piece", [b"data:\n", b"data: x\n", b"data:\r\n", b"x", b"event: x", b"data: " + b"x" * 100])
def test_an_event_that_never_ends_is_bounded_however_it_is_made(reader, piece, monkeypatch):
    """Empty data lines count towards the size of an event, because they take memory too."""
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10_000)
    one = reader()
    with pytest.raises(sse.EventTooLargeError):
        for _ in range(10_010):
            assert one.feed(piece) == []


@given(st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"x", b"data: y\n\n", b"data: y\r\n\r\n"])), CUTS)
def test_the_splitter_ends_events_where_the_pattern_does(lines, cuts):
    data = b"".join(lines)
    ends = [match.end() for match in sse.EVENT_END.finditer(data)]
    blocks = [data[start:end] for start, end in itertools.pairwise([0, *ends])]
    splitter = sse.SseSplitter()
    assert (splitter.feed(data), splitter.rest()) == (blocks, data[ends[-1] if ends else 0 :])
    splitter = sse.SseSplitter()
    split = [block for piece in pieces(data, cuts) for block in splitter.feed(piece)]
    assert b"".join(split) + splitter.rest() == data
    assert events_of(split) == events_of(blocks)


def events_of(blocks):
    return [event for block in blocks if not (event := sse.parse(block)).is_empty]


def test_many_events_are_not_taken_for_one(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    wire = b"data: one\ndata: two\n\ndata: three\n\n" * 200
    for size in (1, 2, 3, 7, 50, 1000):
        pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
        for reader in (sse.SseDecoder(), sse.SseSplitter()):
            assert len([event for piece in pieces for event in reader.feed(piece)]) == 400


@pytest.mark.parametrize("reader", [sse.SseDecoder, sse.SseSplitter])
def test_an_event_in_many_reads_is_not_copied_with_each(reader):
    """Check that the work is linear: without care, four times the reads would be sixteen times the work."""

    def seconds(reads):
        taken = []
        for _ in range(5):
            one, began = reader(), process_time()
            for _ in range(reads):
                one.feed(b"x" * 50)
            taken.append(process_time() - began)
        return min(taken)

    assert seconds(40_000) < 10 * seconds(10_000)


@pytest.mark.parametrize("step", range(1, 40))
def test_the_watchers_at_every_regular_split(step):
    parts = [SAMPLE[i : i + step] for i in range(0, len(SAMPLE), step)]
    for watcher, expected in ((PassThrough(), SAMPLE), (UsageStripper(), WITHOUT_USAGE)):
        assert feed(watcher, parts) == expected
        assert watcher.finished()
        assert watcher.metadata().usage == Usage(prompt=3, completion=4)
        assert watcher.metadata().model == "m"


@given(CUTS)
def test_the_watchers_at_any_split(cuts):
    assert feed(PassThrough(), pieces(SAMPLE, cuts)) == SAMPLE
    assert feed(UsageStripper(), pieces(SAMPLE, cuts)) == WITHOUT_USAGE


def test_only_whole_events_go_out():
    watcher = PassThrough()
    assert watcher.feed(b"data: 1\n\ndata: 2") == b"data: 1\n\n"
    assert watcher.feed(b"2\n") == b""
    assert watcher.feed(b"\n") == b"data: 22\n\n"


def test_a_very_large_event_is_not_held():
    assert len(PassThrough().feed(b"data: " + b"x" * MAX_PENDING_BYTES)) > MAX_PENDING_BYTES


@pytest.mark.parametrize("cut", range(len(SAMPLE)))
def test_a_cut_stream_is_finished_only_between_events_after_the_finish_reason(cut):
    watcher, sent = PassThrough(), SAMPLE[:cut]
    feed(watcher, [sent])
    last = sent[sent.rfind(b"\n") + 1 :]
    is_between = last in (FINISH_EVENT, USED_EVENT, DONE_EVENT) or b"data: ".startswith(last)
    assert watcher.finished() == (FINISH_EVENT in sent and is_between)


def test_usage_beside_choices_is_not_hidden():
    inline = framed('{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}')
    assert feed(UsageStripper(), [inline]) == inline + framed("[DONE]")


def test_an_error_event_is_a_failure_and_not_passed_on():
    failed = framed('{"choices":[],"usage":{"prompt_tokens":1},"error":{"message":"x"}}')
    watcher = UsageStripper()
    assert feed(watcher, [framed(CHUNK) + failed + framed("[DONE]"), framed("[DONE]")]) == framed(CHUNK)
    assert (watcher.failure.message, watcher.finished()) == ("x", False)


@pytest.mark.parametrize("data", [": keepalive", "", " ", ":"])
def test_comments_that_became_data_are_no_events(data):
    decoder = sse.SseDecoder()
    assert [event.data for event in decoder.feed(framed(data, "{}"))] == [b"{}"]


def test_groq_reports_usage_in_a_place_of_its_own():
    watcher = PassThrough()
    watcher.feed(framed('{"choices":[],"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":6}}}'))
    assert watcher.metadata().usage == Usage(prompt=5, completion=6)


@given(CUTS)
def test_a_chat_stream_becomes_a_completions_stream(cuts):
    sent = feed(OpenAIChatStreamParser(CompletionStreamWriter(1, False)), pieces(SAMPLE, cuts))
    decoder = sse.SseDecoder()
    events = [event.data.decode() for event in decoder.feed(sent)]
    assert '"text":"a\u2028b é"' in events[1]
    assert all('"object":"text_completion"' in event for event in events[:-1])
    assert events[-1] == "[DONE]"
    assert not any('"prompt_tokens"' in event for event in events)
