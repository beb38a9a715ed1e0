"""The validated configuration, from which every part of the gateway is built."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from nulpoint.config.sections.request_log import LogTarget
from nulpoint.http.loopback import is_loopback
from nulpoint.models.prices import Price
from nulpoint.models.rows import ModelRow
from nulpoint.providers.spec import Provider, ProviderSpec, Secret
from nulpoint.routing.chains import Chain


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, with durations in seconds and sizes in bytes. `settings.SETTINGS` describes what each one means."""

    host: str
    port: int
    workers: int
    log_level: str
    request_log: tuple[LogTarget, ...]
    request_log_retention: float
    request_log_max_bytes: int
    request_log_files: int
    log_queue: int
    log_bodies: Literal["none", "errors", "all"]
    log_body_bytes: int
    allow_client_api_keys: bool
    strict_params: bool
    config_watch: bool
    allow_keyless_reload: bool
    tls_cert: str | None
    tls_key: str | None
    shutdown_delay: float
    shutdown_timeout: float
    worker_timeout: float
    max_head_bytes: int
    max_headers: int
    max_body_bytes: int
    max_json_nodes: int
    max_messages: int
    max_content_parts: int
    max_tools: int
    max_schema_nodes: int
    head_timeout: float
    body_timeout: float
    body_min_rate: int
    keepalive_timeout: float
    write_timeout: float
    stream_buffer_bytes: int
    stream_keepalive: float
    max_requests: int
    max_streams: int
    max_held_bytes: int
    queue_timeout: float
    connect_timeout: float
    provider_timeout: float
    stream_idle_timeout: float
    upstream_write_timeout: float
    upstream_idle_timeout: float
    upstream_max_connections: int
    upstream_wait_timeout: float
    upstream_max_head_bytes: int
    upstream_max_body_bytes: int
    dns_ttl: float
    https_proxy: Secret | None
    no_proxy: str | None
    ssl_cert_file: str | None
    default_provider: str
    model_refresh: float
    cache_mode: str
    cache_ttl: float
    cache_max_bytes: int
    redis_url: Secret | None
    cache_exclude_exact: tuple[str, ...]
    cache_exclude_patterns: tuple[str, ...]
    cb_error_threshold: int
    cb_time_window: float
    cb_half_open_timeout: float
    cb_failure_ratio: float
    max_retries: int
    request_timeout: float
    fallbacks: str
    coalesce: bool
    rpm_limit: int
    rpm_limit_per_key: int
    tpm_limit: int
    tpm_limit_per_key: int
    max_parallel_per_key: int
    rate_limit_on_error: Literal["allow", "deny"]
    gateway_api_keys: tuple[bytes, ...]  # SHA-256 digests
    admin_port: int | None
    admin_host: str | None
    admin_api_key: bytes | None  # SHA-256 digest
    cors_origins: tuple[str, ...]
    app_base_url: str | None
    providers: Mapping[str, Provider]  # the providers in use, by name
    known: Mapping[str, ProviderSpec]  # all known providers, by name
    aliases: Mapping[str, str]  # the user's aliases, each for a `provider/model`
    chains: Mapping[str, Chain]  # the user's fallback chains, by model name or pattern
    models: Mapping[str, ModelRow]  # what the user says about models, by `provider/pattern`
    prices: Mapping[str, Price]  # the user's prices, by `provider/model`
    left_out: Mapping[str, str] = {}  # auto-detected providers without credentials, each with what to set
    origins: Mapping[str, str] = {}  # the source of each value, by the name of its variable
    files: frozenset[str] = frozenset()  # the files that were read
    after_restart: tuple[str, ...] = ()  # settings whose new value takes effect at the next start

    @property
    def admin_address(self) -> tuple[str, int]:
        """Host and port of the admin pages, if ADMIN_PORT is set."""
        return self.admin_host or self.host, self.admin_port or 0

    @property
    def default_provider_is_set(self) -> bool:
        """Return whether the operator has chosen the default provider, rather than left it at its default."""
        return self.origins.get("DEFAULT_PROVIDER", "default") != "default"

    @property
    def open_to_others(self) -> bool:
        """Return whether clients on other machines can, without a key, send requests that cost money."""
        costs = any(
            provider.credentials or provider.identity or provider.spec.auth == "none"
            for provider in self.providers.values()
        )
        return costs and not self.gateway_api_keys and not is_loopback(self.host)
