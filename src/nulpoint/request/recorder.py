"""What is noted of a request while it lives, and the one place where it is settled: log and metrics, once."""

import itertools
import logging
import re
from datetime import UTC, datetime
from os import urandom
from time import perf_counter

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.request.attempts import OK, Attempts
from nulpoint.telemetry.request_log.bodies import Bodies, BodyCopy
from nulpoint.http.message import Headers, Request
from nulpoint.http.server.response import Reply
from nulpoint.providers.prices import Prices
from nulpoint.routing.breaker import State
from nulpoint.routing.chains import Target
from nulpoint.routing.cooldowns import REFUSED
from nulpoint.routing.provider_health import Passed
from nulpoint.ratelimit.backend import Grant
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.telemetry.request_log.record import Attempt, Record
from nulpoint.telemetry.request_log.request_log import RequestLog
from nulpoint.redaction.text import without_request
from nulpoint.protocols.openai.usage import Usage

logger = logging.getLogger(__name__)

SHOWN = 500  # characters of a message in the log
KEY_BYTES = 6  # of the digest of a caller's key: enough to tell keys apart
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
    asked_model: str = ""  # the name sent to the provider
    answered_model: str = ""
    stream: bool = False
    key: bytes = b""  # digest of the caller's
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
    copy: BodyCopy | None = None  # of the answer's body

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
    """Settles requests. `bodies`: how they come into the log, where they do."""

    def __init__(self, log: RequestLog, metrics: Metrics, prices: Prices, bodies: Bodies | None) -> None:
        self.log = log
        self.bodies = bodies
        self._metrics = metrics
        self._prices = prices
        self.inflight = 0  # requests begun and not yet settled

    def settle(self, entry: Entry, request: Request, reply: Reply) -> None:
        """To be called exactly once for a request, when nothing more will happen to it."""
        if entry.dropped:
            self._metrics.fields_dropped(entry.provider, entry.dropped)
        record = self.record(entry, request, reply)
        self.log.put(record)
        self._metrics.settle(record, record.total_us - int((entry.sent - entry.started) * 1e6))

    def note(self, record: Record) -> None:
        """A request of which all is known already."""
        self.log.put(record)
        self._metrics.settle(record)

    def record(self, entry: Entry, request: Request, reply: Reply) -> Record:
        """What there is to say of a request."""
        failure, now = entry.failure, perf_counter()
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
            entry.answered_model[:200],
            entry.stream,
            int((entry.first_byte - entry.started) * 1e6) if entry.first_byte else None,
            int((now - entry.started) * 1e6),
            int(entry.added() * 1e6) if entry.began else 0,
            entry.usage,
            entry.coalesced,
            entry.cache,
            entry.limit,
            _attempts(entry, now),
            len(request.body),
            reply.body_bytes,
            entry.key[:KEY_BYTES].hex(),
        )
        if entry.usage is not None or entry.coalesced:
            self._note_cost(record, entry)
        if entry.first_token:
            record.first_token_us = int((entry.first_token - entry.started) * 1e6)
        if failure is not None:
            record.error = failure.kind.value
            record.code = failure.code or ""
            record.message = without_request(failure.message[:SHOWN], request.body)
        if self.bodies is not None and entry.copy is not None:
            self.bodies.note(record, request.body, entry.copy)
        return record

    def _note_cost(self, record: Record, entry: Entry) -> None:
        """What was bought, or would have been."""
        usage, cost = entry.usage, None
        if usage is not None:
            cost = self._prices.cost(entry.provider, entry.answered_model, entry.asked_model, usage)
        if entry.coalesced or entry.cache == "HIT":
            record.cost, record.saved = 0.0, cost
        else:
            record.cost = cost

    def breaker_changed(self, provider: str, state: State) -> None:
        """A provider's breaker has another state now."""
        logger.warning("circuit breaker of %s: %s", provider, state.label)
        self._metrics.breaker_changed(provider, state.label)

    def key_refused(self, provider: str, number: int, failure: Failure, model: str) -> None:
        """A configured key, counted from 1, begins to rest because the provider did not accept it; "" is any model."""
        what = "is out of credit" if failure.kind is Kind.QUOTA else "was refused"
        scope = f", for the model {model[:100]!a}" if model else ""  # callers name models, with whatever in the name
        text = "key %d of %s %s (status %d): it rests for %d s%s"
        logger.error(text, number, provider, what, failure.answered, REFUSED, scope)

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
        self.log.put(record)
        self._metrics.settle(record)


def _attempts(entry: Entry, now: float) -> list[Attempt]:
    """All of them; nearly always it is one, of which nobody has made a note."""
    if entry.attempts is not None:
        return entry.attempts.listed()
    if not entry.sent:
        return []
    failure = entry.failure
    outcome, code = (OK, "") if failure is None else (failure.kind.value, failure.code or "")
    began = entry.sent - entry.started
    return [
        Attempt(entry.provider, entry.asked_model[:200], outcome, int((now - entry.sent) * 1e3), code, int(began * 1e3))
    ]


def _level(status: int, failure: Failure | None) -> str:
    if status >= 500 or (failure is not None and failure.kind in (Kind.UPSTREAM, Kind.TIMEOUT, Kind.INTERNAL)):
        return "error"
    return "warn" if status >= 400 or failure is not None else "info"
