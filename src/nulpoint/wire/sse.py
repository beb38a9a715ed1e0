"""Server-sent events, incrementally: any split of the bytes gives the same events.

The rules are those of the WHATWG HTML standard, 9.2.6, with the traps of real providers: lines end in LF, CR or CRLF
and in nothing else (U+2028 is legal inside JSON), the space after the colon is optional, comments and unknown fields
are skipped, and what is left at the end of the stream counts as an event (Gemini).
"""

import re

import msgspec

from nulpoint.errors import Failure, Kind

# The end of an event: the end of a line and an empty line. If the last CR of the input is half of a CRLF, the LF that
# follows is one more empty line, which holds nothing.
EVENT_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
BOM = b"\xef\xbb\xbf"
MAX_EVENT_BYTES = 4 * 1024 * 1024


class Event(msgspec.Struct, frozen=True):
    """One event. `name` is empty for the default type; `data` lines are joined by LF."""

    data: bytes
    name: bytes = b""

    @property
    def is_empty(self) -> bool:
        """It is no error, and holds no data, or a comment that some proxy took for data."""
        data = self.data
        return self.name != b"error" and (not data or data[:1] == b":" or data.isspace())


class TooLarge(Failure):
    """An event is over MAX_EVENT_BYTES."""

    def __init__(self) -> None:
        text = f"the provider sent an event of over {MAX_EVENT_BYTES} bytes"
        super().__init__(Kind.UPSTREAM, 502, text, code="provider_malformed")


def parse(block: bytes) -> Event:
    """The event in the lines of one block, whether its empty line has come or not."""
    data, name = [], b""
    for line in block.removeprefix(BOM).splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return Event(b"\n".join(data), name)


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
        for end in EVENT_END.finditer(rest, max(0, len(self._rest) - 3)):
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
    """Bytes to events, line by line: `splitlines` of bytes knows just the three line ends, and costs an event of 120
    bytes 1 us in place of the 4 us of regular expressions."""

    def __init__(self) -> None:
        self._line = b""  # what has come of an unfinished line
        self._after_cr = False  # the last byte was a CR: a LF that comes next belongs to it
        self._at_start = True
        self._data: list[bytes] = []  # of an unfinished event
        self._name = b""

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now. Raises TooLarge."""
        if not data:
            return []
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        lines = (self._line + data).splitlines()
        self._line = b"" if data.endswith((b"\n", b"\r")) or not lines else lines.pop()
        if self._at_start and lines:
            lines[0] = lines[0].removeprefix(BOM)
            self._at_start = False
        events = []
        for line in lines:
            if not line:
                event = Event(b"\n".join(self._data), self._name)
                if not event.is_empty:
                    events.append(event)
                self._data = []
                self._name = b""
                continue
            field, _, value = line.partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" "))
            elif field == b"event":
                self._name = value.removeprefix(b" ")
        if (self._line or self._data) and len(self._line) + sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise TooLarge
        return events

    def close(self) -> list[Event]:
        """The last event of a stream that ended without its empty line, if there is one."""
        return self.feed(b"\n\n")


def encode(data: bytes) -> bytes:
    """One event on the wire. `data` is JSON text without line ends."""
    return b"data: " + data + b"\n\n"
