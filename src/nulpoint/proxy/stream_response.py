"""The caller's side of a streamed answer, through its two commit points.

*Head*: the status and the header fields go out with the first event that is no error, or when the caller has waited
long enough that something between could give up; then comments keep the connection alive. *Content*: from the first
content on the answer is one provider's, and no other can take over any more.
"""

from collections.abc import Callable
from time import perf_counter

from nulpoint.proxy.shared_call import Flight
from nulpoint.request.recorder import Entry
from nulpoint.http.server.response import Caller, Reply
from nulpoint.http.deadlines import Ticker

FIELDS = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
WAITING = b": waiting\n\n"


class StreamAnswer:
    """One, over all the attempts of its request. The ticker calls `expire` when the caller has waited too long."""

    __slots__ = ("_by", "_entry", "_fields", "_flight", "_keepalive", "_reply", "_shared_fields", "_shown_by",
                 "_ticker", "deadline", "own_fields", "write")  # fmt: skip

    def __init__(
        self, reply: Reply, entry: Entry, own_fields: bytes, ticker: Ticker, keepalive: float, now: float
    ) -> None:
        self._reply = reply
        self._entry = entry
        self._flight: Flight | None = None
        self.own_fields = self._fields = own_fields  # of this caller alone, before anybody has answered
        self._shared_fields = b""
        self._by = self._shown_by = b""
        self._ticker = ticker
        self._keepalive = keepalive
        self.deadline = now + keepalive
        self.write: Callable[[bytes], None] = reply.write
        ticker.watch(self)

    def share(self, flight: Flight) -> None:
        """What is written goes to others too."""
        self._flight = flight
        self.write = flight.write

    @property
    def caller(self) -> Caller:
        return self._reply.caller

    async def drain(self) -> None:
        await self._reply.drain()

    def offer(self, shared_fields: bytes, own_fields: bytes, by: bytes) -> None:
        """An attempt has an answer: the header fields it would go out with, and the provider's name."""
        self._shared_fields = shared_fields
        self._fields = shared_fields + own_fields
        self._by = by

    def show_head(self) -> None:
        """The first commit point, if it is not passed yet."""
        if not self._reply.committed:
            self._start()
            self._reply.write(b"")

    def commit(self) -> None:
        """The second commit point: content follows."""
        self._entry.first_token = perf_counter()
        self.close()
        if self._flight is not None:
            self._flight.start(200, self._shared_fields)
        if not self._reply.committed:
            self._start()
        elif self._shown_by != self._by:
            # The head named another provider, or none: the truth follows before any content.
            self._reply.write(b": answered by %b\n\n" % self._by)

    def end(self, data: bytes) -> None:
        """The last piece: the answer is whole."""
        if self._flight is not None:
            self._flight.add(data)
        self._reply.end(data)

    def close(self) -> None:
        """Nobody needs to be kept waiting any more."""
        self._ticker.forget(self)

    def expire(self, now: float) -> None:
        self.deadline = now + self._keepalive
        if not self._reply.committed:
            self._start()
        self._reply.write(WAITING)

    def _start(self) -> None:
        self._shown_by = self._by
        self._entry.began = self._entry.began or perf_counter()
        self._reply.start(200, FIELDS + self._fields)
