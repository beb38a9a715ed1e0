"""Defines the base classes of the stream transformers that translate a provider's events to chat completion chunks."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED
from nulpoint.protocols.openai.chat import ChunkWriter
from nulpoint.protocols.openai.stream import DONE
from nulpoint.protocols.openai.usage import ResponseMetadata, usage_from
from nulpoint.protocols.provider_stream import Event, ProviderStream


class StreamTranslator(ProviderStream[Event]):
    """A provider stream that writes chat completion chunks itself.

    `show_usage` says whether the client asked for the usage chunk.
    """

    def __init__(self, created: int, show_usage: bool, split: Callable[[bytes], list[Event]]) -> None:
        super().__init__(split)
        self._write = ChunkWriter(created)
        self._show_usage = show_usage
        self._model = ""  # the model's name as the provider reports it

    @abstractmethod
    def _reported_usage(self) -> dict[str, Any] | None:
        """Return the usage in OpenAI's format, or None if none was reported. May raise any of the MALFORMED errors."""

    def _end_for_client(self) -> bytes:
        return sse.encode(DONE)

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
