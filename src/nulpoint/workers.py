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
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from nulpoint.config import Config, Place
from nulpoint.config.last_good import LastGood, load_last_good
from nulpoint.stores.snapshots import bury

logger = logging.getLogger("nulpoint")

METRICS_DIRECTORY = "NULPOINT_METRICS_DIR"  # where the workers leave snapshots of their metrics for each other
WORKER_MARK = "NULPOINT_WORKER"  # set in the environment of a worker, and nowhere else
_LAST_GOOD = "config"  # beside the snapshots: the last good configuration, while what is written is none
_RESERVED = "NULPOINT_RESERVED_"  # and the name of a setting: the port that is held for all workers
RESTART_SECONDS = 1.0  # a worker that dies sooner after its start waits this long for the next one
STOPPING = (signal.SIGTERM, signal.SIGINT)
GRACE_SECONDS = 5.0  # beyond SHUTDOWN_TIMEOUT, then a worker is killed


def supervise(config: Config, place: Place) -> int:
    """Run the workers until SIGTERM or SIGINT; gives the exit code."""
    with contextlib.ExitStack() as held:
        try:
            ports = {"PORT": held.enter_context(_reserved("PORT", config.host, config.port))}
            if config.admin_port is not None:
                ports["ADMIN_PORT"] = held.enter_context(_reserved("ADMIN_PORT", *config.admin_address))
        except CannotListen as error:
            logger.error("%s", error)
            return 1
        try:
            metrics = held.enter_context(tempfile.TemporaryDirectory(prefix="nulpoint-metrics-"))
        except OSError as error:
            text = (
                "WORKERS=%d needs a directory for temporary files to add up its metrics (%s); set TMPDIR, or WORKERS=1"
            )
            logger.error(text, config.workers, error)
            return 1
        good = LastGood(place, config, Path(metrics) / _LAST_GOOD)
        start, buried = _start_worker(ports, metrics, place), partial(_bury, Path(metrics))
        supervisor = Supervisor(config.workers, start, config.shutdown_timeout, good.look, buried)
        return supervisor.run()


class CannotListen(Exception):
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
        raise CannotListen(setting, host, port, error) from None
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


def _start_worker(ports: Mapping[str, int], metrics: str, place: Place) -> Callable[[], "subprocess.Popen[bytes]"]:
    """A worker reads the configuration itself, at its start and whenever it has changed."""
    given = {_RESERVED + setting: str(port) for setting, port in ports.items()}
    environment = {**place.environ, **given, WORKER_MARK: "1", METRICS_DIRECTORY: metrics}
    command = [sys.executable, "-m", "nulpoint", "serve"]
    if place.env_file is not None:
        command += ["--env-file", str(place.env_file)]
    # A process group of its own: Ctrl-C reaches the supervisor alone, who passes it on once.
    return lambda: subprocess.Popen(
        command, env=environment, cwd=place.directory, process_group=0, preexec_fn=_ignore_hangup
    )


def _ignore_hangup() -> None:
    """Until it can act upon SIGHUP a worker must not die of it: what it is about to read is new enough."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def reserved_ports() -> dict[str, int]:
    """In a worker: the ports held for it, by setting."""
    found = {name.removeprefix(_RESERVED): text for name, text in os.environ.items() if name.startswith(_RESERVED)}
    return {setting: int(port) for setting, port in found.items()}


def last_good(place: Place) -> Config | None:
    """In a worker that cannot start with what is written: the configuration the others have. Raises ConfigError."""
    shared = os.environ.get(METRICS_DIRECTORY)
    return load_last_good(place, Path(shared) / _LAST_GOOD) if shared and WORKER_MARK in os.environ else None


def supervisor() -> Callable[[], None]:
    """In a worker: what has all workers read their configuration again. Elsewhere it does nothing."""
    parent = os.getppid() if WORKER_MARK in os.environ else 0

    def tell() -> None:
        if parent and os.getppid() == parent:  # else it has died, and the number is another's
            os.kill(parent, signal.SIGHUP)

    return tell


def _bury(metrics: Path, pid: int) -> None:
    try:
        bury(metrics, pid)
    except OSError as error:
        logger.warning("the metrics of the dead worker %d were not put to those of the others: %s", pid, error)


class Supervisor:
    """Keeps `count` workers alive. `look` is called several times a second, and before a worker is started in another's
    place; `buried` is told the process id of each that has died."""

    def __init__(
        self,
        count: int,
        start: Callable[[], "subprocess.Popen[bytes]"],
        shutdown_timeout: float,
        look: Callable[[], None],
        buried: Callable[[int], None],
    ) -> None:
        self._look = look
        self._count = count
        self._start = start
        self._buried = buried
        self._shutdown_timeout = shutdown_timeout
        self._workers: list[subprocess.Popen[bytes]] = []

    def run(self) -> int:
        """Until a signal ends it; gives the exit code. To be called in the main thread."""
        with _Signals() as signals:
            self._start_missing()
            logger.info("%d workers started", len(self._workers))
            rest = 0.2
            while (told := signals.wait(rest)) not in STOPPING:
                if told == signal.SIGHUP:
                    self._tell_workers(told)
                self._look()
                rest = RESTART_SECONDS if self._replace_the_dead() else 0.2
            return self._end(told, signals)

    def _replace_the_dead(self) -> bool:
        """Says whether any was missing."""
        for worker in [one for one in self._workers if one.poll() is not None]:
            logger.error("worker %d died with exit code %d; starting another", worker.pid, worker.returncode)
            self._buried(worker.pid)  # before another process can have its number
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

    def _end(self, told: int, signals: "_Signals") -> int:
        """Workers finish what is in flight; a second signal makes them stop at once, as one worker alone does."""
        self._tell_workers(told)
        patience = time.monotonic() + self._shutdown_timeout + GRACE_SECONDS
        while any(worker.poll() is None for worker in self._workers) and time.monotonic() < patience:
            again = signals.wait(0.05)
            if again in STOPPING:
                self._tell_workers(again)
        late = [worker for worker in self._workers if worker.poll() is None]
        for worker in late:
            worker.kill()
            worker.wait()
        # The signal itself is an orderly end here: it may meet a worker that has finished and is on its way out.
        orderly = (-signal.SIGTERM, -signal.SIGINT)
        codes = [abs(worker.returncode) for worker in self._workers if worker.returncode not in orderly]
        return max(codes, default=0)

    def _tell_workers(self, number: int) -> None:
        for worker in self._workers:
            worker.send_signal(number)


class _Signals:
    """Signals as something to wait for, with a time limit. A row of SIGHUPs is one, so that none to stop is lost."""

    def __enter__(self) -> "_Signals":
        self._told: deque[int] = deque()
        self._here, self._there = socket.socketpair()
        self._there.setblocking(False)
        for number in (*STOPPING, signal.SIGHUP):
            signal.signal(number, self._note)
        signal.set_wakeup_fd(self._there.fileno(), warn_on_full_buffer=False)
        return self

    def _note(self, number: int, _: object) -> None:
        if number in STOPPING or number not in self._told:
            self._told.append(number)

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._here.close()
        self._there.close()

    def wait(self, seconds: float) -> int:
        """The number of the one that came within `seconds`; 0 where none did."""
        if not self._told:
            self._here.settimeout(seconds)
            with contextlib.suppress(TimeoutError):
                self._here.recv(4096)  # they say that there is something, no more: where many come some find no room
        return self._told.popleft() if self._told else 0
