"""The composition root: a validated Config becomes a running gateway. The one place that names concrete parts."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import random  # noqa: TID251 - chosen here and passed in
import resource
import signal
import ssl
import sys
from functools import partial
from pathlib import Path
from types import MappingProxyType

import uvloop

from nulpoint import __version__
from nulpoint.backing import Backing
from nulpoint.config import Config
from nulpoint.errors import Failure, Kind
from nulpoint.gateway.cors import CrossOrigin
from nulpoint.gateway.gate import Gate, GateLimits
from nulpoint.gateway.journal import Journal
from nulpoint.gateway.memory_watch import MemoryWatch
from nulpoint.gateway.proxy import Proxy, Surroundings
from nulpoint.gateway.rules import AskRules, ProxyRules
from nulpoint.gateway.service import CALLERS_PAGES, OPERATORS, Gateway
from nulpoint.gateway.sharing import Flights
from nulpoint.gateway.status import Status
from nulpoint.http.again import Again
from nulpoint.http.client import Client
from nulpoint.http.connection import REFUSALS
from nulpoint.http.dial import Dialer, tls_context
from nulpoint.http.limits import ClientLimits, ServerLimits
from nulpoint.http.server import Server
from nulpoint.http.ticker import Ticker
from nulpoint.providers.spec import Route
from nulpoint.routing.breaker import BreakerRules
from nulpoint.routing.callers import Callers
from nulpoint.routing.chains import Chains
from nulpoint.routing.course import CourseRules
from nulpoint.routing.plan import Router
from nulpoint.routing.standing import Standing
from nulpoint.stores.metrics import Metrics
from nulpoint.stores.requestlog import RequestLog
from nulpoint.workers import METRICS_DIRECTORY, WORKER_MARK, CannotListen, supervise

logger = logging.getLogger("nulpoint")

ROUTES: MappingProxyType[str, Route] = MappingProxyType(
    {"/v1/chat/completions": "chat", "/v1/completions": "completions", "/v1/embeddings": "embeddings"}
)
STDOUT = 1
PUBLISH_SECONDS = 1.0  # between two snapshots of the metrics, where there are several workers
FLUSH_SECONDS = 2.0  # for the request log, at the end
FAREWELL_SECONDS = 0.4  # for callers to read that the gateway stops
EXIT_OK, EXIT_CANNOT_LISTEN = 0, 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LOG_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


class App:
    """Every part of one gateway process, built whole. Needs a running event loop."""

    def __init__(self, config: Config, log_fd: int = STDOUT) -> None:
        loop = asyncio.get_running_loop()
        self._config = config
        self.ticker = Ticker(loop)
        self.metrics = Metrics(__version__, _metrics_directory())
        self.log = RequestLog(log_fd, config.log_level, config.log_queue, self.metrics.log_dropped,
                              shared=config.workers > 1)  # fmt: skip
        self.client = Client(_dialer(config), _client_limits(config), self.ticker, self.metrics.replayed)
        self.journal = Journal(self.log, self.metrics)
        chains = Chains(config.chains, automatic=config.fallbacks == "auto")
        router = Router(config.providers, config.aliases, config.default_provider, config.known, chains)
        cors = CrossOrigin(config.cors_origins)
        self.gate = Gate(_gate_limits(config), self.ticker, MemoryWatch())
        self.standings = {
            name: Standing(_breaker_rules(config), len(provider.credentials))
            for name, provider in config.providers.items()
        }
        breakers = {name: standing.breaker for name, standing in self.standings.items()}
        self.backing = Backing(config, self.ticker, breakers, self.journal.breaker_hinted)
        self.flights = Flights() if config.coalesce and self.backing.cache is not None else None
        around = Surroundings(
            router=router,
            standings=self.standings,
            client=self.client,
            journal=self.journal,
            gate=self.gate,
            flights=self.flights,
            cache=self.backing.parts,
            limiting=self.backing.limiting,
            ticker=self.ticker,
            cross_origin=cors.answer_fields,
            chance=random.random,
        )
        callers = _callers(config)
        proxies = {path: Proxy(route, around, _proxy_rules(config, callers)) for path, route in ROUTES.items()}
        self.status = Status(
            tuple(config.providers.values()), router, self.client, self.journal, self.metrics, self.standings,
            self.gate, self.backing,
        )  # fmt: skip
        self._operators = Callers(
            [config.admin_api_key] if config.admin_api_key else [], forward=False, tell_apart=False
        )
        shown = CALLERS_PAGES if config.admin_port is not None else CALLERS_PAGES + OPERATORS
        gateway = Gateway(proxies, self.status, self.journal, cors, callers, self._operators, shows=shown)
        again = Again() if self.backing.answers_at_once else None
        self.server = Server(gateway, _server_limits(config), self.ticker, again)
        self.admin = self._admin_server() if config.admin_port is not None else None
        self.admin_port: int | None = None
        self._publishing = loop.call_later(PUBLISH_SECONDS, self._publish)

    def _admin_server(self) -> Server:
        """For operators: the same server with their pages alone. No page of another origin may read them."""
        nobody = CrossOrigin(())
        shown, operators = ("/readiness", *OPERATORS), self._operators
        pages = Gateway({}, self.status, self.journal, nobody, operators, operators, shows=shown)
        return Server(pages, _server_limits(self._config), self.ticker)

    async def listen(self, *, reuse_port: bool = False) -> int:
        """Accept connections; gives the port of callers. Raises CannotListen."""
        config = self._config
        await self.backing.start()
        tls = _server_tls(config)
        if self.admin is not None:
            self.admin_port = await _listen(self.admin, *config.admin_address, "ADMIN_PORT", tls, reuse_port)
        return await _listen(self.server, config.host, config.port, "PORT", tls, reuse_port)

    async def drain(self, delay: float = 0.0) -> bool:
        """Finish what is in flight, within SHUTDOWN_TIMEOUT. Says whether all of it finished.

        For the first `delay` seconds new requests are served as ever: until whoever spreads the load has seen that
        `/readiness` says 503, it goes on sending them.
        """
        self.status.ready = False
        window = self._config.shutdown_timeout
        delay = min(delay, window)
        await asyncio.sleep(delay)
        self.server.drain()
        if await self.server.drained(window - delay):
            return True
        await self.stop()
        return False

    async def stop(self) -> None:
        """End what is in flight now: callers are told so, and have a moment to hear it."""
        self.server.drain()
        self.server.give_up(_shutting_down)
        if not await self.server.drained(FAREWELL_SECONDS):
            self.server.abort()
            await self.server.drained(FAREWELL_SECONDS)

    def _publish(self) -> None:
        self.status.observe()
        try:
            self.metrics.publish()
        except OSError as error:
            logger.warning("the metrics snapshot cannot be written: %s", error.strerror)
        self._publishing = asyncio.get_running_loop().call_later(PUBLISH_SECONDS, self._publish)

    def close(self) -> None:
        if self.admin is not None:  # it has served until now: how draining goes on is to be seen
            self.admin.drain()
            self.admin.abort()
        self._publishing.cancel()
        self._publish()
        self._publishing.cancel()
        self.backing.stop()
        self.client.close()
        self.ticker.stop()
        self.log.close(FLUSH_SECONDS)


async def _listen(
    server: Server, host: str, port: int, setting: str, tls: ssl.SSLContext | None, reuse_port: bool
) -> int:
    try:
        return await server.listen(host, port, tls=tls, reuse_port=reuse_port)
    except OSError as error:
        raise CannotListen(setting, host, port, error) from None


def _metrics_directory() -> Path | None:
    shared = os.environ.get(METRICS_DIRECTORY)
    return Path(shared) if shared else None


def _breaker_rules(config: Config) -> BreakerRules:
    return BreakerRules(
        threshold=config.cb_error_threshold,
        window=config.cb_time_window,
        half_open_timeout=config.cb_half_open_timeout,
        ratio=config.cb_failure_ratio,
    )


def _callers(config: Config) -> Callers:
    tell_apart = any((config.rpm_limit_per_key, config.tpm_limit_per_key, config.max_parallel_per_key))
    return Callers(config.gateway_api_keys, forward=config.allow_client_api_keys, tell_apart=tell_apart)


def _proxy_rules(config: Config, callers: Callers) -> ProxyRules:
    return ProxyRules(
        ask=AskRules(callers, config.strict_params, config.request_timeout),
        course=CourseRules(attempts=config.max_retries, provider_timeout=config.provider_timeout),
        keepalive=config.stream_keepalive,
        max_answer=config.upstream_max_body_bytes,
    )


def _gate_limits(config: Config) -> GateLimits:
    return GateLimits(
        requests=config.max_requests,
        streams=config.max_streams,
        held_bytes=config.max_held_bytes,
        wait=config.queue_timeout,
    )


def _server_limits(config: Config) -> ServerLimits:
    return ServerLimits(
        max_connections=_most_connections(),
        max_head=config.max_head_bytes,
        max_headers=config.max_headers,
        max_body=config.max_body_bytes,
        head_timeout=config.head_timeout,
        body_timeout=config.body_timeout,
        body_min_rate=config.body_min_rate,
        keepalive_timeout=config.keepalive_timeout,
        write_timeout=config.write_timeout,
        stream_buffer=config.stream_buffer_bytes,
    )


def _most_connections() -> int:
    """Half of the files that may be open, with what is being refused; the others are for providers and the rest."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, files // 2 - REFUSALS)


def _client_limits(config: Config) -> ClientLimits:
    return ClientLimits(
        connect_timeout=config.connect_timeout,
        first_byte_timeout=config.provider_timeout,
        read_timeout=config.stream_idle_timeout,
        write_timeout=config.upstream_write_timeout,
        idle_timeout=config.upstream_idle_timeout,
        max_connections=config.upstream_max_connections,
        wait_timeout=config.upstream_wait_timeout,
        max_head=config.upstream_max_head_bytes,
        max_body=config.upstream_max_body_bytes,
    )


def _dialer(config: Config) -> Dialer:
    return Dialer(
        connect_timeout=config.connect_timeout,
        dns_ttl=config.dns_ttl,
        https_proxy=config.https_proxy.reveal() if config.https_proxy else None,
        no_proxy=config.no_proxy,
        tls=partial(tls_context, config.ssl_cert_file),
    )


def _server_tls(config: Config) -> ssl.SSLContext | None:
    if not config.tls_cert or not config.tls_key:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config.tls_cert, config.tls_key)
    context.set_alpn_protocols(["http/1.1"])
    return context


# -- the process -------------------------------------------------------------------------------------------------------


def serve(config: Config) -> int:
    """Run until SIGTERM or SIGINT; gives the exit code."""
    _log_to_stderr(config.log_level)
    _allow_all_files()
    if config.workers > 1 and WORKER_MARK not in os.environ:
        return supervise(config)
    return uvloop.run(_serve(config, reuse_port=config.workers > 1))


async def _serve(config: Config, *, reuse_port: bool) -> int:
    app = App(config)
    try:
        port = await app.listen(reuse_port=reuse_port)
    except CannotListen as error:
        logger.error("%s", error)
        app.close()
        return EXIT_CANNOT_LISTEN
    _announce(config, port, app.admin_port)
    _settle_memory()
    signals = _signals()
    told = await signals.get()
    logger.info("draining: up to %g s for %d requests in flight", config.shutdown_timeout, app.journal.inflight)
    hurry = asyncio.create_task(signals.get())
    drain = asyncio.create_task(app.drain(config.shutdown_delay if told == signal.SIGTERM else 0.0))
    await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
    finished = drain.done() and drain.result()
    if not drain.done():
        drain.cancel()
        await app.stop()
    if not finished:
        logger.warning("stopped with requests in flight")
    hurry.cancel()
    app.close()
    return EXIT_OK


def _signals() -> asyncio.Queue[signal.Signals]:
    """The signals that tell the process to stop, as they come."""
    told: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.put_nowait, number)
    return told


def _shutting_down() -> Failure:
    text = "the gateway is shutting down and could not finish this answer in time; send the request again"
    return Failure(Kind.OVERLOADED, 503, text, code="shutting_down", retry_after=1.0)


def _announce(config: Config, port: int, admin_port: int | None) -> None:
    scheme = "https" if config.tls_cert else "http"
    names = ", ".join(config.providers)
    logger.info("nulpoint %s listens on %s://%s:%d, providers: %s", __version__, scheme, config.host, port, names)
    if admin_port is not None:
        logger.info("/health and /metrics are on %s://%s:%d", scheme, config.admin_address[0], admin_port)
    for name in config.pending_set:
        logger.warning("%s is set and valid, but this version does not act on it yet", name)
    if config.open_to_others:
        text = "callers need no key: whoever reaches %s:%d can spend your budget; set GATEWAY_API_KEYS"
        logger.warning(text, config.host, port)


def _allow_all_files() -> None:
    """As many open files as the system allows: the lower limit in force by default is for programs that use select."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _settle_memory() -> None:
    """What exists now lives as long as the process: keep the collector from walking it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Keep up to 16 MiB of freed memory instead of giving it back to the kernel between two large requests.

    By default glibc returns it at once and faults every page in again (mallopt(3)): two brk calls a 160 kB request.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, 16 * 1024 * 1024)
        mallopt(_M_MMAP_THRESHOLD, 4 * 1024 * 1024)


def _log_to_stderr(level: str) -> None:
    """Diagnostics go to stderr as text; stdout belongs to the request log.

    The level is for our own: what libraries tell about their work at `debug` is not known to be free of secrets.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logger.setLevel(_LOG_LEVELS[level])
