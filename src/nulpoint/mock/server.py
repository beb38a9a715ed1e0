"""The HTTP/1.1 server of the mock providers, which can also inject faults at the socket."""

import asyncio
import random
import signal
import ssl
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httptools
import msgspec
import uvloop

from nulpoint.mock import faults
from nulpoint.mock.anthropic import server as anthropic_server
from nulpoint.mock.bedrock import server as bedrock_server
from nulpoint.mock.faults import Fault
from nulpoint.mock.gemini import server as gemini_server
from nulpoint.mock.gemini import vertexai
from nulpoint.mock.interface import MockRequest, MockResponse, ProviderApi, json_response
from nulpoint.mock.mistral import server as mistral_server
from nulpoint.mock.openai import azure
from nulpoint.mock.openai import server as openai_server
from nulpoint.mock.rerank import server as rerank_server
from nulpoint.mock.response_sender import ResponseSender, apply_fault
from nulpoint.mock.settings import MockSettings, SettingsError

PORTS = {
    "openai": 19001,
    "anthropic": 19002,
    "gemini": 19003,
    "mistral": 19004,
    "bedrock": 19005,
    "azure": 19006,
    "vertexai": 19007,
    "cohere": 19008,
    "jina": 19009,
    "voyage": 19010,
}
_APIS: dict[str, ProviderApi] = {
    "openai": openai_server.API,
    "anthropic": anthropic_server.API,
    "gemini": gemini_server.API,
    "mistral": mistral_server.API,
    "bedrock": bedrock_server.API,
    "azure": azure.API,
    "vertexai": vertexai.API,
    "cohere": rerank_server.COHERE,
    "jina": rerank_server.JINA,
    "voyage": rerank_server.VOYAGE,
}


class MockServer:
    """A mock of one provider, listening on one port."""

    def __init__(self, name: str, settings: MockSettings) -> None:
        self.name = name
        self.api = _APIS[name]
        self.settings = settings
        self.fault: Fault | None = None
        self.port = 0
        self.requests = 0  # requests to the token server are counted in token_requests
        self.token_requests = 0
        self.aborted = 0
        self.by_path: Counter[str] = Counter()
        self.last: dict[str, Any] = {}
        self.connections: set[Connection] = set()
        self._random = random.Random(settings.seed)
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Connection(self), host, port, backlog=4096, ssl=tls)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def set_fault(self, name: str, count: int | None = None, arg: float | None = None) -> None:
        """Inject a fault into the next `count` requests, or into all if it is None. Raises ValueError."""
        self.fault = faults.make(name, arg, count)

    def clear(self) -> None:
        self.fault = None

    def stats(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "token_requests": self.token_requests,
            "by_path": dict(self.by_path),
            "open_connections": len(self.connections),
            "aborted": self.aborted,
            "last_request": self.last,
        }

    def take_fault(self, headers: Mapping[str, str] | None, path: str = "") -> Fault | None:
        """Return the fault for this request: the one in its x-mock-fault header, else the one that was set.

        `headers` is None for a new connection, before any request.
        """
        if headers is not None and "x-mock-fault" in headers:
            return faults.parse(headers["x-mock-fault"])
        fault = self.fault
        if fault is None or (headers is None) != (fault.name == "refuse"):
            return None
        if fault.name.startswith("token_") != self.api.is_token_path(path):
            return None
        if fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                self.fault = None
        return fault

    def respond(self, request: MockRequest) -> MockResponse:
        if self._random.random() < self.settings.error_rate:
            return self.api.error(500, "The server had an error while processing your request.")
        return self.api.respond(request)

    def admin(self, method: str, path: str, body: Any) -> MockResponse:
        """Handle `/mock/fault` and `/mock/stats`."""
        if path == "/mock/stats" and method == "DELETE":
            self.requests = self.aborted = 0
            self.by_path.clear()
        elif path == "/mock/fault" and method == "DELETE":
            self.clear()
        elif path == "/mock/fault" and isinstance(body, dict):
            try:
                self.set_fault(str(body.get("fault")), body.get("count"), body.get("arg"))
            except (ValueError, TypeError) as error:
                return json_response({"error": str(error)}, 400)
        elif path != "/mock/stats":
            return json_response(
                {"error": "unknown path; use POST or DELETE /mock/fault, GET or DELETE /mock/stats"}, 404
            )
        return json_response(self.stats())


class Connection(asyncio.Protocol):
    """A client connection, which serves one request at a time."""

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
        header = name.decode("latin-1").lower(), value.decode("latin-1")
        self.raw_headers.append(header)
        self.headers[header[0]] = header[1]

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
        path, _, query = self.target.decode("latin-1").partition("?")
        raw_body = b"".join(self.body)
        try:
            body = msgspec.json.decode(raw_body) if raw_body else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = None
        if path.startswith("/mock/"):
            await self._send(server.admin(method, path, body))
            return
        if server.api.is_token_path(path):
            server.token_requests += 1
        else:
            server.requests += 1
            server.by_path[path] += 1
            server.last = {
                "method": method,
                "path": path,
                "headers": self.raw_headers,
                "body": b64encode(raw_body).decode(),
            }
        try:
            fault = server.take_fault(self.headers, path)
        except ValueError as error:
            await self._send(json_response({"error": str(error)}, 400))
            return
        if server.settings.latency_ms:
            await asyncio.sleep(server.settings.latency_ms / 1000)
        settings = server.settings
        request = MockRequest(
            method,
            path,
            self.headers,
            body,
            server.requests,
            settings.stream_words,
            query,
            raw_body,
            settings.token_seconds,
            settings.today,
        )
        try:
            response = server.respond(request)
        except Exception as error:  # noqa: BLE001 - no response would look like a stalled provider
            response = server.api.error(500, f"The mock itself failed: {error!r}")
        api = (server.api.api_for_path and server.api.api_for_path(path)) or server.api
        await self._send(apply_fault(api, request, response, fault), fault)

    async def _send(self, response: MockResponse, fault: Fault | None = None) -> None:
        sender = ResponseSender(self.transport, self.writable, fault, self.server.settings.chunk_ms / 1000)
        await sender.send(response, keep_alive=self.parser.should_keep_alive())


async def start(
    name: str,
    port: int = 0,
    host: str = "127.0.0.1",
    settings: MockSettings | None = None,
    tls: ssl.SSLContext | None = None,
) -> MockServer:
    """Start a mock of one of the providers in `PORTS`."""
    server = MockServer(name, settings or MockSettings())
    await server.listen(host, port, tls)
    return server


async def start_all(
    settings: MockSettings,
    host: str,
    ports: Mapping[str, int],
    provider_faults: Sequence[tuple[str | None, Fault]] = (),
) -> list[MockServer]:
    """Start one mock for each port, with the faults for its provider (None: for all). The last fault wins."""
    servers = [await start(name, port, host, settings) for name, port in ports.items()]
    for server in servers:
        for provider, fault in provider_faults:
            if provider in (None, server.name):
                server.set_fault(fault.name, fault.count, fault.arg)
    return servers


def run(
    environ: Mapping[str, str], host: str, ports: Mapping[str, int] | None = None, fault_options: Sequence[str] = ()
) -> int:
    """Serve all mocks until SIGINT or SIGTERM, and return the exit code.

    `fault_options` are written as `faults.parse_with_provider` reads them.
    """
    try:
        settings = MockSettings.from_environment(environ)
        provider_faults = [parse_provider_fault(text) for text in fault_options]
    except (SettingsError, ValueError) as error:
        print(f"nulpoint mock: {error}", file=sys.stderr)
        return 2
    try:
        uvloop.run(_serve(settings, host, ports or PORTS, provider_faults))
    except OSError as error:
        print(f"nulpoint mock: cannot listen: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def parse_provider_fault(text: str) -> tuple[str | None, Fault]:
    """Parse a fault as written on the command line. Raises ValueError."""
    provider, fault = faults.parse_with_provider(text)
    if provider not in (None, *PORTS):
        raise ValueError(f"unknown provider {provider!r}; known: {', '.join(PORTS)}")
    return provider, fault


async def _serve(
    settings: MockSettings, host: str, ports: Mapping[str, int], provider_faults: Sequence[tuple[str | None, Fault]]
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    servers = await start_all(settings, host, ports, provider_faults)
    for server in servers:
        print(f"mock {server.name:<10} http://{host}:{server.port}", flush=True)
    await stop.wait()
    for server in servers:
        await server.close()
