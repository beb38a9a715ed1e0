"""The mock providers' server: a small HTTP/1.1 server that can also misbehave at the socket."""

import asyncio
import gzip
import random
import signal
import socket
import struct
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import httptools
import msgspec
import uvloop

from nulpoint.mock import anthropic, faults, gemini, mistral, openai
from nulpoint.mock.answers import Answer, Call, json_answer
from nulpoint.mock.faults import Fault
from nulpoint.mock.settings import MockSettings, SettingsError

PORTS = {"openai": 19001, "anthropic": 19002, "gemini": 19003, "mistral": 19004}
_HTML = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><h1>Error</h1>cloudflare</body></html>"

Answerer = Callable[[Call], Answer]
_ANSWERERS: dict[str, Answerer] = {
    "openai": openai.answer,
    "anthropic": anthropic.answer,
    "gemini": gemini.answer,
    "mistral": mistral.answer,
}


class MockServer:
    """One provider on one port."""

    def __init__(self, name: str, settings: MockSettings) -> None:
        self.name = name
        self.settings = settings
        self.fault: Fault | None = None
        self.port = 0
        self.requests = 0
        self.aborted = 0
        self.by_path: Counter[str] = Counter()
        self.last: dict[str, Any] = {}
        self.connections: set[Connection] = set()
        self._random = random.Random(settings.seed)
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def listen(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Connection(self), host, port, backlog=4096)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def set_fault(self, name: str, count: int | None = None, arg: float | None = None) -> None:
        """The next `count` requests (all, without it) meet this fault. Raises ValueError."""
        self.fault = faults.make(name, arg, count)

    def clear(self) -> None:
        self.fault = None

    def stats(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "by_path": dict(self.by_path),
            "open_connections": len(self.connections),
            "aborted": self.aborted,
            "last_request": self.last,
        }

    def take_fault(self, headers: Mapping[str, str] | None) -> Fault | None:
        """The fault of this request: the one its header names, else the one that was set."""
        if headers is not None and "x-mock-fault" in headers:
            return faults.parse(headers["x-mock-fault"])
        fault = self.fault
        if fault is None or (headers is None) != (fault.name == "refuse"):
            return None
        if fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                self.fault = None
        return fault

    def answer(self, call: Call) -> Answer:
        if self._random.random() < self.settings.error_rate:
            return self.error(500, "The server had an error while processing your request.")
        return _ANSWERERS[self.name](call)

    def error(self, status: int, message: str) -> Answer:
        """An error as this provider words it."""
        if self.name == "anthropic":
            return anthropic.error(status, message)
        if self.name == "gemini":
            return gemini.error(status, message)
        if self.name == "mistral":
            return mistral.error(status, message)
        return openai.error(status, message, "rate_limit_exceeded" if status == 429 else None)

    def admin(self, method: str, path: str, body: Any) -> Answer:
        """`/mock/fault` and `/mock/stats`."""
        if path == "/mock/stats" and method == "DELETE":
            self.requests = self.aborted = 0
            self.by_path.clear()
        elif path == "/mock/fault" and method == "DELETE":
            self.clear()
        elif path == "/mock/fault" and isinstance(body, dict):
            try:
                self.set_fault(str(body.get("fault")), body.get("count"), body.get("arg"))
            except (ValueError, TypeError) as error:
                return json_answer({"error": str(error)}, 400)
        elif path != "/mock/stats":
            return json_answer({"error": "POST or DELETE /mock/fault, GET or DELETE /mock/stats"}, 404)
        return json_answer(self.stats())


class Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, server: MockServer) -> None:
        self.server = server
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self.task: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclass
        if self.server.take_fault(None):
            self.transport.abort()
            return
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        if self.task is not None and not self.task.done():
            self.server.aborted += 1
            self.task.cancel()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()

    def on_message_begin(self) -> None:
        self.target = b""
        self.headers: dict[str, str] = {}
        self.raw_headers: list[tuple[str, str]] = []
        self.body: list[bytes] = []

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        field = name.decode("latin-1").lower(), value.decode("latin-1")
        self.raw_headers.append(field)
        self.headers[field[0]] = field[1]

    def on_headers_complete(self) -> None:
        if self.headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self._respond())

    async def _respond(self) -> None:
        server = self.server
        method = self.parser.get_method().decode()
        path = self.target.decode("latin-1").partition("?")[0]
        raw = b"".join(self.body)
        try:
            body = msgspec.json.decode(raw) if raw else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = None
        if path.startswith("/mock/"):
            await self._send(server.admin(method, path, body), None)
            return
        server.requests += 1
        server.by_path[path] += 1
        server.last = {"method": method, "path": path, "headers": self.raw_headers, "body": b64encode(raw).decode()}
        try:
            fault = server.take_fault(self.headers)
        except ValueError as error:
            await self._send(json_answer({"error": str(error)}, 400), None)
            return
        if server.settings.latency_ms:
            await asyncio.sleep(server.settings.latency_ms / 1000)
        call = Call(method, path, self.headers, body, server.requests, server.settings.stream_words)
        await self._send(_faulty(server, server.answer(call), fault), fault)

    # -- sending, and sending wrongly ----------------------------------------------------------------------------------

    async def _send(self, answer: Answer, fault: Fault | None) -> None:
        name = fault.name if fault else ""
        if name in ("reset_before_head", "close_before_head"):
            self._end(reset=name.startswith("reset"))
            return
        if name == "stall":
            await asyncio.sleep(3600)
        if name == "informational" and fault:
            self.transport.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * int(fault.arg))
        if answer.events is not None and name not in ("malformed_json",):
            await self._send_stream(answer, fault)
        else:
            await self._send_whole(answer, fault)

    async def _send_whole(self, answer: Answer, fault: Fault | None) -> None:
        name = fault.name if fault else ""
        body = answer.body
        fields = {"content-type": "application/json", **answer.headers}
        if name == "gzip":
            body = gzip.compress(body, mtime=0)
            fields["content-encoding"] = "gzip"
        if name == "huge_head":
            fields["x-huge"] = "x" * 131_072
        length = len(body) + (10 if name == "wrong_length" else 0)
        if name == "close_delimited":
            fields["connection"] = "close"
        else:
            fields["content-length"] = str(length)
        message = _head(answer.status, fields) + body + (b"HTTP/1.1 200" if name == "short_length" else b"")
        if name == "reset_after_head":
            self.transport.write(_head(answer.status, fields))
            await asyncio.sleep(0.01)
            self._end(reset=True)
            return
        await self._write(message, fault)
        if name in ("wrong_length", "close_delimited") or not self.parser.should_keep_alive():
            self._end(reset=False)

    async def _send_stream(self, answer: Answer, fault: Fault | None) -> None:
        name = fault.name if fault else ""
        events = answer.events or []
        whole = not name.endswith("_mid_stream")
        if fault and not whole:
            events = events[: int(fault.arg)]
        head = _head(200, {"content-type": "text/event-stream", **answer.headers, "transfer-encoding": "chunked"})
        if name == "reset_after_head":
            self.transport.write(head)
            await asyncio.sleep(0.01)
            self._end(reset=True)
            return
        pause = self.server.settings.chunk_ms / 1000
        for number, event in enumerate(events):
            last = b"0\r\n\r\n" if whole and number == len(events) - 1 else b""
            await self._write(b"%b%x\r\n%b\r\n%b" % (head, len(event), event, last), fault)
            head = b""
            if pause:
                await asyncio.sleep(pause)
            await self.writable.wait()
        if not whole:
            await self._break_off(name, head)

    async def _break_off(self, name: str, head: bytes) -> None:
        self.transport.write(head)
        if name == "stall_mid_stream":
            await asyncio.sleep(3600)
        if name == "error_mid_stream":
            error = self.server.error(500, "The server had an error while processing your request.").body
            event = (b"event: error\n" if self.server.name == "anthropic" else b"") + b"data: " + error + b"\n\n"
            self.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event))
        elif name == "end_mid_stream":
            self.transport.write(b"0\r\n\r\n")
        else:
            await asyncio.sleep(0.01)
            self._end(reset=name == "reset_mid_stream")

    async def _write(self, data: bytes, fault: Fault | None) -> None:
        if fault is None or fault.name != "slow_drip":
            self.transport.write(data)
            return
        for position in range(len(data)):
            self.transport.write(data[position : position + 1])
            await asyncio.sleep(fault.arg / 1000)

    def _end(self, *, reset: bool) -> None:
        if reset:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()


def _head(status: int, fields: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {'OK' if status < 400 else 'Error'}", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _faulty(server: MockServer, answer: Answer, fault: Fault | None) -> Answer:
    """The answer a fault replaces the good one with."""
    if fault is None:
        return answer
    if fault.name == "rate_limit":
        limited = server.error(429, "Rate limit reached for requests")
        limited.headers = {"retry-after": f"{fault.arg:g}"} if fault.arg else {}
        return limited
    if fault.name == "status":
        return server.error(int(fault.arg), f"The mock was told to answer {int(fault.arg)}.")
    if fault.name == "html_error":
        return Answer(status=int(fault.arg), body=_HTML, headers={"content-type": "text/html"})
    if fault.name == "error_in_200":
        return Answer(body=server.error(500, "Provider returned error").body)
    if fault.name == "malformed_json":
        return Answer(body=b'{"id":"chatcmpl-mock","choices":[{"index":0,"mess')
    return answer


async def start(name: str, port: int = 0, host: str = "127.0.0.1", settings: MockSettings | None = None) -> MockServer:
    """A running mock of `openai`, `anthropic`, `gemini` or `mistral`."""
    server = MockServer(name, settings or MockSettings())
    await server.listen(host, port)
    return server


def run(environ: Mapping[str, str], host: str, ports: Mapping[str, int] | None) -> int:
    """Serve all four until SIGINT or SIGTERM; gives the exit code."""
    try:
        settings = MockSettings.from_environment(environ)
    except SettingsError as error:
        print(f"nulpoint mock: {error}", file=sys.stderr)
        return 2
    try:
        uvloop.run(_serve(settings, host, ports or PORTS))
    except OSError as error:
        print(f"nulpoint mock: cannot listen: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: MockSettings, host: str, ports: Mapping[str, int]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    servers = [await start(name, port, host, settings) for name, port in ports.items()]
    for server in servers:
        print(f"mock {server.name:<10} http://{host}:{server.port}", flush=True)
    await stop.wait()
    for server in servers:
        await server.close()
