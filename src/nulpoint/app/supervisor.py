"""Run WORKERS processes on one port. Each listens by itself (SO_REUSEPORT), and one that dies is replaced.

The workers are new processes, not forks. They share nothing except the snapshots of their metrics.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nulpoint.app.signals import GRACE_SECONDS, STOPPING, Signals
from nulpoint.app.worker_link import DESCRIPTOR, WorkerLink
from nulpoint.config import Config, ConfigSource
from nulpoint.config.last_good import LastGoodConfig, load_last_good
from nulpoint.config.safeguards import ReloadGuard
from nulpoint.telemetry.metrics.multiprocess import absorb_exited_worker

logger = logging.getLogger(__name__)

# Environment variables that the supervisor sets for its workers.
METRICS_DIRECTORY = "NULPOINT_METRICS_DIR"  # the directory for snapshots of the workers' metrics
WORKER_MARK = "NULPOINT_WORKER"  # marks a process as a worker
_RESERVED = "NULPOINT_RESERVED_"  # followed by the name of a setting: the port that is reserved for all workers

_LAST_GOOD = "config"  # the subdirectory for the last valid configuration while the present files are invalid
RESTART_SECONDS = 1.0  # pause after replacing a worker before another one is replaced
BLOCKED_AT_START = (signal.SIGHUP, signal.SIGINT)  # signals that a worker blocks until it handles them
_GUARD = "NULPOINT_IN_FORCE"  # what the configuration of a worker must not remove
_TICK_SECONDS = 0.2
_GAP_SECONDS = 3.0  # a supervisor that itself has not run for this long cannot judge whether its workers have


def supervise(config: Config, source: ConfigSource, signals: Signals) -> int:
    """Run the workers until SIGTERM or SIGINT and return the exit code."""
    with contextlib.ExitStack() as stack:
        stack.callback(signals.close)
        try:
            ports = {"PORT": stack.enter_context(_reserved("PORT", config.host, config.port))}
            if config.admin_port is not None:
                ports["ADMIN_PORT"] = stack.enter_context(_reserved("ADMIN_PORT", *config.admin_address))
        except CannotListenError as error:
            logger.error("%s", error)
            return 1
        try:
            metrics = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="nulpoint-metrics-", ignore_cleanup_errors=True)
            )
        except OSError as error:
            text = "WORKERS=%d needs a temporary directory to collect metrics (%s); set TMPDIR, or WORKERS=1"
            logger.error(text, config.workers, error)
            return 1
        good = LastGoodConfig(source, config, Path(metrics) / _LAST_GOOD)
        start, on_exit = _start_worker(ports, metrics, source, good), partial(_absorb_exited_worker, Path(metrics))
        times = Timeouts(config.shutdown_timeout, config.worker_timeout)
        supervisor = Supervisor(config.workers, start, times, BackgroundTask(good.check), on_exit)
        return supervisor.run(signals)


class CannotListenError(Exception):
    """The gateway cannot listen on an address. The text names the address, the reason and the settings to change."""

    def __init__(self, setting: str, host: str, port: int, error: OSError) -> None:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        remedy = f"change {setting} or {setting.removesuffix('PORT')}HOST"
        super().__init__(f"cannot listen on {host}:{port}: {reason}; {remedy}")


@contextlib.contextmanager
def _reserved(setting: str, host: str, port: int) -> Iterator[int]:
    """Reserve a port for as long as the context lasts. Raises CannotListenError."""
    try:
        holder = reserve(host, port)
    except OSError as error:
        raise CannotListenError(setting, host, port, error) from None
    with holder:
        yield holder.getsockname()[1]


def reserve(host: str, port: int) -> socket.socket:
    """Return a bound socket that never listens, so that no other program can take the port while workers restart.

    The port is first bound without SO_REUSEPORT, which fails if another program uses it. Raises OSError.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        port = probe.getsockname()[1]
    holder = socket.socket(family)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind((host, port))
    return holder


class Worker(NamedTuple):
    """A worker's process and the link to it."""

    process: "subprocess.Popen[bytes]"
    link: WorkerLink


class Timeouts(NamedTuple):
    """SHUTDOWN_TIMEOUT and WORKER_TIMEOUT, in seconds."""

    shutdown: float
    worker: float


class BackgroundTask:
    """Runs a function in a thread, one call at a time, because the function may hang on a file system."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        """Start a call unless the previous one is still running."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._function, name="configuration", daemon=True)
            self._thread.start()


def _start_worker(
    ports: Mapping[str, int], metrics: str, source: ConfigSource, good: LastGoodConfig
) -> Callable[[], Worker]:
    """Return a function that starts a worker. Each worker reads the configuration itself."""
    reserved = {_RESERVED + setting: str(port) for setting, port in ports.items()}
    environment = {**source.environ, **reserved, WORKER_MARK: "1", METRICS_DIRECTORY: metrics}
    command = [sys.executable, "-m", "nulpoint", "serve"]
    if source.env_file is not None:
        command += ["--env-file", str(source.env_file)]

    def start() -> Worker:
        link = WorkerLink(time.monotonic())
        descriptor = link.workers_end.fileno()
        variables = {**environment, DESCRIPTOR: str(descriptor), _GUARD: good.guard.encode()}
        try:
            # The worker gets a new process group, so that Ctrl-C only reaches the supervisor, which passes it on once.
            with _blocked_at_start():
                process = subprocess.Popen(
                    command, env=variables, cwd=source.directory, process_group=0, pass_fds=[descriptor]
                )
        except OSError:
            link.close()
            raise
        finally:
            link.close_workers_end()
        return Worker(process, link)

    return start


@contextlib.contextmanager
def _blocked_at_start() -> Iterator[None]:
    """Block these signals for processes that are started in this context, until they can handle them.

    Otherwise SIGHUP would end a starting worker, and SIGINT would print a traceback of Python's own start.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_AT_START)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def reserved_ports() -> dict[str, int]:
    """Return, in a worker, the reserved ports by the name of their setting."""
    variables = {name: text for name, text in os.environ.items() if name.startswith(_RESERVED)}
    return {name.removeprefix(_RESERVED): int(port) for name, port in variables.items()}


def inherited_guard() -> ReloadGuard | None:
    """Return, in a worker, what its configuration must not remove; None in other processes."""
    text = os.environ.get(_GUARD)
    return ReloadGuard.decode(text) if text and WORKER_MARK in os.environ else None


def last_good(source: ConfigSource) -> Config | None:
    """Return, in a worker, the last valid configuration, for use when the present files are invalid.

    None if there is none. Raises ConfigError.
    """
    directory = os.environ.get(METRICS_DIRECTORY)
    if not directory or WORKER_MARK not in os.environ:
        return None
    return load_last_good(source, Path(directory) / _LAST_GOOD, inherited_guard() or ReloadGuard())


def reload_notifier() -> Callable[[], None]:
    """Return a function that makes all workers reload their configuration; it does nothing without a supervisor."""
    parent = os.getppid() if WORKER_MARK in os.environ else 0

    def notify() -> None:
        if parent and os.getppid() == parent:  # otherwise it has died, and its id may belong to another process
            os.kill(parent, signal.SIGHUP)

    return notify


def _absorb_exited_worker(metrics: Path, pid: int) -> None:
    try:
        absorb_exited_worker(metrics, pid)
    except OSError as error:
        logger.warning("the metrics of the exited worker %d could not be added to the total: %s", pid, error)


class Supervisor:
    """Keeps `count` workers running.

    `on_tick` is called several times a second and must not block. `on_exit` is called with the process id of each
    worker that has exited.
    """

    def __init__(
        self,
        count: int,
        start: Callable[[], Worker],
        times: Timeouts,
        on_tick: Callable[[], None],
        on_exit: Callable[[int], None],
    ) -> None:
        self._on_tick = on_tick
        self._count = count
        self._start = start
        self._on_exit = on_exit
        self._times = times
        self._workers: list[Worker] = []
        self._checked = time.monotonic()

    def run(self, signals: Signals) -> int:
        """Run until a stop signal and return the exit code. To be called in the main thread."""
        number = signals.wait(0)
        if number not in STOPPING:
            self._start_missing()
            logger.info("%d workers started", len(self._workers))
        while number not in STOPPING:
            if number == signal.SIGHUP:
                self._signal_workers(number)
            self._on_tick()
            self._kill_unresponsive(time.monotonic())
            number = signals.wait(RESTART_SECONDS if self._replace_exited() else _TICK_SECONDS)
        return self._end(number, signals)

    def _kill_unresponsive(self, now: float) -> None:
        """Kill workers whose event loop is stopped or blocked and therefore serves nobody.

        If the supervisor itself has not run for a while (the machine slept or is overloaded), the workers get a new
        timeout.
        """
        overslept = now - self._checked > _GAP_SECONDS
        self._checked = now
        for worker in self._workers:
            worker.link.listen(now)
            if overslept:
                worker.link.reset(now)
            silent = worker.link.silent_seconds(now, self._times.worker) if self._times.worker else 0.0
            if silent and worker.process.poll() is None:
                logger.error(
                    "killing worker %d, which has not responded for %.0f s (WORKER_TIMEOUT=%gs): its process is "
                    "stopped or its event loop is blocked",
                    worker.process.pid,
                    silent,
                    self._times.worker,
                )
                worker.process.kill()
                worker.link.reset(now)  # so that it is logged only once, however long the kernel takes

    def _replace_exited(self) -> bool:
        """Replace workers that have exited; return whether there were any."""
        for worker in [worker for worker in self._workers if worker.process.poll() is not None]:
            process = worker.process
            logger.error("worker %d died with exit code %d; starting another", process.pid, process.returncode)
            self._on_exit(process.pid)  # before another process can get this id
            worker.link.close()
            self._workers.remove(worker)
        return self._start_missing()

    def _start_missing(self) -> bool:
        missing = self._count - len(self._workers)
        try:
            for _ in range(missing):
                self._workers.append(self._start())
        except OSError as error:
            logger.error("cannot start a worker: %s; will try again", error.strerror)
        return missing > 0

    def _end(self, signal_number: int, signals: Signals) -> int:
        """Let the workers finish the requests in flight; a second signal makes them stop at once."""
        self._signal_workers(signal_number)
        deadline = time.monotonic() + self._times.shutdown + GRACE_SECONDS
        processes = [worker.process for worker in self._workers]
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            second = signals.wait(0.05)
            if second in STOPPING:
                self._signal_workers(second)
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
        for process in processes:
            if process.poll() is None:
                logger.error("killing worker %d, which has not ended in time", process.pid)
                process.kill()
                process.wait()
        # Death by the signal itself counts as an orderly end: it may reach a worker that has finished and is exiting.
        orderly = (-signal.SIGTERM, -signal.SIGINT)
        codes = [abs(process.returncode) for process in processes if process.returncode not in orderly]
        return max(codes, default=0)

    def _signal_workers(self, number: int) -> None:
        for worker in self._workers:
            worker.process.send_signal(number)
