"""A scripted provider: a raw socket server that plays a list of steps and records what it received.

    provider = await serve([send(HEAD), wait(event), reset()], [send(GOOD)])

The first request plays the first script, the second request the second one, and all later requests the last one. If
`choose` is given, it returns the script of each request instead.
"""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

Step = Callable[["Talk"], Awaitable[None]]
Script = list[Step]

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds


def send(*pieces: bytes) -> Step:
    """Send each piece in a write of its own."""

    async def step(talk: "Talk") -> None:
        for piece in pieces:
            talk.transport.write(piece)
            await asyncio.sleep(0)

    return step


def wait(event: asyncio.Event) -> Step:
    """Wait until the test sets the event."""

    async def step(talk: "Talk") -> None:
        await event.wait()

    return step


def say(event: asyncio.Event) -> Step:
    """Set the event, so that the test knows that this step was reached."""

    async def step(talk: "Talk") -> None:
        event.set()

    return step


def pause(seconds: float) -> Step:
    """Sleep."""

    async def step(talk: "Talk") -> None:
        await asyncio.sleep(seconds)

    return step


def drip(data: bytes, seconds: float) -> Step:
    """Send one byte at a time, with a pause after each."""

    async def step(talk: "Talk") -> None:
        for byte in data:
            talk.transport.write(bytes([byte]))
            await asyncio.sleep(seconds)

    return step


def reset() -> Step:
    """Reset the connection: closing with SO_LINGER of 0 seconds sends RST."""

    async def step(talk: "Talk") -> None:
        sock = talk.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        talk.transport.abort()

    return step


def fin() -> Step:
    async def step(talk: "Talk") -> None:
        talk.transport.close()

    return step


def silence() -> Step:
    """Send nothing more and wait until the other side ends the connection."""

    async def step(talk: "Talk") -> None:
        await talk.ended.wait()

    return step


class Talk(asyncio.Protocol):
    """One connection: the bytes received, and when (in loop time) and how the other side ended it."""

    def __init__(self, provider: "ScriptedProvider") -> None:
        self.provider = provider
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self.received = b""
        self.ended = asyncio.Event()
        self.ended_at = 0.0
        self.ended_by = ""
        self._unread = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.provider.talks.append(self)
        if self.provider.deaf:  # uvloop begins to read only after this method
            asyncio.get_running_loop().call_soon(self.transport.pause_reading)
        if self.provider.on_connect:
            self._play(self.provider.on_connect)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._unread += data
        while (size := _request_size(self._unread)) and len(self._unread) >= size:
            request, self._unread = self._unread[:size], self._unread[size:]
            script = self.provider.script_for(request)
            self.provider.requests.append(request)
            self._play(script)

    def _play(self, script: Script) -> None:
        async def play() -> None:
            for step in script:
                await step(self)

        self._task = asyncio.get_running_loop().create_task(play())

    def eof_received(self) -> None:
        self._end("FIN")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("RST" if isinstance(exc, ConnectionResetError) else "FIN")
        if self._task is not None:
            self._task.cancel()

    def _end(self, how: str) -> None:
        if not self.ended.is_set():
            self.ended_at = asyncio.get_running_loop().time()
            self.ended_by = how
            self.ended.set()


class ScriptedProvider:
    """A scripted provider. `requests` holds every complete request; with `deaf` it never reads."""

    def __init__(
        self, scripts: list[Script], on_connect: Script, *, deaf: bool, choose: Callable[[bytes], Script] | None = None
    ) -> None:
        self.scripts = scripts
        self._choose = choose
        self.on_connect = on_connect
        self.deaf = deaf
        self.requests: list[bytes] = []
        self.talks: list[Talk] = []
        self.port = 0
        self.scheme = "http"
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """The number of connections that the other side has not ended."""
        return sum(not talk.ended.is_set() for talk in self.talks)

    def script_for(self, request: bytes) -> Script:
        if self._choose is not None:
            return self._choose(request)
        return self.scripts[min(len(self.requests), len(self.scripts) - 1)]

    async def listen(self, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Talk(self), "127.0.0.1", 0, ssl=tls, backlog=1024)
        self.port = self._listener.sockets[0].getsockname()[1]
        self.scheme = "https" if tls else "http"

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for talk in self.talks:
            talk.transport.abort()
        await asyncio.sleep(0)


async def serve(
    *scripts: Script,
    choose: Callable[[bytes], Script] | None = None,
    on_connect: Script | None = None,
    deaf: bool = False,
    tls: ssl.SSLContext | None = None,
) -> ScriptedProvider:
    provider = ScriptedProvider(list(scripts) or [[silence()]], on_connect or [], deaf=deaf, choose=choose)
    await provider.listen(tls)
    return provider


class BlackHole:
    """An address that accepts nothing: its connection queue is full, so the kernel drops every SYN."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._fillers = [self._fill() for _ in range(4)]

    def _fill(self) -> socket.socket:
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(self._listener.getsockname())
        return filler

    async def close(self) -> None:
        for sock in (*self._fillers, self._listener):
            sock.close()


class Nobody:
    """An address on which nothing listens, so connections are refused."""

    def __init__(self) -> None:
        self._holder = socket.socket()
        self._holder.bind(("127.0.0.1", 0))
        self.port = self._holder.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def close(self) -> None:
        self._holder.close()


def _request_size(data: bytes) -> int:
    """Return the size of the first request in `data`, or 0 while its head is incomplete."""
    head = data.find(b"\r\n\r\n") + 4
    if head < 4:
        return 0
    length = _LENGTH.search(data, 0, head)
    return head + (int(length[1]) if length else 0)
