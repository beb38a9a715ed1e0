"""Growth cases for hostile streams, in one piece and in many small ones."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from measure import Case, Work
from response_cases import CREATED, fragment

from nulpoint.cache.recorder import StreamRecorder
from nulpoint.conversation.emulation import NO_EMULATION, ToolEmulation
from nulpoint.formats import eventstream, sse
from nulpoint.mock.bedrock.eventstream import event as bedrock_event
from nulpoint.mock.bedrock.eventstream import exception
from nulpoint.protocols.first_content import FirstContentDetector
from nulpoint.protocols.openai.chat_provider.stream import OpenAIChatStreamParser
from nulpoint.protocols.openai.client import has_content
from nulpoint.protocols.openai.stream import PassThrough, UsageStripper, without_usage
from nulpoint.protocols.openai.text_completion.writer import CompletionStreamWriter
from nulpoint.protocols.registry import PROVIDER_PROTOCOLS
from nulpoint.protocols.stream_transformer import StreamTransformer
from support.chat_codec import ChatCodec, codec_for_model

JSON = dict[str, Any]
Build = Callable[[int], bytes]
Shape = tuple[Build, int]
Event = tuple[str, JSON]
DONE = b"data: [DONE]\n\n"


def data(events: Iterable[Any], end: bytes = b"") -> bytes:
    return b"".join([b"data: %b\n\n" % json.dumps(one).encode() for one in events]) + end


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)] if size else [body]


def fed(make: Callable[[], Any], body: bytes, piece: int) -> Work:
    """Feed a stream to a new transformer, decoder or splitter. Events over the limit may be rejected."""
    parts = pieces(body, piece)

    def work() -> None:
        reader = make()
        for part in parts:
            reader.feed(part)
        if isinstance(reader, sse.SseSplitter):
            reader.rest()
        elif not isinstance(reader, eventstream.EventStreamDecoder):
            reader.close()
        if hasattr(reader, "metadata"):
            reader.metadata(), reader.finished()

    return work


def cases(name: str, make: Callable[[], Any], shapes: dict[str, Shape], cuts: Iterable[int]) -> Iterator[Case]:
    for (shape, (build, largest)), piece in itertools.product(shapes.items(), cuts):
        how = f"{piece} bytes at a time" if piece else "whole"
        yield Case(
            f"{name}: {shape}, {how}", lambda size, build=build, piece=piece: fed(make, build(size), piece), largest
        )


# -- server-sent events ------------------------------------------------------------------------------------------------


def run(piece: bytes, end: bytes = b"") -> Build:
    return lambda size: (piece * (size // len(piece) + 1))[:size] + end


# Sizes in bytes; an event may have 4 MiB. Many events take longer than one.
BYTES: dict[str, Shape] = {
    name: (run(piece), 80_000 if b"\n" in piece or b"\r" in piece else 400_000)
    for name, piece in (
        ("no line end", b"x"), ("one line of data", b"data: " + b"x" * 400_000), ("lines of data", b"data: x\n"),
        ("empty lines of data", b"data\n"), ("line ends", b"\n"), ("carriage returns", b"\r"), ("both", b"\r\n"),
        ("comments", b": x\n"), ("colons", b":"), ("events", b"data: {}\n\n"), ("names", b"event: error\n"),
        ("errors of null", b'data: {"error": null}\n\n'), ("the word error", b'data: "error" \n\n'),
        ("errors inside", b'data: {"a": {"error": 1}}\n\n'), ("usage", b'data: {"usage": {}}\n\n'), ("the word usage", b'"usage" '),
        ("usage only", b'data: {"choices": [], "usage": {}}\n\n'), ("half of an error", b'data: {"error":' + b" " * 100),
        ("finish reasons", b'data: {"choices": [{"finish_reason": "stop"}]}\n\n'), ("marks", b"\xef\xbb\xbf"),
    )
}  # fmt: skip
FEW = {name: BYTES[name] for name in ("one line of data", "events", "usage only", "line ends", "errors inside")}
CHUNK = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
CHAT: dict[str, Shape] = {
    "chunks": (run(CHUNK), 400_000),
    "one large chunk": (lambda size: CHUNK.replace(b'"x"', b'"%b"' % (b"x" * size)), 1_000_000),
    "many choices": (lambda size: data([{"choices": [{"index": 0, "delta": {"content": "x"}}] * size}]), 20_000),
}


class _Opened:
    """Holds a stream back until its first content, like the relay."""

    def __init__(self) -> None:
        self._opening = FirstContentDetector(has_content)

    def feed(self, part: bytes) -> None:
        self._opening.feed(part)

    def close(self) -> None:
        self._opening.take_held()


def _adds_the_end() -> StreamTransformer:
    return PassThrough(finish_ends=True)


def _chat_parser() -> StreamTransformer:
    return OpenAIChatStreamParser(CompletionStreamWriter(CREATED, True))


def _deltas(*deltas: Event) -> bytes:
    return data([{"choices": [{"index": 0, "delta": delta}]} for delta in deltas], DONE)


def _piece(index: int, call_id: str | None = None) -> Event:
    return {"tool_calls": [{"index": index, "id": call_id, "function": {"name": "f", "arguments": "{}"}, "more": "x"}]}


PIECES: dict[str, Shape] = {
    "pieces of a call": (lambda size: _deltas(*[_piece(0)] * size), 4_000),
    "calls": (lambda size: _deltas(*[_piece(at) for at in range(size)]), 4_000),
    "calls with one index": (lambda size: _deltas(*[_piece(0, f"c{at}") for at in range(size)]), 4_000),
    "unknown texts": (lambda size: _deltas(*[{"more": "x"}] * size), 6_000),
    "unknown lists": (lambda size: _deltas(*[{"more": [{"index": at}]} for at in range(size)]), 6_000),
    "choices": (
        lambda size: data([{"choices": [{"index": at, "delta": {"content": "x"}, "more": 1}]} for at in range(size)], DONE), 4_000
    ),
    "log probabilities": (
        lambda size: data([{"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [{"token": "x"}]}}]}] * size, DONE), 4_000
    ),
    "unknown members of chunks": (
        lambda size: data([{"choices": [{"index": 0}], f"m{at}": 1} for at in range(size)], DONE), 6_000
    ),
}  # fmt: skip


def _sse() -> Iterator[Case]:
    yield from cases("sse.Decoder", sse.SseDecoder, BYTES, (0, 100))
    yield from cases("sse.Splitter", sse.SseSplitter, BYTES, (0, 100))
    yield from cases("PassOn", PassThrough, BYTES, (0, 200))
    yield from cases("HideUsage", UsageStripper, BYTES, (0,))
    yield from cases("PassThrough that adds the end", _adds_the_end, {**FEW, **CHAT}, (0, 200))
    yield from cases("chat chunks, read", _chat_parser, {**FEW, **CHAT, **PIECES}, (0, 200))
    yield from cases(
        "Recorder", lambda: StreamRecorder(PassThrough(), without_usage, 10_000_000), {**FEW, **CHAT}, (0, 200)
    )
    yield from cases("Opening", _Opened, {name: BYTES[name] for name in ("comments", "line ends", "events")}, (0, 200))


# -- AWS event streams -------------------------------------------------------------------------------------------------


def _messages(events: Iterable[Event]) -> bytes:
    return b"".join([bedrock_event(name, value) for name, value in events])


FRAMES: dict[str, Shape] = {
    "many messages": (lambda size: bedrock_event("a", {}) * size, 6_000),
    "many kinds of messages": (lambda size: _messages((f"a{at}", {}) for at in range(size)), 6_000),
    "one large message": (lambda size: bedrock_event("a", {"x": "x" * size}), 2_000_000),
    "many headers": (lambda size: bedrock_event("a" * (size % 60_000), {}), 60_000),
    "no messages": (run(b"\0"), 1_000_000),
}


def _eventstream() -> Iterator[Case]:
    yield from cases("eventstream", eventstream.EventStreamDecoder, FRAMES, (0, 100))


# -- streams in other formats ------------------------------------------------------------------------------------------


def anthropic(inner: Iterable[JSON], **start: Any) -> bytes:
    begin = {"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 1}, **start}}
    end = [
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return data([begin, *inner, *end])


def block(index: int, kind: str = "text", **more: Any) -> JSON:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **more}}


def delta(index: int, kind: str, **more: Any) -> JSON:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}}


def use(index: int) -> JSON:
    return block(index, "tool_use", id=f"t{index}", name="f", input={})


TEXT = "x" * 200
ANTHROPIC: dict[str, Shape] = {
    "many pieces of text": (lambda size: anthropic([block(0), *[delta(0, "text_delta", text=TEXT)] * size]), 6_000),
    "many pieces of thinking": (
        lambda size: anthropic([block(0, "thinking"), *[delta(0, "thinking_delta", thinking=TEXT)] * size]), 4_000
    ),
    "many pieces of a signature": (
        lambda size: anthropic([block(0, "thinking"), *[delta(0, "signature_delta", signature=TEXT)] * size]), 4_000
    ),
    "many pieces of arguments": (
        lambda size: anthropic([use(0), *[delta(0, "input_json_delta", partial_json=TEXT)] * size]), 4_000
    ),
    "many citations": (
        lambda size: anthropic([block(0), *[delta(0, "citations_delta", citation={"url": "https://example.com"})] * size]), 16_000
    ),
    "many pieces of a kind nobody knows": (
        lambda size: anthropic([block(0, "new"), *[delta(0, "new_delta", more=TEXT)] * size]), 4_000
    ),
    "many members of a kind nobody knows": (
        lambda size: anthropic([block(0, "new"), *[delta(0, "new_delta", **{f"member{at}": 1}) for at in range(size)]]), 6_000
    ),
    "many blocks": (lambda size: anthropic([block(at) for at in range(size)]), 6_000),
    "many calls": (lambda size: anthropic([use(at) for at in range(size)]), 5_000),
    "many calls that end": (
        lambda size: anthropic([*map(use, range(size)), *[{"type": "content_block_stop", "index": at} for at in range(size)]]), 5_000
    ),
    "calls in turn": (
        lambda size: anthropic(
            [*map(use, range(size)), *[delta(at, "input_json_delta", partial_json="x") for at in reversed(range(size))]]
        ),
        5_000,
    ),
    "many ends": (
        lambda size: anthropic([{"type": "message_delta", "delta": {f"member{at}": 1}, "usage": {f"m{at}": 1}} for at in range(size)]), 6_000
    ),
    "many beginnings": (
        lambda size: data([{"type": "message_start", "message": {"id": "m", "usage": {f"m{at}": 1}}} for at in range(size)]), 6_000
    ),
    "pings": (lambda size: anthropic([{"type": "ping"}] * size), 20_000),
    "a long id": (lambda size: anthropic([block(0), *[delta(0, "text_delta", text="x")] * size], id="m" * size * 20), 4_000),
}  # fmt: skip


def gemini(candidates: Iterable[JSON], **more: Any) -> bytes:
    made = [{"candidates": [{"index": 0, **one}], "modelVersion": "g", "responseId": "r", **more} for one in candidates]
    return data([*made, {"candidates": [{"index": 0, "finishReason": "STOP"}]}])


def parts(*each: JSON) -> JSON:
    return {"content": {"parts": [*each]}}


def _argument(**piece: Any) -> JSON:
    return parts({"functionCall": {"partialArgs": [piece], "willContinue": True}})


SOURCE = {"groundingChunks": [{"web": {"uri": "https://example.com"}}]}
GEMINI: dict[str, Shape] = {
    "many texts": (lambda size: gemini([parts({"text": TEXT})] * size), 6_000),
    "many parts in one event": (lambda size: gemini([parts(*[{"text": TEXT}] * size)]), 8_000),
    "many calls": (lambda size: gemini([parts({"functionCall": {"name": "f", "args": {}}})] * size), 5_000),
    "many candidates": (
        lambda size: data([{"candidates": [{**parts({"text": "x"}), "index": at, "finishReason": "STOP"} for at in range(size)]}]), 5_000
    ),
    "candidates one by one": (
        lambda size: data([{"candidates": [{**parts({"text": "x"}), "index": at, "finishReason": "STOP"}]} for at in range(size)]), 5_000
    ),
    "many logprobs": (
        lambda size: gemini([{**parts({"text": "x"}), "logprobsResult": {"chosenCandidates": [{"token": "x"}] * 20}}] * size), 2_000
    ),
    "many citations": (
        lambda size: gemini([{**parts({"text": "x"}), "citationMetadata": {"citationSources": [{"uri": "u"}] * 20}}] * size), 2_000
    ),
    "sources with many members": (
        lambda size: gemini({**parts({"text": "x"}), "groundingMetadata": {f"member{at}": 1}} for at in range(size)), 6_000
    ),
    "many supports of a long text": (
        lambda size: gemini(
            [{**parts({"text": "é" * size * 8}), "groundingMetadata": {**SOURCE, "groundingSupports": [{"segment": {"endIndex": size * 8}, "groundingChunkIndices": [0]}] * size}}]
        ),
        6_000,
    ),
    "pieces of an argument": (
        lambda size: gemini(
            [parts({"functionCall": {"name": "f", "willContinue": True}}), *[_argument(jsonPath="$.a", stringValue=TEXT, willContinue=True)] * size]
        ),
        3_000,
    ),
    "arguments of many members": (
        lambda size: gemini(
            [parts({"functionCall": {"name": "f", "willContinue": True}}), *[_argument(jsonPath=f"$.a{at}", stringValue="x") for at in range(size)]]
        ),
        6_000,
    ),
    "arguments in a list": (
        lambda size: gemini(
            [parts({"functionCall": {"name": "f", "willContinue": True}}), *[_argument(jsonPath=f"$.a[{at}]", stringValue="x") for at in range(size)]]
        ),
        6_000,
    ),
    "an argument far down a list": (
        lambda size: gemini(
            [parts({"functionCall": {"name": "f", "willContinue": True}}), _argument(jsonPath=f"$.a[{size**4}]", stringValue="x")]
        ),
        40,
    ),
    "an argument deep inside": (
        lambda size: gemini(
            [parts({"functionCall": {"name": "f", "willContinue": True}}), _argument(jsonPath="$" + ".a" * size, stringValue="x")]
        ),
        500,
    ),
    "much usage": (lambda size: gemini([parts({"text": "x"})] * size, usageMetadata={"promptTokenCount": 1}), 6_000),
    "members beside the candidates": (
        lambda size: data([{f"member{at}": 1, "candidates": [parts({"text": "x"})]} for at in range(size)]), 6_000
    ),
    "stray lines": (lambda size: gemini([parts({"text": "x"})]) + b"[1,\n\n" * size, 6_000),
    "events that no empty line parts": (
        lambda size: b"".join(b"data: %b\n" % json.dumps({"candidates": [parts({"text": "x"})]}).encode() for _ in range(size)), 6_000
    ),
    "a long id": (lambda size: gemini([parts({"text": "x"})] * size).replace(b'"r"', b'"%b"' % (b"r" * size * 20), 1), 4_000),
}  # fmt: skip


def bedrock(inner: Iterable[Event], metadata: bool = True) -> bytes:
    end: list[Event] = [("messageStop", {"stopReason": "end_turn"})]
    used: list[Event] = [("metadata", {"usage": {"inputTokens": 1, "outputTokens": 1}})] if metadata else []
    return _messages([("messageStart", {"role": "assistant"}), *inner, *end, *used])


def piece(index: int, **more: Any) -> Event:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": more}


def begun(index: int) -> Event:
    return "contentBlockStart", {
        "contentBlockIndex": index,
        "start": {"toolUse": {"toolUseId": f"t{index}", "name": "f"}},
    }


BEDROCK: dict[str, Shape] = {
    "many pieces of text": (lambda size: bedrock([piece(0, text=TEXT)] * size), 6_000),
    "many blocks": (lambda size: bedrock(piece(at, text="x") for at in range(size)), 5_000),
    "blocks in turn": (lambda size: bedrock([piece(at % 2, text="x") for at in range(size)]), 6_000),
    "many pieces of thinking": (lambda size: bedrock([piece(0, reasoningContent={"text": TEXT})] * size), 6_000),
    "many pieces of arguments": (
        lambda size: bedrock([begun(0), *[piece(0, toolUse={"input": TEXT})] * size]), 4_000
    ),
    "many calls": (lambda size: bedrock(map(begun, range(size))), 5_000),
    "one call begun again": (lambda size: bedrock([begun(0)] * size), 5_000),
    "calls in turn": (
        lambda size: bedrock([*map(begun, range(size)), *[piece(at, toolUse={"input": "{}"}) for at in reversed(range(size))]]), 4_000
    ),
    "many ends of many calls": (
        lambda size: bedrock([*map(begun, range(size)), *[("messageStop", {"stopReason": "tool_use"})] * size]), 4_000
    ),
    "many citations": (
        lambda size: bedrock([piece(0, text="x"), *[piece(0, citation={"location": {"web": {"url": "https://example.com"}}})] * size]), 6_000
    ),
    "lists of what was found": (lambda size: bedrock([piece(0, toolResult=[{"text": "x"}])] * size), 6_000),
    "objects nobody knows": (lambda size: bedrock(piece(0, more={f"member{at}": 1}) for at in range(size)), 5_000),
    "much metadata": (
        lambda size: bedrock([("metadata", {f"member{at}": 1}) for at in range(size)]), 6_000
    ),
    "an exception": (lambda size: bedrock([piece(0, text="x")]) + exception("throttlingException", "User: " * size), 6_000),
}  # fmt: skip


def mistral(choices: Iterable[JSON], finish: bool = True) -> bytes:
    made = [
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": None, **one}]}
        for one in choices
    ]
    last = [
        {
            "id": "c",
            "model": "m",
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "usage": {"total_tokens": 1},
        }
    ]
    return data([*made, *(last if finish else [])], DONE)


MISTRAL: dict[str, Shape] = {
    "many texts": (lambda size: mistral([{"delta": {"content": TEXT}}] * size), 6_000),
    "many parts of text": (lambda size: mistral([{"delta": {"content": [{"type": "text", "text": TEXT * 5}]}}] * size), 3_000),
    "many parts of thinking": (
        lambda size: mistral([{"delta": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": TEXT}]}]}}] * size), 4_000
    ),
    "many parts in one chunk": (
        lambda size: mistral([{"delta": {"content": [{"type": "text", "text": "x"}] * size}}]), 20_000
    ),
    "references between texts": (
        lambda size: mistral([{"delta": {"content": [{"type": "text", "text": "x"}, {"type": "reference", "reference_ids": []}]}}] * size), 6_000
    ),
    "many calls": (lambda size: mistral({"delta": fragment(at, id=f"call_{at}")} for at in range(size)), 5_000),
    "many calls in one chunk": (
        lambda size: mistral([{"delta": {"tool_calls": [fragment(at, id=f"call_{at}")["tool_calls"][0] for at in range(size)]}}]), 5_000
    ),
    "many calls without arguments": (
        lambda size: mistral({"delta": fragment(at, "", id=f"call_{at}")} for at in range(size)), 5_000
    ),
    "calls in turn": (
        lambda size: mistral(
            {"delta": fragment(at)} for at in [*range(size), *range(size)]
        ),
        4_000,
    ),
    "many pieces of arguments": (lambda size: mistral([{"delta": fragment(0, TEXT)}] * size), 6_000),
    "many ends of a long text": (
        lambda size: mistral([{"delta": {"content": [{"type": "text", "text": "x" * size * 20}]}}, *[{"finish_reason": "stop"}] * size]), 4_000
    ),
    "many choices": (
        lambda size: data([{"choices": [{"index": at, "delta": {"content": "x"}, "finish_reason": "stop"} for at in range(size)]}], DONE), 5_000
    ),
    "much usage": (lambda size: data([{"choices": [], "usage": {"total_tokens": 1}}] * size, DONE), 6_000),
    "a long id": (lambda size: mistral([{"delta": {"content": "x"}}] * size).replace(b'"c"', b'"%b"' % (b"c" * size * 20), 1), 4_000),
}  # fmt: skip
FORMATS = {"anthropic": ANTHROPIC, "gemini": GEMINI, "bedrock": BEDROCK, "mistral": MISTRAL}


def _codec(wire: str) -> ChatCodec:
    return codec_for_model(wire, "some-model")


def chat_reader(codec: ChatCodec) -> Callable[[], StreamTransformer]:
    return lambda: codec.stream(CREATED, True)


def completions_reader(wire: str) -> Callable[[], StreamTransformer]:
    parser, source = PROVIDER_PROTOCOLS[wire].stream_parser, _codec(wire).source
    return lambda: parser(CompletionStreamWriter(CREATED, True), source)


_CUSTOM_TOOL = ToolEmulation(custom_tools=frozenset({"f"}))
RESTORED = {
    "a custom tool": _codec("anthropic").restoring(_CUSTOM_TOOL),
    "a schema": _codec("anthropic").restoring(ToolEmulation(schema_tool="f")),
    "function_call": _codec("anthropic").restoring(NO_EMULATION, legacy_functions=True),
}


def _codecs() -> Iterator[Case]:
    for wire, shapes in FORMATS.items():
        yield from cases(f"{wire} stream", chat_reader(_codec(wire)), shapes, (0,))
        few = {name: shapes[name] for name in list(shapes)[:2]}
        yield from cases(f"{wire} stream", chat_reader(_codec(wire)), few, (50,))
        yield from cases(f"{wire} stream as completions", completions_reader(wire), few, (0,))
    lengthy = {name: BYTES[name] for name in ("no line end", "lines of data", "comments")}
    for wire in ("anthropic", "gemini", "mistral"):
        yield from cases(f"{wire} stream", chat_reader(_codec(wire)), lengthy, (100,))
    for name, codec in RESTORED.items():
        several = {
            shape: ANTHROPIC[shape]
            for shape in ("many pieces of arguments", "many calls", "calls in turn", "many pieces of text", "pings")
        }
        yield from cases(f"{name} restored", chat_reader(codec), several, (0,))
    calls = {"many choices with a call": (_choices_with_calls, 2_000)}
    yield from cases("custom tools restored", chat_reader(_codec("mistral").restoring(_CUSTOM_TOOL)), calls, (0,))


def _choices_with_calls(size: int) -> bytes:
    def choice(index: int) -> JSON:
        call = {"index": 0, "id": f"call_{index}", "function": {"name": "f", "arguments": "{}"}}
        return {"index": index, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}

    return data([{"id": "c", "model": "m", "choices": [choice(at)]} for at in range(size)], DONE)


CASES = [*_sse(), *_eventstream(), *_codecs()]
