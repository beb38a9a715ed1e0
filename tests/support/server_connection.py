"""The server's side of one connection, without sockets."""

import asyncio
from types import SimpleNamespace
from typing import Any

from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.limits import ServerLimits
from nulpoint.http.server.connection import ServerConnection
from nulpoint.http.server.head_cache import MAX_MISSES
from nulpoint.http.server.server import HttpServer
from nulpoint.protocols.openai.client import OPENAI_CLIENT
from support.event_loop import run

LIMITS = ServerLimits(max_body_bytes=2000, max_head_bytes=600)
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


class RecordingHandler:
    """Responds at once, and records the requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[Any, ...]] = []

    def handle(self, request: Any, response: Any) -> None:
        self.requests.append(
            (request.method, request.path, request.query, dict(request.headers), request.body, request.version,
             request.keep_alive)
        )  # fmt: skip
        response.send(200, b"", b"ok")

    def request_rejected(self, failure: Any, request: Any) -> Any:
        return b"", OPENAI_CLIENT.error_body(failure)


def read(pieces: Any, *, learns: Any) -> Any:
    """Return what a connection reads and sends for these pieces. If `learns` is false, it does not use the head cache."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        deadlines = DeadlineSweeper(loop)
        handler = RecordingHandler()
        connection = ServerConnection(HttpServer(handler, LIMITS, deadlines), loop)  # type: ignore[arg-type]  # the server uses only these methods
        if not learns:
            connection._head_cache._misses = MAX_MISSES
        transport = Transport()
        connection.connection_made(transport)
        hits = 0
        for piece in pieces:
            before = connection._head_cache._template
            connection.data_received(piece)
            hits += connection._head_cache._template is before is not None
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        deadlines.stop()
        sent = b"".join(line for line in transport.sent.splitlines(True) if not line.startswith(b"date:"))
        return SimpleNamespace(requests=handler.requests, sent=sent, hits=hits, kept=connection._parser._request)

    return run(main())
