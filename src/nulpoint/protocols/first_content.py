"""Finds the first content of a response stream in a client's format. Pure.

Until the first content, the gateway can still fail over to another provider without the client noticing. Everything
before it (the role, empty deltas, comments) is therefore held back. Content is anything that a client would show or act
on: text, reasoning, a refusal, a tool call, audio, or an end of the response that says why there is nothing of these.
"""

from collections.abc import Callable

from nulpoint.formats import sse

MAX_HELD_BYTES = 64 * 1024  # after this much without content, the stream is passed on and there is no failover


class FirstContentDetector:
    """Holds back a stream until its first content.

    It is fed with the complete events that a StreamTransformer returns, none of which is an error. `has_content_in`
    says whether the data of an event is content. `has_event` says whether an event has come, and `has_content` whether
    content has.
    """

    __slots__ = ("_bytes", "_has_content_in", "_held", "has_content", "has_event")

    def __init__(self, has_content_in: Callable[[bytes], bool]) -> None:
        self._has_content_in = has_content_in
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
                self.has_event = True
                self.has_content = self._has_content_in(event.data)
        if self._bytes > MAX_HELD_BYTES:
            self.has_event = self.has_content = True

    def held(self) -> bytes:
        """Return everything that is held back."""
        return b"".join(self._held)

    def take_held(self) -> bytes:
        """Return everything that was held back, and hold it no longer."""
        events, self._held = self.held(), []
        return events
