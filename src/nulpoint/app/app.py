"""The gateway process: the services that live as long as the process, and the runtime that serves new requests."""

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
from nulpoint.app.wiring import admission_limits, server_tls
from nulpoint.config import Config, ConfigSource
from nulpoint.config.dump import dump
from nulpoint.errors import Failure, Kind
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.server.server import HttpServer
from nulpoint.proxy.admission.controller import AdmissionController
from nulpoint.proxy.admission.memory_monitor import MemoryMonitor
from nulpoint.telemetry.metrics.metrics import Metrics

logger = logging.getLogger(__name__)

STDOUT = 1
PUBLISH_SECONDS = 1.0  # between two snapshots of the metrics
FLUSH_SECONDS = 2.0  # to write the rest of the request log at shutdown
FINAL_ERROR_SECONDS = 0.4  # for clients to receive the error that the gateway is shutting down
LOG_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


def _notify_nobody() -> None: ...


class App:
    """A gateway process. Needs a running event loop.

    `source` is where the configuration is reloaded from, and `notify_workers` tells the other workers to reload too.
    `ports` are the ports that the supervisor reserved for all workers, by the name of the setting.
    """

    def __init__(
        self,
        config: Config,
        source: ConfigSource,
        log_fd: int = STDOUT,
        *,
        notify_workers: Callable[[], None] = _notify_nobody,
        ports: Mapping[str, int] = {},
    ) -> None:
        loop = asyncio.get_running_loop()
        self._notify_workers = notify_workers
        self._ports = ports
        self.deadlines = DeadlineSweeper(loop)
        self.metrics = Metrics(__version__, _metrics_directory())
        self.log = request_log(config, log_fd, self.metrics.log_dropped)
        self.admission = AdmissionController(admission_limits(config), self.deadlines, MemoryMonitor())
        self.process_state = ProcessState(loop.time())
        self.reloading = Reloader(source, lambda: self.runtime.config, self.serve, self.metrics)
        self._process_services = ProcessServices(
            self.deadlines, self.metrics, self.log, self.admission, self.process_state, self, source.today
        )
        # The runtimes that still have requests in flight; the last one gets the new requests.
        self._runtimes = [Runtime(config, self._process_services)]
        self.process_state.generations = self._runtimes
        runtime = self.runtime
        self.server = HttpServer(runtime.service, runtime.limits, self.deadlines)
        self.admin: HttpServer | None = None
        if config.admin_port is not None:
            self.admin = HttpServer(runtime.admin, runtime.limits, self.deadlines)
        self.admin_port: int | None = None
        self._publishing = loop.call_later(PUBLISH_SECONDS, self._publish)

    @property
    def runtime(self) -> Runtime:
        """The runtime that gets new requests."""
        return self._runtimes[-1]

    async def listen(self, *, reuse_port: bool = False) -> int:
        """Start to accept connections and return the port for clients. Raises CannotListenError."""
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

    # -- replacing the configuration -----------------------------------------------------------------------------------

    async def serve(self, config: Config) -> None:
        """Replace the present runtime with one for this configuration. If this raises, nothing has changed."""
        old = self.runtime
        new = Runtime(config, self._process_services, old)
        try:
            await new.start()
        except BaseException:
            _stop_unshared(new, [old])
            raise
        new.activate()
        self._runtimes.append(new)
        self.server.update(new.service, new.limits)
        if self.admin is not None:
            self.admin.update(new.admin, new.limits)
        if config.log_level != old.config.log_level:
            self.log.set_level(config.log_level)
            logging.getLogger("nulpoint").setLevel(LOG_LEVELS[config.log_level])
        old.client.retire(old.pools - new.pools if old.client is new.client else old.pools)
        self._release_finished_runtimes()

    def _release_finished_runtimes(self) -> None:
        """Release the previous runtimes whose last request has ended."""
        finished = [runtime for runtime in self._runtimes[:-1] if not runtime.recorder.inflight]
        self._runtimes[:] = [runtime for runtime in self._runtimes if runtime not in finished]
        for runtime in finished:
            runtime.client.retire(runtime.pools.difference(*(other.pools for other in self._runtimes)))
            _stop_unshared(runtime, self._runtimes)

    # -- the interface of the admin pages ------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        return self.reloading.health()

    def config(self) -> dict[str, Any]:
        return {**dump(self.runtime.config), "reload": self.reloading.health()}

    async def reload(self) -> dict[str, Any]:
        report = await self.reloading.reload()
        if report.result == REFUSED:
            raise AdminError(list(report.problems))
        self._notify_workers()
        page: dict[str, Any] = {"result": report.result, "after_restart": self.runtime.config.after_restart}
        return page | {"changed": report.changed} if report.result == CHANGED else page

    # -- shutdown ------------------------------------------------------------------------------------------------------

    async def drain(self, delay: float = 0.0) -> bool:
        """Finish the requests in flight within SHUTDOWN_TIMEOUT; return whether all of them finished.

        New requests are served as usual for the first `delay` seconds, because load balancers keep sending them until
        they have seen that `/readiness` answers 503.
        """
        self.process_state.ready = False
        window = self.runtime.config.shutdown_timeout
        delay = min(delay, window)
        await asyncio.sleep(delay)
        self.server.drain()
        if await self.server.wait_drained(window - delay):
            return True
        await self.stop()
        return False

    async def stop(self) -> None:
        """End the requests in flight with an error, which clients have a moment to receive."""
        self.server.drain()
        self.server.fail_requests(_shutting_down)
        if not await self.server.wait_drained(FINAL_ERROR_SECONDS):
            self.server.abort()
            await self.server.wait_drained(FINAL_ERROR_SECONDS)

    def _publish(self) -> None:
        self._release_finished_runtimes()
        self.runtime.router.set_today(self._process_services.today())
        self.runtime.status.update_gauges()
        try:
            self.metrics.publish()
        except OSError as error:
            logger.warning("cannot write the metrics snapshot: %s", error.strerror)
        self._publishing = asyncio.get_running_loop().call_later(PUBLISH_SECONDS, self._publish)

    def close(self) -> None:
        self.reloading.stop()
        if self.admin is not None:  # it served until now, so that the progress of draining can be watched
            self.admin.drain()
            self.admin.abort()
        self._publishing.cancel()
        self._publish()
        self._publishing.cancel()
        for runtime in self._runtimes:
            _stop_unshared(runtime, [])
        self.deadlines.stop()
        self.log.close(FLUSH_SECONDS)


def _stop_unshared(runtime: Runtime, others: list[Runtime]) -> None:
    """Stop the parts of this runtime that no other runtime uses."""
    shared = {id(part) for other in others for part, _ in other.closers}
    for part, stop in runtime.closers:
        if id(part) not in shared:
            stop()


async def _listen(
    server: HttpServer, host: str, port: int, setting: str, tls: ssl.SSLContext | None, reuse_port: bool
) -> int:
    try:
        return await server.listen(host, port, tls=tls, reuse_port=reuse_port)
    except OSError as error:
        raise CannotListenError(setting, host, port, error) from None


def _metrics_directory() -> Path | None:
    directory = os.environ.get(METRICS_DIRECTORY)
    return Path(directory) if directory else None


def _shutting_down() -> Failure:
    text = "the gateway is shutting down and could not finish this response in time; send the request again"
    return Failure(Kind.OVERLOADED, 503, text, code="shutting_down", retry_after=1.0)
