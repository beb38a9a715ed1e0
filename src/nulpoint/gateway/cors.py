"""Cross-origin requests from browsers (the Fetch standard's CORS protocol), as `CORS_ORIGINS` allows."""

from nulpoint.http.message import Headers, field

_PREFLIGHT = b"access-control-allow-methods: GET, POST, OPTIONS\r\naccess-control-max-age: 600\r\n"


class CrossOrigin:
    """Header blocks for one list of allowed origins; `*` allows all. Credentials are never allowed."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    def answer_fields(self, headers: Headers) -> bytes:
        """What an answer to this request says about its origin; nothing for callers that are no browsers."""
        origin = headers.get(b"origin")
        if origin is None:
            return b"" if self._any else b"vary: Origin\r\n"
        if self._any:
            return b"access-control-allow-origin: *\r\naccess-control-expose-headers: *\r\n"
        if origin in self._origins:
            return (
                field(b"access-control-allow-origin", origin) + b"access-control-expose-headers: *\r\nvary: Origin\r\n"
            )
        return b"vary: Origin\r\n"

    def preflight_fields(self, headers: Headers) -> bytes:
        """The answer to an OPTIONS request of a browser that asks whether it may."""
        asked = headers.get(b"access-control-request-headers", b"authorization, content-type")
        allowed = field(b"access-control-allow-headers", asked)
        return self.answer_fields(headers) + _PREFLIGHT + allowed
