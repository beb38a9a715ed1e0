"""The table of all settings, from which the loader, the documentation and the JSON Schema are derived."""

from sys import intern
from typing import Any, NamedTuple

from nulpoint.config import values
from nulpoint.config.sections.request_log import log_targets
from nulpoint.config.values import Reader
from nulpoint.formats.json_nodes import DEFAULT_MAX_JSON_NODES
from nulpoint.protocols.limits import DEFAULT_LIMITS


class Setting(NamedTuple):
    """A row of the table of settings.

    Fields:
        name: the environment variable; in config.yaml the same in lower case.
        reader: converts the text into a value.
        default: the text a user would write; None means unset.
        group: the heading in the documentation.
        text: the description in the documentation.
        secret: the value is masked wherever it is shown.
        restart: a change takes effect at the next start, not at a reload.
        environment_only: rejected in config.yaml and in the file of --env-file.
    """

    name: str
    reader: Reader
    default: str | None
    group: str
    text: str
    secret: bool = False
    restart: bool = False
    environment_only: bool = False

    @property
    def key(self) -> str:
        """The setting's name in config.yaml and in `Config`."""
        return intern(self.name.lower())  # interned because attribute access would intern each new string anyway

    def read_default(self) -> Any:
        return None if self.default is None else self.reader(self.default)


SERVER, CLIENT_LIMITS, UPSTREAM = "Server", "Limits on clients", "Connections to providers"
CACHE, BREAKER, FAILOVER, RATE, OTHER = "Cache", "Circuit breaker", "Failover", "Rate limiting", "CORS and other"
CLIENT_KEYS, ADMIN, LOG = "Client keys", "Admin pages", "Request log"
_MAX_INTEGER = 10**9

SETTINGS = (
    Setting("HOST", values.text_value, "127.0.0.1", SERVER, "Address to listen on.", restart=True),
    Setting("PORT", values.whole_number(0, 65535), "8080", SERVER, "Port to listen on; 0 lets the system choose one.", restart=True),
    Setting("WORKERS", values.whole_number(1, 256), "1", SERVER,
            "Number of worker processes that share the port; one per core gives the highest throughput.", restart=True),
    Setting("LOG_LEVEL", values.choice("debug", "info", "warn", "error"), "info", SERVER,
            "Lowest level that is logged: successful requests are logged as info, rejected ones as warn, failed ones as error."),
    Setting("STRICT_PARAMS", values.flag, "false", SERVER,
            "Reject a request with parameters that its provider does not support with 400, instead of dropping them and naming "
            "them in `x-nulpoint-dropped`."),
    Setting("ALLOW_CLIENT_API_KEYS", values.flag, "false", SERVER,
            "Send the client's own key (such as `Authorization: Bearer`) to the provider; the configured key is used if "
            "the client sends none."),
    Setting("CONFIG_WATCH", values.flag, "true", SERVER,
            "Reload `config.yaml` (and the file of `--env-file`) when it changes; SIGHUP and `POST /admin/reload` reload it in any case."),
    Setting("ALLOW_KEYLESS_RELOAD", values.flag, "false", SERVER,
            "Allow a reload to remove `GATEWAY_API_KEYS` or `ADMIN_API_KEY` completely; otherwise such a reload is rejected and a "
            "restart is needed.", environment_only=True),
    Setting("TLS_CERT", values.text_value, None, SERVER, "PEM file with the certificate chain; together with TLS_KEY it turns on https.", restart=True),
    Setting("TLS_KEY", values.text_value, None, SERVER, "PEM file with the private key.", restart=True),
    Setting("SHUTDOWN_DELAY", values.duration, "2s", SERVER,
            "How long new requests are still accepted after SIGTERM, while `/readiness` already answers 503; SIGINT skips this delay."),
    Setting("SHUTDOWN_TIMEOUT", values.duration, "25s", SERVER,
            "How long the whole shutdown may take after SIGTERM; requests still in flight then end with an error.", restart=True),
    Setting("WORKER_TIMEOUT", values.duration_or_off(2.0), "10s", SERVER,
            "With several workers: a worker whose event loop has been blocked for this long is killed and replaced; 0 turns this off.", restart=True),
    Setting("MAX_HEAD_BYTES", values.size, "32KiB", CLIENT_LIMITS, "Size of the request line and headers together; 431 above it."),
    Setting("MAX_HEADERS", values.whole_number(1, 10_000), "100", CLIENT_LIMITS, "Number of request headers; 431 above it."),
    Setting("MAX_BODY_BYTES", values.size, "20MiB", CLIENT_LIMITS, "Size of a request body, after decompression; 413 above it."),
    Setting("MAX_JSON_NODES", values.whole_number(1000, _MAX_INTEGER), str(DEFAULT_MAX_JSON_NODES), CLIENT_LIMITS,
            "Names and values in a JSON body that is translated to or from a provider's own format; above it a request gets 400 and a response becomes 502."),
    Setting("MAX_MESSAGES", values.whole_number(1, _MAX_INTEGER), str(DEFAULT_LIMITS.messages), CLIENT_LIMITS,
            "Messages in a request that is translated; 400 above it."),
    Setting("MAX_CONTENT_PARTS", values.whole_number(1, _MAX_INTEGER), str(DEFAULT_LIMITS.parts), CLIENT_LIMITS,
            "Content parts and tool calls in all messages of a translated request together, or texts in a translated embeddings request; 400 above it."),
    Setting("MAX_TOOLS", values.whole_number(1, _MAX_INTEGER), str(DEFAULT_LIMITS.tools), CLIENT_LIMITS, "Tools in a request that is translated; 400 above it."),
    Setting("MAX_SCHEMA_NODES", values.whole_number(1, _MAX_INTEGER), str(DEFAULT_LIMITS.schema_nodes), CLIENT_LIMITS,
            "Subschemas in one JSON Schema (of a tool or of the response format) that is rewritten for a provider; 400 above it."),
    Setting("HEAD_TIMEOUT", values.positive_duration, "10s", CLIENT_LIMITS, "Time for the complete request head to arrive; 408 after it."),
    Setting("BODY_TIMEOUT", values.positive_duration, "30s", CLIENT_LIMITS,
            "Time for the request body to arrive, in addition to what BODY_MIN_RATE allows for its size; 408 after it."),
    Setting("BODY_MIN_RATE", values.size, "1KiB", CLIENT_LIMITS, "Minimum average rate of a request body, in bytes per second."),
    Setting("KEEPALIVE_TIMEOUT", values.positive_duration, "75s", CLIENT_LIMITS, "How long an idle client connection is kept open."),
    Setting("WRITE_TIMEOUT", values.positive_duration, "60s", CLIENT_LIMITS,
            "A client that reads nothing for this long is disconnected."),
    Setting("STREAM_BUFFER_BYTES", values.size, "128KiB", CLIENT_LIMITS,
            "Bytes of one stream that are buffered for a slow client; above it, reading from the provider pauses."),
    Setting("STREAM_KEEPALIVE", values.positive_duration, "15s", CLIENT_LIMITS,
            "A streaming client that has waited this long for content gets a comment, so that no proxy in between closes the connection."),
    Setting("MAX_REQUESTS", values.whole_number(1, _MAX_INTEGER), "10000", CLIENT_LIMITS,
            "Requests in flight, not counting streams; further ones wait for up to QUEUE_TIMEOUT and then get 503."),
    Setting("MAX_STREAMS", values.whole_number(1, _MAX_INTEGER), "20000", CLIENT_LIMITS, "Streams in flight; further ones wait like requests above MAX_REQUESTS."),
    Setting("MAX_HELD_BYTES", values.size, "512MiB", CLIENT_LIMITS, "Total size of the bodies of all requests in flight; further requests wait like those above MAX_REQUESTS."),
    Setting("QUEUE_TIMEOUT", values.duration, "1s", CLIENT_LIMITS, "How long a request may wait for admission."),
    Setting("CONNECT_TIMEOUT", values.positive_duration, "5s", UPSTREAM, "Time for DNS, TCP, proxy and TLS together."),
    Setting("PROVIDER_TIMEOUT", values.positive_duration, "30s", UPSTREAM,
            "Time per attempt until the first byte of the response; after it, the next target is tried, or the client gets 504."),
    Setting("STREAM_IDLE_TIMEOUT", values.positive_duration, "120s", UPSTREAM, "Maximum time between two reads of one response."),
    Setting("UPSTREAM_WRITE_TIMEOUT", values.positive_duration, "30s", UPSTREAM, "A provider that reads nothing of a request for this long counts as failed; 504."),
    Setting("UPSTREAM_IDLE_TIMEOUT", values.positive_duration, "30s", UPSTREAM, "How long an unused connection to a provider is kept open."),
    Setting("UPSTREAM_MAX_CONNECTIONS", values.whole_number(1, _MAX_INTEGER), "1000", UPSTREAM, "Connections to one origin."),
    Setting("UPSTREAM_WAIT_TIMEOUT", values.positive_duration, "5s", UPSTREAM, "How long a request waits for a free connection to a provider; 503 after it."),
    Setting("UPSTREAM_MAX_HEAD_BYTES", values.size, "64KiB", UPSTREAM, "Size of the status line and headers of a response; 502 above it."),
    Setting("UPSTREAM_MAX_BODY_BYTES", values.size, "64MiB", UPSTREAM, "Size of the body of a response that is not a stream; 502 above it."),
    Setting("DNS_TTL", values.duration, "60s", UPSTREAM, "How long resolved addresses are cached."),
    Setting("HTTPS_PROXY", values.proxy_url, None, UPSTREAM, "HTTP proxy for https providers (CONNECT).", secret=True),
    Setting("NO_PROXY", values.text_value, None, UPSTREAM, "Hosts that are reached without the proxy, comma-separated."),
    Setting("SSL_CERT_FILE", values.text_value, None, UPSTREAM, "PEM file with the root certificates to trust instead of the system's."),
    Setting("DEFAULT_PROVIDER", values.text_value, "openai", UPSTREAM, "Provider for model names that match no alias, pattern or provider prefix. If it is set, names that begin with an unknown provider, such as `google/...`, go there too; otherwise they are a 404."),
    Setting("MODEL_REFRESH", values.duration_or_off(60.0), "0", UPSTREAM,
            "How often to ask the providers for their lists of models, for example 1h. `GET /v1/models` then lists what the configured keys can reach, "
            "and the days of retirement in the lists replace the built-in ones. 0: never."),
    Setting("CACHE_MODE", values.choice("memory", "redis", "none"), "memory", CACHE, "Where responses are cached."),
    Setting("CACHE_TTL", values.positive_duration, "1h", CACHE, "How long a cached response is valid."),
    Setting("CACHE_MAX_BYTES", values.size, "256MiB", CACHE,
            "Size of the cache with CACHE_MODE=memory, for all workers together; above it, the least recently used entry is evicted."),
    Setting("REDIS_URL", values.redis_url, None, CACHE,
            "Redis server for the cache (CACHE_MODE=redis) and for all rate limits, for example redis://localhost:6379.",
            secret=True),
    Setting("CACHE_EXCLUDE_EXACT", values.names, "", CACHE, "Models that are never cached, comma-separated."),
    Setting("CACHE_EXCLUDE_PATTERNS", values.patterns, "", CACHE, "Regular expressions (RE2) of models that are never cached, comma-separated."),
    Setting("CB_ERROR_THRESHOLD", values.whole_number(1, _MAX_INTEGER), "5", BREAKER, "Number of failures within the window that opens the breaker."),
    Setting("CB_TIME_WINDOW", values.positive_duration, "60s", BREAKER, "Length of the rolling window in which failures are counted."),
    Setting("CB_HALF_OPEN_TIMEOUT", values.positive_duration, "30s", BREAKER, "How long the breaker stays open before it lets a probe through."),
    Setting("CB_FAILURE_RATIO", values.fraction, "0", BREAKER,
            "If greater than 0, the breaker opens only if this fraction of at least 20 calls in 10 seconds has failed as well, for example 0.5."),
    Setting("MAX_RETRIES", values.whole_number(1, 100), "3", FAILOVER, "Attempts per request, including the first one."),
    Setting("REQUEST_TIMEOUT", values.positive_duration, "600s", FAILOVER,
            "Time for all attempts together; for a stream, until its first content. Clients can ask for less with `x-nulpoint-timeout`, in seconds."),
    Setting("FALLBACKS", values.choice("auto", "off"), "auto", FAILOVER,
            "`auto`: a model without a configured chain fails over to its equivalents at the other configured providers; `off`: it does not."),
    Setting("COALESCE", values.flag, "true", FAILOVER,
            "Let identical requests that arrive at the same time share one upstream call, if they may be served from the cache."),
    Setting("RPM_LIMIT", values.whole_number(0, _MAX_INTEGER), "0", RATE, "Requests per minute for all clients together; 0 means no limit."),
    Setting("RPM_LIMIT_PER_KEY", values.whole_number(0, _MAX_INTEGER), "0", RATE, "Requests per minute for each client key; 0 means no limit."),
    Setting("TPM_LIMIT", values.whole_number(0, _MAX_INTEGER), "0", RATE, "Tokens per minute for all clients together; 0 means no limit."),
    Setting("TPM_LIMIT_PER_KEY", values.whole_number(0, _MAX_INTEGER), "0", RATE, "Tokens per minute for each client key; 0 means no limit."),
    Setting("MAX_PARALLEL_PER_KEY", values.whole_number(0, _MAX_INTEGER), "0", RATE, "Concurrent requests for each client key; 0 means no limit."),
    Setting("RATE_LIMIT_ON_ERROR", values.choice("allow", "deny"), "allow", RATE,
            "While Redis is unreachable: `allow` gives each worker its share of the limits, `deny` rejects all requests with 503."),
    Setting("GATEWAY_API_KEYS", values.gateway_keys, "", CLIENT_KEYS,
            "Keys of which every client must send one, comma-separated, each in plain text or as `sha256:` and the digest; if unset, anybody can send requests.",
            secret=True),
    Setting("ADMIN_PORT", values.whole_number(0, 65535), None, ADMIN,
            "Separate port for `/health`, `/metrics` and `/admin/...`, which are then not served on PORT; `/readiness` is served on both. "
            "0 lets the system choose it.", restart=True),
    Setting("ADMIN_HOST", values.text_value, None, ADMIN, "Address that ADMIN_PORT listens on; HOST if unset.", restart=True),
    Setting("ADMIN_API_KEY", values.gateway_key, None, ADMIN,
            "Key for `/health`, `/metrics` and `/admin/...`, sent as `Authorization: Bearer` or wherever else clients send keys; in plain text or as `sha256:` and the digest.",
            secret=True),
    Setting("REQUEST_LOG", log_targets, "stdout", LOG,
            "Where request records are written: `stdout`, `file:PATH`, `sqlite:PATH`, several of them separated by commas, or `none`. "
            "`make run` uses `stdout,sqlite:requests.db` if this is unset.", restart=True),
    Setting("REQUEST_LOG_RETENTION", values.duration, "30d", LOG,
            "How long records in SQLite and rotated files are kept; 0 means for ever.", restart=True),
    Setting("REQUEST_LOG_MAX_BYTES", values.size, "100MiB", LOG, "Size at which the file of `file:` is rotated to `PATH.1` and so on.", restart=True),
    Setting("REQUEST_LOG_FILES", values.whole_number(1, 1000), "5", LOG, "Number of rotated files that are kept.", restart=True),
    Setting("LOG_QUEUE", values.whole_number(1, _MAX_INTEGER), "10000", LOG,
            "Records that are queued while the log cannot be written; further ones are dropped and counted. Each 4 KiB of a record, or part of it, counts as one.", restart=True),
    Setting("LOG_BODIES", values.choice("none", "errors", "all"), "none", LOG,
            "Which requests are logged with their bodies: none, those that failed, or all. Credentials are removed from the bodies; prompts are not."),
    Setting("LOG_BODY_BYTES", values.size, "16KiB", LOG, "Size at which each logged request or response body is cut off."),
    Setting("CORS_ORIGINS", values.origins, "*", OTHER, "Origins from which browsers may send requests, comma-separated; * allows all."),
    Setting("APP_BASE_URL", values.url, None, OTHER, "Accepted for compatibility with earlier versions and validated, but without effect."),
)  # fmt: skip

BY_KEY = {setting.key: setting for setting in SETTINGS}
