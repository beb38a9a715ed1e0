"""Server-sent events, incrementally: any split of the bytes gives the same events.

The rules are those of the WHATWG HTML standard, 9.2.6, with the traps of real providers: lines end in LF, CR or CRLF
and in nothing else (U+2028 is legal inside JSON), the space after the colon is optional, comments and unknown fields
are skipped, and what is left at the end of the stream counts as an event (Gemini).
"""

import re

import msgspec

_LINE_END = re.compile(rb"\r\n|\n|\r")
# The end of an event: the end of a line and an empty line. If the last CR of the input is half of a CRLF, the LF that
# follows is one more empty line, which holds nothing.
_EVENT_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
BOM = b"\xef\xbb\xbf"
MAX_EVENT_BYTES = 4 * 1024 * 1024


class Event(msgspec.Struct, frozen=True):
    """One event. `name` is empty for the default type; `data` lines are joined by LF."""

    data: bytes
    name: bytes = b""


class TooLarge(Exception):
    """An event is over MAX_EVENT_BYTES."""


def parse(block: bytes) -> Event | None:
    """The event in one block of lines; None when it holds no data."""
    data: list[bytes] = []
    name = b""
    for line in _LINE_END.split(block.removeprefix(BOM)):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    joined = b"\n".join(data)
    return Event(joined, name) if joined else None


class Splitter:
    """Cuts a stream into the blocks that each hold one event, their empty line included."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The blocks that are complete now. Raises TooLarge."""
        rest = self._rest + data if self._rest else data
        blocks = []
        start = 0
        # What is left of earlier reads holds no end of an event: one that is found now ends in `data`.
        for end in _EVENT_END.finditer(rest, max(0, len(self._rest) - 3)):
            blocks.append(rest[start : end.end()])
            start = end.end()
        self._rest = rest[start:]
        if len(self._rest) > MAX_EVENT_BYTES:
            raise TooLarge
        return blocks

    def rest(self) -> bytes:
        """What has come since the last complete block."""
        return self._rest


class Decoder:
    """Bytes to events."""

    def __init__(self) -> None:
        self._splitter = Splitter()

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now. Raises TooLarge."""
        return [event for block in self._splitter.feed(data) if (event := parse(block))]

    def close(self) -> list[Event]:
        """The last event of a stream that ended without its empty line, if there is one."""
        event = parse(self._splitter.rest())
        return [event] if event else []


def encode(data: bytes) -> bytes:
    """One event on the wire. `data` is JSON text without line ends."""
    return b"data: " + data + b"\n\n"
