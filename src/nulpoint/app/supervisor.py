"""WORKERS processes on one port: each listens by itself (SO_REUSEPORT), one that dies is started again.

The workers are fresh processes, not forks: nothing is shared between them but the snapshots of their metrics.
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
from nulpoint.config.last_good import LastGood, load_last_good
from nulpoint.config.safeguards import InForce
from nulpoint.telemetry.metrics.multiprocess import absorb_exited_worker

logger = logging.getLogger(__name__)

METRICS_DIRECTORY = "NULPOINT_METRICS_DIR"  # where the workers leave snapshots of their metrics for each other
WORKER_MARK = "NULPOINT_WORKER"  # set in the environment of a worker, and nowhere else
_LAST_GOOD = "config"  # beside the snapshots: the last good configuration, while what is written is none
_RESERVED = "NULPOINT_RESERVED_"  # and the name of a setting: the port that is held for all workers
RESTART_SECONDS = 1.0  # a worker that dies sooner after its start waits this long for the next one
BLOCKED_AT_START = (signal.SIGHUP, signal.SIGINT)  # of a worker, until it handles them
_IN_FORCE = "NULPOINT_IN_FORCE"  # in a worker's environment: what its start must not take away
_LOOK_SECONDS = 0.2
_GAP_SECONDS = 3.0  # a supervisor that has not run for so long cannot say whether its workers have


def supervise(config: Config, source: ConfigSource, signals: Signals) -> int:
    """Run the workers until SIGTERM or SIGINT; gives the exit code."""
    with contextlib.ExitStack() as held:
        held.callback(signals.close)
        try:
            ports = {"PORT": held.enter_context(_reserved("PORT", config.host, config.port))}
            if config.admin_port is not None:
                ports["ADMIN_PORT"] = held.enter_context(_reserved("ADMIN_PORT", *config.admin_address))
        except CannotListenError as error:
            logger.error("%s", error)
            return 1
        try:
            metrics = held.enter_context(
                tempfile.TemporaryDirectory(prefix="nulpoint-metrics-", ignore_cleanup_errors=True)
            )
        except OSError as error:
            text = (
                "WORKERS=%d needs a directory for temporary files to add up its metrics (%s); set TMPDIR, or WORKERS=1"
            )
            logger.error(text, config.workers, error)
            return 1
        good = LastGood(source, config, Path(metrics) / _LAST_GOOD)
        start, buried = _start_worker(ports, metrics, source, good), partial(_absorb_exited_worker, Path(metrics))
        times = Times(config.shutdown_timeout, config.worker_timeout)
        supervisor = Supervisor(config.workers, start, times, InBackground(good.look), buried)
        return supervisor.run(signals)


class CannotListenError(Exception):
    """An address cannot be had. The text says which, why, and the setting that changes it."""

    def __init__(self, setting: str, host: str, port: int, error: OSError) -> None:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        remedy = f"choose another {setting} or {setting.removesuffix('PORT')}HOST"
        super().__init__(f"cannot listen on {host}:{port}: {reason}; {remedy}")


@contextlib.contextmanager
def _reserved(setting: str, host: str, port: int) -> Iterator[int]:
    """Raises CannotListen."""
    try:
        holder = reserve(host, port)
    except OSError as error:
        raise CannotListenError(setting, host, port, error) from None
    with holder:
        yield holder.getsockname()[1]


def reserve(host: str, port: int) -> socket.socket:
    """A bound socket that never listens: it holds the port, so that no other program can take it between restarts.

    First bound without SO_REUSEPORT, which fails where somebody else is there already. Raises OSError.
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
    """A worker's process, and the link to it."""

    process: "subprocess.Popen[bytes]"
    redis: WorkerLink


class Times(NamedTuple):
    """SHUTDOWN_TIMEOUT and WORKER_TIMEOUT, in seconds."""

    shutdown: float
    worker: float


class InBackground:
    """Runs `look` in a thread, one at a time: the files it looks at may be on a file system that hangs."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        """Begin, unless the last one has not come back."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._look, name="configuration", daemon=True)
            self._thread.start()


def _start_worker(ports: Mapping[str, int], metrics: str, source: ConfigSource, good: LastGood) -> Callable[[], Worker]:
    """A worker reads the configuration itself, at its start and whenever it has changed."""
    given = {_RESERVED + setting: str(port) for setting, port in ports.items()}
    environment = {**source.environ, **given, WORKER_MARK: "1", METRICS_DIRECTORY: metrics}
    command = [sys.executable, "-m", "nulpoint", "serve"]
    if source.env_file is not None:
        command += ["--env-file", str(source.env_file)]

    def start() -> Worker:
        redis = WorkerLink(time.monotonic())
        descriptor = redis.workers_end.fileno()
        own = {DESCRIPTOR: str(descriptor), _IN_FORCE: good.in_force.encode()}
        try:
            # A process group of its own: Ctrl-C reaches the supervisor alone, who passes it on once.
            with _blocked_at_start():
                process = subprocess.Popen(
                    command, env={**environment, **own}, cwd=source.directory, process_group=0, pass_fds=[descriptor]
                )
        except OSError:
            redis.close()
            raise
        finally:
            redis.close_workers_end()
        return Worker(process, redis)

    return start


@contextlib.contextmanager
def _blocked_at_start() -> Iterator[None]:
    """What is started meanwhile has these signals wait until it can act upon them.

    SIGHUP would end a worker that begins, and SIGINT leave a traceback of Python's own start.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_AT_START)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def reserved_ports() -> dict[str, int]:
    """In a worker: the ports held for it, by setting."""
    found = {name.removeprefix(_RESERVED): text for name, text in os.environ.items() if name.startswith(_RESERVED)}
    return {setting: int(port) for setting, port in found.items()}


def in_force() -> InForce | None:
    """In a worker: what its start must not take away. Elsewhere a start may take away anything."""
    text = os.environ.get(_IN_FORCE)
    return InForce.decode(text) if text and WORKER_MARK in os.environ else None


def last_good(source: ConfigSource) -> Config | None:
    """In a worker that cannot start with what is written: the configuration the others have. Raises ConfigError."""
    shared = os.environ.get(METRICS_DIRECTORY)
    return load_last_good(source, Path(shared) / _LAST_GOOD) if shared and WORKER_MARK in os.environ else None


def supervisor() -> Callable[[], None]:
    """In a worker: what has all workers read their configuration again. Elsewhere it does nothing."""
    parent = os.getppid() if WORKER_MARK in os.environ else 0

    def tell() -> None:
        if parent and os.getppid() == parent:  # else it has died, and the number is another's
            os.kill(parent, signal.SIGHUP)

    return tell


def _absorb_exited_worker(metrics: Path, pid: int) -> None:
    try:
        absorb_exited_worker(metrics, pid)
    except OSError as error:
        logger.warning("the metrics of the dead worker %d were not put to those of the others: %s", pid, error)


class Supervisor:
    """Keeps `count` workers alive. `look` is called several times a second, and must not block; `buried` is told the
    process id of each worker that has died."""

    def __init__(
        self,
        count: int,
        start: Callable[[], Worker],
        times: Times,
        look: Callable[[], None],
        buried: Callable[[int], None],
    ) -> None:
        self._look = look
        self._count = count
        self._start = start
        self._buried = buried
        self._times = times
        self._workers: list[Worker] = []
        self._checked = time.monotonic()

    def run(self, signals: Signals) -> int:
        """Until a signal ends it; gives the exit code. To be called in the main thread."""
        told = signals.wait(0)
        if told not in STOPPING:
            self._start_missing()
            logger.info("%d workers started", len(self._workers))
        rest = _LOOK_SECONDS
        while told not in STOPPING:
            if told == signal.SIGHUP:
                self._tell_workers(told)
            self._look()
            self._kill_the_silent(time.monotonic())
            rest = RESTART_SECONDS if self._replace_the_dead() else _LOOK_SECONDS
            told = signals.wait(rest)
        return self._end(told, signals)

    def _kill_the_silent(self, now: float) -> None:
        """Kill workers whose event loop does not run: one is stopped, or held by a request, and serves nobody.

        Where the supervisor itself has not run for a while (a machine that slept, or is too busy) they begin anew.
        """
        overslept = now - self._checked > _GAP_SECONDS
        self._checked = now
        for worker in self._workers:
            worker.redis.listen(now)
            if overslept:
                worker.redis.excuse(now)
            silent = worker.redis.silent_seconds(now, self._times.worker) if self._times.worker else 0.0
            if silent and worker.process.poll() is None:
                logger.error(
                    "worker %d has not answered for %.0f s (WORKER_TIMEOUT=%gs): it is stopped, or something holds its "
                    "event loop; it is killed", worker.process.pid, silent, self._times.worker,
                )  # fmt: skip
                worker.process.kill()
                worker.redis.excuse(now)  # and is told of once, however long the kernel takes

    def _replace_the_dead(self) -> bool:
        """Says whether any was missing."""
        for worker in [one for one in self._workers if one.process.poll() is not None]:
            process = worker.process
            logger.error("worker %d died with exit code %d; starting another", process.pid, process.returncode)
            self._buried(process.pid)  # before another process can have its number
            worker.redis.close()
            self._workers.remove(worker)
        return self._start_missing()

    def _start_missing(self) -> bool:
        missing = self._count - len(self._workers)
        try:
            for _ in range(missing):
                self._workers.append(self._start())
        except OSError as error:
            logger.error("a worker cannot be started: %s; it is tried again", error.strerror)
        return missing > 0

    def _end(self, signal_number: int, signals: Signals) -> int:
        """Workers finish what is in flight; a second signal makes them stop at once, as one worker alone does."""
        self._tell_workers(signal_number)
        patience = time.monotonic() + self._times.shutdown + GRACE_SECONDS
        processes = [worker.process for worker in self._workers]
        while any(process.poll() is None for process in processes) and time.monotonic() < patience:
            again = signals.wait(0.05)
            if again in STOPPING:
                self._tell_workers(again)
                patience = min(patience, time.monotonic() + GRACE_SECONDS)
        for process in processes:
            if process.poll() is None:
                logger.error("worker %d has not ended in time: it is killed", process.pid)
                process.kill()
                process.wait()
        # The signal itself is an orderly end here: it may meet a worker that has finished and is on its way out.
        orderly = (-signal.SIGTERM, -signal.SIGINT)
        codes = [abs(process.returncode) for process in processes if process.returncode not in orderly]
        return max(codes, default=0)

    def _tell_workers(self, number: int) -> None:
        for worker in self._workers:
            worker.process.send_signal(number)
