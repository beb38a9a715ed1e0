"""Fuzz targets for server-sent events: the decoder, the splitter, and the transformers of OpenAI streams."""

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st
from target import Target

from nulpoint.cache.recorder import StreamRecorder
from nulpoint.errors import Failure
from nulpoint.formats import sse
from nulpoint.protocols.openai.chat_client.writer import ChatStreamWriter
from nulpoint.protocols.openai.chat_provider.stream import OpenAIChatStreamParser
from nulpoint.protocols.openai.stream import PassThrough, UsageStripper, without_usage
from nulpoint.protocols.openai.text_completion.writer import CompletionStreamWriter
from nulpoint.protocols.stream_transformer import StreamTransformer
from support.mutation import as_json, cut, cuts, garbled, mutated, one_by_one
from support.samples import CHUNKS, STREAM_ERRORS

_ENDS = st.sampled_from((b"\n", b"\r\n", b"\r"))
_LINES = st.sampled_from(
    (b"", b"", b"data: {}", b"data:x", b"data", b"data: ", b"event: error", b"event:", b": ping", b":", b"id: 1", b"retry: 5",
     b"data: [DONE]", b"data:  [DONE]", b"\xef\xbb\xbfdata: x", b"datax: y", b" data: x", "data: \u2028é".encode())
)  # fmt: skip
texts = st.lists(st.builds(lambda line, end: line + end, _LINES, _ENDS), max_size=12).map(b"".join)


def reference(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and data of the events by the rules of the WHATWG, with the additions of this gateway.

    The end of the stream ends an event, data of white space or of a proxy's comment is no event, and an error event needs
    no data.
    """
    text = data.removeprefix(sse.BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events, lines, name = [], [], b""
    for line in [*text.split(b"\n"), b""]:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            joined = b"\n".join(lines)
            if name == b"error" or (joined.strip() and not joined.startswith(b":")):
                events.append((name, joined))
            lines, name = [], b""
        elif field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value
    return events


def check_decoder(given: tuple[bytes, list[int]]) -> None:
    data, places = given
    expected = reference(data)
    for pieces in ([data], cut(data, places), one_by_one(data)):
        decoder = sse.SseDecoder()
        events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()
        assert [(event.name, event.data) for event in events] == expected


def check_splitter(given: tuple[bytes, list[int]]) -> None:
    """Check that the blocks add up to the stream and that their events are those of the decoder."""
    data, places = given
    for pieces in ([data], cut(data, places), one_by_one(data)):
        splitter = sse.SseSplitter()
        blocks = [block for piece in pieces for block in splitter.feed(piece)] + [bytes(splitter.rest())]
        assert b"".join(blocks) == data
        if sse.BOM not in data[1:]:
            found = [event for event in map(sse.parse, blocks) if not event.is_empty]
            assert [(event.name, event.data) for event in found] == reference(data)


# -- stream transformers -----------------------------------------------------------------------------------------------


class Seen(tuple[Any, ...]):
    """The output of a transformer and how it ended, which must be the same in whatever pieces the input arrives."""

    __slots__ = ()


def transformed(transformer: StreamTransformer, pieces: Iterable[bytes]) -> Seen:
    """Feed a transformer and check what holds for all of them at any time."""
    out = []
    for piece in pieces:
        before = transformer.failure
        passed = transformer.feed(piece)
        assert before is None or not passed, "something was passed on after a failure"
        out.append(passed)
        assert transformer.failure is None or not transformer.finished(), "finished beside a failure"
        if transformer.failure is not None:
            break  # the relay stops here too
    if transformer.failure is None:
        out.append(transformer.close())
    transformer.metadata()
    failure = transformer.failure
    assert failure is None or isinstance(failure, Failure)
    assert failure is None or not transformer.finished(), "finished beside a failure"
    failure_fields = None if failure is None else (failure.kind, failure.status, failure.message, failure.code)
    return Seen((b"".join(out), failure_fields, transformer.finished()))


def check_cuts(make: Callable[[], StreamTransformer]) -> Callable[[tuple[bytes, list[int]]], None]:
    def check(given: tuple[bytes, list[int]]) -> None:
        data, places = given
        whole = transformed(make(), [data])
        for pieces in (cut(data, places), one_by_one(data)):
            seen = transformed(make(), pieces)
            assert seen[1:] == whole[1:], f"other cuts, another end: {seen[1:]} and {whole[1:]}"
            assert seen[0] == whole[0], "other cuts, other bytes"
        done = any(data.strip() == b"[DONE]" for _, data in reference(whole[0]))
        assert not (done and whole[1] is not None), "a clean end beside a failure"

    return check


@st.composite
def streams(draw: Any) -> bytes:
    """Draw chunks, some of them changed, with errors, comments and terminal events among them."""
    made = []
    for _ in range(draw(st.integers(0, 5))):
        made.append(
            draw(
                st.builds(lambda one: b"data: " + as_json(one), mutated(CHUNKS))
                | st.builds(lambda one: b"data: " + as_json(one), mutated(STREAM_ERRORS))
                | st.sampled_from(
                    (
                        b": ping",
                        b"data: [DONE]",
                        b"data: [DONE]",
                        b"event: error\ndata: {}",
                        b"event: error\ndata: x",
                        b"data:",
                        b"id: 7",
                    )
                )
            )
        )
    end = draw(st.sampled_from((b"\n\n", b"\r\n\r\n", b"\n\n")))
    body = end.join([*made, b""]) if draw(st.booleans()) else end.join(made)
    return body if draw(st.booleans()) else draw(garbled(st.just(body)))


def _to_completions() -> StreamTransformer:
    return OpenAIChatStreamParser(CompletionStreamWriter(1, True))


# If one read contains two errors, the first one counts.
_SEEDS = ((b'data: x{"choices":[]}\n\ndata: {"error":{"message":"x"}}\n\n', [25]),)
fed = st.tuples(streams(), cuts)
TARGETS = (
    Target("events, decoded", st.tuples(texts | garbled(texts), cuts), check_decoder),
    Target("events, split", st.tuples(texts | garbled(texts), cuts), check_splitter),
    Target("a stream that is passed on", fed, check_cuts(PassThrough)),
    Target("a stream without its usage", fed, check_cuts(UsageStripper)),
    Target("a stream whose host sends no end", fed, check_cuts(lambda: PassThrough(finish_ends=True)), _SEEDS),
    Target("a stream of chat chunks, read", fed, check_cuts(lambda: OpenAIChatStreamParser(ChatStreamWriter(1, True)))),
    Target("a stream of chat chunks, written as completions", fed, check_cuts(_to_completions), _SEEDS),
    Target(
        "a stream that is recorded", fed, check_cuts(lambda: StreamRecorder(PassThrough(), without_usage, 1_000_000))
    ),
)
