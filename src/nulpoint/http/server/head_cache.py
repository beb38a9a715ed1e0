"""A request head that comes again on its connection need not be parsed again.

A program that keeps a connection sends the same head with every request, but for the length of its body. Equal bytes
mean the same to the parser, so all that it found out, and all that was checked, holds for the next one too. That is a
seventh of what a request costs.
"""

import re

from nulpoint.http.message import HttpRequest

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"
_DIGITS = 12  # a length has fewer
# With these a head alone does not say what is to be done with the body.
_SPECIAL = frozenset({b"expect", b"transfer-encoding", b"upgrade"})


class ParsedHeadCache:
    """Made by `of`; it stands for what came before the length, what came after it, and what they were read as."""

    __slots__ = ("_length", "_request", "_rest", "_start")

    def __init__(self, start: bytes, rest: bytes, length: bytes, request: HttpRequest) -> None:
        self._start = start
        self._rest = rest
        self._length = length
        self._request = request

    @classmethod
    def of(cls, data: bytes, request: HttpRequest, max_head: int) -> "ParsedHeadCache | None":
        """`data` was read as `request` and nothing else. None for a head that tells too little by itself."""
        if not request.keep_alive or request.version != "1.1" or not _SPECIAL.isdisjoint(request.headers):
            return None
        head = data[: data.find(_END) + len(_END)]
        if len(head) + len(request.body) != len(data) or len(head) + _DIGITS > max_head:  # empty lines beside it
            return None
        found = _LENGTH.search(head)
        if found is None or int(found[1]) != len(request.body):
            return None
        headless = HttpRequest.again(request, request.headers, b"", 0.0)
        return cls(head[: found.start(1)], head[found.end(1) :], found[1], headless)

    def read(self, data: bytes, max_body: int, now: float) -> HttpRequest | None:
        """The request that `data` is, if it is exactly one with this head. `now`: perf_counter seconds."""
        start, rest = self._start, self._rest
        if not data.startswith(start):
            return None
        begin = len(start)
        end = data.find(b"\r\n", begin, begin + _DIGITS)
        length = data[begin:end]
        body = end + len(rest)
        if end < 0 or not length.isdigit() or int(length) != len(data) - body or not data.startswith(rest, end):
            return None
        if len(data) - body > max_body:
            return None
        headers = self._request.headers
        if length != self._length:
            headers = {**headers, b"content-length": length}
        return HttpRequest.again(self._request, headers, data[body:], now)
