"""The caller's side of a streamed answer, through its two commit points.

*Head*: the status and the header fields go out with the first event that is no error, or when the caller has waited
long enough that something between could give up; then comments keep the connection alive. *Content*: from the first
content on the answer is one provider's, and no other can take over any more.
"""

from collections.abc import Callable
from time import perf_counter

from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.message import STREAM_HEADERS
from nulpoint.http.server.response import ClientConnection, ResponseWriter
from nulpoint.proxy.shared_call import SharedCall
from nulpoint.request.recorder import RequestContext

WAITING = b": waiting\n\n"


class StreamResponse:
    """One, over all the attempts of its request. The ticker calls `expire` when the caller has waited too long."""

    __slots__ = (
        "_by",
        "_context",
        "_deadlines",
        "_fields",
        "_keepalive",
        "_response",
        "_shared_call",
        "_shared_fields",
        "_shown_by",
        "client_headers",
        "deadline",
        "write",
    )  # fmt: skip

    def __init__(
        self,
        response: ResponseWriter,
        context: RequestContext,
        client_headers: bytes,
        deadlines: DeadlineSweeper,
        keepalive: float,
        now: float,
    ) -> None:
        self._response = response
        self._context = context
        self._shared_call: SharedCall | None = None
        self.client_headers = self._fields = client_headers  # of this caller alone, before anybody has answered
        self._shared_fields = b""
        self._by = self._shown_by = b""
        self._deadlines = deadlines
        self._keepalive = keepalive
        self.deadline = now + keepalive
        self.write: Callable[[bytes], None] = response.write
        deadlines.watch(self)

    def share(self, shared_call: SharedCall) -> None:
        """What is written goes to others too."""
        self._shared_call = shared_call
        self.write = shared_call.write

    @property
    def client(self) -> ClientConnection:
        return self._response.client

    async def drain(self) -> None:
        await self._response.drain()

    def set_headers(self, shared_fields: bytes, client_headers: bytes, by: bytes) -> None:
        """An attempt has an answer: the header fields it would go out with, and the provider's name."""
        self._shared_fields = shared_fields
        self._fields = shared_fields + client_headers
        self._by = by

    def send_head(self) -> None:
        """The first commit point, if it is not passed yet."""
        if not self._response.committed:
            self._start()
            self._response.write(b"")

    def commit(self) -> None:
        """The second commit point: content follows."""
        self._context.first_token = perf_counter()
        self.close()
        if self._shared_call is not None:
            self._shared_call.start(200, self._shared_fields)
        if not self._response.committed:
            self._start()
        elif self._shown_by != self._by:
            # The head named another provider, or none: the truth follows before any content.
            self._response.write(b": answered by %b\n\n" % self._by)

    def end(self, data: bytes) -> None:
        """The last piece: the answer is whole."""
        if self._shared_call is not None:
            self._shared_call.add(data)
        self._response.end(data)

    def close(self) -> None:
        """Nobody needs to be kept waiting any more."""
        self._deadlines.forget(self)

    def on_deadline(self, now: float) -> None:
        self.deadline = now + self._keepalive
        if not self._response.committed:
            self._start()
        self._response.write(WAITING)

    def _start(self) -> None:
        self._shown_by = self._by
        self._context.response_started = self._context.response_started or perf_counter()
        self._response.start(200, STREAM_HEADERS + self._fields)
