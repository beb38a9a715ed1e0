"""The upstream client: a pool of kept connections per origin, bounded, with a bounded wait."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from nulpoint.errors import ClientCause, Failure, Kind
from nulpoint.http.client.connection import UpstreamConnection, deadline_exceeded
from nulpoint.http.client.connector import Connector, Origin
from nulpoint.http.coroutine_runner import WakeEvent
from nulpoint.http.deadlines import NEVER, DeadlineSweeper
from nulpoint.http.limits import ClientLimits

PoolKey = tuple[Origin, float | None]  # where, and the seconds a kept connection may idle there if not as everywhere


class UpstreamClient:
    """Sends requests to providers. To be called from its event loop only."""

    def __init__(
        self,
        dialer: Connector,
        limits: ClientLimits,
        deadlines: DeadlineSweeper,
        on_replay: Callable[[], None] = lambda: None,
    ) -> None:
        self._dialer = dialer
        self._limits = limits
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._pools: dict[PoolKey, ConnectionPool] = {}
        self._retired: list[ConnectionPool] = []  # with connections that are still in use
        self._on_replay = on_replay  # a request goes out again because its kept connection had died unused

    def pool(self, origin: Origin, idle_timeout: float | None = None) -> "ConnectionPool":
        """The pool of an origin, made when first asked for. `idle_timeout`: seconds a kept connection may idle."""
        key = (origin, idle_timeout)
        pool = self._pools.get(key)
        if pool is None:
            idle = self._limits.idle_timeout if idle_timeout is None else idle_timeout
            pool = self._pools[key] = ConnectionPool(origin, self._dialer, self._limits, idle, self._deadlines)
        return pool

    def retire(self, pools: Iterable[PoolKey]) -> None:
        """Keep no connection in these pools any more; those in use end with their use."""
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
        """Send a request and wait for the head of its response. Whoever gets the connection must `release` it.

        The first byte must come within `first_byte_timeout` seconds from now, a wait for a connection included, and
        the whole answer before `until` (loop time).

        A kept connection that dies before any byte of an answer was most likely closed by an idle timer while the
        request was under way (RFC 9112, 9.3.1): the request goes out once more, on a new connection, and the other
        kept connections to that origin are dropped unused. Raises Failure.
        """
        timeout = self._limits.first_byte_timeout if first_byte_timeout is None else first_byte_timeout
        now = self._loop.time()
        begin_by = now + timeout
        connection = pool.try_acquire(now) or await pool.acquire(begin_by, deadline)
        try:
            connection.send(head, body, begin_by, timeout, deadline)
            while not connection.head_received():
                await connection.arrival
            return connection
        except Failure:
            connection.release()
            if not connection.died_unused:
                raise
        except BaseException:
            connection.release()
            raise
        self._on_replay()
        pool.drop_free()
        connection = await pool.acquire(begin_by, deadline, new=True)
        try:
            connection.send(head, body, begin_by, timeout, deadline)
            while not connection.head_received():
                await connection.arrival
            return connection
        except BaseException:
            connection.release()
            raise

    def close(self) -> None:
        """Close every connection, busy ones too."""
        for pool in (*self._pools.values(), *self._retired):
            pool.close()

    def connections(self) -> int:
        """How many connections are open or being opened."""
        return sum(pool.size for pool in (*self._pools.values(), *self._retired))


class ConnectionPool:
    """The connections to one origin. The one used last is used next, so that a burst's surplus can expire."""

    def __init__(
        self, origin: Origin, dialer: Connector, limits: ClientLimits, idle_timeout: float, deadlines: DeadlineSweeper
    ) -> None:
        self.origin = origin
        self._dialer = dialer
        self._limits = limits
        self._idle_timeout = idle_timeout
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._free: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._waiters: deque[_ConnectionWaiter] = deque()
        self._retired = False

    @property
    def size(self) -> int:
        return len(self._open) + len(self._dials)

    @property
    def free(self) -> int:
        return len(self._free)

    def try_acquire(self, now: float) -> UpstreamConnection | None:
        """A free connection that is alive, if there is one. `now` in loop time."""
        free = self._free
        while free:
            connection = free.pop()
            if connection.probe(now):
                return connection
            connection.close()
        return None

    async def acquire(
        self, begin_by: float = NEVER, deadline: float = NEVER, *, new: bool = False
    ) -> UpstreamConnection:
        """A connection as soon as one is opened or comes free; with `new`, only one that was never used.

        Raises Failure: of kind CONNECT when opening failed, OVERLOADED when no place came free in time, TIMEOUT at
        `begin_by`, the end of the attempt, or `until`, that of the request (both in loop time).
        """
        waiter = _ConnectionWaiter(new, begin_by, deadline)
        self._waiters.append(waiter)
        timeout = self._limits.wait_timeout
        if self._dial_if_possible():
            timeout += self._limits.connect_timeout
        elif not self._dials:
            waiter.cause = ClientCause.NO_PLACE
        waiter.deadline = min(self._loop.time() + timeout, begin_by, deadline)
        self._deadlines.watch(waiter)
        try:
            while waiter.connection is None and waiter.failure is None:
                await waiter.signal
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
        """Close the connections nobody uses."""
        free, self._free = self._free, []
        for connection in free:
            connection.close()

    def retire(self) -> None:
        """Keep no connection from now on. Whoever still needs one, for a request that has begun, gets it."""
        self._retired = True
        self.drop_free()

    def close(self) -> None:
        for dial in tuple(self._dials):
            dial.cancel()
        for connection in tuple(self._open):
            connection.close()

    # -- the life of its connections -----------------------------------------------------------------------------------

    def _dial_if_possible(self) -> bool:
        """Open one more connection if somebody waits for it and the limit allows."""
        if len(self._waiters) <= len(self._dials) or self.size >= self._limits.max_connections:
            return False
        dial = self._loop.create_task(self._dial())
        self._dials.add(dial)
        dial.add_done_callback(self._dialled)
        return True

    async def _dial(self) -> None:
        connection = await self._dialer.connect(
            self.origin, lambda: UpstreamConnection(self._limits, self._loop, self._lost, self._freed)
        )
        if connection.lost:
            raise Failure(Kind.CONNECT, 502, f"{self.origin} closed the connection at once", code="connect_failed")
        self._open.add(connection)
        self._deadlines.watch(connection)
        self._dials.discard(asyncio.current_task())  # this very task; it counts as open now
        connection.idle_since = self._loop.time()
        self._freed(connection)  # whoever wanted it may have left: then it is kept, and expires, like any other

    def _dialled(self, dial: asyncio.Task[None]) -> None:
        self._dials.discard(dial)
        error = None if dial.cancelled() else dial.exception()
        if error is not None and self._waiters:
            waiter = self._waiters.popleft()
            waiter.failure = error if isinstance(error, Failure) else Failure(Kind.INTERNAL, 500, "dialling failed")
            waiter.signal.wake()

    def _freed(self, connection: UpstreamConnection) -> None:
        connection.deadline = connection.idle_since + self._idle_timeout
        self._offer(connection)

    def _offer(self, connection: UpstreamConnection) -> None:
        """Give a usable connection to whoever waits longest, or keep it."""
        if connection.lost:
            return
        for waiter in self._waiters:
            if not waiter.new or connection.uses == 0:
                self._waiters.remove(waiter)
                waiter.connection = connection
                waiter.signal.wake()
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
        self._dial_if_possible()


class _ConnectionWaiter:
    """A strand's place in the queue for a connection."""

    __slots__ = ("begin_by", "cause", "connection", "deadline", "failure", "new", "request_deadline", "signal")

    def __init__(self, new: bool, begin_by: float, request_deadline: float) -> None:
        self.new = new
        self.begin_by = begin_by
        self.request_deadline = request_deadline
        self.signal = WakeEvent()
        self.connection: UpstreamConnection | None = None
        self.failure: Failure | None = None
        self.cause: ClientCause | None = None  # of a wait that comes to nothing
        self.deadline = NEVER

    def on_deadline(self, now: float) -> None:
        self.deadline = NEVER
        if now >= self.request_deadline:
            self.failure = deadline_exceeded()
        elif now >= self.begin_by:
            text = "no connection to the provider could be had in the time for one attempt"
            self.failure = Failure(Kind.TIMEOUT, 504, text, code="provider_timeout", client_cause=self.cause)
        else:
            text = "all connections to the provider are busy; raise UPSTREAM_MAX_CONNECTIONS or try again"
            self.failure = Failure(Kind.OVERLOADED, 503, text, code="no_free_connection", retry_after=1.0)
        self.signal.wake()
