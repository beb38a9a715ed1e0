"""Defines the base classes of what reads a provider's stream."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from nulpoint.conversation.stream import StreamWriter
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import Failure
from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, malformed_response
from nulpoint.protocols.openai.stream import event_after_end
from nulpoint.protocols.openai.usage import ResponseMetadata

Event = TypeVar("Event")


class ProviderStream(ABC, Generic[Event]):
    """A stream transformer that translates events one by one and turns every error into a failure of the stream.

    This class holds the only error handling around the code that interprets a provider's bytes: whatever a subclass
    raises makes the stream fail, so a stream with an error in any event, including the last one, never counts as
    finished. A subclass sets `over` once it has read the provider's own end of the response, after everything that can
    fail. Later events do not reach the client.

    `split` returns the events that are complete after a network read, or raises Failure.
    """

    format: ClassVar[str]  # the API these events belong to, as error messages call it

    def __init__(self, split: Callable[[bytes], list[Event]]) -> None:
        self._split = split
        self.failure: Failure | None = None
        self.over = False

    @abstractmethod
    def _translate(self, event: Event) -> bytes:
        """Return what the client gets for one event. May raise Failure, or any of the MALFORMED errors."""

    @abstractmethod
    def _translate_end(self) -> bytes:
        """Return the rest for the client once the provider's stream has ended. Raises the same errors."""

    @abstractmethod
    def _end_for_client(self) -> bytes:
        """Return the end of a complete stream in the client's format. Raises Failure if it has no answer."""

    @abstractmethod
    def metadata(self) -> ResponseMetadata: ...

    def _is_continuation(self, event: Event) -> bool:
        """Return whether this event, which follows the end of the response, makes the response invalid.

        The default is that it does not: clients cannot have mistaken a provider's own end event for their `[DONE]`, and
        some hosts are known to begin a second response in the same stream.
        """
        return False

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
        if self.finished():
            try:
                return last + self._end_for_client()
            except Failure as failure:
                self._fail(failure)
        return last

    def finished(self) -> bool:
        return self.over and self.failure is None


class StreamParser(ProviderStream[Event]):
    """Base of the parsers that call a client's writer. `model` is the model's name as far as it is known."""

    def __init__(self, writer: StreamWriter, split: Callable[[bytes], list[Event]], model: str = "") -> None:
        super().__init__(split)
        self._writer = writer
        self._model = model

    @abstractmethod
    def _usage(self) -> UsageReport | None:
        """Return the usage, or None if none was reported. May raise any of the MALFORMED errors."""

    def _end_for_client(self) -> bytes:
        return self._writer.end()

    def error(self, failure: Failure) -> bytes:
        return self._writer.error(failure)

    def metadata(self) -> ResponseMetadata:
        try:
            report = self._usage()
        except MALFORMED:
            report = None
        return ResponseMetadata(report.counts() if report is not None else None, self._model or None)


class SseStreamParser(StreamParser[sse.SseEvent]):
    """Base of the parsers that read server-sent events."""

    def __init__(self, writer: StreamWriter) -> None:
        self._decoder = sse.SseDecoder()
        super().__init__(writer, self._decoder.feed)

    def _translate_end(self) -> bytes:
        return b"".join([self._guarded(self._translate, event) for event in self._decoder.close()])
