"""Writes the response to one request: complete, as a stream of pieces, or cut off."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from nulpoint.http.coroutine_runner import WakeEvent
from nulpoint.http.message import STATUS_LINES, HttpRequest


class ClientConnection(Protocol):
    """The connection that a response is sent on."""

    paused: bool
    closing: bool
    writable: WakeEvent

    @property
    def draining(self) -> bool: ...

    @property
    def peer(self) -> str: ...

    @property
    def date(self) -> bytes: ...


def _nothing() -> None: ...


class BodyTap(Protocol):
    """Receives a copy of every piece of a response body."""

    def add(self, data: bytes) -> None: ...


class SharedAudience(Protocol):
    """The clients that share one response."""

    def has_followers(self) -> bool:
        """Return whether other clients still wait for the response, now that its own client has disconnected."""


class _DisconnectedClient:
    """Stands in for the connection of a client that has disconnected, while others still wait for the response."""

    paused = False
    closing = True
    draining = False
    peer = ""
    date = b""
    writable = WakeEvent()


class _NullTransport(asyncio.Transport):
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Discard the data, because nobody reads it."""


class ResponseWriter:
    """Writes one response. Nothing is sent before the first `send` or `write`; after it `committed` is true.

    `audience` is set while several clients share the response. `cancel` stops the work for it. `body_tap`, if it is
    set, gets a copy of the body.
    """

    __slots__ = (
        "_chunked",
        "_head",
        "_transport",
        "audience",
        "body_bytes",
        "body_tap",
        "cancel",
        "client",
        "client_has_left",
        "committed",
        "complete",
        "keep_alive",
        "request",
        "status",
    )

    def __init__(self, client: ClientConnection, transport: asyncio.Transport, request: HttpRequest) -> None:
        self.client = client
        self._transport = transport
        self._head = b""
        self._chunked = False
        self.request = request
        self.keep_alive = request.keep_alive
        self.committed = False
        self.complete = False
        self.status = 0
        self.body_bytes = 0
        self.audience: SharedAudience | None = None
        self.client_has_left = False  # the client has disconnected, and others still wait for the response
        self.body_tap: BodyTap | None = None
        self.cancel: Callable[[], None] = _nothing

    def send(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a complete response in one write. `headers` is a header block without framing headers."""
        self.committed = self.complete = True
        self.status = status
        self.body_bytes = len(body)
        if self.body_tap is not None:
            self.body_tap.add(body)
        # RFC 9110, 8.6: a 204 response must not have a Content-Length
        framing = b"\r\n" if status == 204 else b"content-length: %d\r\n\r\n" % len(body)
        sent_body = b"" if self.request.method == "HEAD" else body
        self._transport.write(b"".join((self._head_for(status, headers), framing, sent_body)))

    def start(self, status: int, headers: bytes) -> None:
        """Begin a stream. The head is kept and sent together with the first piece, in one write."""
        self.status = status
        self._chunked = self.request.version == "1.1"
        if not self._chunked:  # HTTP/1.0 has no chunks: the end of the connection ends the response
            self.keep_alive = False
        framing = b"transfer-encoding: chunked\r\n\r\n" if self._chunked else b"\r\n"
        self._head = self._head_for(status, headers) + framing

    def write(self, data: bytes) -> None:
        """Send one piece of a stream in one write. Empty data only sends the head, if that has not been sent."""
        head, self._head = self._head, b""
        if not data and not head:
            return
        self.committed = True
        self.body_bytes += len(data)
        if self.body_tap is not None:
            self.body_tap.add(data)
        if self._chunked and data:
            self._transport.write(b"%b%x\r\n%b\r\n" % (head, len(data), data))
        else:
            self._transport.write(head + data)

    def end(self, data: bytes = b"") -> None:
        """Send the last piece and the end of a stream, which says that the response is complete."""
        head, self._head = self._head, b""
        self.committed = self.complete = True
        self.body_bytes += len(data)
        if self.body_tap is not None:
            self.body_tap.add(data)
        if not self._chunked:
            self._transport.write(head + data)
        elif data:
            self._transport.write(b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(data), data))
        else:
            self._transport.write(head + b"0\r\n\r\n")

    def client_disconnected(self) -> bool:
        """Handle the loss of the connection. Return whether the work goes on; further output is then discarded."""
        if self.audience is None or not self.audience.has_followers():
            return False
        self.client = _DisconnectedClient()
        self._transport = _NullTransport()
        self.client_has_left = True
        return True

    async def drain(self) -> None:
        """Wait until the client has read enough for more to be written."""
        while self.client.paused:
            await self.client.writable

    def _head_for(self, status: int, headers: bytes) -> bytes:
        client = self.client
        if client.draining:
            self.keep_alive = False
        if not self.keep_alive:
            connection = b"connection: close\r\n"
        else:
            connection = b"" if self.request.version == "1.1" else b"connection: keep-alive\r\n"
        return b"%b%bdate: %b\r\n%b" % (STATUS_LINES[status], headers, client.date, connection)
