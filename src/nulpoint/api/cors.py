"""CORS headers for cross-origin requests from browsers (the Fetch standard), as `CORS_ORIGINS` allows.

Credentials in the sense of that standard, such as cookies, are never allowed: clients authenticate by a header, which
any allowed page may send. Without credentials, `*` exposes all response headers.
"""

import re

from nulpoint.http.message import Headers, header

# These headers are sent in all responses, whether a browser asks or not. Otherwise `Vary` would be needed, because an
# HTTP cache could serve a page a response without them (Fetch, "CORS protocol and HTTP caches").
_ANY_ORIGIN = b"access-control-allow-origin: *\r\naccess-control-expose-headers: *\r\n"
_VARY_ORIGIN = b"vary: Origin\r\n"
_PREFLIGHT = b"access-control-allow-methods: GET, POST, OPTIONS\r\naccess-control-max-age: 600\r\n"
_NAMES = re.compile(rb"[\w!#$%&'*+.^`|~, -]{1,4096}", re.ASCII)


class CorsPolicy:
    """Makes the headers for a list of allowed origins, which are written as browsers send them; `*` allows all."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    def response_headers(self, headers: Headers) -> bytes:
        """Return the CORS headers of the response to a request."""
        if self._any:
            return _ANY_ORIGIN
        origin = headers.get(b"origin")
        if origin is None or origin not in self._origins:
            return _VARY_ORIGIN
        return b"%b%baccess-control-expose-headers: *\r\n" % (
            _VARY_ORIGIN,
            header(b"access-control-allow-origin", origin),
        )

    def preflight_headers(self, headers: Headers) -> bytes:
        """Return the CORS headers of the response to an OPTIONS request, which may be a browser's preflight or not.

        The header names that a preflight asks for are repeated one by one, because `*` does not cover `Authorization`.
        """
        origin = headers.get(b"origin")
        if origin is None or b"access-control-request-method" not in headers:
            return self.response_headers(headers)
        block = b"vary: Origin, Access-Control-Request-Headers\r\n"
        if not self._any and origin not in self._origins:
            return block
        block += header(b"access-control-allow-origin", b"*" if self._any else origin) + _PREFLIGHT
        names = headers.get(b"access-control-request-headers", b"")
        return block + header(b"access-control-allow-headers", names) if _NAMES.fullmatch(names) else block
