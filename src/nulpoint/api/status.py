"""The status pages of the gateway: health, readiness, metrics, and the list of models."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from nulpoint import __version__
from nulpoint.api.process_state import ProcessState, ReloadStatus
from nulpoint.errors import Failure, rejected
from nulpoint.models.retirement import days_left
from nulpoint.providers.spec import Provider
from nulpoint.proxy.admission.controller import AdmissionController
from nulpoint.routing.breaker import State
from nulpoint.routing.provider_health import ProviderHealth
from nulpoint.routing.router import Router
from nulpoint.telemetry.metrics.definitions import MetricValues
from nulpoint.telemetry.metrics.exposition import CONTENT_TYPE
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.telemetry.request_log.request_log import RequestLog

logger = logging.getLogger(__name__)

JSON = b"application/json"
# The API requires a creation date, which is not known.
_CREATED = 0

Page = tuple[int, bytes, bytes]  # status, content type, body


class BackendStatus(Protocol):
    """The status of the cache and the limits, in memory or in Redis."""

    @property
    def degraded(self) -> bool:
        """Return whether something that is configured is unavailable."""

    def health(self) -> dict[str, Any]:
        """Return the members for the health page."""

    def add_metrics(self, values: MetricValues) -> None:
        """Add what has been counted to the metrics."""


class CredentialStatus(Protocol):
    """The status of the credentials that the gateway obtains itself, such as cloud access tokens."""

    @property
    def degraded(self) -> bool:
        """Return whether a credential that is needed is missing."""

    def health(self, provider: str) -> dict[str, Any] | None:
        """Return the status for one provider; None if it uses configured keys or needs none."""


class StatusPages:
    """Makes the status pages for one configuration. `reloading` reports whether a newer one was rejected."""

    def __init__(
        self,
        providers: tuple[Provider, ...],
        router: Router,
        process_state: ProcessState,
        metrics: Metrics,
        provider_health: Mapping[str, ProviderHealth],
        admission: AdmissionController,
        backends: BackendStatus,
        reloading: ReloadStatus,
        credentials: CredentialStatus,
        log: RequestLog,
    ) -> None:
        self._providers = providers
        self._router = router
        self._process_state = process_state
        self._metrics = metrics
        self._provider_health = provider_health
        self._admission = admission
        self._backends = backends
        self._reloading = reloading
        self._credentials = credentials
        self._log = log
        self._loop = asyncio.get_running_loop()

    def health(self) -> Page:
        """Make `GET /health`: the state of everything, without addresses and keys."""
        log = self._log
        degraded = self._backends.degraded or self._credentials.degraded or log.failing
        status = "degraded" if degraded else "ok"
        page = {
            "status": status if self._process_state.ready else "draining",
            "version": __version__,
            "uptime_seconds": round(self._loop.time() - self._process_state.started, 3),
            "inflight_requests": self._process_state.inflight,
            "places": {
                "requests": self._admission.requests,
                "streams": self._admission.streams,
                "bytes": self._admission.held_bytes,
            },
            "upstream_connections": self._process_state.connections,
            "providers": {provider.spec.name: self._provider(provider.spec.name) for provider in self._providers},
            **self._backends.health(),
            "config": self._reloading.health(),
            "request_log": log.health(),
        }
        return 200, JSON, msgspec.json.encode(page)

    def _provider(self, name: str) -> dict[str, Any]:
        health, now = self._provider_health[name], self._loop.time()
        state = health.breaker.state
        credential = self._credentials.health(name)
        return {
            "status": "ok" if state is State.CLOSED else "unavailable",
            "circuit_breaker": state.label,
            "resting_credentials": health.cooldowns.active(now),
            "further_attempts": health.retry_budget.running,
            **({"credential": credential} if credential is not None else {}),
        }

    def readiness(self) -> Page:
        """Make `GET /readiness`: 503 while the gateway drains."""
        status, word = (200, "ready") if self._process_state.ready else (503, "draining")
        return status, JSON, msgspec.json.encode({"status": word})

    def update_gauges(self) -> None:
        """Update the metrics that report a present state."""
        self._metrics.set_inflight(self._process_state.inflight)
        self._backends.add_metrics(self._metrics.values)
        self._metrics.set_breakers({name: health.breaker.state for name, health in self._provider_health.items()})
        today = self._router.today
        chosen = self._router.chosen_targets()
        self._metrics.set_retirements({target.name: days_left(target.retires, today) for target in chosen})

    def metrics(self) -> Page:
        """Make `GET /metrics`: the metrics of all workers."""
        self.update_gauges()
        try:
            return 200, CONTENT_TYPE, self._metrics.page()
        except OSError as error:  # counts of some workers only would look like a restart of the others
            logger.error("/metrics: the counts of the workers cannot be added up: %s", error)
            return (
                503,
                b"text/plain",
                b"the counts of the workers cannot be added up; the log of nulpoint has the reason",
            )

    def models(self) -> Page:
        """Make `GET /v1/models`; see `Router.models`. Other models of the configured providers can be used too."""
        listed = [_model(name, owner) for name, owner in self._router.models()]
        return 200, JSON, msgspec.json.encode({"object": "list", "data": listed})

    def model(self, name: str) -> Page:
        """Make `GET /v1/models/{id}`: one model. Raises Failure (404)."""
        target = self._router.find_target(name)
        if target is None:
            raise unknown_model(name)
        return 200, JSON, msgspec.json.encode(_model(name, target.provider.spec.name))


def _model(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": owner}


def unknown_model(name: str) -> Failure:
    text = f"the model {name[:100]!r} is not known to this gateway; GET /v1/models lists the known ones"
    return rejected(text, param="model", code="model_not_found", status=404)
