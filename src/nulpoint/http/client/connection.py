"""Sends requests on one connection to a provider, and reads the responses.

The coroutine that holds the connection sends one request, waits for the head of the response, and reads the body as it
arrives. Everything that goes wrong becomes one `Failure`. A connection goes back to its pool only after a response that
ended exactly where its head said. Otherwise it is closed, so a cancellation cannot leave it in a wrong state.
"""

import asyncio
import select
from collections.abc import Callable

import httptools

from nulpoint.errors import ClientCause, Failure, Kind
from nulpoint.http.coroutine_runner import WakeEvent
from nulpoint.http.deadlines import NEVER
from nulpoint.http.limits import ClientLimits

READ_BYTES = 65_536  # the most that is read from the socket at once
MAX_UNREAD_BYTES = 32_768  # reading from the socket pauses while the coroutine has not read more than this
MAX_INTERIM_RESPONSES = 8
MAX_HEADERS = 1000  # of a response: distinct names, and also repetitions of names
TRUST_IDLE_SECONDS = 1.0  # a connection that was used this recently is not probed before reuse
_MAX_COPIED_BYTES = 32_768  # a shorter body is copied behind its head, and a longer one is written separately

# All connections share one read buffer: the event loop fills it and the parser empties it within one callback.
_READ_BUFFER = memoryview(bytearray(READ_BYTES))


# Receives the bytes of one read from the socket, inside the socket's callback. Returns False to receive no more.
Sink = Callable[[bytes], bool]


class UpstreamConnection(asyncio.BufferedProtocol):
    """A connection to a provider. `on_lost` is called once, when it is closed, and `on_free` when it may be reused."""

    __slots__ = (
        "_busy",
        "_chunks",
        "_ended",
        "_failure",
        "_framed",
        "_head_bytes",
        "_head_done",
        "_interim_responses",
        "_limits",
        "_loop",
        "_needs_progress",
        "_on_free",
        "_on_lost",
        "_parser",
        "_paused_reading",
        "_paused_writing",
        "_received",
        "_repetitions",
        "_request_deadline",
        "_reusable",
        "_sink",
        "_transport",
        "_unread",
        "_unsent",
        "arrival",
        "deadline",
        "first_byte_timeout",
        "headers",
        "idle_since",
        "lost",
        "status",
        "uses",
    )

    def __init__(
        self,
        limits: ClientLimits,
        loop: asyncio.AbstractEventLoop,
        on_lost: "Callable[[UpstreamConnection], None]",
        on_free: "Callable[[UpstreamConnection], None]",
    ) -> None:
        self._limits = limits
        self._loop = loop
        self._on_lost = on_lost
        self._on_free = on_free
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self._parser = httptools.HttpResponseParser(self)
        self.arrival = WakeEvent()
        self._paused_reading = False
        self._paused_writing = False
        self._unsent = 0
        self.lost = False
        self.uses = 0
        self.idle_since = 0.0
        self.deadline = self._request_deadline = NEVER
        self._reset()
        self._busy = False

    def _reset(self) -> None:
        """Forget the last exchange."""
        self._busy = True
        self._received = False  # any byte of a response has arrived
        self._head_done = False
        self._head_bytes = 0  # of an incomplete head
        self._repetitions = 0
        self._interim_responses = 0
        self._ended = False
        self._reusable = False
        self._framed = False  # the message itself says where the body ends, not the end of the connection
        self._failure: Exception | None = None
        self._sink: Sink | None = None
        self._needs_progress = False  # the idle timeout is extended by calls of `progress`, not by bytes
        self._chunks: list[bytes] = []
        self._unread = 0
        self.status = 0
        self.headers: dict[bytes, bytes] = {}

    # -- methods for the coroutine that holds the connection -----------------------------------------------------------

    def send(
        self, head: bytes, body: bytes, first_byte_deadline: float, timeout: float, deadline: float = NEVER
    ) -> None:
        """Send one complete request.

        The first byte of the response must arrive before `first_byte_deadline` (loop time), which is `timeout` seconds
        after the wait for it began, and the complete response before `deadline` (loop time), however steadily it comes.
        """
        self._reset()
        self.uses += 1
        self.first_byte_timeout = timeout
        self._request_deadline = deadline
        self.deadline = first_byte_deadline if first_byte_deadline < deadline else deadline
        if self.lost:
            self._fail(_disconnected("closed the connection"))
        elif len(body) < _MAX_COPIED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    def _allow(self, seconds: float) -> None:
        """Let the present phase take this many seconds from now."""
        self.deadline = min(self._loop.time() + seconds, self._request_deadline)

    def start_idle_timeout(self) -> float:
        """Let only `progress` extend the idle timeout from now on, because bytes alone may be nothing but comments.

        Return the timeout in seconds.
        """
        self._needs_progress = True
        return self._limits.stream_idle_timeout

    def progress(self) -> None:
        """Extend the idle timeout, because an event has arrived."""
        self._allow(self._limits.stream_idle_timeout)

    def lift_deadline(self) -> None:
        """Limit the rest of the response only by the idle timeout, and no longer by the request's deadline.

        After this, `deadline` may also be set directly instead of calling `progress`.
        """
        self._request_deadline = NEVER
        self.progress()

    def head_received(self) -> bool:
        """Return whether the status and headers of the response have arrived. If not, wait for `arrival`.

        This is no coroutine, because a coroutine would cost more than the whole check. Raise Failure.
        """
        if not self._head_done and self._failure is not None:
            raise self._failure
        return self._head_done

    async def read(self) -> bytes:
        """Return the next bytes of the body as they arrived, or b"" at its end. Raise Failure if it is cut off."""
        while not (data := self.take()) and not self._ended:
            await self.arrival
        return data

    def take(self) -> bytes:
        """Return what has arrived and was not read yet.

        Return b"" at the end, or if nothing has arrived; then wait for `arrival`. Raise Failure.
        """
        chunks = self._chunks
        if chunks:
            data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            self._unread = 0
            if self._paused_reading:
                self._resume_reading()
            return data
        if self._failure is not None and not self._ended:
            raise self._failure
        return b""

    async def pump_to(self, sink: Sink) -> None:
        """Pass every read to `sink` until it returns False or the body has ended. The last bytes are left for `take`.

        The chunks of a stream pass without resuming the coroutine, which would cost more than all other work on them.
        Raise Failure if the response is cut off, and whatever the sink raises.
        """
        if self._chunks and not self._ended and not sink(self.take()):
            return
        self._sink = sink
        try:
            while self._sink is not None and not self._ended:
                if self._failure is not None:
                    raise self._failure
                await self.arrival
        finally:
            self._sink = None

    @property
    def whole(self) -> bytes | None:
        """The body, if all of it arrived at once and uncompressed, and None otherwise. It then counts as read."""
        chunks = self._chunks
        if not self._ended or len(chunks) != 1 or b"content-encoding" in self.headers:
            return None
        self._chunks = []
        self._unread = 0  # otherwise reading would be paused, and nobody would resume it
        return chunks[0]

    async def body(self) -> bytes:
        """Return the rest of the body. Raises Failure, for example if the body is over the limit."""
        parts = []
        size = 0
        while data := await self.read():
            parts.append(data)
            size += len(data)
            if size > self._limits.upstream_max_body_bytes:
                raise _malformed(
                    f"its body is over {self._limits.upstream_max_body_bytes} bytes", ClientCause.OVER_LIMIT
                )
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def ended(self) -> bool:
        """True when the response has ended. Its last bytes may still be unread."""
        return self._ended

    @property
    def was_stale(self) -> bool:
        """True if a reused connection turned out to be closed. No byte of a response came, so one replay is safe."""
        return self.uses > 1 and self.lost and not self._received

    def release(self) -> None:
        """Give the connection back. It becomes free if its response ended cleanly, and is closed otherwise."""
        if not self._busy:
            return
        self._busy = False
        if self._reusable and not self.lost and not self._chunks and not self._transport.get_write_buffer_size():
            self.idle_since = self._loop.time()
            self.deadline = NEVER
            self._on_free(self)
        else:
            self.close()

    def close(self) -> None:
        """Close the connection at once. Unsent bytes are discarded."""
        if not self.lost:
            self._transport.abort()

    def probe(self, now: float) -> bool:
        """Return whether a free connection may be reused.

        If its socket is readable, the provider has closed it or has sent something that nobody requested.
        """
        if self.lost or self._transport.is_closing():
            return False
        if now - self.idle_since < TRUST_IDLE_SECONDS:
            return True
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    # -- callbacks of the transport ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclass

    def get_buffer(self, _sizehint: int) -> memoryview:
        return _READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:  # noqa: C901 - one method, because each call costs 0.1 us a read
        if not self._busy:  # there is no request in progress
            self.close()
            return
        self._received = True
        try:
            self._parser.feed_data(_READ_BUFFER[:nbytes])
        except httptools.HttpParserUpgrade:
            self._fail(_malformed("it switched protocols without a request to do so"))
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, Failure):
                raise
            self._fail(error.__context__)
        except httptools.HttpParserError as error:
            self._fail(_malformed(str(error)))  # if the response is complete, this only prevents reuse
        if not self._head_done:
            self._count_head(nbytes)
        sink = self._sink
        if sink is None or not self._needs_progress:
            self.deadline = min(self._loop.time() + self._limits.stream_idle_timeout, self._request_deadline)
        if sink is None or self._ended:
            self.arrival.wake()
        else:
            if self._chunks:  # what arrived before a failure is passed on
                self._pump(sink)
            if self._failure is not None:
                self.arrival.wake()
        if self._unread > MAX_UNREAD_BYTES:
            self._pause_reading()

    def _pause_reading(self) -> None:
        if not self._paused_reading and not self.lost:
            self._paused_reading = True
            self.deadline = self._request_deadline  # the client is slow now, not the provider
            self._transport.pause_reading()

    def _pump(self, sink: Sink) -> None:
        """Pass what has arrived to the sink, and wake the coroutine only if it must do something."""
        try:
            if sink(self.take()):
                return
        except Exception as error:  # noqa: BLE001 - raised again where the coroutine waits
            self._fail(error)
        self._sink = None
        self.arrival.wake()

    def eof_received(self) -> None:
        """Let the transport close. `connection_lost` decides what that means."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._busy and not self._ended:
            if self._head_done and not self._framed and exc is None:
                self._ended = True  # the end of the connection ends such a body (RFC 9112, 6.3)
            elif self._failure is None:
                cause = ClientCause.REQUEST_UNREAD if self._paused_writing else None
                self._failure = _disconnected("closed the connection" if exc is None else "reset the connection", cause)
        self._on_lost(self)
        self.arrival.wake()

    def pause_writing(self) -> None:
        self._paused_writing = True
        self._unsent = self._transport.get_write_buffer_size()
        self._allow(self._limits.upstream_write_timeout)

    def resume_writing(self) -> None:
        self._paused_writing = False
        self._allow(self.first_byte_timeout)

    def on_deadline(self, now: float) -> None:
        """Handle that the deadline of the present phase has passed."""
        if not self._busy:
            self.close()
            return
        if self._paused_writing and now < self._request_deadline:
            unsent = self._transport.get_write_buffer_size()
            if unsent < self._unsent:
                self._unsent = unsent
                self._allow(self._limits.upstream_write_timeout)
                return
        self.deadline = NEVER
        self._fail(deadline_exceeded() if now >= self._request_deadline else self._timed_out())
        self.arrival.wake()

    def _timed_out(self) -> Failure:
        if self._paused_writing:
            problem = f"read nothing of the request for {self._limits.upstream_write_timeout:g} s"
        elif self._received:
            problem = f"sent nothing more of its response for {self._limits.stream_idle_timeout:g} s"
        else:
            problem = f"did not begin to respond within {self.first_byte_timeout:.3g} s"
        return Failure(Kind.TIMEOUT, 504, f"the provider {problem}", code="provider_timeout")

    def _resume_reading(self) -> None:
        self._paused_reading = False
        if not self.lost:
            self._allow(self._limits.stream_idle_timeout)
            self._transport.resume_reading()

    def _fail(self, failure: Exception) -> None:
        if self._failure is None and not self._ended:
            self._failure = failure
        self.close()

    # -- callbacks of the parser ---------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        headers = self.headers
        headers[name] = value if name not in headers else self._joined(headers[name], value)

    def _joined(self, first: bytes, second: bytes) -> bytes:
        """Return the value of a repeated header (RFC 9110, 5.3)."""
        self._repetitions += 1
        if self._repetitions > MAX_HEADERS:  # each repetition copies all values before it
            raise self._head_too_large()
        return first + b", " + second

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim_responses += 1
            if self._interim_responses > MAX_INTERIM_RESPONSES:
                raise _malformed("it sent only interim responses")
            return
        headers = self.headers
        if len(headers) > MAX_HEADERS or (self._head_bytes and _size(headers) > self._limits.upstream_max_head_bytes):
            raise self._head_too_large()
        self._framed = b"content-length" in headers or headers.get(b"transfer-encoding", b"").lower() == b"chunked"
        self.status = status
        self._head_done = True

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._unread += len(data)

    def on_message_complete(self) -> None:
        if not self._head_done:
            self.headers = {}
            return
        if not self._framed:  # 204 and 304 have no body and need no length
            self._framed = self.status in (204, 304)
        self._ended = True
        self._reusable = self._framed and self._parser.should_keep_alive()  # the parser only knows this now

    def on_message_begin(self) -> None:
        if self._ended:
            raise _malformed("it sent more than one response")

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.upstream_max_head_bytes:
            self._fail(self._head_too_large())

    def _head_too_large(self) -> Failure:
        return _malformed(f"its head is over {self._limits.upstream_max_head_bytes} bytes or {MAX_HEADERS} headers")


def _size(headers: dict[bytes, bytes]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items())


def deadline_exceeded() -> Failure:
    """Return the failure of a request whose own deadline has passed."""
    text = "the response was not complete before the request's deadline (REQUEST_TIMEOUT, or x-nulpoint-timeout)"
    return Failure(Kind.TIMEOUT, 504, text, code="deadline_exceeded", client_cause=ClientCause.DEADLINE)


def _disconnected(event: str, cause: ClientCause | None = None) -> Failure:
    text = f"the provider {event} before its response was complete"
    return Failure(Kind.UPSTREAM, 502, text, code="provider_disconnected", client_cause=cause)


def _malformed(reason: str, cause: ClientCause | None = None) -> Failure:
    text = f"the provider sent a malformed HTTP response: {reason}"
    return Failure(Kind.UPSTREAM, 502, text, code="provider_malformed", client_cause=cause)
