"""Bodies for the request log, where LOG_BODIES asks for them: bounded, and without what looks like a credential."""

from nulpoint.redaction.text import LOOKAHEAD, redact, redacted_body_prefix
from nulpoint.telemetry.request_log.record import RequestRecord

_CUT = " [cut]"


class BodyCopy:
    """What of an answer is kept for the log as it goes out: `most` bytes, and what is searched behind them."""

    __slots__ = ("_kept", "_left")

    def __init__(self, most: int) -> None:
        self._kept: list[bytes] = []
        self._left = most + LOOKAHEAD + 1  # the last one tells that there is more

    def add(self, data: bytes) -> None:
        if self._left > 0 and data:
            self._kept.append(data if len(data) <= self._left else data[: self._left])
            self._left -= len(data)

    def __bytes__(self) -> bytes:
        return b"".join(self._kept)


class BodyLogger:
    """`all_of_them`: of every request, else of those that failed. `most`: bytes of each."""

    def __init__(self, most: int, *, all_of_them: bool) -> None:
        self._most = most
        self._all = all_of_them

    def copy(self) -> BodyCopy:
        return BodyCopy(self._most)

    def attach(self, record: RequestRecord, request: bytes, answer: BodyCopy) -> None:
        if self._all or record.level != "info":
            record.request_body = self._shown(request)
            record.response_body = self._shown(bytes(answer))

    def _shown(self, body: bytes) -> str:
        text = redacted_body_prefix(body, self._most, redact)
        return text if len(body) <= self._most else text + _CUT
