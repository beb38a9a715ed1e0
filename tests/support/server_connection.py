"""The server's side of one connection, without sockets."""

import asyncio
from types import SimpleNamespace
from typing import Any

from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.limits import ServerLimits
from nulpoint.http.server.connection import STRANGE_HEADS, ServerConnection
from nulpoint.http.server.server import HttpServer
from support.event_loop import run

LIMITS = ServerLimits(max_body=2000, max_head=600)
FIRST = b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: x\r\n"


def message(body: bytes, before: bytes = b"", after: bytes = b"X-A: 1\r\n", name: bytes = b"Content-Length") -> bytes:
    return FIRST + before + name + b": " + str(len(body)).encode() + b"\r\n" + after + b"\r\n" + body


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""

    def write(self, data: Any) -> None:
        self.sent += data

    def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        pass


class Service:
    """Answers at once, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def handle(self, request: Any, reply: Any) -> None:
        self.asked.append(
            (request.method, request.path, request.query, dict(request.headers), request.body, request.version,
             request.keep_alive)
        )  # fmt: skip
        reply.send(200, b"", b"ok")

    def request_rejected(self, failure: Any, headers: Any) -> Any:
        return b""


def read(pieces: Any, *, learns: Any) -> Any:
    """What a connection makes of these network reads; without learning it is the parser alone."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        ticker = DeadlineSweeper(loop)
        service = Service()
        connection = ServerConnection(HttpServer(service, LIMITS, ticker), loop)  # type: ignore[arg-type]  # it is asked for no more
        if not learns:
            connection._unknown_heads = STRANGE_HEADS
        transport = Transport()
        connection.connection_made(transport)
        known = 0
        for piece in pieces:
            before = connection._known
            connection.data_received(piece)
            known += connection._known is before is not None
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        ticker.stop()
        sent = b"".join(line for line in transport.sent.splitlines(True) if not line.startswith(b"date:"))
        return SimpleNamespace(asked=service.asked, sent=sent, known=known, kept=connection._learnt)

    return run(main())
