"""Every setting as one row: the documentation, the JSON Schema and the loader are all made from this table."""

from sys import intern
from typing import Any, NamedTuple

from nulpoint.config import values
from nulpoint.config.sections.request_log import log_targets
from nulpoint.config.values import Reader
from nulpoint.formats.json_nodes import DEFAULT_MAX_JSON_NODES
from nulpoint.protocols.limits import DEFAULT_LIMITS


class Setting(NamedTuple):
    """`default` is text as a user would write it; None means unset.

    `pending`: validated, not yet acted upon. `restart`: a change counts from the next start on, not from a reload.
    `environment_only`: refused in config.yaml and in the file of --env-file.
    """

    name: str
    reader: Reader
    default: str | None
    group: str
    text: str
    pending: bool = False
    secret: bool = False
    restart: bool = False
    environment_only: bool = False

    @property
    def key(self) -> str:
        """Its name in config.yaml and in `Config`."""
        return intern(self.name.lower())  # one string for all readings: Python keeps those that attributes are asked by

    def read_default(self) -> Any:
        return None if self.default is None else self.reader(self.default)


SERVER, CALLER_LIMITS, UPSTREAM = "Server", "Limits on callers", "Providers' side"
CACHE, BREAKER, FAILOVER, RATE, OTHER = "Cache", "Circuit breaker", "Failover", "Rate limiting", "CORS and other"
CALLERS, OPERATORS, LOG = "Callers' keys", "Operators' pages", "Request log"
_MANY = 10**9

SETTINGS = (
    Setting("HOST", values.text_value, "127.0.0.1", SERVER, "Address to listen on.", restart=True),
    Setting("PORT", values.whole_number(0, 65535), "8080", SERVER, "Port to listen on; 0 lets the system choose.", restart=True),
    Setting("WORKERS", values.whole_number(1, 256), "1", SERVER, "Processes on the port; one a core serves best.", restart=True),
    Setting(
        "LOG_LEVEL", values.choice("debug", "info", "warn", "error"), "info", SERVER,
        "What is logged: requests are info, refused ones warn, failed ones error.",
    ),
    Setting(
        "STRICT_PARAMS", values.flag, "false", SERVER,
        "Answer 400 to a request with fields its provider cannot take, instead of leaving them out and saying so in "
        "`x-nulpoint-dropped`.",
    ),
    Setting(
        "ALLOW_CLIENT_API_KEYS", values.flag, "false", SERVER,
        "Send the caller's `Authorization: Bearer` (or `x-api-key`) to the provider; the configured key is used "
        "where the caller sends none.",
    ),
    Setting("CONFIG_WATCH", values.flag, "true", SERVER,
            "Read `config.yaml` (and the file of `--env-file`) again when it has changed; SIGHUP and `POST /admin/reload` do so in any case."),
    Setting(
        "ALLOW_KEYLESS_RELOAD", values.flag, "false", SERVER,
        "Let a reload take `GATEWAY_API_KEYS` or `ADMIN_API_KEY` away altogether; otherwise it is refused, and a restart is needed.",
        environment_only=True,
    ),
    Setting("TLS_CERT", values.text_value, None, SERVER, "PEM file with the certificate chain; with TLS_KEY serves https.", restart=True),
    Setting("TLS_KEY", values.text_value, None, SERVER, "PEM file with the private key.", restart=True),
    Setting("SHUTDOWN_DELAY", values.duration, "2s", SERVER,
            "After SIGTERM, how long new requests are still served while `/readiness` already says 503; SIGINT skips it."),
    Setting("SHUTDOWN_TIMEOUT", values.duration, "25s", SERVER,
            "After SIGTERM, how long all of it may take; then what is in flight ends in an error.", restart=True),
    Setting("WORKER_TIMEOUT", values.duration_or_off(2.0), "10s", SERVER,
            "With several workers: one whose event loop has not run for this long is killed and another one started; 0 lets it be.", restart=True),
    Setting("MAX_HEAD_BYTES", values.size, "32KiB", CALLER_LIMITS, "Request line and header fields together; more is 431."),
    Setting("MAX_HEADERS", values.whole_number(1, 10_000), "100", CALLER_LIMITS, "Header fields; more is 431."),
    Setting("MAX_BODY_BYTES", values.size, "20MiB", CALLER_LIMITS, "Request body; more is 413."),
    Setting("MAX_JSON_NODES", values.whole_number(1000, _MANY), str(DEFAULT_MAX_JSON_NODES), CALLER_LIMITS,
            "Names and values in a body that is translated for a provider with a format of its own; more is 400, of an answer 502."),
    Setting("MAX_MESSAGES", values.whole_number(1, _MANY), str(DEFAULT_LIMITS.messages), CALLER_LIMITS,
            "Messages of a request that is translated; more is 400."),
    Setting("MAX_CONTENT_PARTS", values.whole_number(1, _MANY), str(DEFAULT_LIMITS.parts), CALLER_LIMITS,
            "Content parts and tool calls of all its messages together, and texts of an embeddings request; more is 400."),
    Setting("MAX_TOOLS", values.whole_number(1, _MANY), str(DEFAULT_LIMITS.tools), CALLER_LIMITS, "Its tools; more is 400."),
    Setting("MAX_SCHEMA_NODES", values.whole_number(1, _MANY), str(DEFAULT_LIMITS.schema_nodes), CALLER_LIMITS,
            "Schemas within one JSON Schema (of a tool, or of the answer) that is rewritten for a provider; more is 400."),
    Setting("HEAD_TIMEOUT", values.positive_duration, "10s", CALLER_LIMITS, "A whole request head must come within this; else 408."),
    Setting("BODY_TIMEOUT", values.positive_duration, "30s", CALLER_LIMITS,
            "Grace for a request body, on top of what BODY_MIN_RATE allows; else 408."),
    Setting("BODY_MIN_RATE", values.size, "1KiB", CALLER_LIMITS, "Bytes a second a request body must make on the whole."),
    Setting("KEEPALIVE_TIMEOUT", values.positive_duration, "75s", CALLER_LIMITS, "How long an idle connection is kept."),
    Setting("WRITE_TIMEOUT", values.positive_duration, "60s", CALLER_LIMITS,
            "A caller who reads nothing at all for this long is dropped."),
    Setting("STREAM_BUFFER_BYTES", values.size, "128KiB", CALLER_LIMITS,
            "Held for one stream between provider and caller; then the provider is paused."),
    Setting("STREAM_KEEPALIVE", values.positive_duration, "15s", CALLER_LIMITS,
            "A streaming caller who has waited this long for content gets comments, so that nothing on the way gives up."),
    Setting("MAX_REQUESTS", values.whole_number(1, _MANY), "10000", CALLER_LIMITS, "Requests in flight, streams not counted; more wait for QUEUE_TIMEOUT, then 503."),
    Setting("MAX_STREAMS", values.whole_number(1, _MANY), "20000", CALLER_LIMITS, "Streams in flight; more wait likewise."),
    Setting("MAX_HELD_BYTES", values.size, "512MiB", CALLER_LIMITS, "Bodies of all requests in flight together; more wait likewise."),
    Setting("QUEUE_TIMEOUT", values.duration, "1s", CALLER_LIMITS, "How long a request may wait for its place."),
    Setting("CONNECT_TIMEOUT", values.positive_duration, "5s", UPSTREAM, "DNS, TCP, proxy and TLS together."),
    Setting("PROVIDER_TIMEOUT", values.positive_duration, "30s", UPSTREAM, "An attempt, until the first byte of its answer; else the next target, or 504."),
    Setting("STREAM_IDLE_TIMEOUT", values.positive_duration, "120s", UPSTREAM, "Between two reads of one answer."),
    Setting("UPSTREAM_WRITE_TIMEOUT", values.positive_duration, "30s", UPSTREAM, "A provider that reads nothing of a request for this long; 504."),
    Setting("UPSTREAM_IDLE_TIMEOUT", values.positive_duration, "30s", UPSTREAM, "How long an unused connection is kept."),
    Setting("UPSTREAM_MAX_CONNECTIONS", values.whole_number(1, _MANY), "1000", UPSTREAM, "Connections to one origin."),
    Setting("UPSTREAM_WAIT_TIMEOUT", values.positive_duration, "5s", UPSTREAM, "For one of them to come free; else 503."),
    Setting("UPSTREAM_MAX_HEAD_BYTES", values.size, "64KiB", UPSTREAM, "Head of a provider's answer; more is 502."),
    Setting("UPSTREAM_MAX_BODY_BYTES", values.size, "64MiB", UPSTREAM, "Body of an answer that is no stream; more is 502."),
    Setting("DNS_TTL", values.duration, "60s", UPSTREAM, "How long looked-up addresses are remembered."),
    Setting("HTTPS_PROXY", values.proxy_url, None, UPSTREAM, "HTTP proxy for https providers (CONNECT).", secret=True),
    Setting("NO_PROXY", values.text_value, None, UPSTREAM, "Hosts reached without the proxy, comma-separated."),
    Setting("SSL_CERT_FILE", values.text_value, None, UPSTREAM, "PEM file of the roots trusted instead of the system's."),
    Setting("DEFAULT_PROVIDER", values.text_value, "openai", UPSTREAM, "Who gets the model names nobody else claims."),
    Setting("CACHE_MODE", values.choice("memory", "redis", "none"), "memory", CACHE, "Where answers are cached."),
    Setting("CACHE_TTL", values.positive_duration, "1h", CACHE, "How long a cached answer counts."),
    Setting("CACHE_MAX_BYTES", values.size, "256MiB", CACHE, "Of CACHE_MODE=memory, all workers together; then the least recently used goes."),
    Setting("REDIS_URL", values.redis_url, None, CACHE,
            "Redis for the cache (CACHE_MODE=redis) and for all limits, for example redis://localhost:6379.",
            secret=True),
    Setting("CACHE_EXCLUDE_EXACT", values.names, "", CACHE, "Models never cached, comma-separated."),
    Setting("CACHE_EXCLUDE_PATTERNS", values.patterns, "", CACHE, "Patterns of models never cached, comma-separated."),
    Setting("CB_ERROR_THRESHOLD", values.whole_number(1, _MANY), "5", BREAKER, "Failures within the window that open it."),
    Setting("CB_TIME_WINDOW", values.positive_duration, "60s", BREAKER, "Rolling window failures are counted in."),
    Setting("CB_HALF_OPEN_TIMEOUT", values.positive_duration, "30s", BREAKER, "How long it stays open before a probe."),
    Setting("CB_FAILURE_RATIO", values.share, "0", BREAKER,
            "With a share over 0 it opens only if also this share of at least 20 calls in 10 seconds failed, say 0.5."),
    Setting("MAX_RETRIES", values.whole_number(1, 100), "3", FAILOVER, "Attempts a request, the first included."),
    Setting("REQUEST_TIMEOUT", values.positive_duration, "600s", FAILOVER,
            "For all attempts together; of a stream, until its first content. Callers may ask for less by `x-nulpoint-timeout`, in seconds."),
    Setting("FALLBACKS", values.choice("auto", "off"), "auto", FAILOVER,
            "`auto`: a model without a chain of its own fails over to its equivalents at the other configured providers; `off`: it does not."),
    Setting("COALESCE", values.flag, "true", FAILOVER,
            "Identical requests at one moment share one call, where the cache may serve them."),
    Setting("RPM_LIMIT", values.whole_number(0, _MANY), "0", RATE, "Requests a minute, all callers together; 0 is off."),
    Setting("RPM_LIMIT_PER_KEY", values.whole_number(0, _MANY), "0", RATE, "Requests a minute of each caller's key; 0 is off."),
    Setting("TPM_LIMIT", values.whole_number(0, _MANY), "0", RATE, "Tokens a minute, all callers together; 0 is off."),
    Setting("TPM_LIMIT_PER_KEY", values.whole_number(0, _MANY), "0", RATE, "Tokens a minute of each caller's key; 0 is off."),
    Setting("MAX_PARALLEL_PER_KEY", values.whole_number(0, _MANY), "0", RATE, "Requests of each caller's key at a time; 0 is off."),
    Setting("RATE_LIMIT_ON_ERROR", values.choice("allow", "deny"), "allow", RATE,
            "While Redis is away: `allow` each worker its share of the limits, or `deny` all requests with 503."),
    Setting("GATEWAY_API_KEYS", values.gateway_keys, "", CALLERS,
            "Keys of which callers must present one, comma-separated: plain, or `sha256:` and the digest; without any, anybody may call.",
            secret=True),
    Setting("ADMIN_PORT", values.whole_number(0, 65535), None, OPERATORS,
            "Port of its own for `/health`, `/metrics` and `/admin/...`, which then are not on PORT; `/readiness` is on both. 0 lets the system choose.", restart=True),
    Setting("ADMIN_HOST", values.text_value, None, OPERATORS, "Address ADMIN_PORT listens on; HOST where unset.", restart=True),
    Setting("ADMIN_API_KEY", values.gateway_key, None, OPERATORS,
            "Key for `/health`, `/metrics` and `/admin/...`, sent as `Authorization: Bearer` or `x-api-key`: plain, or `sha256:` and the digest.",
            secret=True),
    Setting("REQUEST_LOG", log_targets, "stdout", LOG,
            "Where request records go: `stdout`, `file:PATH`, `sqlite:PATH`, several with commas, or `none`. `make run` uses `stdout,sqlite:requests.db` where nothing is set.", restart=True),
    Setting("REQUEST_LOG_RETENTION", values.duration, "30d", LOG,
            "How long records in SQLite and rotated files are kept; 0 is for ever.", restart=True),
    Setting("REQUEST_LOG_MAX_BYTES", values.size, "100MiB", LOG, "Size at which `file:` is rotated, to `PATH.1` and so on.", restart=True),
    Setting("REQUEST_LOG_FILES", values.whole_number(1, 1000), "5", LOG, "Rotated files that are kept.", restart=True),
    Setting("LOG_QUEUE", values.whole_number(1, _MANY), "10000", LOG,
            "Records kept while the log cannot be written; more are dropped and counted. One counts for each 4 KiB begun.", restart=True),
    Setting("LOG_BODIES", values.choice("none", "errors", "all"), "none", LOG,
            "Whose bodies are in the record: nobody's, those of requests that failed, or all. Credentials are taken out; prompts are not."),
    Setting("LOG_BODY_BYTES", values.size, "16KiB", LOG, "Of each body, request and answer; the rest is cut."),
    Setting("CORS_ORIGINS", values.origins, "*", OTHER, "Origins browsers may call from, comma-separated; * allows all."),
    Setting("APP_BASE_URL", values.url, None, OTHER, "Base of absolute links in callbacks; there are no callbacks, so nothing is made of it.", pending=True),
)  # fmt: skip

BY_KEY = {setting.key: setting for setting in SETTINGS}
