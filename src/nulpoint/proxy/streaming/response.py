"""The client's side of a streamed response, with its two commit points.

*Head*: the status and the headers are sent with the first event that is not an error, or when the client has waited so
long that a proxy in between could give up; from then on, comments keep the connection alive. *Content*: from the first
content on, the response is from one provider, and no other provider can take over.
"""

from collections.abc import Awaitable, Callable

from nulpoint.errors import Failure
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.message import STREAM_HEADERS
from nulpoint.http.server.response import ClientConnection, ResponseWriter
from nulpoint.proxy.shared_call import SharedCall
from nulpoint.request.context import RequestContext

WAITING = b": waiting\n\n"


class StreamResponse:
    """The streamed response to one request, whichever attempt it comes from.

    The deadline sweeper calls `on_deadline` when the client has waited too long.
    """

    __slots__ = (
        "_context",
        "_deadlines",
        "_headers",
        "_keepalive",
        "_named_provider",
        "_provider",
        "_response",
        "_shared_call",
        "_shared_headers",
        "client_headers",
        "deadline",
    )

    def __init__(
        self,
        response: ResponseWriter,
        context: RequestContext,
        client_headers: bytes,
        deadlines: DeadlineSweeper,
        keepalive: float,
        now: float,
    ) -> None:
        """`client_headers` are for this client alone. `keepalive` is in seconds, and `now` the time of the loop."""
        self._response = response
        self._context = context
        self._shared_call: SharedCall | None = None
        self.client_headers = self._headers = client_headers
        self._shared_headers = b""
        self._provider = self._named_provider = b""  # who responds, and whom the head names
        self._deadlines = deadlines
        self._keepalive = keepalive
        self.deadline = now + keepalive
        deadlines.watch(self)

    def share(self, shared_call: SharedCall) -> None:
        """Send the stream to the followers of a shared call too."""
        self._shared_call = shared_call

    @property
    def client(self) -> ClientConnection:
        return self._response.client

    def writer(self) -> Callable[[bytes], None]:
        """Return the function that sends a piece of the stream to everyone who gets it."""
        return self._response.write if self._shared_call is None else self._shared_call.write

    def write(self, data: bytes) -> None:
        """Send a piece of the stream to everyone who gets it."""
        self.writer()(data)

    def drain(self) -> Awaitable[None]:
        """Wait until the client has read enough for more to be sent."""
        return self._response.drain()

    def set_headers(self, shared_headers: bytes, client_headers: bytes, provider: bytes) -> None:
        """Set the headers of the response, from the attempt that has got one from its provider."""
        self._shared_headers = shared_headers
        self._headers = shared_headers + client_headers
        self._provider = provider

    def send_head(self) -> None:
        """Pass the first commit point, if that has not happened yet."""
        if not self._response.committed:
            self._start()
            self._response.write(b"")

    def commit(self, error_event: Callable[[Failure], bytes] | None) -> None:
        """Pass the second commit point: content follows. A failure in it is reported by `error_event`."""
        self._context.content_began(error_event)
        self.close()
        if self._shared_call is not None:
            self._shared_call.error_event = error_event
            self._shared_call.start(200, self._shared_headers)
        if not self._response.committed:
            self._start()
        elif self._named_provider != self._provider:
            # The head named another provider, or none. This comment names the right one before any content.
            self._response.write(b": answered by %b\n\n" % self._provider)

    def end(self, data: bytes) -> None:
        """Send the last piece and end the response properly."""
        if self._shared_call is not None:
            self._shared_call.add(data)
        self._response.end(data)

    def close(self) -> None:
        """Stop keeping the connection alive with comments."""
        self._deadlines.forget(self)

    def on_deadline(self, now: float) -> None:
        self.deadline = now + self._keepalive
        if not self._response.committed:
            self._start()
        self._response.write(WAITING)

    def _start(self) -> None:
        self._named_provider = self._provider
        self._context.response_began()
        self._response.start(200, STREAM_HEADERS + self._headers)
