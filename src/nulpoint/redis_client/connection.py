"""The connection to Redis, which all requests of the process share.

Commands of different requests are pipelined: those of one turn of the event loop take one write and one round trip.
Only one task reads replies from the connection, in order. If a request is cancelled, its reply is still read, and then
dropped. In redis-py a cancelled command left its reply to the next command (redis-py#2624, #2665), which gave one
person's response to another. Here no command is ever cancelled, and a connection is closed if anything goes wrong.

Requests do not suffer if Redis is slow, frozen or gone: each waits for a reply for at most `timeout` seconds. While
Redis is silent, only a few requests wait, and all others go on without it at once. If a reply does not come in time,
the connection is closed; a new one is used once Redis has answered a PING in time.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

logger = logging.getLogger(__name__)

TIMEOUT = 0.05  # seconds a request may wait for a reply
MAX_WAITING = 5  # requests that may wait while Redis is silent; also the error replies in a row before a pause
LAST_READ_SECONDS = 0.002  # extra time for an overdue reply, in case the event loop was too busy to read it
SILENT_SHARE = 0.2  # Redis counts as silent after this share of the timeout, or two round trips if they are longer
CONNECT_TIMEOUT = 2.0
RETRY_SECONDS = 1.0
WARN_SECONDS = 10.0


class RedisUnavailable:
    """The result of a call that got no reply. `reason` is one of a few fixed words, for metrics."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


DOWN: Final = RedisUnavailable("down")  # not connected, or paused after errors: nothing was sent
SILENT: Final = RedisUnavailable("silent")  # other requests are waiting already: nothing was sent
TIMED_OUT: Final = RedisUnavailable("timeout")
LOST: Final = RedisUnavailable("lost")  # the connection broke before the reply came
REFUSED: Final = RedisUnavailable("refused")  # Redis sent an error reply
# The value that a command returns, a NoScriptError (whoever runs a script handles it), or a RedisUnavailable.
Reply = Any


class _SentCommand:
    __slots__ = ("at", "future")

    def __init__(self, at: float, future: "asyncio.Future[Reply]") -> None:
        self.at = at
        self.future = future


class RedisConnection:
    """A pipelined connection that reconnects by itself. It needs a running event loop.

    Before `start`, and while Redis is unreachable, every call returns `DOWN` at once.
    """

    def __init__(
        self,
        make_connection: Callable[[], AbstractConnection],
        timeout: float = TIMEOUT,
        retry: float = RETRY_SECONDS,
        failures: dict[str, int] | None = None,
    ) -> None:
        """Prepare the connection. `failures` has the counts by reason to continue from."""
        self._make_connection = make_connection
        self._timeout = timeout
        self._retry = retry
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[Any, ...]] = []
        self._wake = asyncio.Event()
        self._sent: deque[_SentCommand] = deque()
        self._last_reply = 0.0
        self._round_trip = 0.0
        self._error_replies = 0  # in a row
        self._paused_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._connect_task: asyncio.Task[None] | None = None
        self._io_tasks: tuple[asyncio.Task[None], ...] = ()
        self._warned_at = -WARN_SECONDS
        self.up = False
        self.problem = "not connected yet"
        self.failures = failures if failures is not None else {}

    # -- for requests --------------------------------------------------------------------------------------------------

    def call(self, *command: Any) -> "asyncio.Future[Reply]":
        """Send a command. The future yields the reply or a RedisUnavailable within `timeout`, and never raises."""
        future: asyncio.Future[Reply] = self._loop.create_future()
        now = self._loop.time()
        unavailable = self._unavailable_reason(now)
        if unavailable is not None:
            self._count(unavailable)
            future.set_result(unavailable)
            return future
        self._queue.append(command)
        self._sent.append(_SentCommand(now, future))
        self._wake.set()
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._timeout, self._check_oldest)
        return future

    def _unavailable_reason(self, now: float) -> RedisUnavailable | None:
        if not self.up or now < self._paused_until:
            return DOWN
        if len(self._sent) >= MAX_WAITING:
            silent_for = now - max(self._last_reply, self._sent[0].at)
            if silent_for > max(SILENT_SHARE * self._timeout, 2 * self._round_trip):
                return SILENT
        return None

    def _count(self, unavailable: RedisUnavailable) -> None:
        self.failures[unavailable.reason] = self.failures.get(unavailable.reason, 0) + 1

    def _check_oldest(self, late: _SentCommand | None = None) -> None:
        """Run by the only timer: drop the connection if the oldest reply is overdue.

        An overdue reply (`late`) first gets one more read of the socket, because the event loop itself may have been
        too busy to read a reply that has arrived.
        """
        self._timer = None
        if not self._sent:
            return
        oldest = self._sent[0]
        due = oldest.at + self._timeout
        if self._loop.time() < due:
            self._timer = self._loop.call_at(due, self._check_oldest)
        elif oldest is late:
            self._drop(TIMED_OUT, f"no reply within {self._timeout * 1000:g} ms")
        else:
            self._timer = self._loop.call_later(LAST_READ_SECONDS, self._check_oldest, oldest)

    def _on_reply(self, reply: Reply) -> None:
        sent = self._sent.popleft()
        self._last_reply = self._loop.time()
        self._round_trip += (self._last_reply - sent.at - self._round_trip) / 8
        if isinstance(reply, ResponseError) and not isinstance(reply, NoScriptError):
            self._on_error_reply(reply)
            reply = REFUSED
        else:
            self._error_replies = 0
        if not sent.future.done():
            sent.future.set_result(reply)

    def _on_error_reply(self, error: ResponseError) -> None:
        self._count(REFUSED)
        if isinstance(error, ReadOnlyError):  # it is no longer the primary; reconnecting may reach the new one
            self._drop(REFUSED, _describe(error))
            return
        self._warn(f"Redis replied with an error: {_describe(error)}")
        self._error_replies += 1
        if self._error_replies >= MAX_WAITING:
            self._paused_until = self._loop.time() + self._retry

    @property
    def usable(self) -> bool:
        """Return whether Redis is connected and does not reply with errors only."""
        return self.up and self._error_replies < MAX_WAITING

    # -- the connection ------------------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        return self._connect_task is not None

    def start(self) -> "asyncio.Future[None]":
        """Connect, and stay connected until `close`. The future is done after the first try, successful or not."""
        first_try: asyncio.Future[None] = self._loop.create_future()
        self._connect_task = self._loop.create_task(self._stay_connected(first_try))
        return first_try

    def stop(self) -> None:
        """Close the connection and do not reconnect."""
        self._disconnect(LOST)
        if self._connect_task is not None:
            self._connect_task.cancel()

    async def close(self) -> None:
        """Close the connection like `stop`, and wait until that is done."""
        self.stop()
        if self._connect_task is not None:
            await asyncio.wait((self._connect_task,))

    async def _stay_connected(self, first_try: "asyncio.Future[None]") -> None:
        while True:
            connection = self._make_connection()
            reconnect_at_once = False
            try:
                await self._connect(connection)
                _complete(first_try)
                await self._serve(connection)
            except Exception as error:  # noqa: BLE001 - without another try Redis would stay disconnected for good
                reconnect_at_once = self.up  # Redis closed a working connection: it is restarting
                self._drop(LOST, _describe(error))
            finally:
                await connection.disconnect(nowait=True)
            _complete(first_try)
            if not reconnect_at_once:
                await asyncio.sleep(self._retry)

    async def _connect(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await connection.connect()  # type: ignore[no-untyped-call]
        async with asyncio.timeout(self._timeout):
            await connection.send_command("PING", check_health=False)
            await connection.read_response()

    async def _serve(self, connection: AbstractConnection) -> None:
        """Use the connection until it is lost or dropped."""
        self.up, self.problem = True, ""
        self._error_replies, self._paused_until = 0, 0.0
        logger.info("Redis is connected")
        self._io_tasks = (
            self._loop.create_task(self._write(connection)),
            self._loop.create_task(self._read(connection)),
        )
        try:
            await asyncio.wait(self._io_tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in self._io_tasks:
                task.cancel()
            await asyncio.wait(self._io_tasks)
        errors = [error for task in self._io_tasks if not task.cancelled() and (error := task.exception())]
        if errors:
            raise errors[0]

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            commands, self._queue = self._queue, []
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            try:
                reply = await connection.read_response()
            except ResponseError as error:
                reply = error
            self._on_reply(reply)

    def _drop(self, why: RedisUnavailable, problem: str) -> None:
        self.problem = problem
        self._warn(f"Redis is unavailable: {problem}")
        self._disconnect(why)

    def _disconnect(self, why: RedisUnavailable) -> None:
        """Close the connection and complete all calls that wait for a reply."""
        self.up = False
        waiting, self._sent, self._queue = self._sent, deque(), []
        for sent in waiting:
            if not sent.future.done():
                self._count(why)
                sent.future.set_result(why)
        for task in self._io_tasks:
            task.cancel()

    def _warn(self, text: str) -> None:
        now = self._loop.time()
        if now - self._warned_at >= WARN_SECONDS:
            self._warned_at = now
            logger.warning("%s", text)


def _complete(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _describe(error: BaseException) -> str:
    """Describe an error for the log, without the address, and without the arguments of a command Redis does not know.

    Redis repeats those arguments in its error, and they may contain a password.
    """
    if isinstance(error, TimeoutError):
        return type(error).__name__
    return f"{type(error).__name__}: {str(error).partition(', with args')[0]}"[:200]


def connection_factory(url: str) -> Callable[[], AbstractConnection]:
    """Return a function that makes connections to a URL. Raises ValueError or TypeError if redis-py rejects the URL."""
    pool = ConnectionPool.from_url(url, protocol=2, socket_timeout=None, socket_connect_timeout=CONNECT_TIMEOUT)
    try:
        pool.make_connection()  # type: ignore[no-untyped-call]
    except RedisError as error:
        raise ValueError(str(error)) from None
    return pool.make_connection
