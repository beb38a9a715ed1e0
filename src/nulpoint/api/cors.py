"""Cross-origin requests from browsers (the Fetch standard's CORS protocol), as `CORS_ORIGINS` allows.

Credentials, in that standard's sense cookies and the like, are never allowed: callers authenticate by a header field of
their own, which any allowed page may send. Without credentials `*` exposes every answer field.
"""

import re

from nulpoint.http.message import Headers, header

# To everybody alike, asked by a browser or not: else a cache could give a page the answer made for something else, and
# it would need `Vary` (Fetch, "CORS protocol and HTTP caches").
_ANY_ORIGIN = b"access-control-allow-origin: *\r\naccess-control-expose-headers: *\r\n"
_VARY_ORIGIN = b"vary: Origin\r\n"
_PREFLIGHT = b"access-control-allow-methods: GET, POST, OPTIONS\r\naccess-control-max-age: 600\r\n"
_NAMES = re.compile(rb"[\w!#$%&'*+.^`|~, -]{1,4096}", re.ASCII)


class CorsPolicy:
    """Header blocks for one list of allowed origins, as browsers spell them; `*` allows all."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    def response_headers(self, headers: Headers) -> bytes:
        """What an answer to this request says about its origin."""
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
        """The answer to an OPTIONS request, be it a browser's preflight, in which it asks whether it may, or not.

        The header names it asks for are said back one by one: `*` would not cover `Authorization`.
        """
        origin = headers.get(b"origin")
        if origin is None or b"access-control-request-method" not in headers:
            return self.response_headers(headers)
        block = b"vary: Origin, Access-Control-Request-Headers\r\n"
        if not self._any and origin not in self._origins:
            return block
        block += header(b"access-control-allow-origin", b"*" if self._any else origin) + _PREFLIGHT
        asked = headers.get(b"access-control-request-headers", b"")
        return block + header(b"access-control-allow-headers", asked) if _NAMES.fullmatch(asked) else block
