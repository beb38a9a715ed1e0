"""The client for providers: a pool of persistent connections for each origin, with a limit and a bounded wait."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from nulpoint.errors import ClientCause, Failure, Kind
from nulpoint.http.client.connection import UpstreamConnection, deadline_exceeded
from nulpoint.http.client.connector import Connector, Origin
from nulpoint.http.coroutine_runner import WakeEvent
from nulpoint.http.deadlines import NEVER, DeadlineSweeper
from nulpoint.http.limits import ClientLimits

PoolKey = tuple[Origin, float | None]  # the origin, and its idle timeout in seconds if it is not the default


class UpstreamClient:
    """Sends requests to providers. It may only be used from its event loop.

    `on_replay` is called when a request is sent again because its idle connection turned out to be closed.
    """

    def __init__(
        self,
        connector: Connector,
        limits: ClientLimits,
        deadlines: DeadlineSweeper,
        on_replay: Callable[[], None] = lambda: None,
    ) -> None:
        self._connector = connector
        self._limits = limits
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._pools: dict[PoolKey, ConnectionPool] = {}
        self._retired: list[ConnectionPool] = []  # pools with connections that are still in use
        self._on_replay = on_replay

    def pool(self, origin: Origin, idle_timeout: float | None = None) -> "ConnectionPool":
        """Return the pool of an origin. `idle_timeout` is how many seconds a connection may be idle."""
        key = (origin, idle_timeout)
        pool = self._pools.get(key)
        if pool is None:
            idle = self._limits.upstream_idle_timeout if idle_timeout is None else idle_timeout
            pool = self._pools[key] = ConnectionPool(origin, self._connector, self._limits, idle, self._deadlines)
        return pool

    def retire(self, pools: Iterable[PoolKey]) -> None:
        """Keep no more idle connections in these pools. Connections in use are closed after their use."""
        self._retired = [pool for pool in self._retired if pool.size]
        for key in pools:
            pool = self._pools.pop(key, None)
            if pool is not None:
                pool.retire()
                self._retired.append(pool)

    async def send(
        self,
        pool: "ConnectionPool",
        head: bytes,
        first_byte_timeout: float | None = None,
        deadline: float = NEVER,
        body: bytes = b"",
    ) -> UpstreamConnection:
        """Send a request, wait for the head of its response, and return the connection, which must be released.

        The first byte must arrive within `first_byte_timeout` seconds from now, including a wait for a connection, and
        the complete response before `deadline` (loop time).

        If an idle connection closes before any byte of a response has arrived, the provider's idle timer most likely
        closed it while the request was on its way (RFC 9112, 9.3.1). Then the request is sent once more on a new
        connection, and the other idle connections to that origin are closed. Raises Failure.
        """
        timeout = self._limits.provider_timeout if first_byte_timeout is None else first_byte_timeout
        now = self._loop.time()
        first_byte_deadline = now + timeout
        connection = pool.try_acquire(now) or await pool.acquire(first_byte_deadline, deadline)
        while True:
            try:
                connection.send(head, body, first_byte_deadline, timeout, deadline)
                while not connection.head_received():
                    await connection.arrival
                return connection
            except BaseException as error:
                connection.release()
                if not (isinstance(error, Failure) and connection.was_stale):
                    raise
            self._on_replay()
            pool.drop_free()
            connection = await pool.acquire(first_byte_deadline, deadline, new=True)  # a new one is never stale

    def close(self) -> None:
        """Close every connection, including those in use."""
        for pool in (*self._pools.values(), *self._retired):
            pool.close()

    def connections(self) -> int:
        """Return how many connections are open or being opened."""
        return sum(pool.size for pool in (*self._pools.values(), *self._retired))


class ConnectionPool:
    """The connections to one origin.

    The connection that was used last is used next, so that the surplus of a burst can expire.
    """

    def __init__(
        self,
        origin: Origin,
        connector: Connector,
        limits: ClientLimits,
        idle_timeout: float,
        deadlines: DeadlineSweeper,
    ) -> None:
        self.origin = origin
        self._connector = connector
        self._limits = limits
        self._idle_timeout = idle_timeout
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._free: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiters: deque[_ConnectionWaiter] = deque()
        self._retired = False

    @property
    def size(self) -> int:
        return len(self._open) + len(self._connecting)

    @property
    def free(self) -> int:
        return len(self._free)

    def try_acquire(self, now: float) -> UpstreamConnection | None:
        """Return a free connection that is still open, or None. `now` is in loop time."""
        free = self._free
        while free:
            connection = free.pop()
            if connection.probe(now):
                return connection
            connection.close()
        return None

    async def acquire(
        self, first_byte_deadline: float = NEVER, deadline: float = NEVER, *, new: bool = False
    ) -> UpstreamConnection:
        """Wait until a connection is opened or becomes free, and return it. With `new`, only take an unused one.

        `first_byte_deadline` ends the attempt and `deadline` the request; both are in loop time. Raise Failure: of kind
        CONNECT if no connection can be opened, OVERLOADED if none became free in time, TIMEOUT at one of the deadlines.
        """
        waiter = _ConnectionWaiter(new, first_byte_deadline, deadline)
        self._waiters.append(waiter)
        timeout = self._limits.upstream_wait_timeout
        if self._connect_if_possible():
            timeout += self._limits.connect_timeout
        elif not self._connecting:
            waiter.cause = ClientCause.NO_FREE_CONNECTION
        waiter.deadline = min(self._loop.time() + timeout, first_byte_deadline, deadline)
        self._deadlines.watch(waiter)
        try:
            while waiter.connection is None and waiter.failure is None:
                await waiter.event
        except BaseException:
            if waiter.connection is not None:
                self._offer(waiter.connection)
            raise
        finally:
            self._deadlines.forget(waiter)
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        if waiter.connection is None:
            assert waiter.failure is not None
            raise waiter.failure
        return waiter.connection

    def drop_free(self) -> None:
        """Close the connections that are not in use."""
        free, self._free = self._free, []
        for connection in free:
            connection.close()

    def retire(self) -> None:
        """Keep no idle connections from now on. Requests that have begun still get the connections they need."""
        self._retired = True
        self.drop_free()

    def close(self) -> None:
        for task in tuple(self._connecting):
            task.cancel()
        for connection in tuple(self._open):
            connection.close()

    # -- opening, offering and losing connections ----------------------------------------------------------------------

    def _connect_if_possible(self) -> bool:
        """Open one more connection if a request waits for it and the limit allows it. Return whether one is opened."""
        if len(self._waiters) <= len(self._connecting) or self.size >= self._limits.upstream_max_connections:
            return False
        task = self._loop.create_task(self._connect())
        self._connecting.add(task)
        task.add_done_callback(self._connect_done)
        return True

    async def _connect(self) -> None:
        connection = await self._connector.connect(
            self.origin, lambda: UpstreamConnection(self._limits, self._loop, self._lost, self._freed)
        )
        if connection.lost:
            raise Failure(Kind.CONNECT, 502, f"{self.origin} closed the connection at once", code="connect_failed")
        self._open.add(connection)
        self._deadlines.watch(connection)
        self._connecting.discard(asyncio.current_task())  # this task; from now on it counts as an open connection
        connection.idle_since = self._loop.time()
        self._freed(connection)  # if the request that wanted it has ended, it is kept like any other free connection

    def _connect_done(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._waiters:
            waiter = self._waiters.popleft()
            internal = Failure(Kind.INTERNAL, 500, "opening a connection failed")
            waiter.failure = error if isinstance(error, Failure) else internal
            waiter.event.wake()

    def _freed(self, connection: UpstreamConnection) -> None:
        connection.deadline = connection.idle_since + self._idle_timeout
        self._offer(connection)

    def _offer(self, connection: UpstreamConnection) -> None:
        """Give a usable connection to the request that has waited longest, or keep it."""
        if connection.lost:
            return
        for waiter in self._waiters:
            if not waiter.new or connection.uses == 0:
                self._waiters.remove(waiter)
                waiter.connection = connection
                waiter.event.wake()
                return
        if self._retired:
            connection.close()
        else:
            self._free.append(connection)

    def _lost(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        self._deadlines.forget(connection)
        if connection in self._free:
            self._free.remove(connection)
        self._connect_if_possible()


class _ConnectionWaiter:
    """The place of a request in the queue for a connection."""

    __slots__ = (
        "cause",
        "connection",
        "deadline",
        "event",
        "failure",
        "first_byte_deadline",
        "new",
        "request_deadline",
    )

    def __init__(self, new: bool, first_byte_deadline: float, request_deadline: float) -> None:
        self.new = new
        self.first_byte_deadline = first_byte_deadline
        self.request_deadline = request_deadline
        self.event = WakeEvent()
        self.connection: UpstreamConnection | None = None
        self.failure: Failure | None = None
        self.cause: ClientCause | None = None  # of the failure, if no connection becomes available
        self.deadline = NEVER

    def on_deadline(self, now: float) -> None:
        self.deadline = NEVER
        if now >= self.request_deadline:
            self.failure = deadline_exceeded()
        elif now >= self.first_byte_deadline:
            text = "no connection to the provider became available within the time for one attempt"
            self.failure = Failure(Kind.TIMEOUT, 504, text, code="provider_timeout", client_cause=self.cause)
        else:
            text = "all connections to the provider are busy; raise UPSTREAM_MAX_CONNECTIONS or try again"
            self.failure = Failure(Kind.OVERLOADED, 503, text, code="no_free_connection", retry_after=1.0)
        self.event.wake()
