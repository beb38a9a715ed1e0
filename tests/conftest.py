"""What the tests share: a running gateway beside mock providers, and a raw caller."""

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvloop
from hypothesis import settings as hypothesis_settings

import canary_tap
import clouds
from nulpoint.app.app import App
from nulpoint.config import ConfigSource
from nulpoint.mock import MockServer, MockSettings, start
from nulpoint.redis_client import connection
from nulpoint.routing.breaker import State
from support.simulated_time import SimulatedTimeLoop

# The same examples every time: a gate must not fail by chance. `make test-race` is where chance has its place.
hypothesis_settings.register_profile("gate", derandomize=True, deadline=None)
hypothesis_settings.load_profile("gate")


canary_tap.install()


@pytest.fixture(autouse=True, scope="session")
def _redis_may_take_its_time():
    """Gateways in this process wait ten times as long for Redis, so that a busy machine changes no outcome."""
    with pytest.MonkeyPatch.context() as patched:
        patient = functools.partial(connection.RedisConnection, timeout=10 * connection.TIMEOUT)
        patched.setattr(connection, "RedisConnection", patient)
        yield


@pytest.fixture(autouse=True)
def _no_planted_key_comes_out():
    canary_tap.leaks.clear()
    yield
    assert not canary_tap.leaks, canary_tap.leaks


def run(coroutine, seconds=180, loop_factory=uvloop.new_event_loop):
    """Run one test's coroutine, on the loop the gateway uses in production if no other one is given; closes what its
    callers left open."""

    async def main():
        try:
            return await asyncio.wait_for(coroutine, seconds)
        finally:
            while Caller.opened:
                await Caller.opened.pop().close()

    runner = asyncio.Runner(loop_factory=loop_factory)
    try:
        result = runner.run(main())
    except BaseException:
        # Closing the loop would wait for ever for what a failed test has left open, and hide why it failed.
        _abandoned.append(runner)
        asyncio.set_event_loop(None)
        raise
    runner.close()
    return result


def run_in_simulated_time(coroutine, seconds=180):
    """Run it on a loop whose clock stands still while there is work: only what waits for a timer takes time."""
    return run(coroutine, seconds, SimulatedTimeLoop)


_abandoned: list[asyncio.Runner] = []


class Running:
    """A gateway in this process, its mock providers by name, and what it logged."""

    def __init__(self, app: App, port: int, mocks: dict[str, MockServer], log_fd: int) -> None:
        self.app = app
        self.port = port
        self.mocks = mocks
        self.url = f"http://127.0.0.1:{port}/v1"
        self._log_fd = log_fd

    @property
    def mock(self) -> MockServer:
        return self.mocks["openai"]

    def log(self) -> bytes:
        """The request log so far; closes the log."""
        self.app.log.close(2.0)
        return _content(self._log_fd)


def _content(fd: int) -> bytes:
    return os.pread(fd, os.lseek(fd, 0, os.SEEK_END), 0)


@contextlib.asynccontextmanager
async def gateway(
    settings: Mapping[str, str] = {},
    *,
    mock: MockSettings | None = None,
    names=("openai",),
    providers: Mapping[str, Any] | None = None,
    directory: Path | None = None,
) -> AsyncIterator[Running]:
    """`settings` as environment variables; every named mock provider is configured, or the `providers` given instead.

    Without a cache unless the settings say so: most tests that ask twice mean it. However the test ends, nothing may be
    left of it in the gateway.
    """
    mocks = dict(providers) if providers is not None else {name: await start(name, settings=mock) for name in names}
    environ = {"PORT": "0", "CACHE_MODE": "none", **addresses(mocks), **settings}
    log_fd = os.memfd_create("request-log")
    place = ConfigSource(environ, directory or Path("/nonexistent"))
    app = App(place.load(), place, log_fd)
    try:
        yield Running(app, await app.listen(), mocks, log_fd)
    finally:
        app.server.drain()
        app.server.abort()
        await app.server.drained(1.0)
        left = left_in(app)
        canary_tap.look("the health page", app.runtime.status.health()[2])
        canary_tap.look("the metrics", app.metrics.page())
        app.close()
        canary_tap.look("the request log", _content(log_fd))
        for server in mocks.values():
            await server.close()
        await asyncio.sleep(0)
        os.close(log_fd)
    assert not left, left


def left_in(app: App) -> dict[str, Any]:
    """What a gateway without callers still holds, and should not."""
    standings = app.runtime.provider_health.items()
    held = {
        "connections of callers": len(app.server.connections),
        "in flight": app.runtime.recorder.inflight,
        "at the gate": (
            app.admission.requests,
            app.admission.streams,
            app.admission.held_bytes,
            sum(map(len, app.admission._waiting.values())),
        ),
        "shared calls": len(app.runtime.single_flight or ()),
        "attempts from the budget": {
            name: one.retry_budget.running for name, one in standings if one.retry_budget.running
        },
        "probes": [name for name, one in standings if one.breaker.state is State.HALF_OPEN],
        "waiting for a connection": sum(len(pool._waiters) for pool in app.runtime.client._pools.values()),
        "busy connections to providers": sum(
            one._busy for pool in app.runtime.client._pools.values() for one in pool._open
        ),
    }
    return {what: count for what, count in held.items() if count not in (0, (0, 0, 0, 0), {}, [])}


def addresses(mocks: Mapping[str, MockServer]) -> dict[str, str]:
    environ = clouds.addresses(mocks)
    for name, server in mocks.items():
        if name in clouds.ADDRESSES:
            continue
        key = {"gemini": "GOOGLE"}.get(name, name.upper())
        path = "/v1beta" if name == "gemini" else "/v1"
        environ |= {f"{key}_API_KEY": f"sk-configured-{name}", f"{name.upper()}_BASE_URL": server.url + path}
    return environ


class Caller:
    """A raw HTTP caller: bytes out, bytes in."""

    opened: ClassVar[list["Caller"]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> "Caller":
        caller = cls(*await asyncio.open_connection("127.0.0.1", port))
        cls.opened.append(caller)
        return caller

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One answer, by its own framing; raises IncompleteReadError when it is cut."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split()[1])
        if "transfer-encoding" in headers:
            return status, headers, await self._chunks()
        if "content-length" in headers:
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))
        return status, headers, b"" if status in (204, 100) else await self.reader.read()

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return body

    async def rest(self) -> bytes:
        """Everything until the connection ends."""
        with contextlib.suppress(ConnectionResetError):
            return await self.reader.read()
        return b""

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def post(body: bytes, path: str = "/v1/chat/completions", *extra: str) -> bytes:
    """A well-formed POST."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *extra,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
STREAM = b'{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}'


async def until(condition, seconds: float = 20.0) -> None:
    """Wait for something another part of the loop is about to do."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not happen in time"
        await asyncio.sleep(0.005)
