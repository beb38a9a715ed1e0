"""Defines the base classes of the stream transformers that translate a provider's events to chat completion chunks."""

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
    """A stream transformer that translates events one by one and turns every error into a failure of the stream.

    This class holds the only error handling around the code that interprets a provider's bytes: whatever a subclass
    raises makes the stream fail, so a stream with an error in any event, including the last one, never counts as
    finished. A subclass sets `over` once it has read the provider's own end of the response, after everything that can
    fail. Later events do not reach the client.

    `split` returns the events that are complete after a network read, or raises Failure. `show_usage` says whether the
    client asked for the usage chunk.
    """

    format: ClassVar[str]  # the API these events belong to, as error messages call it

    def __init__(self, created: int, show_usage: bool, split: Callable[[bytes], list[Event]]) -> None:
        self._split = split
        self._write = ChunkWriter(created)
        self._show_usage = show_usage
        self._model = ""  # the model's name as the provider reports it
        self.failure: Failure | None = None
        self.over = False

    @abstractmethod
    def _translate(self, event: Event) -> bytes:
        """Return the chunks for one event. May raise Failure, or any of the MALFORMED errors."""

    @abstractmethod
    def _translate_end(self) -> bytes:
        """Return the remaining chunks once the provider's stream has ended. Raises the same errors as `_translate`."""

    def _is_continuation(self, event: Event) -> bool:
        """Return whether this event, which follows the end of the response, makes the response invalid.

        The default is that it does not: clients cannot have mistaken a provider's own end event for their `[DONE]`, and
        some hosts are known to begin a second response in the same stream.
        """
        return False

    @abstractmethod
    def _reported_usage(self) -> dict[str, Any] | None:
        """Return the usage in OpenAI's format, or None if none was reported. May raise any of the MALFORMED errors."""

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
            if self.failure is None and self._is_continuation(event):
                self._fail(event_after_end())
        except Failure as failure:
            self._fail(failure)
        except MALFORMED:
            self._fail(malformed_response(f"the provider sent an event that is not valid in {self.format}"))
        return b""

    def _fail(self, failure: Failure) -> None:
        self.failure = failure
        self.over = True

    def close(self) -> bytes:
        last = b""
        try:
            if self.failure is None:
                last = self._translate_end()
        except Failure as failure:
            self._fail(failure)
        except MALFORMED:
            self._fail(malformed_response(f"the provider's stream ended in a way that is not valid in {self.format}"))
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
    """Base of the translators whose input is server-sent events."""

    def __init__(self, created: int, show_usage: bool) -> None:
        self._decoder = sse.SseDecoder()
        super().__init__(created, show_usage, self._decoder.feed)

    def _translate_end(self) -> bytes:
        return b"".join([self._guarded(self._translate, event) for event in self._decoder.close()])
