"""The rules for a request head beyond what the parser checks. This module is pure.

llhttp in its strict mode already rejects a message with both Content-Length and Transfer-Encoding, repeated or
malformed lengths, bad chunk sizes, obs-fold, control bytes, bare CR or LF, and white space before a colon. The rules
here cover what it lets through.
"""

import re

from nulpoint.errors import Failure, rejected

MAX_TARGET_BYTES = 8_192
EMPTY_LINE = b"\r\n"
END_OF_HEAD = b"\r\n\r\n"  # and of a chunked body
# RFC 9112, 3: method SP request-target SP HTTP-version CRLF. The parser is more liberal: it accepts several spaces,
# other protocols (RTSP, ICE) and lines without a version. A target consists of visible ASCII characters and has no
# fragment. The asterisk is only for OPTIONS.
_METHOD, _TARGET = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", rb"[!\"$-~]+"
_REQUEST_LINE = re.compile(
    b"(?!CONNECT )(?:OPTIONS [*]|" + _METHOD + b" (?![*] )" + _TARGET + rb") HTTP/[0-9]\.[0-9]\r\n"
)
match_request_line = _REQUEST_LINE.match  # takes data and a position; the HTTP version is checked later
_INCOMPLETE_LINE = re.compile(_METHOD + b"(?: (?:" + _TARGET + rb"(?: [HTP/0-9.]{0,8}\r?)?)?)?")
_LINE_RULE = "the request line must be a method (not CONNECT), a path and HTTP/1.1, with one space between them"
# RFC 9112, 3.2: there is exactly one Host header, whose value is uri-host [":" port].
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
# Two readers of one message could disagree about which occurrence of these headers counts.
_SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"content-type", b"authorization", b"expect"})


def check_request_line(line: bytes) -> None:
    """Raise Failure unless this is a request line with its line end, or the beginning of one."""
    if not (_REQUEST_LINE if line.endswith(b"\n") else _INCOMPLETE_LINE).fullmatch(line):
        raise malformed(_LINE_RULE)


def join_headers(name: bytes, first: bytes, second: bytes) -> bytes:
    """Return the value of a repeated header (RFC 9110, 5.3). Raise Failure if the header may occur only once."""
    if name in _SINGLE:
        raise malformed(f"there is more than one {name.decode()} header")
    return first + (b"; " if name == b"cookie" else b", ") + second


def check_head(target: bytes, headers: dict[bytes, bytes], version: str, max_head: int) -> None:
    """Raise Failure unless all readers would frame a message with this head alike."""
    if version != "1.1":
        _check_version(version, headers)
    if len(target) > MAX_TARGET_BYTES:
        raise rejected(f"the request target is over {MAX_TARGET_BYTES} bytes", status=414, code="uri_too_long")
    if target[:1] != b"/" and target != b"*":
        raise malformed("the request target must be a path")
    host = headers.get(b"host")
    if host is None or not _HOST.fullmatch(host):
        _check_host(host, version)
    if b"transfer-encoding" in headers and headers[b"transfer-encoding"].lower() != b"chunked":
        raise rejected("the only supported transfer coding is chunked", code="bad_request")
    values = b"".join(headers.values())
    if not values.isascii():
        names = [name.decode() for name, value in headers.items() if not value.isascii()]
        raise malformed(f"the {names[0]} header contains bytes outside ASCII")
    if len(values) + len(b"".join(headers)) + 4 * len(headers) > max_head:
        raise rejected(f"the request head is over {max_head} bytes", status=431, code="request_header_fields_too_large")


def _check_host(host: bytes | None, version: str) -> None:
    """Raise Failure if a request without a valid host may not be served. An HTTP/1.0 request need not have one."""
    if host is not None:
        raise malformed("the Host header is not a valid host")
    if version == "1.1":
        raise malformed("the Host header is missing")


def _check_version(version: str, headers: dict[bytes, bytes]) -> None:
    if version != "1.0":
        raise rejected("only HTTP/1.1 and HTTP/1.0 are supported", status=505, code="bad_request")
    if b"transfer-encoding" in headers:  # RFC 9112, 6.1: the framing of such a message cannot be trusted
        raise malformed("an HTTP/1.0 request cannot have a Transfer-Encoding")


def malformed(reason: str) -> Failure:
    """Return the failure for a request that two readers might frame differently."""
    return rejected(f"malformed HTTP request: {reason}", code="bad_request")
