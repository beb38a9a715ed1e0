"""Serves one client's connection, on uvloop and httptools.

It reads one request at a time under limits and deadlines, runs the handler's coroutine for it in a `CoroutineRunner`,
and responds in order. It promises this to the handler:

- The handler only sees complete, well-framed requests. Everything else is rejected here, and the connection is closed.
- When the client disconnects, the coroutine is cancelled at once. An end of file counts as a disconnection, as with
  HAProxy's `abortonclose`.
- One `ResponseWriter.write` is one write to the socket, and `ResponseWriter.drain` waits while the client reads too
  slowly.
"""

import asyncio
from collections.abc import Coroutine
from time import perf_counter
from typing import Any, Protocol

from nulpoint.errors import Failure, Kind
from nulpoint.http.coroutine_runner import CoroutineRunner, WakeEvent
from nulpoint.http.deadlines import NEVER, DeadlineSweeper
from nulpoint.http.limits import ServerLimits
from nulpoint.http.message import HttpRequest
from nulpoint.http.server.head_cache import ParsedHeadCache
from nulpoint.http.server.request_parser import RequestParser
from nulpoint.http.server.response import ResponseWriter

MAX_BACKLOG_BYTES = 65_536  # pipelined bytes that are kept while a request is in progress
MAX_REJECTED_CONNECTIONS = 32  # connections over the limit that get a response at one time; others are just closed
LINGER_SECONDS = 2.0  # how long a rejected client may go on sending before the connection is closed


class RequestHandler(Protocol):
    """Handles the requests of a server."""

    def precheck(self, request: HttpRequest) -> None:
        """Raise `Failure` if the body of this request need not be read (`Expect: 100-continue`)."""

    def handle(self, request: HttpRequest, response: ResponseWriter) -> Coroutine[Any, Any, None] | None:
        """Respond at once and return None, or return a coroutine that responds."""

    def request_rejected(self, failure: Failure, request: HttpRequest) -> tuple[bytes, bytes]:
        """Record that a request was rejected before `handle`, and return headers and body of the response.

        `request` has what had arrived of it.
        """

    def handler_crashed(self, response: ResponseWriter, crash: Exception) -> None:
        """Record that `handle` or its coroutine raised an exception, and respond if that is still possible."""


class Listener(Protocol):
    """The server that a connection belongs to."""

    handler: RequestHandler
    limits: ServerLimits
    deadlines: DeadlineSweeper
    connections: "set[ServerConnection]"
    draining: bool

    def connection_closed(self, connection: "ServerConnection") -> None:
        """Remove a connection from `connections`."""


class ServerConnection(asyncio.Protocol):
    """Serves one client's connection: reads its requests, responds to them, and keeps the deadlines."""

    __slots__ = (
        "_backlog",
        "_body_started",
        "_head_cache",
        "_limits",
        "_lingering",
        "_loop",
        "_parser",
        "_rejection",
        "_response",
        "_runner",
        "_server",
        "_transport",
        "_unsent",
        "_waiting",
        "closing",
        "deadline",
        "paused",
        "writable",
    )

    def __init__(self, server: Listener, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._limits = server.limits
        self._loop = loop
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        # reading
        self._parser = RequestParser(self, server.limits)
        self._head_cache = ParsedHeadCache(server.limits)
        self._body_started = 0.0
        self._backlog = b""  # bytes that arrived while a request was in progress
        # requests that have been read and have no response yet
        self._waiting: list[HttpRequest] = []
        self._runner: CoroutineRunner | None = None  # runs the coroutine of the request in progress
        self._response: ResponseWriter | None = None
        self._rejection: Failure | None = None  # to be sent after the responses to the requests before
        # writing
        self.paused = False
        self.writable = WakeEvent()
        self._unsent = 0  # bytes in the write buffer when progress was last checked
        # the connection
        self._lingering = False  # nothing more is read from it
        self.closing = False  # nothing more is written to it
        self.deadline = NEVER

    def update_settings(self) -> None:
        """Apply the server's present limits, and forget the cached head, which was checked under the old ones."""
        self._limits = self._server.limits
        self._parser.set_limits(self._limits)
        self._head_cache = ParsedHeadCache(self._limits)

    @property
    def draining(self) -> bool:
        return self._server.draining

    @property
    def peer(self) -> str:
        """The client's address, or an empty string if there is none."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else ""

    @property
    def date(self) -> bytes:
        """The value of the Date header."""
        return self._server.deadlines.date

    # -- callbacks of the transport ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclass
        self._transport.set_write_buffer_limits(high=self._limits.stream_buffer_bytes // 4)
        self._server.connections.add(self)
        self._server.deadlines.watch(self)
        self.deadline = self._loop.time() + self._limits.head_timeout
        excess = len(self._server.connections) - self._limits.max_connections
        if excess > 0:
            self._reject_connection(excess)

    def _reject_connection(self, excess: int) -> None:
        """Reject a connection over the limit.

        The process has a limited number of files. The event loop must always be able to accept a connection, and
        requests in flight must be able to open one to a provider.
        """
        if excess > MAX_REJECTED_CONNECTIONS:
            self.abort()
            return
        text = "the gateway has reached its limit of connections; try again in a second"
        self._reject(Failure(Kind.OVERLOADED, 503, text, code="too_many_connections", retry_after=1.0))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.connection_closed(self)
        self._server.deadlines.forget(self)
        self._client_disconnected()

    def eof_received(self) -> None:
        self._client_disconnected()

    def _client_disconnected(self) -> None:
        self._stop()
        self.paused = False  # nobody reads here any more, so nobody need wait for that
        if self._runner is None or self._response is None:
            return
        if self._response.client_disconnected():
            self.writable.wake()  # the work goes on for other clients, which need not wait for this one
        else:
            self._runner.cancel()

    def pause_writing(self) -> None:
        self.paused = True
        self._unsent = self._transport.get_write_buffer_size()
        self.deadline = self._loop.time() + self._limits.write_timeout

    def resume_writing(self) -> None:
        self.paused = False
        if not self.closing and not self._lingering:
            self._start_read_deadline()
        self.writable.wake()

    def data_received(self, data: bytes) -> None:
        if self.closing or self._lingering:
            return
        if self._runner is None and not self._waiting and not self._backlog:
            self._read(data)
            return
        self._backlog += data
        if len(self._backlog) > MAX_BACKLOG_BYTES:
            self._transport.pause_reading()

    # -- reading requests ----------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Take a request from the head cache if it is there, or parse it."""
        parser = self._parser
        if not (parser.in_head or parser.in_body or parser.after_blank_line):
            request = self._head_cache.find(data, perf_counter())
            if request is not None:
                self.deadline = NEVER
                self._start(request)
                return
        try:
            request = parser.feed(data)
        except Failure as failure:
            self._reject(failure)
            return
        if request is not None:
            self._head_cache.learn(data, request)

    def head_started(self) -> None:
        self.deadline = self._loop.time() + self._limits.head_timeout

    def body_started(self) -> None:
        self._body_started = self._loop.time()
        self.deadline = self._body_started + self._limits.body_timeout

    def continue_expected(self, request: HttpRequest) -> None:
        """Ask for the body of a request (RFC 9110, 10.1.1) if the handler wants it. Raise Failure if it does not.

        An HTTP/1.0 client does not understand the interim response and gets none.
        """
        self._server.handler.precheck(request)
        if request.version == "1.1" and self._runner is None and not self._waiting:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def request_received(self, request: HttpRequest) -> None:
        self.deadline = NEVER
        if self._runner is None and not self._waiting:
            self._start(request)
        else:
            self._waiting.append(request)

    # -- responding ----------------------------------------------------------------------------------------------------

    def _start(self, request: HttpRequest) -> None:
        self._response = response = ResponseWriter(self, self._transport, request)
        try:
            coroutine = self._server.handler.handle(request, response)
        except Exception as crash:  # noqa: BLE001 - it is passed to the handler, like exceptions in its coroutine
            self._finished(crash)
            return
        if coroutine is None:
            self._finished(None)
            return
        self._runner = CoroutineRunner(coroutine, self._finished)
        response.cancel = self._runner.cancel
        self._runner.resume()

    def _finished(self, crash: Exception | None) -> None:
        """Continue after a request whose response is complete, or was cut off, or whose coroutine was cancelled."""
        response = self._response
        assert response is not None
        self._runner = self._response = None
        if crash is not None:
            self._server.handler.handler_crashed(response, crash)
        if self.closing:
            return
        if not response.complete or not response.keep_alive or self._server.draining:
            self._close()
        elif self._waiting or self._backlog or self._rejection:
            self._loop.call_soon(self._next)  # called at once, a thousand pipelined requests would recurse
        elif not self.paused:
            self._start_read_deadline()

    def _start_read_deadline(self) -> None:
        """Set the deadline for the rest of a request, or for the next one. There is none while a request runs."""
        now, limits = self._loop.time(), self._limits
        if self._runner is not None:
            self.deadline = NEVER
        elif self._parser.in_body:
            self._body_started = now
            self.deadline = now + limits.body_timeout
        else:
            self.deadline = now + (limits.head_timeout if self._parser.in_head else limits.keepalive_timeout)

    def _next(self) -> None:
        """Go on with whatever has arrived in the meantime."""
        if self.closing or self._runner is not None:
            return
        if self._waiting:
            self._start(self._waiting.pop(0))
        elif self._rejection is not None:
            self._send_rejection(self._rejection)
        elif self._backlog:
            data, self._backlog = self._backlog, b""
            self._transport.resume_reading()
            self._start_read_deadline()
            self._read(data)

    def _reject(self, failure: Failure) -> None:
        """Read nothing more from this client, and send the failure after the responses that come before it."""
        if self.closing or self._lingering:
            return
        self._lingering = True
        self._parser.stop()
        if self._runner is None and not self._waiting:
            self._send_rejection(failure)
        else:
            self._rejection = failure

    def _send_rejection(self, failure: Failure) -> None:
        """Send a failure, and keep the connection open for a while.

        Closing a connection with unread bytes would reset it, and the client might lose the response.
        """
        request = self._parser.rejected_request()
        headers, body = self._server.handler.request_rejected(failure, request)
        ResponseWriter(self, self._transport, request).send(failure.status, headers, body)
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self.deadline = self._loop.time() + LINGER_SECONDS
        else:  # closing a TLS connection announces the end to the client by itself
            self._close()

    # -- closing -------------------------------------------------------------------------------------------------------

    def close_if_idle(self) -> None:
        """Close the connection unless a request runs or is being read."""
        parser = self._parser
        if not (self.closing or self._runner is not None or self._waiting or parser.in_head or parser.in_body):
            self._close()

    def fail_requests(self, failure: Failure) -> None:
        """Report a failure to a client that waits for a response, or is still sending a request."""
        self._waiting.clear()
        self._backlog = b""
        if self._runner is not None:
            self._runner.cancel(failure)
        elif self._parser.in_head or self._parser.in_body:
            self._reject(failure)

    def _stop(self) -> None:
        self.closing = True
        self._parser.stop()
        self._waiting.clear()
        self._backlog = b""

    def _close(self) -> None:
        """Close the connection once the client has read everything that was written, within the write timeout."""
        self._stop()
        self.deadline = self._loop.time() + self._limits.write_timeout
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def on_deadline(self, now: float) -> None:
        """Handle that the deadline of the present phase has passed."""
        if self.paused or self.closing:
            self._check_write_progress(now)
        elif self._lingering:
            self._close()
        elif self._runner is not None or self._waiting:  # nothing is read in the meantime
            self.deadline = NEVER
        elif self._parser.in_body:
            self._check_body_rate(now)
        elif self._parser.in_head:
            self._reject(_too_slow("the request head did not arrive in time"))
        else:
            self._close()

    def _check_write_progress(self, now: float) -> None:
        """Abort the connection if the client has read nothing. A client that reads at all may be slow."""
        unsent = self._transport.get_write_buffer_size()
        if self.paused and unsent < self._unsent:
            self._unsent = unsent
            self.deadline = now + self._limits.write_timeout
        else:
            self._transport.abort()

    def _check_body_rate(self, now: float) -> None:
        """Extend the deadline of a body in proportion to what has arrived, or reject the request."""
        allowed = self._limits.body_timeout + self._parser.body_bytes / self._limits.body_min_rate
        self.deadline = self._body_started + allowed
        if self.deadline <= now:
            self._reject(_too_slow("the request body arrived too slowly"))


def _too_slow(message: str) -> Failure:
    return Failure(Kind.TIMEOUT, 408, message, code="request_timeout")
