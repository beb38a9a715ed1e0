"""The gateway's own pages: health, readiness, metrics, and the models it can route."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from nulpoint import __version__
from nulpoint.api.process_state import ProcessState, ReloadStatus
from nulpoint.errors import Failure, rejected
from nulpoint.providers.spec import Provider
from nulpoint.proxy.admission import AdmissionController
from nulpoint.routing.breaker import State
from nulpoint.routing.provider_health import ProviderHealth
from nulpoint.routing.router import Router
from nulpoint.telemetry.metrics.definitions import MetricValues
from nulpoint.telemetry.metrics.exposition import CONTENT_TYPE
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.telemetry.request_log.request_log import RequestLog

logger = logging.getLogger(__name__)

JSON = b"application/json"
# The API demands a date; these names have none here.
_CREATED = 0

Page = tuple[int, bytes, bytes]  # status, content type, body


class BackendStatus(Protocol):
    """The cache, and what replicas share."""

    @property
    def degraded(self) -> bool:
        """Something that was configured is missing just now."""

    def health(self) -> dict[str, Any]:
        """Members of the page."""

    def add_metrics(self, values: MetricValues) -> None:
        """Enter what has been counted."""


class CredentialStatus(Protocol):
    """Those that the gateway comes by itself."""

    @property
    def degraded(self) -> bool:
        """One that is needed is missing just now."""

    def health(self, provider: str) -> dict[str, Any] | None:
        """Of one provider; None where it has keys, or needs none."""


class StatusPages:
    """Makes the pages, as things stand under one configuration. `reloading` tells whether it is the newest there is."""

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
        """Everything at a glance. Names only: no address, no key."""
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
        status, word = (200, "ready") if self._process_state.ready else (503, "draining")
        return status, JSON, msgspec.json.encode({"status": word})

    def update_gauges(self) -> None:
        """Note for the metrics what is so just now."""
        self._metrics.set_inflight(self._process_state.inflight)
        self._backends.add_metrics(self._metrics.values)
        self._metrics.set_breakers({name: health.breaker.state for name, health in self._provider_health.items()})

    def metrics(self) -> Page:
        self.update_gauges()
        try:
            return 200, CONTENT_TYPE, self._metrics.page()
        except OSError as error:  # counts of some workers alone would look as if the others had begun anew
            logger.error("/metrics: what the workers have counted cannot be added up: %s", error)
            return 503, b"text/plain", b"what the workers have counted cannot be added up; the log of nulpoint says why"

    def models(self) -> Page:
        """`GET /v1/models`: what is known by name; other names of a configured provider are routed too."""
        listed = [_model(name, owner) for name, owner in self._router.models()]
        return 200, JSON, msgspec.json.encode({"object": "list", "data": listed})

    def model(self, name: str) -> Page:
        """`GET /v1/models/{id}`. Raises Failure (404)."""
        target = self._router.find_target(name)
        if target is None:
            raise unknown_model(name)
        return 200, JSON, msgspec.json.encode(_model(name, target.provider.spec.name))


def _model(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": owner}


def unknown_model(name: str) -> Failure:
    text = f"the model {name[:100]!r} is not one this gateway knows; GET /v1/models lists them"
    return rejected(text, param="model", code="model_not_found", status=404)
