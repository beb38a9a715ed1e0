"""A gateway built whole from one configuration. With another one comes another runtime, which takes its place.

What has not changed goes over from the one before: how providers stand, connections to them, the cache, what was taken
of the limits, calls under way that can be joined. Requests that have begun finish on the runtime they began with, which
is let go when the last of them has ended.
"""

import asyncio
import random  # noqa: TID251 - chosen here and passed in
from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

from nulpoint.api.admin import AdminControl, AdminPages
from nulpoint.api.cors import CorsPolicy
from nulpoint.api.explain import RoutingExplainer
from nulpoint.api.process_state import ProcessState
from nulpoint.api.routes import ADMIN_PAGES, CLIENT_PAGES, OPERATOR_PAGES, Dispatcher
from nulpoint.api.status import StatusPages
from nulpoint.app.backends import Backends
from nulpoint.app.wiring import (
    bodies_of,
    breaker_rules,
    callers_of,
    client_limits,
    dialer_of,
    gate_limits,
    limit_rules,
    operators_of,
    pools_of,
    prices_of,
    proxy_rules,
    router_of,
    server_limits,
)
from nulpoint.config import Config
from nulpoint.credentials.manager import CredentialManager
from nulpoint.http.client.pool import UpstreamClient
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.server.repeated_requests import Again
from nulpoint.providers.spec import Provider, Route
from nulpoint.proxy.admission import AdmissionController
from nulpoint.proxy.handler import ProxyHandler
from nulpoint.proxy.services import Services
from nulpoint.proxy.singleflight import SingleFlight
from nulpoint.proxy.translation_thread import TranslationThread
from nulpoint.request.recorder import RequestRecorder
from nulpoint.routing.provider_health import ProviderHealth
from nulpoint.routing.router import Router
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.telemetry.request_log.request_log import RequestLog

ROUTES: MappingProxyType[str, Route] = MappingProxyType(
    {"/v1/chat/completions": "chat", "/v1/completions": "completions", "/v1/embeddings": "embeddings"}
)


class ProcessServices(NamedTuple):
    """What a process has from its start to its end, whatever the configuration."""

    deadlines: DeadlineSweeper
    metrics: Metrics
    log: RequestLog
    admission: AdmissionController
    process_state: ProcessState
    control: AdminControl


class Runtime:
    """Needs a running event loop. Building one changes nothing of the one `before`; `take_over` does."""

    def __init__(self, config: Config, process_services: ProcessServices, before: "Runtime | None" = None) -> None:
        self.config = config
        self.recorder = RequestRecorder(
            process_services.log, process_services.metrics, prices_of(config), bodies_of(config)
        )
        self.pools = pools_of(config)
        self.client = _client(config, process_services, before)
        self.provider_health = {
            name: _standing(provider, config, before) for name, provider in config.providers.items()
        }
        breakers = {name: health.breaker for name, health in self.provider_health.items()}
        kept = before.backends if before is not None else None
        self.backends: Backends = Backends(
            config, process_services.deadlines, breakers, self.recorder.breaker_opened_elsewhere, kept
        )
        shares = config.coalesce and self.backends.cache is not None
        self.single_flight = _flights(before) if shares else None
        self.credentials: CredentialManager = CredentialManager(
            config.providers, random.random, before.credentials if before is not None else None
        )
        self.translation: TranslationThread = before.translation if before is not None else TranslationThread()
        self.limits = server_limits(config)
        self.again = Again() if self.backends.answers_at_once else None
        self._process_services = process_services
        router = router_of(config)
        self.status = StatusPages(
            tuple(config.providers.values()),
            router,
            process_services.process_state,
            process_services.metrics,
            self.provider_health,
            process_services.admission,
            self.backends,
            process_services.control,
            self.credentials,
            process_services.log,
        )
        self.service, self.admin = self._services(router)

    def _services(self, router: Router) -> tuple[Dispatcher, Dispatcher]:
        """For callers, and for operators where they have a port of their own: their pages alone."""
        config, control = self.config, self._process_services.control
        authenticator, operators = callers_of(config), operators_of(config)
        cors, nobody = CorsPolicy(config.cors_origins), CorsPolicy(())  # no page of another origin is an operator's
        around, rules = self._around(router, cors), proxy_rules(config, authenticator)
        proxies = {path: ProxyHandler(route, around, rules) for path, route in ROUTES.items()}
        clock = asyncio.get_running_loop().time
        explainer = RoutingExplainer(
            router, self.provider_health, config.max_retries, self.backends, limit_rules(config), clock
        )
        admin = AdminPages(operators if config.admin_api_key else None, control, explainer)
        here = CLIENT_PAGES if config.admin_port is not None else CLIENT_PAGES + OPERATOR_PAGES + ADMIN_PAGES
        apart = ("/readiness", *OPERATOR_PAGES, *ADMIN_PAGES)
        return (
            Dispatcher(proxies, self.status, self.recorder, cors, authenticator, operators, admin, served_paths=here),
            Dispatcher({}, self.status, self.recorder, nobody, operators, operators, admin, served_paths=apart),
        )

    def _around(self, router: Router, cors: CorsPolicy) -> Services:
        return Services(
            router=router,
            provider_health=self.provider_health,
            client=self.client,
            recorder=self.recorder,
            admission=self._process_services.admission,
            single_flight=self.single_flight,
            cache=self.backends.parts,
            limiter=self.backends.limiter,
            deadlines=self._process_services.deadlines,
            cross_origin=cors.response_headers,
            random=random.random,
            identities=self.credentials.by_provider,
            translation=self.translation,
        )

    async def start(self) -> None:
        """Look for what is beside it: Redis, and the clouds' tokens. None of them need be there."""
        await asyncio.gather(self.backends.start(), self.credentials.start())

    def activate(self) -> None:
        """What lasts, and what is shared with the runtime before, goes by this configuration from now on."""
        self._process_services.admission.update_limits(gate_limits(self.config))
        self.backends.activate()

    @property
    def closers(self) -> list[tuple[object, Callable[[], None]]]:
        """What has to be stopped when no runtime has it any more, and how."""
        own: list[tuple[object, Callable[[], None]]] = [
            (self.client, self.client.close),
            (self.translation, self.translation.close),
        ]
        return [*own, *self.backends.closers, *self.credentials.held]


def _client(config: Config, process_services: ProcessServices, before: Runtime | None) -> UpstreamClient:
    """Connections are kept as long as they would be made in the same way."""
    if before is not None and _dials_alike(before.config, config):
        return before.client
    return UpstreamClient(
        dialer_of(config), client_limits(config), process_services.deadlines, process_services.metrics.replayed
    )


def _flights(before: Runtime | None) -> SingleFlight:
    """Calls under way can still be joined."""
    return before.single_flight if before is not None and before.single_flight is not None else SingleFlight()


def _dials_alike(before: Config, after: Config) -> bool:
    names = ("dns_ttl", "https_proxy", "no_proxy", "ssl_cert_file")
    same = all(getattr(before, name) == getattr(after, name) for name in names)
    return same and client_limits(before) == client_limits(after)


def _standing(provider: Provider, config: Config, before: Runtime | None) -> ProviderHealth:
    """A provider at the same address goes on from how it stood, and so do those of its keys that it had before."""
    rules, keys = breaker_rules(config), provider.credentials
    known = before.config.providers.get(provider.spec.name) if before is not None else None
    if before is None or known is None or known.base_url != provider.base_url:
        return ProviderHealth(rules, len(keys))
    had = known.credentials
    positions = [had.index(key) if key in had else None for key in keys]
    return before.provider_health[provider.spec.name].updated(rules, positions)
