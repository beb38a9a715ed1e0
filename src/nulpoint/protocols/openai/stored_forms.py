"""Converts chat completions and completions for the cache, from a body to the events of a stream and back."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from nulpoint.errors import Failure
from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, NOT_JSON
from nulpoint.protocols.client_protocol import IncompleteStreamError
from nulpoint.protocols.openai.accumulate import CompletionRoute, accumulate
from nulpoint.protocols.openai.chunking import chunks
from nulpoint.protocols.openai.stream import DONE, DONE_EVENT, is_usage_only
from nulpoint.protocols.openai.usage import STABLE_FINISH_REASONS

_LASTING = frozenset(reason.encode() for reason in STABLE_FINISH_REASONS)
_FINISH = re.compile(rb'"finish_reason"\s*+:\s*+(?!null)"?+([^",}]*+)')
_USAGE = re.compile(rb'"usage"\s*+:\s*+\{')
_T = TypeVar("_T")


class CompletionForms(NamedTuple):
    """The stored forms of chat completions, or of the older completions."""

    route: CompletionRoute

    @property
    def end(self) -> bytes:
        return DONE_EVENT

    def from_stream(self, stream: bytes) -> tuple[bytes, bytes] | None:
        return events_to_store(stream)

    def body_of(self, events: bytes) -> bytes:
        return _convert(lambda: accumulate(self.route, [event.data for event in _events(events)]))

    def stream_of(self, body: bytes) -> tuple[bytes, bytes]:
        events, usage = _convert(lambda: chunks(self.route, body))
        return b"".join(map(sse.encode, events)), sse.encode(usage) if usage else b""


def _convert(convert: Callable[[], _T]) -> _T:
    """Convert a response to the other form. Raises IncompleteStreamError if the stored JSON is not a response."""
    try:
        return convert()
    except (*MALFORMED, Failure):
        raise IncompleteStreamError("the cached response does not have the structure of a response") from None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Finished(msgspec.Struct):
    choices: list[_Choice] | None = None
    error: Any = None


def events_to_store(stream: bytes) -> tuple[bytes, bytes] | None:
    """Return the events of a stream that ended properly, and the one with only usage; None if it must not be stored."""
    content: list[bytes] = []
    usage_event = b""
    for event in _events(stream):
        data = event.data.strip().replace(b"\n", b" ")
        if data == DONE:
            continue
        if event.name or not (data.startswith(b"{") and data.endswith(b"}")):
            return None
        if b'"error"' in data or _USAGE.search(data):
            chunk = _chunk(data)
            if chunk is None or chunk.error is not None:
                return None
            if is_usage_only(data):
                usage_event = sse.encode(data)
                continue
        content.append(sse.encode(data))
    events = b"".join(content)
    reasons = set(_FINISH.findall(events)) - {b""}
    return (events, usage_event) if reasons and reasons <= _LASTING else None


def _chunk(data: bytes) -> _Finished | None:
    try:
        return msgspec.json.decode(data, type=_Finished)
    except NOT_JSON:
        return None


def _events(wire: bytes) -> list[sse.SseEvent]:
    if b"\r" in wire or not wire.endswith(b"\n\n"):
        decoder = sse.SseDecoder()
        return [*decoder.feed(wire), *decoder.close()]
    return [event for block in wire.split(b"\n\n") if not (event := _event(block)).is_empty]


def _event(block: bytes) -> sse.SseEvent:
    """Parse one event. Nearly always it is one `data:` line, which does not need the full parser."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return sse.SseEvent(block[6:])
    return sse.parse(block)
