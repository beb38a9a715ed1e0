"""Requests and header blocks as values, and the rules about header fields that both sides share.

A header block is `bytes`: complete field lines, each ending in CRLF, ready to be joined into a message. Field names
are lower case throughout (RFC 9110, 5.1: they are case-insensitive).
"""

from collections.abc import Mapping
from http import HTTPStatus

Headers = Mapping[bytes, bytes]

# RFC 9110, 7.6.1: these belong to one connection and are never passed on.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


class _StatusLines(dict[int, bytes]):
    """The first lines of answers; a status without a registered phrase (529) goes out without one."""

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
    """A whole request as it arrived. `path` is without the query; header values of repeated fields are joined."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path", "query", "started", "version")

    def __init__(
        self, method: str, target: bytes, headers: dict[bytes, bytes], version: str, keep_alive: bool, started: float
    ) -> None:
        self.method = method
        self.path, _, self.query = target.decode("ascii").partition("?")
        self.headers = headers
        self.version = version
        self.keep_alive = keep_alive
        self.started = started  # perf_counter seconds when its last byte was read
        self.body = b""

    @classmethod
    def again(cls, like: "HttpRequest", headers: dict[bytes, bytes], body: bytes, started: float) -> "HttpRequest":
        """Another one with the same first line."""
        request = cls.__new__(cls)
        request.method = like.method
        request.path = like.path
        request.query = like.query
        request.headers = headers
        request.version = like.version
        request.keep_alive = like.keep_alive
        request.started = started
        request.body = body
        return request


def header(name: bytes, value: bytes) -> bytes:
    """One line of a header block."""
    return b"%b: %b\r\n" % (name, value)
