"""One connection to a provider and the exchange that runs on it.

The strand that holds the connection sends one message, waits for the head of the answer, and reads the body as it
comes. Whatever goes wrong becomes one `Failure`. A connection goes back to its pool only after a message that ended
exactly where it said; any other way out closes it, so cancellation cannot leave it in a wrong state.
"""

import asyncio
import select
from collections.abc import Callable

import httptools

from nulpoint.errors import ClientCause, Failure, Kind
from nulpoint.http.coroutine_runner import WakeEvent
from nulpoint.http.deadlines import NEVER
from nulpoint.http.limits import ClientLimits

READ_BYTES = 65_536  # at most this much is taken from the socket at once
UNREAD_BYTES = 32_768  # more than this not yet read by the strand pauses the socket
INTERIM_ANSWERS = 8
MOST_FIELDS = 1000  # of an answer's head: names, and repetitions of names
TRUST_IDLE_SECONDS = 1.0  # a connection used this recently is not probed before reuse
_COPIED_BYTES = 32_768  # a shorter body is copied behind its head; a longer one is written as it is

# One read buffer for all connections: the loop fills it and the parser empties it within one callback.
_READ_BUFFER = memoryview(bytearray(READ_BYTES))


# Takes one network read of a stream's body, from the very callback of the socket; False when it can take no more now.
Sink = Callable[[bytes], bool]


class UpstreamConnection(asyncio.BufferedProtocol):
    """A connection to a provider. `on_lost` is called once when it is gone, `on_free` when it may be used again."""

    __slots__ = (
        "_busy",
        "_chunks",
        "_ended",
        "_failure",
        "_head_bytes",
        "_head_done",
        "_interim",
        "_limits",
        "_loop",
        "_on_free",
        "_on_lost",
        "_paced",
        "_parser",
        "_paused_reading",
        "_paused_writing",
        "_received",
        "_repetitions",
        "_reusable",
        "_sink",
        "_sized",
        "_transport",
        "_unread",
        "_unsent",
        "_until",
        "arrival",
        "deadline",
        "first_byte_timeout",
        "headers",
        "idle_since",
        "lost",
        "status",
        "uses",
    )  # fmt: skip

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
        self.deadline = self._until = NEVER
        self._begin()
        self._busy = False

    def _begin(self) -> None:
        """Forget the last exchange."""
        self._busy = True
        self._received = False  # any byte of an answer
        self._head_done = False
        self._head_bytes = 0  # of a head that has not come whole yet
        self._repetitions = 0
        self._interim = 0
        self._ended = False
        self._reusable = False
        self._sized = False  # the end of the body is told by the message, not by the end of the connection
        self._failure: Exception | None = None
        self._sink: Sink | None = None
        self._paced = False  # whoever reads says what counts as progress
        self._chunks: list[bytes] = []
        self._unread = 0
        self.status = 0
        self.headers: dict[bytes, bytes] = {}

    # -- the strand's side ---------------------------------------------------------------------------------------------

    def send(self, head: bytes, body: bytes, begin_by: float, timeout: float, deadline: float = NEVER) -> None:
        """Send one whole request.

        The first byte of the response must come before `begin_by` (loop time), which is `timeout` seconds after somebody
        began to wait for it, and all of it before `deadline` (loop time), however steadily it comes.
        """
        self._begin()
        self.uses += 1
        self.first_byte_timeout = timeout
        self._until = deadline
        self.deadline = begin_by if begin_by < deadline else deadline
        if self.lost:
            self._fail(_gone("closed the connection"))
        elif len(body) < _COPIED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    def _allow(self, seconds: float) -> None:
        """The present phase may take so long from now."""
        self.deadline = min(self._loop.time() + seconds, self._until)

    def start_idle_timeout(self) -> float:
        """From now on only `progress` counts against the idle timeout: bytes alone may be nothing but comments.

        Gives that timeout, in seconds.
        """
        self._paced = True
        return self._limits.read_timeout

    def progress(self) -> None:
        """An event has come."""
        self._allow(self._limits.read_timeout)

    def lift_deadline(self) -> None:
        """The answer is no longer bound by the request's deadline, only by the idle timeout.

        Whoever calls this may also set `deadline` instead of calling `progress`.
        """
        self._until = NEVER
        self.progress()

    def head_received(self) -> bool:
        """Whether status and headers of the answer have come; else wait for `arrival`. Raises Failure.

        No coroutine: one costs a request more than all that is asked here.
        """
        if not self._head_done and self._failure is not None:
            raise self._failure
        return self._head_done

    async def read(self) -> bytes:
        """The next bytes of the body, as they came; empty at its end. Raises Failure when the answer is cut."""
        while not (data := self.take()) and not self._ended:
            await self.arrival
        return data

    def take(self) -> bytes:
        """What has come and is not read yet; empty when one must wait for `arrival`, or at the end. Raises Failure."""
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
        """Give every read to `sink` until it says False or the body has ended; what came last is left to `take`.

        A stream's chunks pass without a step of the strand, which costs more than all else that is done to them.
        Raises Failure when the answer is cut, and whatever the sink raises.
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
        """The body, where all of it came at once and uncompressed; it counts as read then."""
        chunks = self._chunks
        if not self._ended or len(chunks) != 1 or b"content-encoding" in self.headers:
            return None
        self._chunks = []
        self._unread = 0  # or the socket would be paused when nobody is left to resume it
        return chunks[0]

    async def body(self) -> bytes:
        """The whole rest of the body. Raises Failure, also when it is over the limit."""
        parts = []
        size = 0
        while data := await self.read():
            parts.append(data)
            size += len(data)
            if size > self._limits.max_body:
                raise _malformed(f"its body is over {self._limits.max_body} bytes", ClientCause.OVER_BOUND)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come; what has come may still be unread."""
        return self._ended

    @property
    def died_unused(self) -> bool:
        """A kept connection that turned out dead: no byte of an answer came, so one replay is safe."""
        return self.uses > 1 and self.lost and not self._received

    def release(self) -> None:
        """The strand is done. A cleanly ended connection becomes free, any other is closed."""
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
        """Close at once; nothing unsent is worth sending."""
        if not self.lost:
            self._transport.abort()

    def probe(self, now: float) -> bool:
        """Whether a free connection may be used again: a socket that is readable has hung up, or talks out of turn."""
        if self.lost or self._transport.is_closing():
            return False
        if now - self.idle_since < TRUST_IDLE_SECONDS:
            return True
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    # -- the transport's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclass

    def get_buffer(self, sizehint: int) -> memoryview:
        return _READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:  # noqa: C901 - once a read: a call less is 0.1 us less
        if not self._busy:  # nobody asked anything
            self.close()
            return
        self._received = True
        try:
            self._parser.feed_data(_READ_BUFFER[:nbytes])
        except httptools.HttpParserUpgrade:
            self._fail(_malformed("it switched protocols unasked"))
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, Failure):
                raise
            self._fail(error.__context__)
        except httptools.HttpParserError as error:
            self._extra_or_malformed(error)
        if not self._head_done:
            self._count_head(nbytes)
        sink = self._sink
        if sink is None or not self._paced:  # where nobody looks at what has come, it counts as it is
            self.deadline = min(self._loop.time() + self._limits.read_timeout, self._until)
        if sink is None or self._ended:
            self.arrival.wake()
        else:
            if self._chunks:  # what came before a failure counts
                self._pour(sink)
            if self._failure is not None:
                self.arrival.wake()
        if self._unread > UNREAD_BYTES:
            self._pause_reading()

    def _pause_reading(self) -> None:
        if not self._paused_reading and not self.lost:
            self._paused_reading = True
            self.deadline = self._until  # the wait is not the provider's now
            self._transport.pause_reading()

    def _pour(self, sink: Sink) -> None:
        """Give what has come to the sink; the strand is woken only when it must do something."""
        try:
            if sink(self.take()):
                return
        except Exception as error:  # noqa: BLE001 - raised again where the strand waits
            self._fail(error)
        self._sink = None
        self.arrival.wake()

    def eof_received(self) -> None:
        """Let the transport close; `connection_lost` decides what the end means."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._busy and not self._ended:
            if self._head_done and not self._sized and exc is None:
                self._ended = True  # the end of the connection is the end of such a body (RFC 9112, 6.3)
            elif self._failure is None:
                cause = ClientCause.REQUEST_UNREAD if self._paused_writing else None
                self._failure = _gone("closed the connection" if exc is None else "reset the connection", cause)
        self._on_lost(self)
        self.arrival.wake()

    def pause_writing(self) -> None:
        self._paused_writing = True
        self._unsent = self._transport.get_write_buffer_size()
        self._allow(self._limits.write_timeout)

    def resume_writing(self) -> None:
        self._paused_writing = False
        self._allow(self.first_byte_timeout)

    def on_deadline(self, now: float) -> None:
        """The deadline of the present phase has passed."""
        if not self._busy:
            self.close()
            return
        if self._paused_writing and now < self._until:
            unsent = self._transport.get_write_buffer_size()
            if unsent < self._unsent:
                self._unsent = unsent
                self._allow(self._limits.write_timeout)
                return
        self.deadline = NEVER
        self._fail(deadline_exceeded() if now >= self._until else self._timed_out())
        self.arrival.wake()

    def _timed_out(self) -> Failure:
        if self._paused_writing:
            what = f"read nothing of the request for {self._limits.write_timeout:g} s"
        elif self._received:
            what = f"sent nothing more of its answer for {self._limits.read_timeout:g} s"
        else:
            what = f"did not begin to answer within {self.first_byte_timeout:.3g} s"
        return Failure(Kind.TIMEOUT, 504, f"the provider {what}", code="provider_timeout")

    def _resume_reading(self) -> None:
        self._paused_reading = False
        if not self.lost:
            self._allow(self._limits.read_timeout)
            self._transport.resume_reading()

    def _fail(self, failure: Exception) -> None:
        if self._failure is None and not self._ended:
            self._failure = failure
        self.close()

    # -- the parser's side ---------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        headers = self.headers
        headers[name] = value if name not in headers else self._joined(headers[name], value)

    def _joined(self, first: bytes, second: bytes) -> bytes:
        """The value of a repeated field (RFC 9110, 5.3)."""
        self._repetitions += 1
        if self._repetitions > MOST_FIELDS:  # each copies all before it
            raise self._head_too_large()
        return first + b", " + second

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim += 1
            if self._interim > INTERIM_ANSWERS:
                raise _malformed("it sent only interim answers")
            return
        headers = self.headers
        if len(headers) > MOST_FIELDS or (self._head_bytes and _size(headers) > self._limits.max_head):
            raise self._head_too_large()
        self._sized = b"content-length" in headers or headers.get(b"transfer-encoding", b"").lower() == b"chunked"
        self.status = status
        self._head_done = True

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._unread += len(data)

    def on_message_complete(self) -> None:
        if not self._head_done:
            self.headers = {}
            return
        if not self._sized:  # 204 and 304 have no body and need no length
            self._sized = self.status in (204, 304)
        self._ended = True
        self._reusable = self._sized and self._parser.should_keep_alive()  # the parser knows only just now

    def on_message_begin(self) -> None:
        if self._ended:
            raise _malformed("it sent more than one answer")

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.max_head:
            self._fail(self._head_too_large())

    def _head_too_large(self) -> Failure:
        return _malformed(f"its head is over {self._limits.max_head} bytes or {MOST_FIELDS} fields")

    def _extra_or_malformed(self, error: httptools.HttpParserError) -> None:
        """Bytes after a whole answer do not spoil it, but nothing may follow on this connection."""
        self._fail(_malformed(str(error)))


def _size(headers: dict[bytes, bytes]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items())


def deadline_exceeded() -> Failure:
    """The request's own deadline has passed."""
    text = "no whole answer came before the request's deadline (REQUEST_TIMEOUT, or x-nulpoint-timeout)"
    return Failure(Kind.TIMEOUT, 504, text, code="deadline_exceeded", client_cause=ClientCause.DEADLINE)


def _gone(what: str, cause: ClientCause | None = None) -> Failure:
    text = f"the provider {what} before its answer was whole"
    return Failure(Kind.UPSTREAM, 502, text, code="provider_disconnected", client_cause=cause)


def _malformed(what: str, cause: ClientCause | None = None) -> Failure:
    text = f"the provider sent a malformed HTTP answer: {what}"
    return Failure(Kind.UPSTREAM, 502, text, code="provider_malformed", client_cause=cause)
