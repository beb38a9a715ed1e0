"""The gateway's HTTP server and client without sockets: bytes go in, and what was parsed comes out."""

import asyncio
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple

from nulpoint.errors import Failure
from nulpoint.http.client.connection import UpstreamConnection
from nulpoint.http.limits import ClientLimits, ServerLimits
from nulpoint.http.message import HttpRequest
from nulpoint.http.server.connection import ServerConnection
from nulpoint.http.server.response import ResponseWriter


class StillLoop:
    """An event loop whose time stands still. `turn` runs the callbacks that were scheduled."""

    def __init__(self) -> None:
        self._soon: list[Callable[[], object]] = []

    def time(self) -> float:
        return 1000.0

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        self._soon.append(lambda: callback(*arguments))

    def turn(self) -> None:
        while self._soon:
            soon, self._soon = self._soon, []
            for callback in soon:
                callback()


class Transport(asyncio.Transport):
    """A transport that records what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


# -- the client's side -------------------------------------------------------------------------------------------------


class ParsedRequest(NamedTuple):
    """One request as the handler gets it."""

    method: str
    path: str
    query: str
    version: str
    headers: dict[bytes, bytes]
    body: bytes


class ParsedConnection(NamedTuple):
    """The requests that a connection parsed. `refused` is the status and code of the error that ended it, if any."""

    requests: list[ParsedRequest]
    refused: tuple[int, str | None] | None
    closed: bool


class _Service:
    """A handler that records every request and responds at once."""

    def __init__(self) -> None:
        self.requests: list[ParsedRequest] = []
        self.refusal: tuple[int, str | None] | None = None

    def precheck(self, request: HttpRequest) -> None:
        pass

    def handle(self, request: HttpRequest, reply: ResponseWriter) -> None:
        parsed = ParsedRequest(
            request.method, request.path, request.query, request.version, dict(request.headers), request.body
        )
        self.requests.append(parsed)
        reply.send(200, b"", b"ok")

    def request_rejected(self, failure: Failure, request: HttpRequest) -> tuple[bytes, bytes]:
        assert self.refusal is None, "a connection was refused twice"
        self.refusal = (failure.status, failure.code)
        return b"", b""

    def handler_crashed(self, reply: ResponseWriter, crash: Exception) -> None:
        raise crash


def read_requests(pieces: Iterable[bytes], limits: ServerLimits | None = None) -> ParsedConnection:
    """Return what the gateway parses from a client's bytes that arrive in these pieces."""
    loop, service = StillLoop(), _Service()
    deadlines = SimpleNamespace(date=b"", watch=lambda timed: None, forget=lambda timed: None)
    server = SimpleNamespace(
        handler=service,
        limits=limits or ServerLimits(),
        deadlines=deadlines,
        connections=set(),
        connection_closed=lambda connection: None,
        draining=False,
    )
    connection = ServerConnection(server, loop)  # type: ignore[arg-type]
    transport = Transport()
    connection.connection_made(transport)
    for piece in pieces:
        if transport.closed:
            break
        connection.data_received(piece)
        loop.turn()
    return ParsedConnection(service.requests, service.refusal, transport.closed or service.refusal is not None)


# -- the provider's side -----------------------------------------------------------------------------------------------


class ParsedResponse(NamedTuple):
    """One response as the gateway parsed it. `reusable` says whether the connection may be used again."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    failure: Failure | None
    ended: bool
    reusable: bool


def read_response(pieces: Iterable[bytes], limits: ClientLimits | None = None, close: bool = True) -> ParsedResponse:
    """Return what the gateway parses from a provider's bytes. If `close`, the connection closes after them."""
    freed: list[UpstreamConnection] = []
    upstream = UpstreamConnection(limits or ClientLimits(), StillLoop(), lambda lost: None, freed.append)  # type: ignore[arg-type]
    transport = Transport()
    upstream.connection_made(transport)
    upstream.send(b"GET / HTTP/1.1\r\n\r\n", b"", 1e9, 1.0)
    body = bytearray()
    failure: Failure | None = None

    def take() -> None:
        nonlocal failure
        try:
            if upstream.head_received():
                while data := upstream.take():
                    body.extend(data)
        except Failure as error:
            failure = error

    for piece in pieces:
        for at in range(0, len(piece), len(upstream.get_buffer(-1))):
            part = piece[at : at + len(upstream.get_buffer(-1))]
            if transport.closed:
                break
            upstream.get_buffer(-1)[: len(part)] = part
            upstream.buffer_updated(len(part))
            take()
    if (close and not upstream.ended) or transport.closed:
        upstream.connection_lost(None)
    take()
    ended = upstream.ended
    upstream.release()
    return ParsedResponse(upstream.status, upstream.headers, bytes(body), failure, ended, bool(freed))
