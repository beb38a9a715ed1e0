"""Passes a stream in the OpenAI format on to the client, and checks it on the way.

Just enough of the end of the stream is kept to report afterwards which tokens were used and whether the stream was
complete.
"""

import re
from typing import Any

import msgspec

from nulpoint.errors import Failure
from nulpoint.formats import sse
from nulpoint.formats.malformed import NOT_JSON, malformed_response
from nulpoint.protocols.openai.answers import failure_in_event
from nulpoint.protocols.openai.errors import error_event
from nulpoint.protocols.openai.usage import NO_METADATA, ResponseMetadata, read_metadata
from nulpoint.protocols.provider_errors import embedded_failure

TAIL_BYTES = 8192  # kept of each of the last three reads, since one of the last events contains the usage
MAX_PENDING_BYTES = 32_768  # of an incomplete event
DONE = b"[DONE]"
DONE_EVENT = sse.encode(DONE)
# Matches usage that is not simply null. It may match other text, but every event with usage matches.
USAGE = re.compile(rb'"usage"\s*+(?::\s*+(?!null)|[^:\s])')
# Every read is checked for these, the cheapest checks first. An ordinary event consists of a line of JSON and an empty
# line with the same line ends. No letter of a member name `error` may be written as an escape in it, so it contains no
# escape of the characters U+0060 to U+007F.
_LF, _CR, _BACKSLASH = b"\n\r\\"
_BEGIN = b"data: {"
_BEGINS = (_BEGIN, b"data:{")
_LINES = re.compile(rb"(?:data: \{[^\n]*+\n\n)++").fullmatch
_ESCAPE = b"\\u00"
_ERROR = b'"error"'
# Ends that report a failure and look like ordinary events. They are looked for at the end of the stream only.
_ODD_END = re.compile(rb'"(?:network_error|abort|insufficient_system_resource|base_resp)"')
_PLAIN_BEGINNING = re.compile(rb"data: ?(?! *\[)[^\\\r\n]*+(?:\\(?!u00[67])[^\\\r\n]*+)*+").fullmatch


def event_after_end() -> Failure:
    """Return the failure for a response that continues after its end, where clients would take it for complete."""
    return malformed_response("the provider sent more events after the end of its response")


def event_after_done() -> Failure:
    """Return the failure for an event that begins like the end of the response and goes on."""
    return malformed_response("the provider sent an event that begins with `[DONE]` and continues after it")


def is_error(event: sse.SseEvent) -> bool:
    """Return whether an event of a stream is an error, by its name or its data."""
    if event.name == b"error":
        return True
    try:
        decoded = msgspec.json.decode(event.data, type=_Error)
    except NOT_JSON:
        return False
    return bool(decoded.error) or decoded.object == "error"


def is_done(event: sse.SseEvent) -> bool:
    """Return whether an event is the end of the response. Some hosts repeat it in one event."""
    return set(event.data.split()) == {DONE}


def is_cut_off(event: sse.SseEvent) -> bool:
    """Return whether the last event of a stream lacks more than its empty line."""
    return not (event.name == b"error" or event.data.strip() == DONE or _is_json(event.data))


class PassThrough:
    """Passes every event on to the client byte for byte.

    An incomplete event is held back until its end has come, so that a stream which is cut off ends between two events.
    An event of more than MAX_PENDING_BYTES that begins like a line of JSON is passed on in pieces instead. An event
    with an error ends the stream and is not passed on: the gateway reports the failure to the client itself, and once.

    Nothing is passed on after `[DONE]`. Comments and a repeated `[DONE]` are dropped there, and any other event makes
    the response malformed.

    If the host's stream ends in good order after all of its choices, `[DONE]` is added. `finish_ends` says that the
    host never sends it, so the choices that have ended are tracked from the beginning.
    """

    def __init__(self, *, finish_ends: bool = False) -> None:
        self.failure: Failure | None = None
        self.over = False
        self._choices: dict[int, bool] | None = {} if finish_ends else None  # whether each choice has ended
        # Whether the next read may be passed on unchanged if it consists of ordinary events: it begins with an event.
        self._may_pass = not finish_ends
        # The last three reads that were passed on, each of complete events. No more are kept, because memory that is
        # freed soon is used again while it is still in the processor's cache.
        self._third = self._second = self._last = b""
        self._pending = bytearray()  # the beginning of an incomplete event
        self._passed_bytes = 0  # how many bytes of the incomplete event were already passed on
        self._begins_plainly: bool | None = None  # whether an incomplete event over MAX_PENDING_BYTES does
        self._closing = False
        self._done = b""  # the event that contained `[DONE]`

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
            data = self._pass_by_event(data)
            if not data:
                return data
        self._third = self._second
        self._second = self._last
        self._last = data if len(data) <= TAIL_BYTES else data[-TAIL_BYTES:]
        return data

    def _pass_by_event(self, data: bytes) -> bytes:
        """Check each event of a read that does not clearly consist of ordinary events, and return what to pass on."""
        if self.failure is not None:
            return b""
        pending = self._pending
        search_start = max(0, len(pending) - 3)  # there is no end of an event in the bytes before
        pending += data
        output = []
        ends = [match.end() for match in sse.EVENT_END.finditer(pending, search_start)]
        if ends and ends[-1] == len(pending) and pending[-1] == _CR and not self._closing:
            ends.pop()  # if the next byte is a LF, it belongs to this event
        if ends:
            text = bytes(pending)
            pending.clear()
            start = 0
            for end in ends:
                output.append(self._pass_event(text[start:end]))
                start = end
            pending += text[start:]
        if len(pending) > MAX_PENDING_BYTES:
            output.append(self._pass_piece())
        self._may_pass = not (pending or self.over or self._choices is not None)
        return b"".join(output)

    def _pass_event(self, block: bytes) -> bytes:
        """Check a complete event, and return the part of it that is still to be passed on."""
        passed_bytes, self._passed_bytes, self._begins_plainly = self._passed_bytes, 0, None
        if self.over:
            self._interpret(block)
            return b""
        in_pieces = passed_bytes > 0 or (len(block) > MAX_PENDING_BYTES and _begins_plainly(block))
        if not in_pieces and len(block) > sse.MAX_EVENT_BYTES:
            self._fail(sse.EventTooLargeError())
        elif not _is_ordinary(block):
            self._interpret(block)
        if self._choices is not None:
            _add_choices(self._choices, sse.parse(block).data)
        # A long event is passed on even if it turned out to be an error, so that the output does not depend on how the
        # network split it.
        return b"" if self.over and not in_pieces else block[passed_bytes:]

    def _pass_piece(self) -> bytes:
        """Return the part to pass on of an incomplete event that is too long to be held back."""
        pending = self._pending
        if self.over:
            self._fail(event_after_end())
            return b""
        if self._begins_plainly is None:
            self._begins_plainly = _begins_plainly(bytes(pending[:MAX_PENDING_BYTES]))
        if not self._begins_plainly:
            if len(pending) > sse.MAX_EVENT_BYTES:
                self._fail(sse.EventTooLargeError())
            return b""
        piece = bytes(pending[self._passed_bytes :])
        if len(pending) > sse.MAX_EVENT_BYTES:  # too long to be kept until its end can be checked for an error
            del pending[:-3]
        self._passed_bytes = len(pending)
        return piece

    def _interpret(self, block: bytes) -> None:
        """End the stream if the event is an error or an end, or must not occur where it does."""
        event = sse.parse(block)
        if is_error(event):
            self._fail(embedded_failure("the provider", event.data))
        elif event.is_empty:
            return
        elif (failure := failure_in_event(event.data)) is not None:
            self._fail(failure)
        elif is_done(event):
            self._done = self._done or block.rstrip(b"\r\n") + _empty_line(block)
            self.over = True
        elif self.over:
            self._fail(event_after_end())
        elif event.data.startswith(DONE):  # some clients would take it for the end
            self._fail(event_after_done())

    def _fail(self, failure: Failure) -> None:
        self.failure = self.failure or failure
        self.over = True
        self._may_pass = False
        self._pending.clear()

    def close(self) -> bytes:
        """Return a last event that lacks only its empty line, and `[DONE]`. An event that is cut off is dropped."""
        self._closing = True
        pending, last = bytes(self._pending), b""
        if sse.EVENT_END.search(pending) is not None:
            last = self.feed(b"")
        elif pending and self.failure is None and not is_cut_off(sse.parse(pending)):
            last = self.feed(b"\n" if pending.endswith(b"\n") else b"\n\n")
        is_cut = bool(self._pending) and not sse.parse(bytes(self._pending)).is_empty
        self._pending.clear()
        self._check_last_events()
        if not self.over and self._have_ended(is_cut=is_cut):
            self.over, self._done = True, DONE_EVENT
        return last + self._done if self.failure is None else last

    def _check_last_events(self) -> None:
        """Fail if the last events report a failure in a way that is not noticed in ordinary events."""
        if self.failure is None and _ODD_END.search(self._third + self._second + self._last) is not None:
            failures = [failure_in_event(event.data) for event in self._last_events()]
            self.failure = next((failure for failure in failures if failure is not None), None)

    def _have_ended(self, *, is_cut: bool) -> bool:
        """Return whether all choices have ended, although no `[DONE]` has come.

        Without `finish_ends` only the choices in the last events are known, and an incomplete event at the end shows
        that the stream was cut.
        """
        choices = self._choices
        if choices is None:
            choices = {}
            for event in [] if is_cut else self._last_events():
                _add_choices(choices, event.data)
        return bool(choices) and all(choices.values())

    def finished(self) -> bool:
        return self.over and self.failure is None

    def metadata(self) -> ResponseMetadata:
        """Return the usage and the model in the last events that report them."""
        last = NO_METADATA
        for event in reversed(self._last_events()):
            metadata = read_metadata(event.data)
            last = ResponseMetadata(last.usage or metadata.usage, last.model or metadata.model)
            if last.usage and last.model:
                break
        return last

    def error(self, failure: Failure) -> bytes:
        return error_event(failure)

    def _last_events(self) -> list[sse.SseEvent]:
        decoder = sse.SseDecoder()
        return [*decoder.feed(self._third + self._second + self._last), *decoder.close()]


class UsageStripper(PassThrough):
    """Removes the event that contains only usage, which the gateway asked for and the client did not."""

    def feed(self, data: bytes) -> bytes:
        data = PassThrough.feed(self, data)  # `super()` would cost a third of this function
        if b"usage" not in data or USAGE.search(data) is None:  # as in `without_usage`, but without a call
            return data
        return without_usage(data)


def without_usage(events: bytes) -> bytes:
    """Return complete events without those that contain only usage."""
    if USAGE.search(events) is None:
        return events
    return b"".join(block for block in _blocks(events) if not _is_usage_only(block))


class _Chunk(msgspec.Struct):
    choices: list[dict[str, Any]] | None = None
    usage: Any = None
    error: Any = None


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: Any = None


class _Choices(msgspec.Struct):
    choices: list[_Choice] | None = None


class _Error(msgspec.Struct):
    error: Any = None
    object: Any = None


def _empty_line(block: bytes) -> bytes:
    """Return the two line ends that end an event, of the same kind as the event has."""
    if b"\r" not in block:
        return b"\n\n"
    return b"\r\n\r\n" if b"\r\n" in block else b"\r\r"


def _is_ordinary(block: bytes) -> bool:
    """Return whether a block is an ordinary event, with LF or CRLF as line ends."""
    size = len(block)
    if block[-1:] != b"\n" or not block.startswith(_BEGINS):
        return False
    one_line = block.find(_LF) == size - 2
    if _CR in block:
        one_line = block.find(_CR) == size - 4 and block[-4:] == b"\r\n\r\n"
    return one_line and _ERROR not in block and not _escapes_a_letter(block)


def _are_ordinary(data: bytes) -> bool:
    """Return whether a read consists of ordinary events only."""
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
    """Return whether an event over MAX_PENDING_BYTES begins in a way that rules out that it is an error or an end."""
    beginning = block[:MAX_PENDING_BYTES]
    return _PLAIN_BEGINNING(beginning) is not None and _ERROR not in beginning


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except NOT_JSON:
        return False
    return True


def _add_choices(ended: dict[int, bool], data: bytes) -> None:
    """Add the choices of a chunk, with whether they have ended."""
    try:
        choices = msgspec.json.decode(data, type=_Choices).choices or []
    except NOT_JSON:
        return
    for choice in choices:
        ended[choice.index] = bool(choice.finish_reason) or ended.get(choice.index, False)


def _blocks(data: bytes) -> list[bytes]:
    splitter = sse.SseSplitter()
    return [*splitter.feed(data), splitter.rest()]


def _is_usage_only(block: bytes) -> bool:
    return USAGE.search(block) is not None and is_usage_only(sse.parse(block).data)


def is_usage_only(data: bytes) -> bool:
    """Return whether a chunk has usage, and no choice or only choices in which nothing stands."""
    try:
        chunk = msgspec.json.decode(data, type=_Chunk)
    except NOT_JSON:
        return False
    return chunk.usage is not None and chunk.error is None and not any(map(_shows_anything, chunk.choices or ()))


def _shows_anything(choice: dict[str, Any]) -> bool:
    """Return whether a choice of a chunk has an end, a text, or anything in its delta."""
    delta = choice.get("delta")
    members = delta.values() if isinstance(delta, dict) else (delta,)
    return bool(choice.get("finish_reason") or choice.get("text") or choice.get("message") or any(members))
