"""What is noted of a request while it lives, and the one place where it is settled: log and metrics, once."""

import itertools
import logging
import re
from datetime import UTC, datetime
from os import urandom
from time import perf_counter

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.http.message import Headers, HttpRequest
from nulpoint.http.server.response import ResponseWriter
from nulpoint.protocols.openai.usage import Usage
from nulpoint.providers.prices import Prices
from nulpoint.ratelimit.backend import Grant
from nulpoint.redaction.text import without_request
from nulpoint.request.attempts import OK, AttemptHistory
from nulpoint.routing.breaker import State
from nulpoint.routing.chains import Target
from nulpoint.routing.cooldowns import REFUSED_SECONDS
from nulpoint.routing.provider_health import SkipReason
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.telemetry.request_log.bodies import BodyCopy, BodyLogger
from nulpoint.telemetry.request_log.record import AttemptRecord, RequestRecord
from nulpoint.telemetry.request_log.request_log import RequestLog

logger = logging.getLogger(__name__)

SHOWN = 500  # characters of a message in the log
KEY_BYTES = 6  # of the digest of a caller's key: enough to tell keys apart
CLIENT_DISCONNECTED = 499  # nginx's number for it; in logs and metrics only, since nobody is there to read it
# New ids need to be unique, not secret: a random part a process and a number.
_PROCESS = urandom(10).hex().encode("ascii")
_NUMBERS = itertools.count(1)
_SANE_ID = re.compile(rb"[\w-]{1,64}", re.ASCII)


class RequestContext(msgspec.Struct):
    """Notes on one request. The clock marks are `perf_counter` seconds; 0.0 is not yet."""

    id: bytes
    route: str
    started: float  # the request had come whole
    sent: float = 0.0  # it went to the provider
    first_byte: float = 0.0  # the provider began to answer
    response_started: float = 0.0  # the answer began to go to the caller
    model: str = ""
    provider: str = ""
    upstream_model: str = ""  # the name sent to the provider
    response_model: str = ""
    stream: bool = False
    key: bytes = b""  # digest of the caller's
    first_token: float = 0.0  # content of a stream came
    coalesced: bool = False  # it got the answer to another caller's request
    cache: str = ""  # HIT, MISS or BYPASS
    limit_result: str = ""  # what the limits said: `limiting.RESULTS`
    limit_headers: bytes = b""  # header fields that tell how they stand
    grant: Grant | None = None  # what it holds of them
    committed: bool = False  # some of a stream's content has come
    attempts: AttemptHistory | None = None  # where the first one did not succeed
    dropped: int = 0  # members of the request that the provider cannot take
    usage: Usage | None = None
    failure: Failure | None = None
    body_copy: BodyCopy | None = None  # of the answer's body

    def gateway_seconds(self) -> float:
        """Seconds the gateway itself has taken until the answer began."""
        to_provider = (self.sent or self.response_started) - self.started
        return to_provider + (self.response_started - self.first_byte if self.first_byte else 0.0)


def request_id(headers: Headers) -> bytes:
    """The caller's own `X-Request-ID` where it is sane, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _SANE_ID.fullmatch(given):
        return given
    return new_id()


def new_id() -> bytes:
    return b"%b%012x" % (_PROCESS, next(_NUMBERS))


class RequestRecorder:
    """Settles requests. `bodies`: how they come into the log, where they do."""

    def __init__(self, log: RequestLog, metrics: Metrics, prices: Prices, bodies: BodyLogger | None) -> None:
        self.log = log
        self.bodies = bodies
        self._metrics = metrics
        self._prices = prices
        self.inflight = 0  # requests begun and not yet settled

    def finish(self, context: RequestContext, request: HttpRequest, response: ResponseWriter) -> None:
        """To be called exactly once for a request, when nothing more will happen to it."""
        if context.dropped:
            self._metrics.fields_dropped(context.provider, context.dropped)
        record = self.build_record(context, request, response)
        self.log.put(record)
        self._metrics.request_finished(record, record.total_us - int((context.sent - context.started) * 1e6))

    def record_finished(self, record: RequestRecord) -> None:
        """A request of which all is known already."""
        self.log.put(record)
        self._metrics.request_finished(record)

    def build_record(self, context: RequestContext, request: HttpRequest, response: ResponseWriter) -> RequestRecord:
        """What there is to say of a request."""
        failure, now = context.failure, perf_counter()
        status = response.status or (failure.status if failure else 0)
        if failure is not None and failure.kind is Kind.CLIENT_DISCONNECTED:
            status = CLIENT_DISCONNECTED
        record = RequestRecord(  # by position, which costs a fifth of what it costs by name
            datetime.now(UTC),
            _level(status, failure),
            context.id.decode("ascii"),
            context.route,
            request.method,
            status,
            context.model[:200],
            context.provider,
            context.response_model[:200],
            context.stream,
            int((context.first_byte - context.started) * 1e6) if context.first_byte else None,
            int((now - context.started) * 1e6),
            int(context.gateway_seconds() * 1e6) if context.response_started else 0,
            context.usage,
            context.coalesced,
            context.cache,
            context.limit_result,
            _attempts(context, now),
            len(request.body),
            response.body_bytes,
            context.key[:KEY_BYTES].hex(),
        )
        if context.usage is not None or context.coalesced:
            self._add_cost(record, context)
        if context.first_token:
            record.first_token_us = int((context.first_token - context.started) * 1e6)
        if failure is not None:
            record.error = failure.kind.value
            record.code = failure.code or ""
            record.message = without_request(failure.message[:SHOWN], request.body)
        if self.bodies is not None and context.body_copy is not None:
            self.bodies.attach(record, request.body, context.body_copy)
        return record

    def _add_cost(self, record: RequestRecord, context: RequestContext) -> None:
        """What was bought, or would have been."""
        usage, cost = context.usage, None
        if usage is not None:
            cost = self._prices.cost(context.provider, context.response_model, context.upstream_model, usage)
        if context.coalesced or context.cache == "HIT":
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
        logger.error(text, number, provider, what, failure.provider_status, REFUSED_SECONDS, scope)

    def breaker_opened_elsewhere(self, provider: str) -> None:
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

    def targets_skipped(self, skipped: list[tuple[Target, SkipReason]]) -> None:
        """Targets that could not be called."""
        for target, why in skipped:
            if why.by_breaker:
                self._metrics.breaker_rejected(target.provider.spec.name, why.reason)

    def rejected_by_server(self, failure: Failure, request_id: bytes) -> None:
        """A request that never came whole: refused by the server before anything could be known of it."""
        record = RequestRecord(
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
        self._metrics.request_finished(record)


def _attempts(context: RequestContext, now: float) -> list[AttemptRecord]:
    """All of them; nearly always it is one, of which nobody has made a note."""
    if context.attempts is not None:
        return context.attempts.as_list()
    if not context.sent:
        return []
    failure = context.failure
    outcome, code = (OK, "") if failure is None else (failure.kind.value, failure.code or "")
    began = context.sent - context.started
    return [
        AttemptRecord(
            context.provider,
            context.upstream_model[:200],
            outcome,
            int((now - context.sent) * 1e3),
            code,
            int(began * 1e3),
        )
    ]


def _level(status: int, failure: Failure | None) -> str:
    if status >= 500 or (failure is not None and failure.kind in (Kind.UPSTREAM, Kind.TIMEOUT, Kind.INTERNAL)):
        return "error"
    return "warn" if status >= 400 or failure is not None else "info"
