"""The HTTP/1.1 server: a listener and its connections."""

import asyncio
import ssl
from collections.abc import Callable

from nulpoint.errors import Failure
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.limits import ServerLimits
from nulpoint.http.server.connection import RequestHandler, ServerConnection


class HttpServer:
    """A listener and its connections."""

    def __init__(self, service: RequestHandler, limits: ServerLimits, deadlines: DeadlineSweeper) -> None:
        self.service = service
        self.limits = limits
        self.deadlines = deadlines
        self.connections: set[ServerConnection] = set()
        self.draining = False
        self._listener: asyncio.Server | None = None

    async def listen(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, reuse_port: bool = False) -> int:
        """Start to accept connections; gives the port. Raises OSError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: ServerConnection(self, loop), host, port, ssl=tls, backlog=4096, reuse_port=reuse_port or None
        )
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    def update(self, service: RequestHandler, limits: ServerLimits) -> None:
        """From the next request on others answer, on the connections that are there as well."""
        self.service, self.limits = service, limits
        for connection in self.connections:
            connection.update_settings()

    def drain(self) -> None:
        """Accept no more; idle connections are closed now, busy ones after their answer."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self.connections):
            connection.close_if_idle()

    async def drained(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the last connection to go. Says whether it did."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while self.connections and loop.time() < end:
            await asyncio.sleep(0.02)
        return not self.connections

    def give_up(self, failure: Callable[[], Failure]) -> None:
        """Whatever is still in flight gets a failure instead of (the rest of) its answer; its connection closes."""
        for connection in tuple(self.connections):
            connection.give_up(failure())

    def abort(self) -> None:
        """Close every connection now; what still runs is cancelled."""
        for connection in tuple(self.connections):
            connection.abort()
