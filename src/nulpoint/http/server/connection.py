"""One caller's connection, on uvloop and httptools.

It reads one request at a time under limits and absolute timers, runs the service's coroutine for it in a strand, and
answers in order. What it promises to what stands above it:

- the service sees whole, well-framed requests only; everything else is answered here and the connection closed;
- when the caller leaves, the strand is cancelled at once (an end of file counts as leaving, as with HAProxy's
  `abortonclose`);
- one `Reply.write` is one write to the socket; `Reply.drain` waits while the caller reads too slowly.
"""

import asyncio
from collections.abc import Coroutine
from time import perf_counter
from typing import Any, Protocol

import httptools

from nulpoint.errors import Failure, Kind, rejected
from nulpoint.http.coroutine_runner import CoroutineRunner, WakeEvent
from nulpoint.http.deadlines import NEVER, DeadlineSweeper
from nulpoint.http.limits import ServerLimits
from nulpoint.http.message import Headers, HttpRequest
from nulpoint.http.server.head_cache import ParsedHeadCache
from nulpoint.http.server.head_validation import (
    EMPTY_LINE,
    END_OF_HEAD,
    check_head,
    check_request_line,
    has_request_line,
    join_headers,
    malformed,
)
from nulpoint.http.server.response import ResponseWriter

BACKLOG_BYTES = 65_536  # pipelined bytes kept while a request is being answered
REFUSALS = 32  # connections over the limit that are told so at one time; any more are dropped without a word
STRANGE_HEADS = 4  # a caller who sends as many different ones in a row will hardly send one again
LINGER_SECONDS = 2.0  # how long a refused caller may go on sending before the connection is closed under it
_NO_LINE_END = "its lines must end with CR and LF"
_PLAIN_ONLY = "only plain HTTP/1.1 is spoken here: no Upgrade, no CONNECT"


class RequestHandler(Protocol):
    """What answers requests."""

    def precheck(self, request: HttpRequest) -> None:
        """Raise `Failure` for a request whose body need not be asked for (`Expect: 100-continue`)."""

    def handle(self, request: HttpRequest, response: ResponseWriter) -> Coroutine[Any, Any, None] | None:
        """Answer through `reply`: at once, or by the coroutine that this gives."""

    def request_rejected(self, failure: Failure, headers: Headers) -> bytes:
        """A request was refused before it could be answered: note it, and give the header block for the refusal.

        `headers`: those that have come of it.
        """

    def handler_crashed(self, response: ResponseWriter, crash: Exception) -> None:
        """`answer` raised: note it, and answer if that is still possible."""


class Listener(Protocol):
    """What a connection belongs to."""

    service: RequestHandler
    limits: ServerLimits
    deadlines: DeadlineSweeper
    connections: "set[ServerConnection]"
    draining: bool


class ServerConnection(asyncio.Protocol):
    """One caller's connection."""

    __slots__ = (
        "_backlog",
        "_begun",
        "_blank_line",
        "_body",
        "_body_bytes",
        "_body_started",
        "_fields",
        "_framed_bytes",
        "_head_bytes",
        "_headers",
        "_in_body",
        "_in_head",
        "_known",
        "_learning",
        "_learnt",
        "_limits",
        "_line",
        "_line_ended",
        "_lingering",
        "_loop",
        "_may_end",
        "_parser",
        "_refusal",
        "_response",
        "_runner",
        "_server",
        "_tail",
        "_target",
        "_transport",
        "_unknown_heads",
        "_unsent",
        "_version",
        "_waiting",
        "closing",
        "deadline",
        "paused",
        "writable",
    )  # fmt: skip

    def __init__(self, server: Listener, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._limits = server.limits
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        # the request being read
        self._target = b""
        self._version = ""
        self._headers: dict[bytes, bytes] = {}
        self._fields = 0
        self._line = b""  # the request line, as far as it has come
        self._line_ended = False
        self._blank_line = False  # one came before the request line
        self._may_end = False  # what the parser is given ends where a head or a body may end
        self._tail = b""  # the last bytes of what it was given before, if they may be the beginning of such an end
        self._head_bytes = 0  # of a head that has not come whole yet
        self._in_head = False
        self._in_body = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._framed_bytes = 0  # the same with its framing, as it came
        self._body_started = 0.0
        # knowing the next head by the last
        self._known: ParsedHeadCache | None = None
        self._unknown_heads = 0
        self._learning = False
        self._learnt: HttpRequest | None = None  # the last one that was parsed meanwhile
        # requests read and not yet answered
        self._runner: CoroutineRunner | None = None
        self._response: ResponseWriter | None = None
        self._waiting: list[HttpRequest] = []
        self._backlog = b""
        self._refusal: Failure | None = None
        self._begun = 0  # requests, by the bytes that came last
        # writing
        self.paused = False
        self.writable = WakeEvent()
        self._unsent = 0
        # the connection
        self._lingering = False  # nothing more is read from it
        self.closing = False  # nothing more is written to it
        self.deadline = NEVER

    def update_settings(self) -> None:
        """What the server has now counts here too; what was known of requests to come does not any more."""
        self._limits = self._server.limits
        self._known = None
        self._unknown_heads = 0

    @property
    def draining(self) -> bool:
        return self._server.draining

    @property
    def peer(self) -> str:
        """The address the connection comes from; empty where there is none."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else ""

    @property
    def date(self) -> bytes:
        return self._server.deadlines.date

    # -- the transport's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclass
        self._transport.set_write_buffer_limits(high=self._limits.stream_buffer // 4)
        self._server.connections.add(self)
        self._server.deadlines.watch(self)
        self.deadline = self._loop.time() + self._limits.head_timeout
        over = len(self._server.connections) - self._limits.max_connections
        if over > 0:
            self._turn_away(over)

    def _turn_away(self, over: int) -> None:
        """Files are finite: the loop must always be able to accept, and requests in flight to reach a provider."""
        if over > REFUSALS:
            self.abort()
            return
        text = "the gateway has as many connections as it can; try again in a second"
        self._refuse(Failure(Kind.OVERLOADED, 503, text, code="too_many_connections", retry_after=1.0))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._server.deadlines.forget(self)
        self._leave()

    def eof_received(self) -> None:
        self._leave()

    def _leave(self) -> None:
        self.closing = True
        self.paused = False  # nobody reads here any more, so nobody need wait for it
        self._waiting.clear()
        self._backlog = b""
        if self._runner is None or self._response is None:
            return
        if self._response.client_disconnected():
            self.writable.wake()  # the work goes on for others, who need not wait for this caller
        else:
            self._runner.cancel()

    def pause_writing(self) -> None:
        self.paused = True
        self._unsent = self._transport.get_write_buffer_size()
        self.deadline = self._loop.time() + self._limits.write_timeout

    def resume_writing(self) -> None:
        self.paused = False
        if not self.closing and not self._lingering:
            self._expect_more()
        self.writable.wake()

    def data_received(self, data: bytes) -> None:
        if self.closing or self._lingering:
            return
        if self._runner is None and not self._waiting and not self._backlog:
            self._read(data)
            return
        self._backlog += data
        if len(self._backlog) > BACKLOG_BYTES:
            self._transport.pause_reading()

    # -- reading a request ---------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        if self._in_head or self._in_body:
            self._parse(data)
            return
        known = self._known
        request = known.read(data, self._limits.max_body, perf_counter()) if known is not None else None
        if request is not None:
            self._begun = 1
            self._blank_line = False
            self._unknown_heads = 0
            self.deadline = NEVER
            self._start(request)
        elif self._unknown_heads < STRANGE_HEADS:
            self._learn(data)
        else:
            self._parse(data)

    def _learn(self, data: bytes) -> None:
        """Parse it, and remember its head if it was exactly one request."""
        self._begun = 0
        self._unknown_heads += 1
        self._learning = True
        self._parse(data)
        self._learning = False
        request, self._learnt = self._learnt, None
        if request is not None and self._begun == 1 and not (self._in_head or self._in_body or self._lingering):
            self._known = ParsedHeadCache.of(data, request, self._limits.max_head)

    def _parse(self, data: bytes) -> None:
        try:
            self._parse_messages(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, Failure):
                raise
            self._refuse(cause)
        except httptools.HttpParserUpgrade:
            self._refuse(rejected(_PLAIN_ONLY, code="bad_request"))
        except httptools.HttpParserError as error:
            self._refuse(rejected(f"malformed HTTP request: {error}", code="bad_request"))
        except Failure as failure:
            self._refuse(failure)

    def _parse_messages(self, data: bytes) -> None:
        """Check request lines, and give the parser one head or body at a time.

        The parser reads a request line too liberally, and does not say where a message ends and the next line begins.
        Raises Failure, and what the parser raises.
        """
        start, size, view = 0, len(data), memoryview(data)
        while start < size and not (self.closing or self._lingering):
            if self._line_ended or (not self._line and has_request_line(data, start)):
                self._line_ended = True
                start = self._parse_piece(data, view, start)
            else:
                start = self._read_line(data, start)

    def _read_line(self, data: bytes, start: int) -> int:
        """Read what is not a whole request line: a part of one, or an empty line before it. Gives where that ends."""
        end = data.find(b"\n", start) + 1 or len(data)
        if not self._line:
            self._begin_head()
        self._line = line = self._line + data[start:end]
        if not self._blank_line and line == EMPTY_LINE:  # one is skipped (RFC 9112, 2.2)
            self._blank_line = True
            self._in_head = False
            self._head_bytes = 0
            self._line = b""
            return end
        if self._blank_line or not EMPTY_LINE.startswith(line):
            check_request_line(line)
        self._count_head(end - start)
        if line.endswith(b"\n"):
            self._line_ended = True
            self._line = b""
            self._parser.feed_data(line)
            self._tail = EMPTY_LINE
        return end

    def _begin_head(self) -> None:
        self._target = b""
        self._headers = {}
        self._fields = 0
        self._in_head = True

    def _parse_piece(self, data: bytes, view: memoryview, start: int) -> int:
        """Give the parser what goes on with a message, to where it may end. Gives that place."""
        end = self._end_of_piece(data, start)
        in_body = self._in_body
        self._parser.feed_data(view[start:end])
        if self._in_head:
            self._count_head(end - start)
        elif in_body and self._in_body:
            self._count_framing(end - start)
        return end

    def _end_of_piece(self, data: bytes, start: int) -> int:
        """Gives where the head or the body that goes on at `start` may end, or the end of what has come."""
        if self._in_body and (length := self._headers.get(b"content-length")) is not None:
            return min(len(data), start + int(length) - self._body_bytes)
        tail, end = self._tail, -1
        if tail and (found := (tail + data[start : start + 3]).find(END_OF_HEAD)) >= 0:
            end = start + found + len(END_OF_HEAD) - len(tail)
        elif (found := data.find(END_OF_HEAD, start)) >= 0:
            end = found + len(END_OF_HEAD)
        self._may_end = end >= 0
        if self._may_end:
            self._tail = b""
            return end
        self._tail = (tail + data[max(start, len(data) - 3) :])[-3:]
        return len(data)

    def _count_head(self, size: int) -> None:
        """The parser keeps an unfinished field without a bound; this is the bound, and its timer."""
        if self._head_bytes == 0:
            self.deadline = self._loop.time() + self._limits.head_timeout
        self._head_bytes += size
        if self._head_bytes > self._limits.max_head:
            raise self._head_too_large()

    def _count_framing(self, size: int) -> None:
        """Chunk extensions, trailers and one-byte chunks are legal; a body made of little else is an attack."""
        self._framed_bytes += size
        if self._framed_bytes > 8 * self._body_bytes + self._limits.max_head + size:
            raise rejected("the chunks of this body are nearly all framing", code="bad_request")

    def on_message_begin(self) -> None:
        if not self._line_ended:  # it ended a message where none can end
            raise malformed(_NO_LINE_END)
        self._begin_head()
        self._begun += 1

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > self._limits.max_headers:
            raise self._head_too_large()
        if not self._in_head:  # a trailer field: legal, and of no use to us (RFC 9112, 7.1.2)
            return
        name = name.lower()
        headers = self._headers
        if name in headers:
            value = join_headers(name, headers[name], value)
        headers[name] = value

    def on_headers_complete(self) -> None:
        if not self._may_end:
            raise malformed(_NO_LINE_END)
        self._in_head = False
        self._head_bytes = 0
        headers = self._headers
        if b"upgrade" in headers and self._parser.should_upgrade():
            raise rejected(_PLAIN_ONLY, code="bad_request")
        self._version = self._parser.get_http_version()
        check_head(self._target, headers, self._version, self._limits.max_head)
        self._body_bytes = 0
        length = headers.get(b"content-length")
        if length is None and b"transfer-encoding" not in headers:
            return
        self._in_body = True
        self._framed_bytes = 0
        self._body_started = self._loop.time()
        self.deadline = self._body_started + self._limits.body_timeout
        if length is not None and int(length) > self._limits.max_body:
            raise self._body_too_large()
        if b"expect" in headers:
            self._expected(headers[b"expect"])

    def _expected(self, expectation: bytes) -> None:
        """RFC 9110, 10.1.1. An HTTP/1.0 caller cannot understand the interim answer and gets none."""
        if expectation.lower() != b"100-continue":
            raise rejected("the only expectation known here is 100-continue", status=417, code="expectation_failed")
        request = self._request()
        self._server.service.precheck(request)
        if request.version == "1.1" and self._runner is None and not self._waiting:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.max_body:
            raise self._body_too_large()
        self._body.append(data)

    def on_message_complete(self) -> None:
        if not self._may_end and b"content-length" not in self._headers:
            raise malformed(_NO_LINE_END)
        self._in_body = False
        self._line_ended = self._blank_line = False
        self.deadline = NEVER
        if self.closing or self._lingering:
            return
        request = self._request()
        body = self._body
        if body:
            request.body = body[0] if len(body) == 1 else b"".join(body)
            self._body = []
        if self._learning:
            self._learnt = request
        if self._runner is None and not self._waiting:
            self._start(request)
        else:
            self._waiting.append(request)

    def _request(self) -> HttpRequest:
        parser = self._parser
        method = parser.get_method().decode("ascii")
        return HttpRequest(
            method, self._target, self._headers, self._version, parser.should_keep_alive(), perf_counter()
        )

    # -- answering -----------------------------------------------------------------------------------------------------

    def _start(self, request: HttpRequest) -> None:
        self._response = response = ResponseWriter(self, self._transport, request)
        try:
            work = self._server.service.handle(request, response)
        except Exception as crash:  # noqa: BLE001 - the service is told, as it is of those in a strand
            self._finished(crash)
            return
        if work is None:
            self._finished(None)
            return
        self._runner = CoroutineRunner(work, self._finished)
        response.cancel = self._runner.cancel
        self._runner.resume()

    def _finished(self, crash: Exception | None) -> None:
        """The strand has ended: with a whole answer, with one that was cut, or by cancellation."""
        response = self._response
        assert response is not None
        self._runner = self._response = None
        if crash is not None:
            self._server.service.handler_crashed(response, crash)
        if self.closing:
            return
        if not response.complete or not response.keep_alive or self._server.draining:
            self._close()
        elif self._waiting or self._backlog or self._refusal:
            self._loop.call_soon(self._next)  # not at once: a thousand pipelined requests would recurse
        elif not self.paused:
            self._expect_more()

    def _expect_more(self) -> None:
        """The caller's time runs again, unless an answer is being made: for the rest of a request, or another one."""
        now, limits = self._loop.time(), self._limits
        if self._runner is not None:
            self.deadline = NEVER
        elif self._in_body:
            self._body_started = now
            self.deadline = now + limits.body_timeout
        else:
            self.deadline = now + (limits.head_timeout if self._in_head else limits.keepalive_timeout)

    def _next(self) -> None:
        if self.closing or self._runner is not None:
            return
        if self._waiting:
            self._start(self._waiting.pop(0))
        elif self._refusal is not None:
            self._answer_refusal(self._refusal)
        elif self._backlog:
            data, self._backlog = self._backlog, b""
            self._transport.resume_reading()
            self._expect_more()
            self._read(data)

    def _refuse(self, failure: Failure) -> None:
        """Nothing more is read from this caller; the refusal goes out when its turn comes."""
        if self.closing or self._lingering:
            return
        self._lingering = True
        self._in_head = self._in_body = False
        self._body = []
        if self._runner is None and not self._waiting:
            self._answer_refusal(failure)
        else:
            self._refusal = failure

    def _answer_refusal(self, failure: Failure) -> None:
        """Answer, then go on reading for a while: closing with unread bytes would reset the answer away."""
        request = HttpRequest("", self._target or b"/", self._headers, "1.1", False, perf_counter())
        fields = self._server.service.request_rejected(failure, self._headers)
        ResponseWriter(self, self._transport, request).send(failure.status, fields, failure.envelope())
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self.deadline = self._loop.time() + LINGER_SECONDS
        else:  # TLS: closing it says so to the peer by itself
            self._close()

    # -- the end -------------------------------------------------------------------------------------------------------

    def close_if_idle(self) -> None:
        busy = self._runner is not None or self._waiting or self._in_head or self._in_body
        if not busy:
            self._close()

    def give_up(self, failure: Failure) -> None:
        """Tell the caller who waits for an answer, or is still sending a request, that none will come."""
        self._waiting.clear()
        self._backlog = b""
        if self._runner is not None:
            self._runner.cancel(failure)
        elif self._in_head or self._in_body:
            self._refuse(failure)

    def _close(self) -> None:
        """Close once all that was written has been read by the caller, who gets a bounded time for it."""
        self.closing = True
        self.deadline = self._loop.time() + self._limits.write_timeout
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def on_deadline(self, now: float) -> None:
        """The deadline of the present phase has passed."""
        if self.paused or self.closing:
            self._expire_write(now)
        elif self._lingering:
            self._close()
        elif self._runner is not None or self._waiting:  # nothing is read meanwhile
            self.deadline = NEVER
        elif self._in_body:
            self._expire_body(now)
        elif self._in_head:
            self._refuse(Failure(Kind.TIMEOUT, 408, "the request head did not come in time", code="request_timeout"))
        else:
            self._close()

    def _expire_write(self, now: float) -> None:
        """A caller who reads anything at all may go on, however slowly."""
        unsent = self._transport.get_write_buffer_size()
        if self.paused and unsent < self._unsent:
            self._unsent = unsent
            self.deadline = now + self._limits.write_timeout
        else:
            self._transport.abort()

    def _expire_body(self, now: float) -> None:
        allowed = self._limits.body_timeout + self._body_bytes / self._limits.body_min_rate
        self.deadline = self._body_started + allowed
        if self.deadline <= now:
            self._refuse(Failure(Kind.TIMEOUT, 408, "the request body came too slowly", code="request_timeout"))

    def _head_too_large(self) -> Failure:
        limits = self._limits
        if not self._fields:
            return rejected("the request target is too long", status=414, code="uri_too_long")
        message = f"the request head is over {limits.max_head} bytes or {limits.max_headers} fields"
        return rejected(message, status=431, code="request_header_fields_too_large")

    def _body_too_large(self) -> Failure:
        message = f"the request body is over {self._limits.max_body} bytes; raise MAX_BODY_BYTES to allow more"
        return rejected(message, status=413, code="request_too_large")
