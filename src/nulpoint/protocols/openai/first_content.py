"""The beginning of an answer stream in the OpenAI format, up to its first content. Pure.

Before content another provider can still take over without the caller noticing, so what has come is held back: the
role, empty deltas, comments. Content is anything a caller would show or act on: text, reasoning, a refusal, a tool
call, audio, a finish reason.
"""

from typing import Any

import msgspec

from nulpoint.formats import sse
from nulpoint.protocols.openai.stream import DONE

MAX_HELD_BYTES = 64 * 1024  # bytes; a provider that sends so much and says nothing in it keeps the request
_SAYS_NOTHING = frozenset({"role"})  # members of a delta that are no content, whatever their value


class Chunk(msgspec.Struct):
    """As much of a chunk as tells content from preamble."""

    choices: list[dict[str, Any]] | None = None


_DECODER = msgspec.json.Decoder(Chunk)


class FirstContentDetector:
    """Fed with whole events, as a watcher gives them: errors are none of them. `begun`: one has come."""

    __slots__ = ("_bytes", "_held", "has_content", "has_event")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._bytes = 0
        self.has_event = False
        self.has_content = False

    def feed(self, data: bytes) -> None:
        """Look at what has come, until it is known what this stream is."""
        self._held.append(data)
        self._bytes += len(data)
        splitter = sse.SseSplitter()
        for block in [*splitter.feed(data), splitter.rest()]:
            event = sse.parse(block)
            if not event.is_empty and not self.has_content:
                self._look_at(event.data)
        if self._bytes > MAX_HELD_BYTES:
            self.has_event = self.has_content = True

    def take_held(self) -> bytes:
        """All that came, to be passed on now; the events of a provider that gave up are never asked for."""
        held, self._held = self._held, []
        return b"".join(held)

    def _look_at(self, data: bytes) -> None:
        if data.strip() == DONE:
            self.has_event = self.has_content = True
            return
        try:
            chunk = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.has_event = self.has_content = True  # whatever it is, the caller gets it as it came
            return
        self.has_event = True
        self.has_content = any(map(_has_content, chunk.choices or ()))


def _has_content(choice: dict[str, Any]) -> bool:
    if choice.get("finish_reason") or choice.get("text"):
        return True
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(value for name, value in delta.items() if name not in _SAYS_NOTHING)
