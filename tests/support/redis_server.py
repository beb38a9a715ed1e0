"""A real Redis for tests, and a relay before it that can be slow, silent or broken.

Where redis-server is not installed, the tests that need it are skipped, and the run's summary says so.
"""

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from nulpoint.redis_client import connection
from nulpoint.redis_client.connection import RedisConnection
from support.ports import free_port

PROGRAM = shutil.which("redis-server")
REMEDY = "redis-server is not installed, so NOTHING of Redis was tested; install the package redis-server"
needs_redis = pytest.mark.skipif(PROGRAM is None, reason=REMEDY)


class RedisServer:
    """One redis-server process on loopback that keeps nothing on disk."""

    def __init__(self, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="nulpoint-redis-")

    def start(self) -> "RedisServer":
        assert PROGRAM is not None
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                   "--dir", self._directory.name, *self._options]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not self._accepts():
            assert self._process.poll() is None, "redis-server does not start"
            assert time.monotonic() < end, "redis-server does not get ready"
            time.sleep(0.01)
        return self

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        self._directory.cleanup()

    def freeze(self) -> None:
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def cli(self, *words: str | bytes) -> bytes:
        """Send one command, as redis-cli does, and return the reply as it comes on the wire."""
        encoded = [word if isinstance(word, bytes) else word.encode() for word in words]
        message = b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(message)
            connection.settimeout(5)
            return connection.recv(1 << 20)


@contextlib.contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    server = RedisServer(*options).start()
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def redis_patience(seconds: float) -> Iterator[None]:
    """Let gateways that start in this process during the block wait this long for replies of Redis."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(connection, "RedisConnection", functools.partial(RedisConnection, timeout=seconds))
        yield


class Relay:
    """Passes bytes on to a port of loopback after `delay` seconds each way, or not at all while paused."""

    def __init__(self, target: int) -> None:
        self.delay = 0.0
        self.connections = 0  # made since the start
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def pause(self) -> None:
        """Accept and keep connections, but pass nothing on."""
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    def reset(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, upstream[1]}
        for pump in (self._pump(reader, upstream[1]), self._pump(upstream[0], writer)):
            task = asyncio.ensure_future(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        passing = asyncio.ensure_future(self._pass_on(arrived, writer))
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                arrived.put_nowait((loop.time() + self.delay, data))
        arrived.put_nowait((loop.time() + self.delay, b""))
        await passing
        writer.close()

    async def _pass_on(self, arrived: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await arrived.get()
            await self._open.wait()
            await asyncio.sleep(due - loop.time())
            if not data or writer.transport.is_closing():
                return
            writer.write(data)


@contextlib.asynccontextmanager
async def relay(target: int) -> AsyncIterator[Relay]:
    between = Relay(target)
    await between.start()
    try:
        yield between
    finally:
        await between.close()
