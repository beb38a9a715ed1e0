"""Records finished requests: each one exactly once, in the request log and in the metrics."""

import logging
from datetime import UTC, datetime
from time import perf_counter

from nulpoint.errors import Failure, Kind
from nulpoint.http.message import HttpRequest
from nulpoint.http.server.response import ResponseWriter
from nulpoint.models.costs import Prices
from nulpoint.redaction.text import without_request
from nulpoint.request.attempts import MAX_MODEL_NAME, OK
from nulpoint.request.context import RequestContext
from nulpoint.routing.breaker import State
from nulpoint.routing.chains import Target
from nulpoint.routing.cooldowns import REFUSED_SECONDS
from nulpoint.routing.provider_health import SkipReason
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.telemetry.request_log.bodies import BodyLogger
from nulpoint.telemetry.request_log.record import AttemptRecord, RequestRecord
from nulpoint.telemetry.request_log.request_log import RequestLog

logger = logging.getLogger(__name__)

MAX_MESSAGE = 500  # characters of a message in the log
KEY_BYTES = 6  # of the digest of a client's key; that is enough to tell keys apart
CLIENT_DISCONNECTED = 499  # nginx's status for it; only in logs and metrics, because no client is left to see it


class RequestRecorder:
    """Writes the records and the metrics of requests. `bodies` adds bodies to the records, if they are to be logged."""

    def __init__(self, log: RequestLog, metrics: Metrics, prices: Prices, bodies: BodyLogger | None) -> None:
        self.log = log
        self.bodies = bodies
        self._metrics = metrics
        self._prices = prices
        self.inflight = 0  # requests in progress

    def finish(self, context: RequestContext, request: HttpRequest, response: ResponseWriter) -> None:
        """Record a request. This must be called exactly once, when nothing more will happen to the request."""
        if context.dropped:
            self._metrics.fields_dropped(context.provider, context.dropped)
        record = self.build_record(context, request, response)
        self.log.put(record)
        self._metrics.request_finished(record, record.total_us - int((context.sent - context.started) * 1e6))

    def build_record(self, context: RequestContext, request: HttpRequest, response: ResponseWriter) -> RequestRecord:
        """Return the log record of a request."""
        failure, now = context.failure, perf_counter()
        status = response.status or (failure.status if failure else 0)
        if failure is not None and failure.kind is Kind.CLIENT_DISCONNECTED:
            status = CLIENT_DISCONNECTED
        record = RequestRecord(  # positional arguments take a fifth of the time of keyword arguments
            datetime.now(UTC),
            "info" if failure is None and status < 400 else _level(status, failure),
            context.id.decode("ascii"),
            context.route,
            request.method,
            status,
            context.model[:MAX_MODEL_NAME],
            context.provider,
            context.response_model[:MAX_MODEL_NAME],
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
            record.message = without_request(failure.message[:MAX_MESSAGE], request.body)
        if self.bodies is not None and context.body_copy is not None:
            self.bodies.attach(record, request.body, context.body_copy)
        return record

    def _add_cost(self, record: RequestRecord, context: RequestContext) -> None:
        """Set the cost of the request, or what was saved because no provider was called."""
        usage, cost = context.usage, None
        if usage is not None:
            models = context.response_model, context.upstream_model
            cost = self._prices.cost(context.provider, *models, usage, record.time.date())
        if context.coalesced or context.cache == "HIT":
            record.cost, record.saved = 0.0, cost
        else:
            record.cost = cost

    def breaker_changed(self, provider: str, state: State) -> None:
        """Log and count the new state of a provider's breaker."""
        logger.warning("circuit breaker of %s: %s", provider, state.label)
        self._metrics.breaker_changed(provider, state.label)

    def key_refused(self, provider: str, number: int, failure: Failure, model: str) -> None:
        """Log that the provider refused a configured key, which now cools down.

        `number` counts the provider's keys from 1. The key cools down for `model` only, or for all models if it is "".
        """
        what = "is out of credit" if failure.kind is Kind.QUOTA else "was refused"
        scope = f", for the model {model[:100]!a}" if model else ""  # the name comes from a client and may be anything
        text = "key %d of %s %s (status %d): it is not used for %d s%s"
        logger.error(text, number, provider, what, failure.provider_status, REFUSED_SECONDS, scope)

    def breaker_opened_elsewhere(self, provider: str) -> None:
        """Log and count that a provider's breaker opened because the one of another replica did."""
        logger.warning("circuit breaker of %s: open, because another replica opened it", provider)
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
        """Count the targets that were skipped because of their breakers."""
        for target, why in skipped:
            if why.by_breaker:
                self._metrics.breaker_rejected(target.provider.spec.name, why.reason)

    def rejected_by_server(self, failure: Failure, request_id: bytes) -> None:
        """Record a request that the server rejected before it was completely received or parsed."""
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
    """Return the attempts of a request. Without a history there was at most one, which the context describes."""
    if context.attempts is not None:
        return context.attempts.as_list()
    if not context.sent:
        return []
    failure = context.failure
    outcome, code = (OK, "") if failure is None else (failure.kind.value, failure.code or "")
    return [
        AttemptRecord(
            context.provider,
            context.upstream_model[:MAX_MODEL_NAME],
            outcome,
            int((now - context.sent) * 1e3),
            code,
            int((context.sent - context.started) * 1e3),
        )
    ]


def _level(status: int, failure: Failure | None) -> str:
    if status >= 500 or (failure is not None and failure.kind in (Kind.UPSTREAM, Kind.TIMEOUT, Kind.INTERNAL)):
        return "error"
    return "warn" if status >= 400 or failure is not None else "info"
