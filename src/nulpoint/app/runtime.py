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

from nulpoint.app.backends import Backing
from nulpoint.config import Config
from nulpoint.credentials.manager import Vault
from nulpoint.api.admin import Admin, Control
from nulpoint.api.cors import CrossOrigin
from nulpoint.api.explain import Explainer
from nulpoint.proxy.admission import Gate
from nulpoint.request.recorder import Journal
from nulpoint.api.process_state import Life
from nulpoint.proxy.handler import Proxy, Surroundings
from nulpoint.api.routes import ADMIN, CALLERS_PAGES, OPERATORS, Gateway
from nulpoint.proxy.singleflight import Flights
from nulpoint.api.status import Status
from nulpoint.proxy.translation_thread import TranslationThread
from nulpoint.http.server.repeated_requests import Again
from nulpoint.http.client.pool import Client
from nulpoint.http.deadlines import Ticker
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
)  # fmt: skip
from nulpoint.providers.spec import Provider, Route
from nulpoint.routing.router import Router
from nulpoint.routing.provider_health import Standing
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.telemetry.request_log.request_log import RequestLog

ROUTES: MappingProxyType[str, Route] = MappingProxyType(
    {"/v1/chat/completions": "chat", "/v1/completions": "completions", "/v1/embeddings": "embeddings"}
)


class Lasting(NamedTuple):
    """What a process has from its start to its end, whatever the configuration."""

    ticker: Ticker
    metrics: Metrics
    log: RequestLog
    gate: Gate
    life: Life
    control: Control


class Runtime:
    """Needs a running event loop. Building one changes nothing of the one `before`; `take_over` does."""

    def __init__(self, config: Config, lasting: Lasting, before: "Runtime | None" = None) -> None:
        self.config = config
        self.journal = Journal(lasting.log, lasting.metrics, prices_of(config), bodies_of(config))
        self.pools = pools_of(config)
        self.client = _client(config, lasting, before)
        self.standings = {name: _standing(provider, config, before) for name, provider in config.providers.items()}
        breakers = {name: standing.breaker for name, standing in self.standings.items()}
        kept = before.backing if before is not None else None
        self.backing: Backing = Backing(config, lasting.ticker, breakers, self.journal.breaker_hinted, kept)
        shares = config.coalesce and self.backing.cache is not None
        self.flights = _flights(before) if shares else None
        self.vault: Vault = Vault(config.providers, random.random, before.vault if before is not None else None)
        self.translation: TranslationThread = before.translation if before is not None else TranslationThread()
        self.limits = server_limits(config)
        self.again = Again() if self.backing.answers_at_once else None
        self._lasting = lasting
        router = router_of(config)
        self.status = Status(
            tuple(config.providers.values()), router, lasting.life, lasting.metrics, self.standings, lasting.gate,
            self.backing, lasting.control, self.vault, lasting.log,
        )  # fmt: skip
        self.service, self.admin = self._services(router)

    def _services(self, router: Router) -> tuple[Gateway, Gateway]:
        """For callers, and for operators where they have a port of their own: their pages alone."""
        config, control = self.config, self._lasting.control
        callers, operators = callers_of(config), operators_of(config)
        cors, nobody = CrossOrigin(config.cors_origins), CrossOrigin(())  # no page of another origin is an operator's
        around, rules = self._around(router, cors), proxy_rules(config, callers)
        proxies = {path: Proxy(route, around, rules) for path, route in ROUTES.items()}
        clock = asyncio.get_running_loop().time
        explainer = Explainer(router, self.standings, config.max_retries, self.backing, limit_rules(config), clock)
        admin = Admin(operators if config.admin_api_key else None, control, explainer)
        here = CALLERS_PAGES if config.admin_port is not None else CALLERS_PAGES + OPERATORS + ADMIN
        apart = ("/readiness", *OPERATORS, *ADMIN)
        return (
            Gateway(proxies, self.status, self.journal, cors, callers, operators, admin, shows=here),
            Gateway({}, self.status, self.journal, nobody, operators, operators, admin, shows=apart),
        )

    def _around(self, router: Router, cors: CrossOrigin) -> Surroundings:
        return Surroundings(
            router=router,
            standings=self.standings,
            client=self.client,
            journal=self.journal,
            gate=self._lasting.gate,
            flights=self.flights,
            cache=self.backing.parts,
            limiting=self.backing.limiting,
            ticker=self._lasting.ticker,
            cross_origin=cors.answer_fields,
            chance=random.random,
            identities=self.vault.by_provider,
            translation=self.translation,
        )

    async def start(self) -> None:
        """Look for what is beside it: Redis, and the clouds' tokens. None of them need be there."""
        await asyncio.gather(self.backing.start(), self.vault.start())

    def take_over(self) -> None:
        """What lasts, and what is shared with the runtime before, goes by this configuration from now on."""
        self._lasting.gate.renew(gate_limits(self.config))
        self.backing.take_over()

    @property
    def held(self) -> list[tuple[object, Callable[[], None]]]:
        """What has to be stopped when no runtime has it any more, and how."""
        own: list[tuple[object, Callable[[], None]]] = [
            (self.client, self.client.close), (self.translation, self.translation.close)
        ]  # fmt: skip
        return [*own, *self.backing.held, *self.vault.held]


def _client(config: Config, lasting: Lasting, before: Runtime | None) -> Client:
    """Connections are kept as long as they would be made in the same way."""
    if before is not None and _dials_alike(before.config, config):
        return before.client
    return Client(dialer_of(config), client_limits(config), lasting.ticker, lasting.metrics.replayed)


def _flights(before: Runtime | None) -> Flights:
    """Calls under way can still be joined."""
    return before.flights if before is not None and before.flights is not None else Flights()


def _dials_alike(before: Config, after: Config) -> bool:
    names = ("dns_ttl", "https_proxy", "no_proxy", "ssl_cert_file")
    same = all(getattr(before, name) == getattr(after, name) for name in names)
    return same and client_limits(before) == client_limits(after)


def _standing(provider: Provider, config: Config, before: Runtime | None) -> Standing:
    """A provider at the same address goes on from how it stood, and so do those of its keys that it had before."""
    rules, keys = breaker_rules(config), provider.credentials
    known = before.config.providers.get(provider.spec.name) if before is not None else None
    if before is None or known is None or known.base_url != provider.base_url:
        return Standing(rules, len(keys))
    had = known.credentials
    positions = [had.index(key) if key in had else None for key in keys]
    return before.standings[provider.spec.name].going_on(rules, positions)
