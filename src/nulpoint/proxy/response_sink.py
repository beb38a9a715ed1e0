"""Where the answer to a request goes."""

import msgspec

from nulpoint.proxy.shared_call import Flight
from nulpoint.request.recorder import Entry
from nulpoint.cache.writer import Keeper
from nulpoint.proxy.stream_response import StreamAnswer
from nulpoint.http.server.response import Reply


class Outlet(msgspec.Struct):
    """One request's.

    `stream` is there for those that asked for one, `flight` where the answer is shared with others, `keeper` where it
    may be kept. `own_fields` are the header fields that are this caller's alone, `shared_fields` are for all.
    """

    reply: Reply
    entry: Entry
    own_fields: bytes
    stream: StreamAnswer | None = None
    flight: Flight | None = None
    keeper: Keeper | None = None
    shared_fields: bytes = b""

    def share(self) -> Flight:
        """The flight that others can join, made when the first of them comes."""
        if self.flight is None:
            self.flight = Flight(self.reply, self.entry)
        return self.flight

    def close(self) -> None:
        """Nobody waits any more."""
        if self.stream is not None:
            self.stream.close()
