"""A cached response, in the memory of this process or in Redis: a JSON body, or the events of a stream.

Either form can be served as the other. In the form in which it was stored, the response has the provider's bytes; the
other form is built from them.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from nulpoint.conversation.usage import Usage
from nulpoint.errors import Failure
from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, NOT_JSON
from nulpoint.protocols.openai.accumulate import CompletionRoute, IncompleteStreamError, accumulate
from nulpoint.protocols.openai.chunking import chunks
from nulpoint.protocols.openai.stream import DONE
from nulpoint.protocols.openai.usage import STABLE_FINISH_REASONS

_LASTING = frozenset(reason.encode() for reason in STABLE_FINISH_REASONS)
_FINISH = re.compile(rb'"finish_reason"\s*+:\s*+(?!null)"?+([^",}]*+)')
_USAGE = re.compile(rb'"usage"\s*+:\s*+\{')
_DONE_EVENT = sse.encode(DONE)
_T = TypeVar("_T")


class CacheEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A successful and complete response.

    Fields:
        content: the JSON body, or the events of a stream without `[DONE]` and the event that has only usage.
        usage_event: the event that has only usage, if the stream had one.
        streamed: whether `content` is the events of a stream.
        provider, model: the target that sent the response.
        usage: the tokens it used.
        stored: when it was stored, in Unix seconds.
        response_model: the model as the provider named it in its response.
        dropped: the request members that the provider does not support, comma-separated.
    """

    content: bytes
    usage_event: bytes
    streamed: bool
    provider: str
    model: str
    usage: Usage | None
    stored: float
    response_model: str = ""
    dropped: str = ""

    @property
    def size(self) -> int:
        """Return its size in bytes."""
        texts = len(self.model) + len(self.response_model) + len(self.dropped)
        return len(self.content) + len(self.usage_event) + texts

    def as_body(self, route: CompletionRoute) -> bytes:
        """Return the response to a request without `stream`. Raises IncompleteStreamError if a part is missing."""
        if not self.streamed:
            return self.content
        return _render(lambda: accumulate(route, [event.data for event in _events(self.content + self.usage_event)]))

    def as_stream(self, route: CompletionRoute, with_usage: bool) -> bytes:
        """Return the response to a request with `stream`, `[DONE]` included. Raises IncompleteStreamError."""
        if self.streamed:
            return b"".join((self.content, self.usage_event if with_usage else b"", _DONE_EVENT))
        events, usage = _render(lambda: chunks(route, self.content))
        if usage and with_usage:
            events = [*events, usage]
        return b"".join([*map(sse.encode, events), _DONE_EVENT])


def _render(convert: Callable[[], _T]) -> _T:
    """Convert a response to the other form. Raises IncompleteStreamError if the stored JSON is not a response."""
    try:
        return convert()
    except (*MALFORMED, Failure):
        raise IncompleteStreamError("the cached response does not have the structure of a response") from None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Finished(msgspec.Struct):
    choices: list[_Choice]
    error: Any = None
    usage: Any = None


def entry_from_stream(wire: bytes) -> tuple[bytes, bytes] | None:
    """Return `content` and `usage_event` of a stream that ended properly; None if it must not be cached.

    `wire` has all bytes of the stream.
    """
    content: list[bytes] = []
    usage_event = b""
    for event in _events(wire):
        data = event.data.strip().replace(b"\n", b" ")
        if data == DONE:
            continue
        if event.name or not (data.startswith(b"{") and data.endswith(b"}")):
            return None
        if b'"error"' in data or _USAGE.search(data):
            chunk = _chunk(data)
            if chunk is None or chunk.error is not None:
                return None
            if chunk.usage is not None and not chunk.choices:
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
