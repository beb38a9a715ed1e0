"""Bodies for the request log, where LOG_BODIES asks for them: bounded, and without what looks like a credential."""

from nulpoint.redaction.text import BEYOND, beginning_of_body, redact
from nulpoint.telemetry.request_log.record import RequestRecord

_CUT = " [cut]"


class BodyCopy:
    """What of an answer is kept for the log as it goes out: `most` bytes, and what is searched behind them."""

    __slots__ = ("_bytes_left", "_pieces")

    def __init__(self, max_bytes: int) -> None:
        self._pieces: list[bytes] = []
        self._bytes_left = max_bytes + BEYOND + 1  # the last one tells that there is more

    def add(self, data: bytes) -> None:
        if self._bytes_left > 0 and data:
            self._pieces.append(data if len(data) <= self._bytes_left else data[: self._bytes_left])
            self._bytes_left -= len(data)

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces)


class BodyLogger:
    """`all_of_them`: of every request, else of those that failed. `most`: bytes of each."""

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
        text = beginning_of_body(body, self._max_bytes, redact)
        return text if len(body) <= self._max_bytes else text + _CUT
