"""Watching an OpenAI-format stream on its way to the caller.

A watcher is fed every network read and gives back what the caller gets. It remembers just enough of the end to say
afterwards what was used and whether the stream was whole. What it says depends on the bytes alone, never on where the
network cut them.
"""

import re
from typing import Any, Protocol

import msgspec

from nulpoint.errors import Failure
from nulpoint.formats import sse
from nulpoint.formats.malformed import NOT_JSON, malformed_response
from nulpoint.protocols.openai.usage import NO_METADATA, ResponseMetadata, read_metadata
from nulpoint.protocols.provider_errors import embedded_failure

TAIL_BYTES = 8192  # of each of the last three reads: usage stands in one of the last events
HELD_BYTES = 32_768  # of an unfinished event
DONE = b"[DONE]"
# Usage that is not plainly null. It may match too much, but nothing it does not match holds usage.
USAGE = re.compile(rb'"usage"\s*+(?::\s*+(?!null)|[^:\s])')
# What is looked for in every read, cheapest first. An ordinary event is one line of JSON and an empty line, both ended
# alike, in which no letter of the member name `error` is written as an escape (they are U+0065, U+006F and U+0072).
_LF, _CR, _BACKSLASH = b"\n\r\\"
_BEGIN = b"data: {"
_BEGINS = (_BEGIN, b"data:{")
_LINES = re.compile(rb"(?:data: \{[^\n]*+\n\n)++").fullmatch
_ESCAPE = b"\\u00"
_ERROR = b'"error"'
_PLAIN_BEGINNING = re.compile(rb"data: ?(?! *\[)[^\\\r\n]*+(?:\\(?!u00[67])[^\\\r\n]*+)*+").fullmatch


class StreamTransformer(Protocol):
    """What passes a stream on. The caller of `feed` writes what it gives, if anything, in one write.

    `[DONE]` is given by `close` alone: what a provider sends after it is still to be seen by then.
    """

    def feed(self, data: bytes) -> bytes: ...

    def close(self) -> bytes:
        """What is left for the caller when the provider has sent everything, `[DONE]` included."""

    def finished(self) -> bool:
        """Whether the provider ended its answer properly, as its format does, and nothing was wrong with it."""

    def has_finish_reason(self) -> bool:
        """Whether every choice has ended with a `finish_reason`, for hosts that never say `[DONE]`."""

    def metadata(self) -> ResponseMetadata: ...

    @property
    def failure(self) -> Failure | None:
        """What went wrong: the provider said so, or sent what cannot be read. Nothing more is passed on after it."""

    @property
    def over(self) -> bool:
        """The answer has ended, well or by a failure: no further event belongs to it."""


def event_after_end() -> Failure:
    """An answer that goes on after its own end. Callers stop reading there and would take it for whole."""
    return malformed_response("the provider sent more after the end of its answer")


class PassThrough:
    """Gives the caller every event as it came, byte for byte.

    What has come of an unfinished event waits for its end, so that a stream that is cut ends between two events and
    not inside one. An event over HELD_BYTES that begins as a line of JSON is passed on piece by piece instead. An event
    that is an error ends the stream and is not passed on: the caller is told of the failure in the gateway's own words,
    once.

    Nothing follows `[DONE]`: comments and a repeated `[DONE]` are dropped, any other event makes the answer malformed.

    `finish_ends`: the host never says `[DONE]`, so that it must be known which choices have ended.
    """

    def __init__(self, *, finish_ends: bool = False) -> None:
        self.failure: Failure | None = None
        self.over = False
        self._choices: dict[int, bool] | None = {} if finish_ends else None  # which have come, and whether they ended
        # Whether the next read may pass as it is: it begins an event, and nothing is known that forbids it.
        self._may_pass = not finish_ends
        # The last three reads passed on, of which each holds whole events. Few on purpose: memory given back at once
        # is used again while it is still in the processor's cache.
        self._third = self._second = self._last = b""
        self._held = bytearray()  # what has come of an unfinished event
        self._passed = 0  # how many bytes of it have been passed on
        self._begins_plainly: bool | None = None  # of an unfinished event over HELD_BYTES
        self._closing = False
        self._done = b""  # the event that said `[DONE]`

    def feed(self, data: bytes) -> bytes:
        if not (
            self._may_pass
            and data[:7] == _BEGIN
            and data.find(_LF) == len(data) - 2
            and data[-1] == _LF
            and _CR not in data
            and _ERROR not in data
            and (_BACKSLASH not in data or not _escapes_a_letter(data))
        ) and not (self._may_pass and _are_ordinary(data)):
            data = self._carefully(data)
            if not data:
                return data
        self._third = self._second
        self._second = self._last
        self._last = data if len(data) <= TAIL_BYTES else data[-TAIL_BYTES:]
        return data

    def _carefully(self, data: bytes) -> bytes:
        """Pass on event by event what is not plainly a run of ordinary events."""
        if self.failure is not None:
            return b""
        held = self._held
        searched = max(0, len(held) - 3)  # what came before holds no end of an event
        held += data
        passed = []
        ends = [match.end() for match in sse.EVENT_END.finditer(held, searched)]
        if ends and ends[-1] == len(held) and held[-1] == _CR and not self._closing:
            ends.pop()  # a LF that comes next belongs to it
        if ends:
            text = bytes(held)
            held.clear()
            start = 0
            for end in ends:
                passed.append(self._event(text[start:end]))
                start = end
            held += text[start:]
        if len(held) > HELD_BYTES:
            passed.append(self._piece())
        self._may_pass = not (held or self.over or self._choices is not None)
        return b"".join(passed)

    def _event(self, block: bytes) -> bytes:
        """What is passed on of a whole event, or of the rest of one whose beginning has been passed on."""
        already, self._passed, self._begins_plainly = self._passed, 0, None
        if self.over:
            self._judge(block)
            return b""
        in_pieces = already > 0 or (len(block) > HELD_BYTES and _begins_plainly(block))
        if not in_pieces and len(block) > sse.MAX_EVENT_BYTES:
            self._fail(sse.EventTooLargeError())
        elif not _is_ordinary(block):
            self._judge(block)
        if self._choices is not None:
            for choice in _choices_of(block):
                self._choices[choice.index] = bool(choice.finish_reason) or self._choices.get(choice.index, False)
        # Whether an event was passed on in pieces may not depend on the cuts either, even if it turned out an error.
        return b"" if self.over and not in_pieces else block[already:]

    def _piece(self) -> bytes:
        """What is passed on of an unfinished event that is too long to be held."""
        held = self._held
        if self.over:
            self._fail(event_after_end())
            return b""
        if self._begins_plainly is None:
            self._begins_plainly = _begins_plainly(bytes(held[:HELD_BYTES]))
        if not self._begins_plainly:
            if len(held) > sse.MAX_EVENT_BYTES:
                self._fail(sse.EventTooLargeError())
            return b""
        piece = bytes(held[self._passed :])
        if len(held) > sse.MAX_EVENT_BYTES:  # nobody can keep all of it to look for an error in its end
            del held[:-3]
        self._passed = len(held)
        return piece

    def _judge(self, block: bytes) -> None:
        """Note what an event means for the stream, if it is more than one to pass on."""
        event = sse.parse(block)
        if _is_error(event):
            self._fail(embedded_failure("the provider", event.data))
        elif event.is_empty:
            return
        elif set(event.data.split()) == {DONE}:
            self._done = self._done or block.rstrip(b"\r\n") + _empty_line(block)
            self.over = True
        elif self.over:
            self._fail(event_after_end())
        elif event.data.startswith(DONE):  # readers that look no further take it for the end
            self._fail(malformed_response("the provider sent an event that begins as `[DONE]` and is more"))

    def _fail(self, failure: Failure) -> None:
        self.failure = self.failure or failure
        self.over = True
        self._may_pass = False
        self._held.clear()

    def close(self) -> bytes:
        """Give the last event where its empty line is missing; what is cut inside an event is nothing to pass on."""
        self._closing = True
        held, last = bytes(self._held), b""
        if sse.EVENT_END.search(held) is not None:
            last = self.feed(b"")
        elif held and self.failure is None and _is_whole(held):
            last = self.feed(b"\n" if held.endswith(b"\n") else b"\n\n")
        self._held.clear()
        return last + self._done if self.failure is None else last

    def finished(self) -> bool:
        return self.over and self.failure is None

    def has_finish_reason(self) -> bool:
        return self.failure is None and bool(self._choices) and all((self._choices or {}).values())

    def metadata(self) -> ResponseMetadata:
        """Usage and model by the last event that tells them."""
        last = NO_METADATA
        for event in reversed(self._events()):
            metadata = read_metadata(event.data)
            last = ResponseMetadata(last.usage or metadata.usage, last.model or metadata.model)
            if last.usage and last.model:
                break
        return last

    def _events(self) -> list[sse.SseEvent]:
        decoder = sse.SseDecoder()
        return [*decoder.feed(self._third + self._second + self._last), *decoder.close()]


class UsageStripper(PassThrough):
    """Keeps from the caller the event that holds only usage: we asked for it, the caller did not."""

    def feed(self, data: bytes) -> bytes:
        data = PassThrough.feed(self, data)  # `super()` would cost a third of this function
        if b"usage" not in data or USAGE.search(data) is None:
            return data
        return without_usage(data)


class WrappingTransformer:
    """Base of the watchers that change what another one gives. What fails here is a failure of the stream too."""

    def __init__(self, inner: StreamTransformer) -> None:
        self._inner = inner
        self._own_failure: Failure | None = None

    @property
    def failure(self) -> Failure | None:
        return self._own_failure or self._inner.failure

    @property
    def over(self) -> bool:
        return self._own_failure is not None or self._inner.over

    def finished(self) -> bool:
        return self._own_failure is None and self._inner.finished()

    def has_finish_reason(self) -> bool:
        return self._own_failure is None and self._inner.has_finish_reason()

    def metadata(self) -> ResponseMetadata:
        return self._inner.metadata()


def without_usage(data: bytes) -> bytes:
    """Whole events, but for those that hold only usage."""
    return b"".join(block for block in _blocks(data) if not _is_usage_only(block))


class _Chunk(msgspec.Struct):
    choices: list[Any] | None = None
    usage: Any = None
    error: Any = None


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: Any = None


class _Choices(msgspec.Struct):
    choices: list[_Choice] | None = None


class _Failed(msgspec.Struct):
    error: Any = None
    object: Any = None


def _is_error(event: sse.SseEvent) -> bool:
    if event.name == b"error":
        return True
    try:
        told = msgspec.json.decode(event.data, type=_Failed)
    except NOT_JSON:
        return False
    return bool(told.error) or told.object == "error"


def _empty_line(block: bytes) -> bytes:
    """The end of an event, in the kind of line ends it has."""
    if b"\r" not in block:
        return b"\n\n"
    return b"\r\n\r\n" if b"\r\n" in block else b"\r\r"


def _is_ordinary(block: bytes) -> bool:
    """Whether a block is an ordinary event, with either kind of line ends."""
    size = len(block)
    if block[-1:] != b"\n" or not block.startswith(_BEGINS):
        return False
    one_line = block.find(_LF) == size - 2
    if _CR in block:
        one_line = block.find(_CR) == size - 4 and block[-4:] == b"\r\n\r\n"
    return one_line and _ERROR not in block and not _escapes_a_letter(block)


def _are_ordinary(data: bytes) -> bool:
    """The same of all the events of a read, where there are several."""
    if data[:7] == _BEGIN and _CR not in data and _LINES(data) is not None:
        return _ERROR not in data and not _escapes_a_letter(data)
    return _is_ordinary(data)


def _escapes_a_letter(data: bytes) -> bool:
    at = data.find(_ESCAPE) if _BACKSLASH in data else -1
    while at >= 0:
        if data[at + 4 : at + 5] in (b"6", b"7"):
            return True
        at = data.find(_ESCAPE, at + 6)
    return False


def _begins_plainly(block: bytes) -> bool:
    """Whether an event over HELD_BYTES begins as one that is no error and no end."""
    beginning = block[:HELD_BYTES]
    return _PLAIN_BEGINNING(beginning) is not None and _ERROR not in beginning


def _is_whole(block: bytes) -> bool:
    """Whether an event lacks only its empty line."""
    event = sse.parse(block)
    return event.name == b"error" or event.data.strip() == DONE or _is_json(event.data)


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except NOT_JSON:
        return False
    return True


def _choices_of(block: bytes) -> list[_Choice]:
    try:
        return msgspec.json.decode(sse.parse(block).data, type=_Choices).choices or []
    except NOT_JSON:
        return []


def _blocks(data: bytes) -> list[bytes]:
    splitter = sse.SseSplitter()
    return [*splitter.feed(data), splitter.rest()]


def _is_usage_only(block: bytes) -> bool:
    if USAGE.search(block) is None:
        return False
    try:
        chunk = msgspec.json.decode(sse.parse(block).data, type=_Chunk)
    except NOT_JSON:
        return False
    return chunk.choices == [] and chunk.usage is not None and chunk.error is None
