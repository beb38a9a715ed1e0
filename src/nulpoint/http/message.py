"""Requests and header blocks as values that the server and the client share.

A header block is `bytes`: complete header lines, each ending in CRLF, ready to be joined into a message. Header names
are lower-case everywhere, because they are case-insensitive (RFC 9110, 5.1).
"""

from collections.abc import Mapping
from http import HTTPStatus

Headers = Mapping[bytes, bytes]


class _StatusLines(dict[int, bytes]):
    """The first lines of responses by status. A status without a registered phrase, like 529, is sent without one."""

    def __missing__(self, status: int) -> bytes:
        return b"HTTP/1.1 %d \r\n" % status


STATUS_LINES = _StatusLines(
    {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus if status != 418}
)

JSON_TYPE = b"content-type: application/json\r\n"
STREAM_HEADERS = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
)


class HttpRequest:
    """A complete request as it arrived. `path` has no query. The values of a repeated header are joined."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path", "query", "started", "version")

    def __init__(
        self, method: str, target: bytes, headers: dict[bytes, bytes], version: str, keep_alive: bool, started: float
    ) -> None:
        self.method = method
        self.path, _, self.query = target.decode("ascii").partition("?")
        self.headers = headers
        self.version = version
        self.keep_alive = keep_alive
        self.started = started  # when its last byte was read, in perf_counter seconds
        self.body = b""

    @classmethod
    def from_template(
        cls, template: "HttpRequest", headers: dict[bytes, bytes], body: bytes, started: float
    ) -> "HttpRequest":
        """Return a request with the request line of `template`."""
        request = cls.__new__(cls)
        request.method = template.method
        request.path = template.path
        request.query = template.query
        request.headers = headers
        request.version = template.version
        request.keep_alive = template.keep_alive
        request.started = started
        request.body = body
        return request


def header(name: bytes, value: bytes) -> bytes:
    """Return one line of a header block."""
    return b"%b: %b\r\n" % (name, value)
