"""What the watchers share that turn a provider's events into the chunks of a chat completion."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from nulpoint.errors import Failure
from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, malformed_response
from nulpoint.protocols.openai.chat import ChunkWriter
from nulpoint.protocols.openai.stream import DONE, event_after_end
from nulpoint.protocols.openai.usage import ResponseMetadata, usage_from

Event = TypeVar("Event")


class StreamTranslator(ABC, Generic[Event]):
    """Base of these watchers: it holds the one guard around everything that interprets a provider's bytes.

    Whatever a subclass raises while it reads is a failure of the stream, so that a stream which fails in any event, the
    last one included, never counts as finished. A subclass sets `over` when it has read the provider's own end, after
    all that can fail. Nothing that comes later reaches the caller.

    `split` gives the events that are complete after a read, or raises Failure. `show_usage`: the caller asked for the
    usage chunk.
    """

    format: ClassVar[str]  # whose events these are, for people

    def __init__(self, created: int, show_usage: bool, split: Callable[[bytes], list[Event]]) -> None:
        self._split = split
        self._write = ChunkWriter(created)
        self._show_usage = show_usage
        self._model = ""  # as the provider calls it
        self.failure: Failure | None = None
        self.over = False

    @abstractmethod
    def _translate(self, event: Event) -> bytes:
        """The chunks for one event. May raise Failure, or any error of MISSHAPEN."""

    @abstractmethod
    def _at_end(self) -> bytes:
        """What is left when the provider has sent everything; the same errors."""

    def _goes_on(self, event: Event) -> bool:
        """Whether an event after the end makes the answer one that did not end. Where the provider's own end is no
        `[DONE]`, the caller cannot have read it as theirs, and hosts are known that begin anew in the same stream."""
        return False

    @abstractmethod
    def _reported_usage(self) -> dict[str, Any] | None:
        """In OpenAI's shape; None where nothing was reported. May raise any error of MISSHAPEN."""

    def feed(self, data: bytes) -> bytes:
        if self.failure is not None:
            return b""
        try:
            events = self._split(data)
        except Failure as failure:
            self._fail(failure)
            return b""
        if len(events) == 1:
            return self._guarded(self._translate, events[0])
        return b"".join([self._guarded(self._translate, event) for event in events])

    def _guarded(self, translate: Callable[[Event], bytes], event: Event) -> bytes:
        try:
            if not self.over:
                return translate(event)
            if self.failure is None and self._goes_on(event):
                self._fail(event_after_end())
        except Failure as failure:
            self._fail(failure)
        except MALFORMED:
            self._fail(malformed_response(f"the provider sent an event that is none of {self.format}"))
        return b""

    def _fail(self, failure: Failure) -> None:
        self.failure = failure
        self.over = True

    def close(self) -> bytes:
        last = b""
        try:
            if self.failure is None:
                last = self._at_end()
        except Failure as failure:
            self._fail(failure)
        except MALFORMED:
            self._fail(malformed_response(f"the provider's stream does not end as one of {self.format}"))
        return last + sse.encode(DONE) if self.finished() else last

    def finished(self) -> bool:
        return self.over and self.failure is None

    def has_finish_reason(self) -> bool:
        return self.finished()

    def metadata(self) -> ResponseMetadata:
        try:
            usage = self._reported_usage()
            return ResponseMetadata(usage_from(usage) if usage else None, self._model or None)
        except MALFORMED:
            return ResponseMetadata(None, self._model or None)


class EventStreamTranslator(StreamTranslator[sse.SseEvent]):
    """Base of those whose events are server-sent events."""

    def __init__(self, created: int, show_usage: bool) -> None:
        self._decoder = sse.SseDecoder()
        super().__init__(created, show_usage, self._decoder.feed)

    def _at_end(self) -> bytes:
        return b"".join([self._guarded(self._translate, event) for event in self._decoder.close()])
