"""The HTTP/1.1 server: a listener and its connections."""

import asyncio
import ssl
from collections.abc import Callable

from nulpoint.errors import Failure
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.limits import ServerLimits
from nulpoint.http.server.connection import RequestHandler, ServerConnection


class HttpServer:
    """Accepts connections and passes their requests to a handler."""

    def __init__(self, handler: RequestHandler, limits: ServerLimits, deadlines: DeadlineSweeper) -> None:
        self.handler = handler
        self.limits = limits
        self.deadlines = deadlines
        self.connections: set[ServerConnection] = set()
        self.draining = False
        self._listener: asyncio.Server | None = None
        self._last_closed = asyncio.Event()

    async def listen(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, reuse_port: bool = False) -> int:
        """Start to accept connections. Return the port. Raise OSError if the address is not available."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: ServerConnection(self, loop), host, port, ssl=tls, backlog=4096, reuse_port=reuse_port or None
        )
        port_number: int = self._listener.sockets[0].getsockname()[1]
        return port_number

    def update(self, handler: RequestHandler, limits: ServerLimits) -> None:
        """Use this handler and these limits from the next request on, also for connections that are open."""
        self.handler, self.limits = handler, limits
        for connection in self.connections:
            connection.update_settings()

    def connection_closed(self, connection: ServerConnection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._last_closed.set()

    def drain(self) -> None:
        """Accept no more connections. Idle ones are closed now, busy ones after their response."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self.connections):
            connection.close_if_idle()

    async def wait_drained(self, seconds: float) -> bool:
        """Wait until all connections are closed, for up to `seconds`. Return whether they are."""
        try:
            async with asyncio.timeout(seconds):
                while self.connections:
                    self._last_closed.clear()
                    await self._last_closed.wait()
        except TimeoutError:
            return False
        return True

    def fail_requests(self, failure: Callable[[], Failure]) -> None:
        """Send a failure instead of the (rest of the) response to every request in flight, and close its connection."""
        for connection in tuple(self.connections):
            connection.fail_requests(failure())

    def abort(self) -> None:
        """Close every connection now, and cancel what still runs."""
        for connection in tuple(self.connections):
            connection.abort()
