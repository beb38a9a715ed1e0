"""One gateway process: what lasts from its start to its end, and the runtime that serves just now."""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nulpoint import __version__
from nulpoint.api.admin import AdminError
from nulpoint.api.process_state import ProcessState
from nulpoint.app.reload import CHANGED, REFUSED, Reloader
from nulpoint.app.request_log import request_log
from nulpoint.app.runtime import ProcessServices, Runtime
from nulpoint.app.supervisor import METRICS_DIRECTORY, CannotListenError
from nulpoint.app.wiring import gate_limits, server_tls
from nulpoint.config import Config, ConfigSource
from nulpoint.config.dump import dump
from nulpoint.errors import Failure, Kind
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.server.server import HttpServer
from nulpoint.proxy.admission import AdmissionController
from nulpoint.proxy.memory_monitor import MemoryMonitor
from nulpoint.telemetry.metrics.metrics import Metrics

logger = logging.getLogger(__name__)

STDOUT = 1
PUBLISH_SECONDS = 1.0  # between two snapshots of the metrics, where there are several workers
FLUSH_SECONDS = 2.0  # for the request log, at the end
FAREWELL_SECONDS = 0.4  # for callers to read that the gateway stops
LOG_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


def _nobody() -> None: ...


class App:
    """Needs a running event loop. `place`: where the configuration is read again from.

    `tell_others` has the other workers do so too. `ports`: by setting, where they have been reserved for all workers.
    """

    def __init__(
        self,
        config: Config,
        source: ConfigSource,
        log_fd: int = STDOUT,
        *,
        tell_others: Callable[[], None] = _nobody,
        ports: Mapping[str, int] = {},
    ) -> None:
        loop = asyncio.get_running_loop()
        self._tell_others = tell_others
        self._ports = ports
        self.deadlines = DeadlineSweeper(loop)
        self.metrics = Metrics(__version__, _metrics_directory())
        self.log = request_log(config, log_fd, self.metrics.log_dropped)
        self.admission = AdmissionController(gate_limits(config), self.deadlines, MemoryMonitor())
        self.process_state = ProcessState(loop.time())
        self.reloading = Reloader(source, lambda: self.runtime.config, self.serve, self.metrics)
        self._process_services = ProcessServices(
            self.deadlines, self.metrics, self.log, self.admission, self.process_state, self
        )
        self._runtimes = [
            Runtime(config, self._process_services)
        ]  # those with requests in flight, the present one last
        self.process_state.generations = self._runtimes
        present = self.runtime
        self.server = HttpServer(present.service, present.limits, self.deadlines, present.again)
        self.admin = (
            HttpServer(present.admin, present.limits, self.deadlines) if config.admin_port is not None else None
        )
        self.admin_port: int | None = None
        self._publishing = loop.call_later(PUBLISH_SECONDS, self._publish)

    @property
    def runtime(self) -> Runtime:
        """The one that gets new requests."""
        return self._runtimes[-1]

    async def listen(self, *, reuse_port: bool = False) -> int:
        """Accept connections; gives the port of callers. Raises CannotListen."""
        config = self.runtime.config
        await self.runtime.start()
        self.runtime.activate()
        tls = server_tls(config)
        if self.admin is not None:
            host, port = config.admin_address
            port = self._ports.get("ADMIN_PORT", port)
            self.admin_port = await _listen(self.admin, host, port, "ADMIN_PORT", tls, reuse_port)
        port = self._ports.get("PORT", config.port)
        return await _listen(self.server, config.host, port, "PORT", tls, reuse_port)

    # -- another configuration -----------------------------------------------------------------------------------------

    async def serve(self, config: Config) -> None:
        """Build a runtime, and let it take the place of the present one. When this raises, nothing has changed."""
        before = self.runtime
        after = Runtime(config, self._process_services, before)
        try:
            await after.start()
        except BaseException:
            _stop_all_but(after, [before])
            raise
        after.activate()
        self._runtimes.append(after)
        self.server.update(after.service, after.limits, after.again)
        if self.admin is not None:
            self.admin.update(after.admin, after.limits)
        if config.log_level != before.config.log_level:
            self.log.set_level(config.log_level)
            logging.getLogger("nulpoint").setLevel(LOG_LEVELS[config.log_level])
        before.client.retire(before.pools - after.pools if before.client is after.client else before.pools)
        self._let_go()

    def _let_go(self) -> None:
        """Of the runtimes whose last request has ended."""
        ended = [one for one in self._runtimes[:-1] if not one.recorder.inflight]
        self._runtimes[:] = [one for one in self._runtimes if one not in ended]
        for one in ended:
            one.client.retire(one.pools.difference(*(other.pools for other in self._runtimes)))
            _stop_all_but(one, self._runtimes)

    # -- what the admin pages ask --------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        return self.reloading.health()

    def config(self) -> dict[str, Any]:
        return {**dump(self.runtime.config), "reload": self.reloading.health()}

    async def reload(self) -> dict[str, Any]:
        report = await self.reloading.reload()
        if report.result == REFUSED:
            raise AdminError(list(report.problems))
        self._tell_others()
        page: dict[str, Any] = {"result": report.result, "after_restart": self.runtime.config.after_restart}
        return page | {"changed": report.changed} if report.result == CHANGED else page

    # -- the end -------------------------------------------------------------------------------------------------------

    async def drain(self, delay: float = 0.0) -> bool:
        """Finish what is in flight, within SHUTDOWN_TIMEOUT. Says whether all of it finished.

        For the first `delay` seconds new requests are served as ever: until whoever spreads the load has seen that
        `/readiness` says 503, it goes on sending them.
        """
        self.process_state.ready = False
        window = self.runtime.config.shutdown_timeout
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
        self._let_go()
        self.runtime.status.update_gauges()
        try:
            self.metrics.publish()
        except OSError as error:
            logger.warning("the metrics snapshot cannot be written: %s", error.strerror)
        self._publishing = asyncio.get_running_loop().call_later(PUBLISH_SECONDS, self._publish)

    def close(self) -> None:
        self.reloading.stop()
        if self.admin is not None:  # it has served until now: how draining goes on is to be seen
            self.admin.drain()
            self.admin.abort()
        self._publishing.cancel()
        self._publish()
        self._publishing.cancel()
        for one in self._runtimes:
            _stop_all_but(one, [])
        self.deadlines.stop()
        self.log.close(FLUSH_SECONDS)


def _stop_all_but(runtime: Runtime, others: list[Runtime]) -> None:
    """Stop what this runtime holds, but for what others hold too."""
    kept = {id(part) for other in others for part, _ in other.closers}
    for part, stop in runtime.closers:
        if id(part) not in kept:
            stop()


async def _listen(
    server: HttpServer, host: str, port: int, setting: str, tls: ssl.SSLContext | None, reuse_port: bool
) -> int:
    try:
        return await server.listen(host, port, tls=tls, reuse_port=reuse_port)
    except OSError as error:
        raise CannotListenError(setting, host, port, error) from None


def _metrics_directory() -> Path | None:
    shared = os.environ.get(METRICS_DIRECTORY)
    return Path(shared) if shared else None


def _shutting_down() -> Failure:
    text = "the gateway is shutting down and could not finish this answer in time; send the request again"
    return Failure(Kind.OVERLOADED, 503, text, code="shutting_down", retry_after=1.0)
