"""One answer to one request: whole, or as a stream of pieces, or cut."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from nulpoint.http.coroutine_runner import WakeEvent
from nulpoint.http.message import STATUS_LINES, HttpRequest


class ClientConnection(Protocol):
    """The connection an answer goes out on."""

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
    """Somebody who wants to see what goes out."""

    def add(self, data: bytes) -> None: ...


class SharedAudience(Protocol):
    """Those who share one answer."""

    def has_followers(self) -> bool:
        """The caller of this reply has left: whether the work goes on for others."""


class _DisconnectedClient:
    """The connection of a caller who has left, for an answer that others still wait for."""

    paused = False
    closing = True
    draining = False
    peer = ""
    date = b""
    writable = WakeEvent()


class _NullTransport(asyncio.Transport):
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """What nobody is there to read."""


class ResponseWriter:
    """How a service answers. Nothing leaves before the first `send` or `write`; after it `committed` is true.

    `audience` is set while the answer is shared, `cancel` stops the work for it. `body_tap` sees the
    body, if somebody wants to see it.
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
    )  # fmt: skip

    def __init__(self, caller: ClientConnection, transport: asyncio.Transport, request: HttpRequest) -> None:
        self.client = caller
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
        self.client_has_left = False  # and others are still to get the answer
        self.body_tap: BodyTap | None = None
        self.cancel: Callable[[], None] = _nothing

    def send(self, status: int, fields: bytes, body: bytes) -> None:
        """The whole answer in one write. `fields` is a header block without framing fields."""
        self.committed = self.complete = True
        self.status = status
        self.body_bytes = len(body)
        if self.body_tap is not None:
            self.body_tap.add(body)
        # RFC 9110, 8.6: a 204 must not have the field
        framing = b"\r\n" if status == 204 else b"content-length: %d\r\n\r\n" % len(body)
        shown = b"" if self.request.method == "HEAD" else body
        self._transport.write(b"".join((self._head_for(status, fields), framing, shown)))

    def start(self, status: int, fields: bytes) -> None:
        """Begin a stream. The head is held back and leaves together with the first piece, in one write."""
        self.status = status
        self._chunked = self.request.version == "1.1"
        if not self._chunked:  # HTTP/1.0 has no chunks: the end of the connection ends the answer
            self.keep_alive = False
        framing = b"transfer-encoding: chunked\r\n\r\n" if self._chunked else b"\r\n"
        self._head = self._head_for(status, fields) + framing

    def write(self, data: bytes) -> None:
        """One piece of a stream, as one write. Empty data only sends the head if that is still held."""
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
        """The last piece and the end of a stream: the caller may take the answer for whole."""
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
        """The connection is gone. Says whether the work for this answer goes on: then what is written goes nowhere."""
        if self.audience is None or not self.audience.has_followers():
            return False
        self.client = _DisconnectedClient()
        self._transport = _NullTransport()
        self.client_has_left = True
        return True

    async def drain(self) -> None:
        """Wait until the caller has read enough for more to be written."""
        while self.client.paused:
            await self.client.writable

    def _head_for(self, status: int, fields: bytes) -> bytes:
        caller = self.client
        if caller.draining:
            self.keep_alive = False
        if not self.keep_alive:
            connection = b"connection: close\r\n"
        else:
            connection = b"" if self.request.version == "1.1" else b"connection: keep-alive\r\n"
        return b"%b%bdate: %b\r\n%b" % (STATUS_LINES[status], fields, caller.date, connection)
