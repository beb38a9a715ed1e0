"""The process around a gateway: signals, memory, open files, diagnostics."""

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
from nulpoint.app.supervisor import WORKER_MARK, CannotListenError, reserved_ports, supervise, supervisor
from nulpoint.app.worker_link import SupervisorLink
from nulpoint.config import Config, ConfigSource

logger = logging.getLogger(__name__)

EXIT_OK, EXIT_CANNOT_LISTEN = 0, 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def serve(config: Config, source: ConfigSource, signals: Signals, redis: SupervisorLink | None = None) -> int:
    """Run until SIGTERM or SIGINT; gives the exit code. `place`: where the configuration is read again from.

    `link`: to the supervisor, in a worker.
    """
    _log_to_stderr(config.log_level)
    _allow_all_files()
    signals.handle(STOPPING)
    is_worker = WORKER_MARK in os.environ
    if config.workers > 1 and not is_worker:
        return supervise(config, source, signals)
    signals.end_within(config.shutdown_timeout + GRACE_SECONDS)
    return uvloop.run(_serve(config, source, signals, redis, reuse_port=is_worker))


async def _serve(
    config: Config, source: ConfigSource, signals: Signals, redis: SupervisorLink | None, *, reuse_port: bool
) -> int:
    app = App(config, source, tell_others=supervisor(), ports=reserved_ports())
    stops: asyncio.Queue[int] = asyncio.Queue()
    signals.deliver(STOPPING, stops.put_nowait)
    told = asyncio.create_task(stops.get())
    listening = asyncio.create_task(app.listen(reuse_port=reuse_port))
    await asyncio.wait((listening, told), return_when=asyncio.FIRST_COMPLETED)
    code = EXIT_OK
    if not listening.done():
        await _give_up_listening(app, listening)
    elif (error := listening.exception()) is not None:
        code = _cannot_listen(error)
    else:
        if redis is not None:
            redis.beat()
        _begin(app, listening.result())
        signals.deliver([signal.SIGHUP], lambda _: app.reloading.reload())
        await _end(app, await told, stops)
        if redis is not None:
            redis.stop()
    told.cancel()
    signals.cancel_limit()
    app.close()
    return code


def _begin(app: App, port: int) -> None:
    _announce(app.runtime.config, port, app.admin_port)
    _settle_memory()
    app.reloading.watch()


async def _give_up_listening(app: App, listening: "asyncio.Task[int]") -> None:
    """A signal to stop came before there was a listener, or as it opened."""
    logger.info("told to stop while starting")
    listening.cancel()
    await asyncio.wait((listening,))
    await app.stop()


def _cannot_listen(error: BaseException) -> int:
    if not isinstance(error, CannotListenError):
        raise error
    logger.error("%s", error)
    return EXIT_CANNOT_LISTEN


async def _end(app: App, told: int, stops: "asyncio.Queue[int]") -> None:
    """Finish what is in flight; another signal ends it at once."""
    config = app.runtime.config
    logger.info("draining: up to %g s for %d requests in flight", config.shutdown_timeout, app.process_state.inflight)
    hurry = asyncio.create_task(stops.get())
    drain = asyncio.create_task(app.drain(config.shutdown_delay if told == signal.SIGTERM else 0.0))
    await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
    finished = drain.done() and drain.result()
    if not drain.done():
        drain.cancel()
        await app.stop()
    if not finished:
        logger.warning("stopped with requests in flight")
    hurry.cancel()


def _announce(config: Config, port: int, admin_port: int | None) -> None:
    scheme = "https" if config.tls_cert else "http"
    names = ", ".join(config.providers)
    logger.info("nulpoint %s listens on %s://%s:%d, providers: %s", __version__, scheme, config.host, port, names)
    if admin_port is not None:
        logger.info("/health, /metrics and /admin are on %s://%s:%d", scheme, config.admin_address[0], admin_port)
    for name, why in config.left_out.items():
        logger.info("%s is left out: %s", name, why)
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
    logging.getLogger("nulpoint").setLevel(LOG_LEVELS[level])
