"""Parses the requests of one connection with httptools, and rejects what two readers might read differently.

llhttp, the parser of httptools, reads a request line too liberally, and does not report where a message ends and the
next line begins. So request lines are checked here first, and the parser gets one head or one body at a time.
"""

from time import perf_counter
from typing import Protocol

import httptools

from nulpoint.errors import Failure, rejected
from nulpoint.http.limits import ServerLimits
from nulpoint.http.message import HttpRequest
from nulpoint.http.server.head_validation import (
    EMPTY_LINE,
    END_OF_HEAD,
    check_head,
    check_request_line,
    join_headers,
    malformed,
    match_request_line,
)

_BAD_LINE_END = "its lines must end with CR and LF"
_NO_UPGRADE = "only plain HTTP/1.1 is supported, without Upgrade and CONNECT"


class RequestReceiver(Protocol):
    """Receives the requests of a `RequestParser`, and sets the deadlines for their parts."""

    def head_started(self) -> None:
        """Handle that a head has begun and is incomplete so far."""

    def body_started(self) -> None:
        """Handle that a head is complete and a body follows."""

    def continue_expected(self, request: HttpRequest) -> None:
        """Handle a request with `Expect: 100-continue`, whose body has not been read. Raise Failure to reject it."""

    def request_received(self, request: HttpRequest) -> None:
        """Handle a complete request."""


class RequestParser:
    """Parses the bytes of one connection. The methods called `on_...` are callbacks of httptools."""

    __slots__ = (
        "_body",
        "_can_end",
        "_framed_bytes",
        "_head_bytes",
        "_header_count",
        "_headers",
        "_limits",
        "_line",
        "_line_ended",
        "_messages",
        "_parser",
        "_receiver",
        "_request",
        "_stopped",
        "_tail",
        "_target",
        "_version",
        "after_blank_line",
        "body_bytes",
        "in_body",
        "in_head",
    )

    def __init__(self, receiver: RequestReceiver, limits: ServerLimits) -> None:
        self._receiver = receiver
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._stopped = False
        # the head
        self.in_head = False  # part of a head has been read
        self._target = b""
        self._version = ""
        self._headers: dict[bytes, bytes] = {}
        self._header_count = 0
        self._line = b""  # the part of the request line that has been read
        self._line_ended = False
        self.after_blank_line = False  # an empty line came before the request line, which has not ended yet
        self._head_bytes = 0  # of an incomplete head
        # the body
        self.in_body = False
        self._body: list[bytes] = []
        self.body_bytes = 0
        self._framed_bytes = 0  # the size of the body with its framing
        # the bytes that were passed to `feed`
        self._can_end = False  # the bytes that the parser has got end where a head or a chunked body can end
        self._tail = b""  # the last bytes that the parser has got, if they may be the beginning of such an end
        self._messages = 0  # the number of messages that began in them
        self._request: HttpRequest | None = None  # the last request in them

    def set_limits(self, limits: ServerLimits) -> None:
        self._limits = limits

    def feed(self, data: bytes) -> HttpRequest | None:
        """Parse what has arrived, and pass complete requests to the receiver.

        Return the request if `data` is exactly one request from its first to its last byte. Raise Failure if a request
        must be rejected; nothing can be parsed after that.
        """
        between_messages = not (self.in_head or self.in_body)
        self._messages = 0
        try:
            self._parse(data)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, Failure):  # raised by a callback
                raise error.__context__ from None
            raise
        except httptools.HttpParserUpgrade:
            raise rejected(_NO_UPGRADE, code="bad_request") from None
        except httptools.HttpParserError as error:
            raise malformed(str(error)) from None
        request, self._request = self._request, None
        if between_messages and self._messages == 1 and not (self.in_head or self.in_body):
            return request
        return None

    def stop(self) -> None:
        """Parse nothing more, and drop an incomplete request."""
        self._stopped = True
        self.in_head = self.in_body = False
        self._body = []
        self._request = None

    def rejected_request(self) -> HttpRequest:
        """Return a stand-in for the request that was rejected, with what was read of it."""
        return HttpRequest("", self._target or b"/", self._headers, "1.1", False, perf_counter())

    def _parse(self, data: bytes) -> None:
        """Check request lines, and give the parser one head or body at a time. Raise Failure or httptools' errors."""
        start, size, view = 0, len(data), memoryview(data)
        while start < size and not self._stopped:
            if not self._line_ended and (self._line or not match_request_line(data, start)):
                start = self._read_line(data, start)
                continue
            self._line_ended = True
            end = self._possible_end(data, start)
            in_body = self.in_body
            self._parser.feed_data(view[start:end])
            if self.in_head:
                self._count_head(end - start)
            elif in_body and self.in_body:
                self._count_framing(end - start)
            start = end

    def _read_line(self, data: bytes, start: int) -> int:
        """Read an incomplete request line, or an empty line before it. Return where it ends in `data`."""
        end = data.find(b"\n", start) + 1 or len(data)
        if not self._line:
            self._begin_head()
        self._line = line = self._line + data[start:end]
        if not self.after_blank_line and line == EMPTY_LINE:  # one empty line is skipped (RFC 9112, 2.2)
            self.after_blank_line = True
            self.in_head = False
            self._head_bytes = 0
            self._line = b""
            return end
        if self.after_blank_line or not EMPTY_LINE.startswith(line):
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
        self._header_count = 0
        self.in_head = True

    def _possible_end(self, data: bytes, start: int) -> int:
        """Return where the head or body that continues at `start` may end, or the end of `data`."""
        if self.in_body and (length := self._headers.get(b"content-length")) is not None:
            return min(len(data), start + int(length) - self.body_bytes)
        tail, end = self._tail, -1
        if tail and (index := (tail + data[start : start + 3]).find(END_OF_HEAD)) >= 0:
            end = start + index + len(END_OF_HEAD) - len(tail)
        elif (index := data.find(END_OF_HEAD, start)) >= 0:
            end = index + len(END_OF_HEAD)
        self._can_end = end >= 0
        if self._can_end:
            self._tail = b""
            return end
        self._tail = (tail + data[max(start, len(data) - 3) :])[-3:]
        return len(data)

    def _count_head(self, size: int) -> None:
        """Limit the size of an incomplete head, because the parser buffers an incomplete header without a limit."""
        if self._head_bytes == 0:
            self._receiver.head_started()
        self._head_bytes += size
        if self._head_bytes > self._limits.max_head_bytes:
            raise self._head_too_large()

    def _count_framing(self, size: int) -> None:
        """Reject a body that is nearly all framing: chunk extensions, trailers or chunks of one byte.

        Each of these is legal, but a body that consists of little else is an attack.
        """
        self._framed_bytes += size
        if self._framed_bytes > 8 * self.body_bytes + self._limits.max_head_bytes + size:
            raise rejected("the chunks of this body are nearly all framing", code="bad_request")

    def on_message_begin(self) -> None:
        if not self._line_ended:  # the parser ended a message in a place that cannot end one
            raise malformed(_BAD_LINE_END)
        self._begin_head()
        self._messages += 1

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        if self._header_count > self._limits.max_headers:
            raise self._head_too_large()
        if not self.in_head:  # this is a trailer, which is legal and not needed here (RFC 9112, 7.1.2)
            return
        name = name.lower()
        headers = self._headers
        if name in headers:
            value = join_headers(name, headers[name], value)
        headers[name] = value

    def on_headers_complete(self) -> None:
        if not self._can_end:
            raise malformed(_BAD_LINE_END)
        self.in_head = False
        self._head_bytes = 0
        headers = self._headers
        if b"upgrade" in headers and self._parser.should_upgrade():
            raise rejected(_NO_UPGRADE, code="bad_request")
        self._version = self._parser.get_http_version()
        check_head(self._target, headers, self._version, self._limits.max_head_bytes)
        self.body_bytes = 0
        length = headers.get(b"content-length")
        if length is None and b"transfer-encoding" not in headers:
            return
        self.in_body = True
        self._framed_bytes = 0
        self._receiver.body_started()
        if length is not None and int(length) > self._limits.max_body_bytes:
            raise self._body_too_large()
        if b"expect" in headers:
            self._check_expectation(headers[b"expect"])

    def _check_expectation(self, expectation: bytes) -> None:
        if expectation.lower() != b"100-continue":
            raise rejected("the only supported expectation is 100-continue", status=417, code="expectation_failed")
        self._receiver.continue_expected(self._make_request())

    def on_body(self, data: bytes) -> None:
        self.body_bytes += len(data)
        if self.body_bytes > self._limits.max_body_bytes:
            raise self._body_too_large()
        self._body.append(data)

    def on_message_complete(self) -> None:
        if not self._can_end and b"content-length" not in self._headers:
            raise malformed(_BAD_LINE_END)
        self.in_body = False
        self._line_ended = self.after_blank_line = False
        if self._stopped:
            return
        self._request = request = self._make_request()
        body = self._body
        if body:
            request.body = body[0] if len(body) == 1 else b"".join(body)
            self._body = []
        self._receiver.request_received(request)

    def _make_request(self) -> HttpRequest:
        parser = self._parser
        method = parser.get_method().decode("ascii")
        return HttpRequest(
            method, self._target, self._headers, self._version, parser.should_keep_alive(), perf_counter()
        )

    def _head_too_large(self) -> Failure:
        limits = self._limits
        if not self._header_count:
            return rejected("the request target is too long", status=414, code="uri_too_long")
        message = f"the request head is over {limits.max_head_bytes} bytes or {limits.max_headers} headers"
        return rejected(message, status=431, code="request_header_fields_too_large")

    def _body_too_large(self) -> Failure:
        message = f"the request body is over {self._limits.max_body_bytes} bytes; raise MAX_BODY_BYTES to allow more"
        return rejected(message, status=413, code="request_too_large")
