"""Finds the first content of a response stream in the OpenAI format. Pure.

Until the first content, the gateway can still fail over to another provider without the client noticing. Everything
before it (the role, empty deltas, comments) is therefore held back. Content is anything that a client would show or act
on: text, reasoning, a refusal, a tool call, audio or a finish reason.
"""

from typing import Any

import msgspec

from nulpoint.formats import sse
from nulpoint.protocols.openai.stream import DONE

MAX_HELD_BYTES = 64 * 1024  # after this much without content, the stream is passed on and there is no failover
_NO_CONTENT = frozenset({"role"})  # members of a delta that are never content


class Chunk(msgspec.Struct):
    """The part of a stream chunk that decides whether it has content."""

    choices: list[dict[str, Any]] | None = None


_DECODER = msgspec.json.Decoder(Chunk)


class FirstContentDetector:
    """Holds back a stream until its first content.

    It is fed with the complete events that a StreamTransformer returns, none of which is an error. `has_event` says
    whether an event has come, and `has_content` whether content has.
    """

    __slots__ = ("_bytes", "_held", "has_content", "has_event")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._bytes = 0
        self.has_event = False
        self.has_content = False

    def feed(self, data: bytes) -> None:
        """Hold more of the stream, and look for content in it."""
        self._held.append(data)
        self._bytes += len(data)
        splitter = sse.SseSplitter()
        for block in [*splitter.feed(data), splitter.rest()]:
            event = sse.parse(block)
            if not event.is_empty and not self.has_content:
                self._inspect(event.data)
        if self._bytes > MAX_HELD_BYTES:
            self.has_event = self.has_content = True

    def take_held(self) -> bytes:
        """Return everything that was held back, and hold it no longer."""
        events, self._held = self._held, []
        return b"".join(events)

    def _inspect(self, data: bytes) -> None:
        if data.strip() == DONE:
            self.has_event = self.has_content = True
            return
        try:
            chunk = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.has_event = self.has_content = True  # an event that cannot be read is passed on unchanged
            return
        self.has_event = True
        self.has_content = any(map(_has_content, chunk.choices or ()))


def _has_content(choice: dict[str, Any]) -> bool:
    if choice.get("finish_reason") or choice.get("text"):
        return True
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(value for name, value in delta.items() if name not in _NO_CONTENT)
