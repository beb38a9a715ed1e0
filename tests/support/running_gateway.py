"""A gateway in this process with mock providers."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from nulpoint.app.app import App
from nulpoint.config import ConfigSource
from nulpoint.mock import MockServer, MockSettings, start
from nulpoint.routing.breaker import State
from support import cloud_mocks, planted_key_watch

TODAY = date(2026, 6, 1)  # the models that tests name were alive on this day
# For requests that are to share one call: on a busy machine too, all of them arrive before its response.
SLOW = MockSettings(latency_ms=1000)


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
        """Close the request log and return its content."""
        self.app.log.close(2.0)
        return _content(self._log_fd)


def _content(fd: int) -> bytes:
    return os.pread(fd, os.lseek(fd, 0, os.SEEK_END), 0)


@contextlib.asynccontextmanager
async def gateway(
    settings: Mapping[str, str] = {},
    *,
    mock: MockSettings | None = None,
    names: Sequence[str] = ("openai",),
    providers: Mapping[str, Any] | None = None,
    directory: Path | None = None,
    today: Callable[[], date] = lambda: TODAY,
) -> AsyncIterator[Running]:
    """Run a gateway with `settings` as its environment and all named mock providers, or with `providers` instead.

    `today` returns the date by which models retire; it is a fixed one, so that time changes no outcome.

    The cache is off unless the settings turn it on, because most tests that repeat a request want another call. At the
    end it is checked that nothing is still in use in the gateway.
    """
    mocks = dict(providers) if providers is not None else {name: await start(name, settings=mock) for name in names}
    environ = {"PORT": "0", "CACHE_MODE": "none", **addresses(mocks), **settings}
    log_fd = os.memfd_create("request-log")
    source = ConfigSource(environ, directory or Path("/nonexistent"), today=today)
    app = App(source.load(), source, log_fd)
    try:
        yield Running(app, await app.listen(), mocks, log_fd)
    finally:
        app.server.drain()
        app.server.abort()
        await app.server.wait_drained(1.0)
        left = left_in(app)
        planted_key_watch.check("the health page", app.runtime.status.health()[2])
        planted_key_watch.check("the metrics", app.metrics.page())
        app.close()
        planted_key_watch.check("the request log", _content(log_fd))
        for server in mocks.values():
            await server.close()
        await asyncio.sleep(0)
        os.close(log_fd)
    assert not left, left


def left_in(app: App) -> dict[str, Any]:
    """Return what is still in use in a gateway that has no clients."""
    health = app.runtime.provider_health.items()
    in_use = {
        "connections of clients": len(app.server.connections),
        "in flight": app.runtime.recorder.inflight,
        "in admission control": (
            app.admission.requests,
            app.admission.streams,
            app.admission.held_bytes,
            sum(map(len, app.admission._waiting.values())),
        ),
        "shared calls": len(app.runtime.single_flight or ()),
        "retries from the budget": {
            name: provider.retry_budget.running for name, provider in health if provider.retry_budget.running
        },
        "probes": [name for name, provider in health if provider.breaker.state is State.HALF_OPEN],
        "waiting for a connection": sum(len(pool._waiters) for pool in app.runtime.client._pools.values()),
        "busy connections to providers": sum(
            connection._busy for pool in app.runtime.client._pools.values() for connection in pool._open
        ),
    }
    return {what: count for what, count in in_use.items() if count not in (0, (0, 0, 0, 0), {}, [])}


def addresses(mocks: Mapping[str, MockServer]) -> dict[str, str]:
    environ = cloud_mocks.addresses(mocks)
    for name, server in mocks.items():
        if name in cloud_mocks.ADDRESSES:
            continue
        key = {"gemini": "GOOGLE"}.get(name, name.upper())
        path = {"gemini": "/v1beta", "cohere": "/v2"}.get(name, "/v1")
        environ |= {f"{key}_API_KEY": f"sk-configured-{name}", f"{name.upper()}_BASE_URL": server.url + path}
    return environ
