"""Everything that is built from one configuration. Another configuration gets another runtime, which replaces it.

Unchanged state is taken over from the previous runtime: the health of providers, connections, the cache, the use of
rate limits, and upstream calls in flight that can be shared. Requests finish on the runtime on which they began, which
is released when its last request has ended.
"""

import asyncio
import random  # noqa: TID251 - chosen here and passed in
from collections.abc import Callable, Mapping
from datetime import date
from typing import NamedTuple

from nulpoint.api.admin import AdminControl, AdminPages
from nulpoint.api.cors import CorsPolicy
from nulpoint.api.explain import RoutingExplainer
from nulpoint.api.process_state import ProcessState
from nulpoint.api.routes import ADMIN_PAGES, CLIENT_PAGES, OPERATOR_PAGES, Dispatcher
from nulpoint.api.status import StatusPages
from nulpoint.app.backends import Backends
from nulpoint.app.model_refresher import ModelRefresher
from nulpoint.app.wiring import (
    admission_limits,
    breaker_rules,
    build_admin_authenticator,
    build_body_logger,
    build_client_authenticator,
    build_connector,
    build_models,
    build_prices,
    build_router,
    client_limits,
    limit_rules,
    pool_keys,
    proxy_rules,
    server_limits,
)
from nulpoint.config import Config
from nulpoint.credentials.manager import CredentialManager
from nulpoint.http.client.pool import UpstreamClient
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.models.catalog import Listing
from nulpoint.providers.operations import OPERATIONS
from nulpoint.providers.spec import Provider
from nulpoint.proxy.admission.controller import AdmissionController
from nulpoint.proxy.handler import ProxyHandler
from nulpoint.proxy.services import Services
from nulpoint.proxy.singleflight import SingleFlight
from nulpoint.proxy.translation_thread import TranslationThread
from nulpoint.request.recorder import RequestRecorder
from nulpoint.routing.provider_health import ProviderHealth
from nulpoint.routing.router import Router
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.telemetry.request_log.request_log import RequestLog


class ProcessServices(NamedTuple):
    """The services that live as long as the process, whatever the configuration. `today` returns the date."""

    deadlines: DeadlineSweeper
    metrics: Metrics
    log: RequestLog
    admission: AdmissionController
    process_state: ProcessState
    control: AdminControl
    today: Callable[[], date]


class Runtime:
    """A gateway built from one configuration. Needs a running event loop.

    Building a runtime does not change the previous one, `before`; only `activate` does.
    """

    def __init__(self, config: Config, process_services: ProcessServices, before: "Runtime | None" = None) -> None:
        self.config = config
        self.recorder = RequestRecorder(
            process_services.log, process_services.metrics, build_prices(config), build_body_logger(config)
        )
        self.pools = pool_keys(config)
        self.client = _client(config, process_services, before)
        self.provider_health = {
            name: _provider_health(provider, config, before) for name, provider in config.providers.items()
        }
        breakers = {name: health.breaker for name, health in self.provider_health.items()}
        old_backends = before.backends if before is not None else None
        self.backends: Backends = Backends(
            config, process_services.deadlines, breakers, self.recorder.breaker_opened_elsewhere, old_backends
        )
        shares = config.coalesce and self.backends.cache is not None
        self.single_flight = _single_flight(before) if shares else None
        self.credentials: CredentialManager = CredentialManager(
            config.providers, random.random, before.credentials if before is not None else None
        )
        self.translation: TranslationThread = before.translation if before is not None else TranslationThread()
        self.limits = server_limits(config)
        self._process_services = process_services
        self.models = build_models(config, _listings(config, before))
        self.router = router = build_router(config, self.models, process_services.today())
        self.model_refresher = ModelRefresher(
            config.model_refresh,
            config.providers.values(),
            self.credentials.by_provider,
            self.client,
            self.models,
            router,
            random.random,
        )
        self._before = before
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
        """Build the dispatchers of the client port and of the admin port, which serves the admin pages only."""
        config, control = self.config, self._process_services.control
        authenticator, admin_authenticator = build_client_authenticator(config), build_admin_authenticator(config)
        cors, no_cors = CorsPolicy(config.cors_origins), CorsPolicy(())  # admin pages allow no other origin
        services, rules = self._proxy_services(router, cors), proxy_rules(config, authenticator)
        proxies = [ProxyHandler(operation, services, rules) for operation in OPERATIONS.values()]
        clock = asyncio.get_running_loop().time
        explainer = RoutingExplainer(
            router, self.provider_health, config.max_retries, self.backends, limit_rules(config), clock
        )
        admin = AdminPages(admin_authenticator if config.admin_api_key else None, control, explainer)
        client_pages = CLIENT_PAGES if config.admin_port is not None else CLIENT_PAGES + OPERATOR_PAGES + ADMIN_PAGES
        admin_pages = ("/readiness", *OPERATOR_PAGES, *ADMIN_PAGES)
        return (
            Dispatcher(
                proxies,
                self.status,
                self.recorder,
                cors,
                authenticator,
                admin_authenticator,
                admin,
                served_paths=client_pages,
            ),
            Dispatcher(
                (),
                self.status,
                self.recorder,
                no_cors,
                admin_authenticator,
                admin_authenticator,
                admin,
                served_paths=admin_pages,
            ),
        )

    def _proxy_services(self, router: Router, cors: CorsPolicy) -> Services:
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
        """Connect to Redis and fetch the clouds' tokens. Neither has to succeed for the gateway to start."""
        await asyncio.gather(self.backends.start(), self.credentials.start())

    def activate(self) -> None:
        """Apply this configuration to the process services and the state shared with the previous runtime."""
        self._process_services.admission.update_limits(admission_limits(self.config))
        self.backends.activate()
        if self._before is not None:
            self._before.model_refresher.stop()
            self._before = None  # so that its parts can be released
        self.router.chosen_targets()  # found here, so that it delays no request
        self.model_refresher.start()

    @property
    def closers(self) -> list[tuple[object, Callable[[], None]]]:
        """The parts, each with the function that stops it once no runtime uses it."""
        closers: list[tuple[object, Callable[[], None]]] = [
            (self.client, self.client.close),
            (self.translation, self.translation.close),
            (self.model_refresher, self.model_refresher.stop),
        ]
        return [*closers, *self.backends.closers, *self.credentials.closers]


def _client(config: Config, process_services: ProcessServices, before: Runtime | None) -> UpstreamClient:
    """Return the upstream client; keep the previous one with its connections if it would connect in the same way."""
    if before is not None and _connects_alike(before.config, config):
        return before.client
    return UpstreamClient(
        build_connector(config), client_limits(config), process_services.deadlines, process_services.metrics.replayed
    )


def _listings(config: Config, before: Runtime | None) -> Mapping[str, Listing]:
    """Return what the lists of the unchanged providers said, for as long as the lists are asked for."""
    if before is None or not config.model_refresh:
        return {}
    unchanged = {name for name, provider in config.providers.items() if before.config.providers.get(name) == provider}
    return {name: listing for name, listing in before.models.listings.items() if name in unchanged}


def _single_flight(before: Runtime | None) -> SingleFlight:
    """Keep the previous single flight, so that its calls in flight can still be shared."""
    return before.single_flight if before is not None and before.single_flight is not None else SingleFlight()


def _connects_alike(before: Config, after: Config) -> bool:
    names = ("dns_ttl", "https_proxy", "no_proxy", "ssl_cert_file")
    same = all(getattr(before, name) == getattr(after, name) for name in names)
    return same and client_limits(before) == client_limits(after)


def _provider_health(provider: Provider, config: Config, before: Runtime | None) -> ProviderHealth:
    """Return the provider's health; a provider at the same address keeps its health and that of its unchanged keys."""
    rules, keys = breaker_rules(config), provider.credentials
    digests = [key.digest() for key in keys]
    old = before.config.providers.get(provider.spec.name) if before is not None else None
    if before is None or old is None or old.base_url != provider.base_url:
        return ProviderHealth(rules, len(keys), digests)
    positions = [old.credentials.index(key) if key in old.credentials else None for key in keys]
    return before.provider_health[provider.spec.name].updated(rules, positions, digests)
