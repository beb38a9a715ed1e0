"""Run a gateway as a process: signals, memory, open files and diagnostic logging."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import resource
import signal
import sys

import uvloop

from nulpoint import __version__
from nulpoint.app.app import LOG_LEVELS, App
from nulpoint.app.signals import GRACE_SECONDS, STOPPING, Signals
from nulpoint.app.supervisor import WORKER_MARK, CannotListenError, reload_notifier, reserved_ports, supervise
from nulpoint.app.worker_link import SupervisorLink
from nulpoint.config import Config, ConfigSource

logger = logging.getLogger(__name__)

EXIT_OK, EXIT_CANNOT_LISTEN = 0, 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def serve(config: Config, source: ConfigSource, signals: Signals, link: SupervisorLink | None = None) -> int:
    """Run until SIGTERM or SIGINT and return the exit code.

    `source` is where the configuration is reloaded from. `link` connects a worker with its supervisor.
    """
    _log_to_stderr(config.log_level)
    _raise_open_files_limit()
    signals.handle(STOPPING)
    is_worker = WORKER_MARK in os.environ
    if config.workers > 1 and not is_worker:
        return supervise(config, source, signals)
    signals.end_within(config.shutdown_timeout + GRACE_SECONDS)
    return uvloop.run(_serve(config, source, signals, link, reuse_port=is_worker))


async def _serve(
    config: Config, source: ConfigSource, signals: Signals, link: SupervisorLink | None, *, reuse_port: bool
) -> int:
    app = App(config, source, notify_workers=reload_notifier(), ports=reserved_ports())
    stops: asyncio.Queue[int] = asyncio.Queue()
    signals.deliver(STOPPING, stops.put_nowait)
    stop = asyncio.create_task(stops.get())
    listening = asyncio.create_task(app.listen(reuse_port=reuse_port))
    await asyncio.wait((listening, stop), return_when=asyncio.FIRST_COMPLETED)
    code = EXIT_OK
    if not listening.done():
        await _give_up_listening(app, listening)
    elif (error := listening.exception()) is not None:
        code = _cannot_listen(error)
    else:
        if link is not None:
            link.send_heartbeats()
        _begin(app, listening.result())
        signals.deliver([signal.SIGHUP], lambda _: app.reloading.reload())
        await _end(app, await stop, stops)
        if link is not None:
            link.stop()
    stop.cancel()
    signals.cancel_limit()
    app.close()
    return code


def _begin(app: App, port: int) -> None:
    _announce(app.runtime.config, port, app.admin_port)
    app.reloading.warn_of_retirements()
    _settle_memory()
    app.reloading.watch()


async def _give_up_listening(app: App, listening: "asyncio.Task[int]") -> None:
    """Stop an app that received a stop signal before or while its listener opened."""
    logger.info("received a stop signal while starting")
    listening.cancel()
    await asyncio.wait((listening,))
    await app.stop()


def _cannot_listen(error: BaseException) -> int:
    if not isinstance(error, CannotListenError):
        raise error
    logger.error("%s", error)
    return EXIT_CANNOT_LISTEN


async def _end(app: App, signal_number: int, stops: "asyncio.Queue[int]") -> None:
    """Finish the requests in flight; a second signal ends them at once."""
    config = app.runtime.config
    logger.info("draining: up to %g s for %d requests in flight", config.shutdown_timeout, app.process_state.inflight)
    second_stop = asyncio.create_task(stops.get())
    drain = asyncio.create_task(app.drain(config.shutdown_delay if signal_number == signal.SIGTERM else 0.0))
    await asyncio.wait((drain, second_stop), return_when=asyncio.FIRST_COMPLETED)
    finished = drain.done() and drain.result()
    if not drain.done():
        drain.cancel()
        await app.stop()
    if not finished:
        logger.warning("stopped with requests in flight")
    second_stop.cancel()


def _announce(config: Config, port: int, admin_port: int | None) -> None:
    scheme = "https" if config.tls_cert else "http"
    names = ", ".join(config.providers)
    logger.info("nulpoint %s listens on %s://%s:%d, providers: %s", __version__, scheme, config.host, port, names)
    if admin_port is not None:
        logger.info("/health, /metrics and /admin are on %s://%s:%d", scheme, config.admin_address[0], admin_port)
    for name, reason in config.left_out.items():
        logger.info("%s is left out: %s", name, reason)
    if config.open_to_others:
        text = "clients need no key: anybody who can reach %s:%d can spend your budget; set GATEWAY_API_KEYS"
        logger.warning(text, config.host, port)


def _raise_open_files_limit() -> None:
    """Allow as many open files as the system permits: the lower default limit exists for programs that use select."""
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))


def _settle_memory() -> None:
    """Exclude the objects that exist now from garbage collection, because they live as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Keep up to 16 MiB of freed memory instead of returning it to the kernel between two large requests.

    By default glibc returns it at once and faults every page in again (mallopt(3)), with two brk calls for each request
    of 160 kB.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl does not have it
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, 16 * 1024 * 1024)
        mallopt(_M_MMAP_THRESHOLD, 4 * 1024 * 1024)


def _log_to_stderr(level: str) -> None:
    """Write diagnostics to stderr as text, because stdout is for the request log.

    The level applies to nulpoint's own messages only: debug messages of libraries may contain secrets.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("nulpoint").setLevel(LOG_LEVELS[level])
