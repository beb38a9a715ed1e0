"""What a request head must be, beyond what the parser checks. Pure.

llhttp (strict) already refuses: both Content-Length and Transfer-Encoding, repeated or odd lengths, bad chunk sizes,
obs-fold, control bytes, bare CR or LF, white space before a colon. The rules here close what it leaves open.
"""

import re

from nulpoint.errors import Failure, rejected

TARGET_BYTES = 8_192
EMPTY_LINE = b"\r\n"
END_OF_HEAD = b"\r\n\r\n"  # and of a chunked body
# RFC 9112, 3: method SP request-target SP HTTP-version CRLF. The parser is more liberal: it takes several spaces, other
# protocols (RTSP, ICE) and lines without a version. A target consists of visible ASCII characters, without a fragment;
# the asterisk is for OPTIONS alone.
_METHOD, _TARGET = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", rb"[!\"$-~]+"
_REQUEST_LINE = re.compile(
    b"(?!CONNECT )(?:OPTIONS [*]|" + _METHOD + b" (?![*] )" + _TARGET + rb") HTTP/[0-9]\.[0-9]\r\n"
)
_LINE_SO_FAR = re.compile(_METHOD + b"(?: (?:" + _TARGET + rb"(?: [HTP/0-9.]{0,8}\r?)?)?)?")
_LINE = "the request line must be a method (not CONNECT), a path and HTTP/1.1, with one space between them"
# RFC 9112, 3.2: exactly one Host field, holding uri-host [":" port].
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
# Fields whose second occurrence would make two readers of one message disagree.
_ONCE = frozenset({b"host", b"content-length", b"transfer-encoding", b"content-type", b"authorization", b"expect"})


def has_request_line(data: bytes, start: int) -> bool:
    """Say whether a whole request line begins there. Which versions are spoken is looked at later."""
    return _REQUEST_LINE.match(data, start) is not None


def check_request_line(line: bytes) -> None:
    """Raise Failure unless this is a request line, with its end, or the beginning of one."""
    if not (_REQUEST_LINE if line.endswith(b"\n") else _LINE_SO_FAR).fullmatch(line):
        raise malformed(_LINE)


def join_headers(name: bytes, first: bytes, second: bytes) -> bytes:
    """The value of a repeated field (RFC 9110, 5.3). Raises Failure where a field may stand only once."""
    if name in _ONCE:
        raise malformed(f"more than one {name.decode()} field")
    return first + (b"; " if name == b"cookie" else b", ") + second


def check_head(target: bytes, headers: dict[bytes, bytes], version: str, max_head: int) -> None:
    """Raise Failure unless the head is one that every reader of it would frame alike."""
    if version != "1.1":
        _check_version(version, headers)
    if len(target) > TARGET_BYTES:
        raise rejected(f"the request target is over {TARGET_BYTES} bytes", status=414, code="uri_too_long")
    if target[:1] != b"/" and target != b"*":
        raise malformed("the request target must be a path")
    host = headers.get(b"host")
    if host is None or not _HOST.fullmatch(host):
        _check_host(host, version)
    if b"transfer-encoding" in headers and headers[b"transfer-encoding"].lower() != b"chunked":
        raise rejected("the only transfer coding known here is chunked", code="bad_request")
    values = b"".join(headers.values())
    if not values.isascii():
        names = [name.decode() for name, value in headers.items() if not value.isascii()]
        raise malformed(f"the {names[0]} field holds bytes outside ASCII")
    if len(values) + len(b"".join(headers)) + 4 * len(headers) > max_head:
        raise rejected(f"the request head is over {max_head} bytes", status=431, code="request_header_fields_too_large")


def _check_host(host: bytes | None, version: str) -> None:
    """Of a request whose Host field is none: an HTTP/1.0 one may be without."""
    if host is not None:
        raise malformed("the Host field is not a host")
    if version == "1.1":
        raise malformed("the Host field is missing")


def _check_version(version: str, headers: dict[bytes, bytes]) -> None:
    if version != "1.0":
        raise rejected("only HTTP/1.1 and HTTP/1.0 are spoken here", status=505, code="bad_request")
    if b"transfer-encoding" in headers:  # RFC 9112, 6.1: framing of such a message cannot be trusted
        raise malformed("an HTTP/1.0 request cannot have a Transfer-Encoding")


def malformed(what: str) -> Failure:
    """What is said of a request that readers might frame differently."""
    return rejected(f"malformed HTTP request: {what}", code="bad_request")
