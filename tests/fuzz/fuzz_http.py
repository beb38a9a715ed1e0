"""Fuzz targets for HTTP from clients and providers: heads, chunked bodies, several messages on one connection."""

import re
from typing import Any

from hypothesis import strategies as st
from target import Target

from nulpoint.errors import Failure, Kind
from support.http_ends import ParsedResponse, read_requests, read_response
from support.mutation import cut, cuts, garbled, one_by_one

REQUEST_LINE = re.compile(rb"[A-Z]+ [!-~]+ HTTP/1\.[01]\r\n")
_TEXT = st.sampled_from(
    (b"a", b"x-a", b"chunked", b"100-continue", b"close", b"keep-alive", b"", b" ", b"\t", b"0", b"2", b"5, 5", b"\xe9")
)
_NAMES = st.sampled_from((b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"Content-Type", b"Cookie",
                          b"X-A", b"Upgrade", b"TE", b"Trailer", b"content-length", b"X A", b""))  # fmt: skip
_FIELDS = st.lists(st.builds(lambda name, value: name + b": " + value + b"\r\n", _NAMES, _TEXT), max_size=4)
_METHODS = st.sampled_from((b"GET", b"POST", b"OPTIONS", b"HEAD", b"PUT", b"FROB", b"get", b"CONNECT"))
_TARGETS = st.sampled_from(
    (b"/", b"/v1/chat/completions", b"/health?a=b", b"*", b"http://x/", b"//", b"/a b", b"/\xe9", b"")
)
_VERSIONS = st.sampled_from(
    (
        b"HTTP/1.1",
        b"HTTP/1.1",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"RTSP/1.0",
        b"ICE/1.0",
        b"http/1.1",
        b"HTTP/1.1 ",
    )
)
_GAPS = st.sampled_from((b" ", b" ", b" ", b"  ", b"\t"))
_BODIES = st.sampled_from((b"", b"{}", b'{"model":"m"}', b"GET / HTTP/1.1\r\n\r\n", b"0\r\n\r\n"))
_PIECES = st.lists(st.binary(min_size=1, max_size=5), max_size=4)


def chunked(pieces: list[bytes], extension: bytes, trailer: bytes) -> bytes:
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return chunks + b"0\r\n" + trailer + b"\r\n"


_EXTENSIONS = st.sampled_from((b"", b"", b";a", b";a=b", b';a="b"', b" ", b";" + b"a" * 50))
_TRAILERS = st.sampled_from((b"", b"", b"X-T: a\r\n", b"Content-Length: 5\r\n", b"Host: y\r\n"))


@st.composite
def bodies(draw: Any) -> tuple[bytes, bytes, bytes]:
    """Draw framing headers, the framed body, and the body itself."""
    if draw(st.booleans()):
        pieces = draw(_PIECES)
        framed = chunked(pieces, draw(_EXTENSIONS), draw(_TRAILERS))
        return b"Transfer-Encoding: chunked\r\n", framed, b"".join(pieces)
    body = draw(_BODIES)
    return b"Content-Length: %d\r\n" % len(body), body, body


@st.composite
def requests(draw: Any) -> bytes:
    odd = draw(st.booleans())
    first = (
        [draw(_METHODS), draw(_GAPS), draw(_TARGETS), draw(_GAPS), draw(_VERSIONS)]
        if odd
        else [b"POST /v1/chat/completions HTTP/1.1"]
    )
    framing, body, _ = draw(bodies())
    fields = b"".join(draw(_FIELDS)) if odd else b""
    return b"".join([*first, b"\r\nHost: x\r\n", fields, framing, b"\r\n", body])


@st.composite
def responses(draw: Any) -> bytes:
    status = draw(
        st.sampled_from(
            (
                b"200 OK",
                b"200",
                b"204 No Content",
                b"429 Too Many",
                b"500 x",
                b"100 Continue",
                b"103 Early",
                b"304 x",
                b"2000 x",
                b"99 x",
            )
        )
    )
    framing, body, _ = draw(bodies())
    if draw(st.booleans()):
        framing = b""  # to the end of the connection
    line = draw(st.sampled_from((b"HTTP/1.1 ", b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/2 ", b"ICY ")))
    return b"".join([line, status, b"\r\n", *draw(_FIELDS), framing, b"\r\n", body])


several = st.lists(requests(), min_size=1, max_size=3).map(b"".join)
alike = st.builds(lambda one, times: one * times, requests(), st.integers(2, 4))  # a repeated head is parsed only once
request_inputs = st.tuples(garbled(several | alike), cuts)
response_inputs = st.tuples(garbled(responses()), cuts, st.booleans())


def check_request(given: tuple[bytes, list[int]]) -> None:
    """Check that the split of the bytes does not matter and that each request line has only one meaning."""
    data, places = given
    whole = read_requests([data])
    for pieces in (cut(data, places), one_by_one(data)):
        heard = read_requests(pieces)
        assert heard.requests == whole.requests, "other cuts, other requests"
        assert heard.refused == whole.refused, "other cuts, another refusal"
    for request in whole.requests:
        assert request.version in ("1.0", "1.1")
        assert request.method.isalpha()
        assert "\r" not in request.path + request.query
    if whole.requests:
        start = data.lstrip(b"\r\n")  # empty lines before it are allowed (RFC 9112, 2.2)
        assert REQUEST_LINE.match(start), f"served as HTTP: {start[:60]!r}"
    if whole.refused is not None:
        assert 400 <= whole.refused[0] <= 505


def check_body(given: tuple[tuple[bytes, bytes, bytes], list[int]]) -> None:
    """Check that a well-framed body is read correctly, however it is cut."""
    (framing, framed, body), places = given
    data = b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n" + framed
    for pieces in ([data], cut(data, places), one_by_one(data)):
        heard = read_requests(pieces)
        assert [one.body for one in heard.requests] == [body] or heard.refused is not None
        response = read_response(cut(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + framed, places))
        assert response.body == body or response.failure is not None


def check_response(given: tuple[bytes, list[int], bool]) -> None:
    """Check that the split of the bytes does not matter and that anything malformed is the provider's failure."""
    data, places, close = given
    whole = _seen(read_response([data], close=close))
    for pieces in (cut(data, places), one_by_one(data)):
        assert _seen(read_response(pieces, close=close)) == whole


def _seen(response: ParsedResponse) -> tuple[Any, ...]:
    """Return what must be equal. The body of a cut or malformed response may be read to different lengths."""
    failure: Failure | None = response.failure
    if failure is not None:
        assert failure.kind is Kind.UPSTREAM, failure
        assert not response.reusable
        return (failure.status, failure.code)
    return (response.status, response.headers, response.body, response.ended)


TARGETS = (
    Target("HTTP requests", request_inputs, check_request),
    Target("HTTP responses", response_inputs, check_response),
    Target("HTTP bodies", st.tuples(bodies(), cuts), check_body),
)
