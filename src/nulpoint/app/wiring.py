"""Build each part's settings from the configuration."""

import resource
import ssl
from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import TypeVar

import msgspec

from nulpoint.config import Config
from nulpoint.http.client.connector import Connector, origin_of, tls_context
from nulpoint.http.client.pool import PoolKey
from nulpoint.http.limits import ClientLimits, ServerLimits
from nulpoint.http.server.connection import MAX_REJECTED_CONNECTIONS
from nulpoint.http.server.tls import server_context
from nulpoint.models.catalog import Listing, Models
from nulpoint.models.costs import Prices
from nulpoint.models.retirement import NO_DAY
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.proxy.admission.controller import AdmissionLimits
from nulpoint.proxy.rules import ProxyRules
from nulpoint.ratelimit.limiter import LimitRules
from nulpoint.request.client_auth import ClientAuthenticator
from nulpoint.request.rules import RequestRules
from nulpoint.routing.attempt_planner import AttemptRules
from nulpoint.routing.breaker import BreakerRules
from nulpoint.routing.chains import FallbackChains
from nulpoint.routing.router import Router
from nulpoint.telemetry.request_log.bodies import BodyLogger

_Limits = TypeVar("_Limits", AdmissionLimits, ClientLimits, ServerLimits)


def breaker_rules(config: Config) -> BreakerRules:
    return BreakerRules(
        threshold=config.cb_error_threshold,
        window=config.cb_time_window,
        half_open_timeout=config.cb_half_open_timeout,
        ratio=config.cb_failure_ratio,
    )


def build_body_logger(config: Config) -> BodyLogger | None:
    if config.log_bodies == "none":
        return None
    return BodyLogger(config.log_body_bytes, all_requests=config.log_bodies == "all")


def build_prices(config: Config) -> Prices:
    hosts = {name: spec.host for name, spec in config.known.items()}
    return Prices(build_models(config), hosts, config.prices)


def build_client_authenticator(config: Config) -> ClientAuthenticator:
    has_limits_per_key = any((config.rpm_limit_per_key, config.tpm_limit_per_key, config.max_parallel_per_key))
    reserved = [config.admin_api_key] if config.admin_api_key else []
    return ClientAuthenticator(
        config.gateway_api_keys, forward=config.allow_client_api_keys, distinguish=has_limits_per_key, reserved=reserved
    )


def proxy_rules(config: Config, authenticator: ClientAuthenticator) -> ProxyRules:
    return ProxyRules(
        request=RequestRules(
            authenticator,
            config.strict_params,
            config.request_timeout,
            config.max_body_bytes,
            translation_limits(config),
        ),
        attempts=AttemptRules(attempts=config.max_retries, provider_timeout=config.provider_timeout),
        keepalive=config.stream_keepalive,
        max_response=config.upstream_max_body_bytes,
    )


def translation_limits(config: Config) -> TranslationLimits:
    return TranslationLimits(
        messages=config.max_messages,
        parts=config.max_content_parts,
        tools=config.max_tools,
        schema_nodes=config.max_schema_nodes,
        json_nodes=config.max_json_nodes,
    )


def admission_limits(config: Config) -> AdmissionLimits:
    return _with_settings(AdmissionLimits, config)


def server_limits(config: Config) -> ServerLimits:
    limits = _with_settings(ServerLimits, config)
    return msgspec.structs.replace(limits, max_connections=_max_connections())


def _with_settings(limits: type[_Limits], config: Config) -> _Limits:
    """Return limits whose fields have the names of the settings that they hold."""
    return msgspec.convert(config, limits, from_attributes=True)


def _max_connections() -> int:
    """Return half of the limit on open files; the other half is for connections to providers and everything else."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, files // 2 - MAX_REJECTED_CONNECTIONS)


def client_limits(config: Config) -> ClientLimits:
    return _with_settings(ClientLimits, config)


def build_connector(config: Config) -> Connector:
    return Connector(
        connect_timeout=config.connect_timeout,
        dns_ttl=config.dns_ttl,
        https_proxy=config.https_proxy.reveal() if config.https_proxy else None,
        no_proxy=config.no_proxy,
        tls=partial(tls_context, config.ssl_cert_file),
    )


def server_tls(config: Config) -> ssl.SSLContext | None:
    if not config.tls_cert or not config.tls_key:
        return None
    context = server_context(config.tls_cert, config.tls_key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def limit_rules(config: Config) -> LimitRules:
    return LimitRules(
        config.rpm_limit,
        config.rpm_limit_per_key,
        config.tpm_limit,
        config.tpm_limit_per_key,
        config.max_parallel_per_key,
    )


def build_models(config: Config, listings: Mapping[str, Listing] = {}) -> Models:
    return Models(tuple(config.models.values()), listings)


def build_router(config: Config, models: Models | None = None, today: date = NO_DAY) -> Router:
    models = models or build_models(config)
    return Router(
        config.providers,
        config.aliases,
        config.default_provider,
        config.known,
        FallbackChains(config.chains, automatic=config.fallbacks == "auto", models=models, today=today),
        models,
        today,
        default_is_set=config.default_provider_is_set,
    )


def build_admin_authenticator(config: Config) -> ClientAuthenticator:
    return ClientAuthenticator([config.admin_api_key] if config.admin_api_key else [], forward=False, distinguish=False)


def pool_keys(config: Config) -> frozenset[PoolKey]:
    """Return the keys of the connection pools of the providers in use."""
    return frozenset((origin_of(p.base_url), p.spec.idle_timeout) for p in config.providers.values())
