"""What is noted of a request while it lives, and the one place where it is settled: log and metrics, once."""

import itertools
import logging
import re
from datetime import UTC, datetime
from os import urandom
from time import perf_counter

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.gateway.attempts import Attempts
from nulpoint.http.message import Headers, Request
from nulpoint.http.reply import Reply
from nulpoint.routing.breaker import State
from nulpoint.routing.chains import Target
from nulpoint.routing.rests import REFUSED
from nulpoint.routing.standing import Passed
from nulpoint.stores.limits import Grant
from nulpoint.stores.metrics import Metrics
from nulpoint.stores.record import Record
from nulpoint.stores.requestlog import RequestLog
from nulpoint.wire.redaction import without_request
from nulpoint.wire.usage import Usage

logger = logging.getLogger(__name__)

SHOWN = 500  # characters of a message in the log
CALLER_LEFT = 499  # nginx's number for it; in logs and metrics only, since nobody is there to read it
# New ids need to be unique, not secret: a random part a process and a number.
_PROCESS = urandom(10).hex().encode("ascii")
_NUMBERS = itertools.count(1)
_SANE_ID = re.compile(rb"[\w-]{1,64}", re.ASCII)


class Entry(msgspec.Struct):
    """Notes on one request. The clock marks are `perf_counter` seconds; 0.0 is not yet."""

    id: bytes
    route: str
    started: float  # the request had come whole
    sent: float = 0.0  # it went to the provider
    first_byte: float = 0.0  # the provider began to answer
    began: float = 0.0  # the answer began to go to the caller
    model: str = ""
    provider: str = ""
    answered_model: str = ""
    stream: bool = False
    first_token: float = 0.0  # content of a stream came
    coalesced: bool = False  # it got the answer to another caller's request
    cache: str = ""  # HIT, MISS or BYPASS
    limit: str = ""  # what the limits said: `limiting.RESULTS`
    limit_fields: bytes = b""  # header fields that tell how they stand
    grant: Grant | None = None  # what it holds of them
    committed: bool = False  # some of a stream's content has come
    attempts: Attempts | None = None  # where the first one did not succeed
    dropped: int = 0  # members of the request that the provider cannot take
    usage: Usage | None = None
    failure: Failure | None = None

    def added(self) -> float:
        """Seconds the gateway itself has taken until the answer began."""
        to_provider = (self.sent or self.began) - self.started
        return to_provider + (self.began - self.first_byte if self.first_byte else 0.0)


def request_id(headers: Headers) -> bytes:
    """The caller's own `X-Request-ID` where it is sane, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _SANE_ID.fullmatch(given):
        return given
    return new_id()


def new_id() -> bytes:
    return b"%b%012x" % (_PROCESS, next(_NUMBERS))


class Journal:
    """Settles requests."""

    def __init__(self, log: RequestLog, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self.inflight = 0  # requests begun and not yet settled

    def settle(self, entry: Entry, request: Request, reply: Reply) -> None:
        """To be called exactly once for a request, when nothing more will happen to it."""
        if entry.dropped:
            self._metrics.fields_dropped(entry.provider, entry.dropped)
        record = self.record(entry, request, reply)
        self._log.put(record)
        self._metrics.settle(record, record.total_us - int((entry.sent - entry.started) * 1e6))

    def note(self, record: Record) -> None:
        """A request of which all is known already."""
        self._log.put(record)
        self._metrics.settle(record)

    def record(self, entry: Entry, request: Request, reply: Reply) -> Record:
        """What there is to say of a request."""
        failure = entry.failure
        status = reply.status or (failure.status if failure else 0)
        if failure is not None and failure.kind is Kind.CALLER_LEFT:
            status = CALLER_LEFT
        record = Record(  # by position, which costs a fifth of what it costs by name
            datetime.now(UTC),
            _level(status, failure),
            entry.id.decode("ascii"),
            entry.route,
            request.method,
            status,
            entry.model[:200],
            entry.provider,
            entry.answered_model,
            entry.stream,
            int((entry.first_byte - entry.started) * 1e6) if entry.first_byte else None,
            int((perf_counter() - entry.started) * 1e6),
            int(entry.added() * 1e6) if entry.began else 0,
            entry.usage,
            entry.coalesced,
            entry.cache,
            entry.limit,
            [],
            len(request.body),
            reply.body_bytes,
        )
        if entry.first_token:
            record.first_token_us = int((entry.first_token - entry.started) * 1e6)
        if entry.attempts is not None and len(entry.attempts) > 1:
            record.attempts = entry.attempts.listed()
        if failure is not None:
            record.error = failure.kind.value
            record.code = failure.code or ""
            record.message = without_request(failure.message[:SHOWN], request.body)
        return record

    def breaker_changed(self, provider: str, state: State) -> None:
        """A provider's breaker has another state now."""
        logger.warning("circuit breaker of %s: %s", provider, state.label)
        self._metrics.breaker_changed(provider, state.label)

    def key_refused(self, provider: str, number: int, failure: Failure) -> None:
        """A configured key, counted from 1, begins to rest because the provider did not accept it."""
        what = "is out of credit" if failure.kind is Kind.QUOTA else "was refused"
        text = "key %d of %s %s (status %d): it rests for %d s"
        logger.error(text, number, provider, what, failure.answered, REFUSED)

    def breaker_hinted(self, provider: str) -> None:
        """A provider's breaker has opened because another replica's has."""
        logger.warning("circuit breaker of %s: open, since another replica's is", provider)
        self._metrics.breaker_changed(provider, State.OPEN.label)

    def attempt_failed(self, provider: str, route: str, failure: Failure, seconds: float) -> None:
        self._metrics.attempt_failed(provider, route, failure.kind.value, seconds)

    def failed_over(self, primary: str, provider: str, to: str, reason: str) -> None:
        self._metrics.failed_over(primary, provider, to, reason)

    def failover_succeeded(self, primary: str, to: str) -> None:
        self._metrics.failover_succeeded(primary, to)

    def failover_exhausted(self, primary: str) -> None:
        self._metrics.failover_exhausted(primary)

    def passed_over(self, passed: list[tuple[Target, Passed]]) -> None:
        """Targets that could not be called."""
        for target, why in passed:
            if why.by_breaker:
                self._metrics.breaker_rejected(target.provider.spec.name, why.why)

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
