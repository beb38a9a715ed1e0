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
from nulpoint.app import LOG_LEVELS, App
from nulpoint.config import Config, Place
from nulpoint.workers import WORKER_MARK, CannotListen, reserved_ports, supervise, supervisor

logger = logging.getLogger("nulpoint")

EXIT_OK, EXIT_CANNOT_LISTEN = 0, 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def serve(config: Config, place: Place) -> int:
    """Run until SIGTERM or SIGINT; gives the exit code. `place`: where the configuration is read again from."""
    _log_to_stderr(config.log_level)
    _allow_all_files()
    if config.workers > 1 and WORKER_MARK not in os.environ:
        return supervise(config, place)
    return uvloop.run(_serve(config, place, reuse_port=config.workers > 1))


async def _serve(config: Config, place: Place, *, reuse_port: bool) -> int:
    app = App(config, place, tell_others=supervisor(), ports=reserved_ports())
    try:
        port = await app.listen(reuse_port=reuse_port)
    except CannotListen as error:
        logger.error("%s", error)
        app.close()
        return EXIT_CANNOT_LISTEN
    _announce(config, port, app.admin_port)
    _settle_memory()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.reloading.reload)
    app.reloading.watch()
    signals = _signals()
    told = await signals.get()
    config = app.runtime.config
    logger.info("draining: up to %g s for %d requests in flight", config.shutdown_timeout, app.life.inflight)
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
    logger.setLevel(LOG_LEVELS[level])
