"""Fuzz targets for streams in every format: the pieces make no difference, and only a proper end counts as one."""

import copy
import struct
from binascii import crc32
from collections.abc import Callable
from typing import Any

import msgspec
from fuzz_responses import CREATED, check_facts, check_failure, codecs
from fuzz_sse import transformed
from hypothesis import strategies as st
from target import Target

from nulpoint.protocols.openai.text_completion.writer import CompletionStreamWriter
from nulpoint.protocols.openai.usage import read_metadata
from nulpoint.protocols.registry import PROVIDER_PROTOCOLS
from nulpoint.protocols.stream_transformer import StreamTransformer
from support.mutation import as_json, changed, cut, cuts, garbled, odd_values, one_by_one
from support.samples import STREAM_ERRORS, STREAMS


def framed(wire: str, events: list[Any], end: bytes) -> bytes:
    if wire == "bedrock":
        return b"".join(map(_message, events))
    body = b"".join(b"data: " + (one if isinstance(one, bytes) else as_json(one)) + end for one in events)
    return body + (b"data: [DONE]\n\n" if wire == "mistral" else b"")


def _message(event: Any) -> bytes:
    """Return a message of an AWS event stream for the event's one member, or an exception."""
    name, value = next(iter(event.items())) if isinstance(event, dict) and event else ("messageStop", event)
    exception = name == "error"
    headers = {
        ":exception-type" if exception else ":event-type": name,
        ":message-type": "exception" if exception else "event",
    }
    block = b""
    for key, text in headers.items():
        encoded = str(text).encode("utf-8", "replace")
        block += struct.pack(f">B{len(key)}sBH{len(encoded)}s", len(key), key.encode(), 7, len(encoded), encoded)
    payload = as_json(value)
    prelude = struct.pack(">II", len(block) + len(payload) + 16, len(block))
    message = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return message + struct.pack(">I", crc32(message))


@st.composite
def streams(draw: Any, wire: str) -> bytes:
    """Draw the events of one response, some of them omitted, repeated, reordered or changed."""
    events: list[Any] = copy.deepcopy(draw(st.sampled_from(STREAMS[wire])))
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(("drop", "repeat", "swap", "change", "change", "change", "error", "raw")))
        at, other = draw(st.integers(0, len(events))), draw(st.integers(0, len(events)))
        if kind == "error" or not events or at == len(events):
            events.insert(at, draw(st.sampled_from(STREAM_ERRORS)))
        elif kind == "drop":
            del events[at]
        elif kind == "repeat":
            events.insert(other, events[at])
        elif kind == "swap" and other < len(events):
            events[at], events[other] = events[other], events[at]
        elif kind == "change":
            how = draw(
                st.sampled_from(
                    ("replace", "replace", "delete", "move", "rename", "in a list", "in an object", "add", "empty")
                )
            )
            event = {} if isinstance(events[at], bytes) else copy.deepcopy(events[at])
            events[at] = changed(event, how, draw(st.integers(0, 2**16)), draw(st.integers(0, 2**16)), draw(odd_values))
        elif kind == "raw" and wire != "bedrock":
            events[at] = draw(
                st.sampled_from(
                    (b"[DONE]", b"{", b"null", b"7", b'"x"', b"[]", b"{}", b'{"x":"\\ud800"}', b"\xff", b"1" * 5000)
                )
            )
    events = [one if isinstance(one, bytes) or _has_json(one) else {} for one in events]
    body = framed(wire, events, draw(st.sampled_from((b"\n\n", b"\n\n", b"\r\n\r\n"))))
    body = body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 9)) == 0 else body
    return draw(garbled(st.just(body))) if draw(st.integers(0, 4)) == 0 else body


def _has_json(value: Any) -> bool:
    try:
        as_json(value)
    except (ValueError, TypeError):
        return False
    return True


def watching(wire: str) -> Callable[[tuple[bytes, list[int]]], None]:
    plain, *others = codecs(wire)
    watchers: list[Callable[[], StreamTransformer]] = [
        lambda: plain.stream(CREATED, False),
        lambda: PROVIDER_PROTOCOLS[wire].stream_parser(CompletionStreamWriter(CREATED, True), plain.source),
        *(lambda codec=codec: codec.stream(CREATED, True) for codec in (plain, *others)),  # type: ignore[misc]
    ]

    def check(given: tuple[bytes, list[int]]) -> None:
        body, places = given
        for make in watchers:
            expected = transformed(make(), [body])
            for pieces in (cut(body, places), one_by_one(body)):
                assert transformed(make(), pieces) == expected, "the pieces change the stream"
            _check_end(make(), body)

    return check


def _check_end(transformer: StreamTransformer, body: bytes) -> None:
    out = transformer.feed(body)
    if transformer.failure is None:
        out += transformer.close()
    check_facts(transformer.metadata())
    done = out.endswith(b"data: [DONE]\n\n")
    assert done == transformer.finished(), "the terminal event that was sent differs from the result"
    assert out.count(b"data: [DONE]") == done
    if transformer.failure is not None:
        check_failure(transformer.failure)
    for line in out.split(b"\n"):
        if line.startswith(b"data: {"):
            chunk = msgspec.json.decode(line[6:])
            assert isinstance(chunk["choices"], list)
            if chunk.get("usage"):
                assert read_metadata(line[6:]).usage == transformer.metadata().usage


TARGETS = tuple(Target(f"a stream of {wire}", st.tuples(streams(wire), cuts), watching(wire)) for wire in STREAMS)
