"""Copies request and response bodies into the request log if LOG_BODIES asks for it, shortened and redacted."""

from nulpoint.redaction.text import LOOKAHEAD, redact, redacted_body_prefix
from nulpoint.telemetry.request_log.record import RequestRecord

_CUT = " [cut]"


class BodyCopy:
    """A copy of the beginning of a response body, made while it is sent.

    It has `max_bytes` bytes, and those after them that redaction needs to see.
    """

    __slots__ = ("_bytes_left", "_pieces")

    def __init__(self, max_bytes: int) -> None:
        self._pieces: list[bytes] = []
        self._bytes_left = max_bytes + LOOKAHEAD + 1  # one more byte shows whether the body is longer

    def add(self, data: bytes) -> None:
        if self._bytes_left > 0 and data:
            self._pieces.append(data if len(data) <= self._bytes_left else data[: self._bytes_left])
            self._bytes_left -= len(data)

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces)


class BodyLogger:
    """Adds bodies of at most `max_bytes` to the records of all requests, or only to those of failed ones."""

    def __init__(self, max_bytes: int, *, all_requests: bool) -> None:
        self._max_bytes = max_bytes
        self._all_requests = all_requests

    def copy(self) -> BodyCopy:
        return BodyCopy(self._max_bytes)

    def attach(self, record: RequestRecord, request: bytes, response: BodyCopy) -> None:
        if self._all_requests or record.level != "info":
            record.request_body = self._loggable(request)
            record.response_body = self._loggable(bytes(response))

    def _loggable(self, body: bytes) -> str:
        text = redacted_body_prefix(body, self._max_bytes, redact)
        return text if len(body) <= self._max_bytes else text + _CUT
