"""Watching an OpenAI-format stream on its way to the caller.

A watcher is fed every network read and gives back what the caller gets. It remembers just enough of the end to say
afterwards what was used and whether the stream was whole.
"""

import re
from typing import Any, Protocol

import msgspec

from nulpoint.errors import Failure
from nulpoint.wire import sse
from nulpoint.wire.foreign import NOT_JSON
from nulpoint.wire.provider_error import embedded_failure
from nulpoint.wire.usage import NOTHING, Facts, read_facts

TAIL_BYTES = 8192  # of each of the last three reads: usage stands in one of the last events
HELD_BYTES = 32_768  # of an unfinished event
USAGE = re.compile(rb'"usage"\s*:\s*\{')
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"[^"]')
_ERROR = re.compile(rb'"error"\s*:\s*[^\sn]')  # null is none
DONE = b"[DONE]"


class Watcher(Protocol):
    """What passes a stream on. The caller of `feed` writes what it gives, if anything, in one write."""

    def feed(self, data: bytes) -> bytes: ...

    def close(self) -> bytes:
        """What is left for the caller when the provider has sent everything."""

    def finished(self) -> bool:
        """Whether the provider said `[DONE]`."""

    def has_finish_reason(self) -> bool:
        """Whether a `finish_reason` came, for hosts that never say `[DONE]`."""

    def facts(self) -> Facts: ...

    @property
    def failure(self) -> Failure | None:
        """What the provider said went wrong. From then on nothing more of the stream is passed on."""


class PassOn:
    """Gives the caller every event as it came, byte for byte.

    What has come of an unfinished event waits for its end, so that a stream that is cut ends between two events and
    not inside one. An event over HELD_BYTES is passed on piece by piece instead. An event that is an error ends the
    stream and is not passed on: the caller is told of the failure in the gateway's own words, once.
    """

    def __init__(self) -> None:
        self.failure: Failure | None = None
        # The last three reads passed on, of which each holds whole events. Few on purpose: memory given back at once
        # is used again while it is still in the processor's cache.
        self._third = self._second = self._last = b""
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        if self.failure is not None:
            return b""
        if self._held:
            data = self._held + data
            self._held = b""
        if not data.endswith(b"\n\n"):
            data = self._whole_events(data)
        if b'"error"' in data:
            data = self._before_error(data)
        if data:
            self._third = self._second
            self._second = self._last
            self._last = data if len(data) <= TAIL_BYTES else data[-TAIL_BYTES:]
        return data

    def _tail(self) -> bytes:
        return self._third + self._second + self._last

    def _whole_events(self, data: bytes) -> bytes:
        end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\n\r\n") + 3, data.rfind(b"\r\r") + 2)
        if end < 4:  # not found: -1 + 2 or -1 + 3
            end = 0
        if len(data) - end > HELD_BYTES:
            return data
        self._held = data[end:]
        return data[:end]

    def _before_error(self, data: bytes) -> bytes:
        """The events before one that is an error. Some hosts have the word in other places too."""
        if _ERROR.search(data) is None:
            return data
        passed = 0
        for block in _blocks(data):
            event = sse.parse(block)
            if event is not None and _is_error(event):
                self.failure = embedded_failure("the provider", event.data)
                return data[:passed]
            passed += len(block)
        return data

    def close(self) -> bytes:
        """The last event where its empty line is missing; what is cut inside an event is nothing to pass on."""
        held, self._held = self._held, b""
        event = sse.parse(held)
        if event is None or not (event.data.strip() == DONE or _is_json(event.data)):
            return b""
        return self.feed(held.rstrip(b"\r\n") + b"\n\n")

    def finished(self) -> bool:
        return self.failure is None and any(event.data.strip() == DONE for event in self._events()[-2:])

    def has_finish_reason(self) -> bool:
        return self.failure is None and _FINISHED.search(self._tail()) is not None

    def facts(self) -> Facts:
        """Usage and model by the last event that tells them."""
        last = NOTHING
        for event in reversed(self._events()):
            facts = read_facts(event.data)
            last = Facts(last.usage or facts.usage, last.model or facts.model)
            if last.usage and last.model:
                break
        return last

    def _events(self) -> list[sse.Event]:
        decoder = sse.Decoder()
        return [*decoder.feed(self._tail()), *decoder.close()]


class HideUsage(PassOn):
    """Keeps from the caller the event that holds only usage: we asked for it, the caller did not."""

    def feed(self, data: bytes) -> bytes:
        data = PassOn.feed(self, data)  # `super()` would cost a third of this function
        if b"usage" not in data or USAGE.search(data) is None:
            return data
        return without_usage(data)


def without_usage(data: bytes) -> bytes:
    """Whole events, but for those that hold only usage."""
    return b"".join(block for block in _blocks(data) if not _is_usage_only(block))


class _Chunk(msgspec.Struct):
    choices: list[Any] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


class _Failed(msgspec.Struct):
    error: Any = None


def _is_error(event: sse.Event) -> bool:
    try:
        return event.name == b"error" or bool(msgspec.json.decode(event.data, type=_Failed).error)
    except NOT_JSON:
        return False


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except NOT_JSON:
        return False
    return True


def _blocks(data: bytes) -> list[bytes]:
    splitter = sse.Splitter()
    return [*splitter.feed(data), splitter.rest()]


def _is_usage_only(block: bytes) -> bool:
    event = sse.parse(block)
    if event is None or USAGE.search(event.data) is None:
        return False
    try:
        chunk = msgspec.json.decode(event.data, type=_Chunk)
    except NOT_JSON:
        return False
    return chunk.choices == [] and chunk.usage is not None and chunk.error is None
