"""What is noted of a request while it lives, and the one place where it is settled: log and metrics, once."""

import itertools
import re
from datetime import UTC, datetime
from os import urandom
from time import perf_counter

from nulpoint.errors import Failure, Kind
from nulpoint.http.message import Headers, Request
from nulpoint.http.reply import Reply
from nulpoint.stores.metrics import Metrics
from nulpoint.stores.record import Record
from nulpoint.stores.requestlog import RequestLog
from nulpoint.wire.usage import Usage

CALLER_LEFT = 499  # nginx's number for it; in logs and metrics only, since nobody is there to read it
# New ids need to be unique, not secret: a random part a process and a number.
_PROCESS = urandom(10).hex().encode("ascii")
_NUMBERS = itertools.count(1)
_SANE_ID = re.compile(rb"[\w-]{1,64}", re.ASCII)


class Entry:
    """Notes on one request. The clock marks are `perf_counter` seconds; 0.0 is not yet."""

    __slots__ = ("answered_model", "began", "failure", "first_byte", "id", "model", "provider", "route", "sent",
                 "started", "stream", "usage")  # fmt: skip

    def __init__(self, request: Request, route: str) -> None:
        self.id = request_id(request.headers)
        self.route = route
        self.started = request.started  # the request had come whole
        self.sent = 0.0  # it went to the provider
        self.first_byte = 0.0  # the provider began to answer
        self.began = 0.0  # the answer began to go to the caller
        self.model = ""
        self.provider = ""
        self.answered_model = ""
        self.stream = False
        self.usage: Usage | None = None
        self.failure: Failure | None = None

    def added(self) -> float:
        """Seconds the gateway itself has taken until the answer began."""
        to_provider = (self.sent or self.began) - self.started
        return to_provider + (self.began - self.first_byte if self.first_byte else 0.0)


def request_id(headers: Headers) -> bytes:
    """The caller's own `X-Request-ID` where it is sane, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _SANE_ID.fullmatch(given):
        return given
    return b"%b%012x" % (_PROCESS, next(_NUMBERS))


class Journal:
    """Settles requests."""

    def __init__(self, log: RequestLog, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self.inflight = 0  # requests begun and not yet settled

    def settle(self, entry: Entry, request: Request, reply: Reply) -> None:
        """To be called exactly once for a request, when nothing more will happen to it."""
        failure = entry.failure
        status = reply.status or (failure.status if failure else 0)
        if failure is not None and failure.kind is Kind.CALLER_LEFT:
            status = CALLER_LEFT
        record = Record(
            time=datetime.now(UTC),
            level=_level(status, failure),
            id=entry.id.decode("ascii"),
            route=entry.route,
            method=request.method,
            status=status,
            model=entry.model[:200],
            provider=entry.provider,
            answered_model=entry.answered_model,
            stream=entry.stream,
            first_byte_us=_us(entry.first_byte - entry.started) if entry.first_byte else None,
            total_us=_us(perf_counter() - entry.started),
            added_us=_us(entry.added()) if entry.began else 0,
            usage=entry.usage,
            bytes_in=len(request.body),
            bytes_out=reply.body_bytes,
        )
        if failure is not None:
            record.error = failure.kind.value
            record.code = failure.code or ""
            record.message = failure.message[:500]
        self._log.put(record)
        self._metrics.settle(record)

    def fields_dropped(self, provider: str, fields: int) -> None:
        self._metrics.fields_dropped(provider, fields)

    def refused(self, failure: Failure, request_id: bytes) -> None:
        """A request that never came whole: refused by the server before anything could be known of it."""
        record = Record(
            time=datetime.now(UTC),
            level="warn",
            id=request_id.decode("ascii"),
            route="malformed",
            method="",
            status=failure.status,
            error=failure.kind.value,
            code=failure.code or "",
            message=failure.message,
        )
        self._log.put(record)
        self._metrics.settle(record)


def _level(status: int, failure: Failure | None) -> str:
    if status >= 500 or (failure is not None and failure.kind in (Kind.UPSTREAM, Kind.TIMEOUT, Kind.INTERNAL)):
        return "error"
    return "warn" if status >= 400 or failure is not None else "info"


def _us(seconds: float) -> int:
    return int(seconds * 1e6)
