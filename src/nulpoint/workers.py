"""WORKERS processes on one port: each listens by itself (SO_REUSEPORT), one that dies is started again.

The workers are fresh processes, not forks: nothing is shared between them but the snapshots of their metrics.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable

from nulpoint.config import Config

logger = logging.getLogger("nulpoint")

METRICS_DIRECTORY = "NULPOINT_METRICS_DIR"  # where the workers leave snapshots of their metrics for each other
WORKER_MARK = "NULPOINT_WORKER"  # set in the environment of a worker, and nowhere else
RESTART_SECONDS = 1.0  # a worker that dies sooner after its start waits this long for the next one
GRACE_SECONDS = 5.0  # beyond SHUTDOWN_TIMEOUT, then a worker is killed


def supervise(config: Config) -> int:
    """Run the workers until SIGTERM or SIGINT; gives the exit code."""
    port = config.port
    try:
        reservation = reserve(config.host, port)
    except OSError as error:
        logger.error("cannot listen on %s:%d: %s; choose another PORT or HOST", config.host, port, error.strerror)
        return 1
    with reservation, tempfile.TemporaryDirectory(prefix="nulpoint-metrics-") as metrics:
        port = reservation.getsockname()[1]
        supervisor = Supervisor(config.workers, _start_worker(port, metrics), config.shutdown_timeout)
        return supervisor.run()


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


def _start_worker(port: int, metrics: str) -> Callable[[], "subprocess.Popen[bytes]"]:
    environment = {**os.environ, "PORT": str(port), WORKER_MARK: "1", METRICS_DIRECTORY: metrics}
    return lambda: subprocess.Popen([sys.executable, "-m", "nulpoint", "serve"], env=environment)


class Supervisor:
    """Keeps `count` workers alive."""

    def __init__(self, count: int, start: Callable[[], "subprocess.Popen[bytes]"], shutdown_timeout: float) -> None:
        self._count = count
        self._start = start
        self._shutdown_timeout = shutdown_timeout
        self._workers: list[subprocess.Popen[bytes]] = []
        self._stop = threading.Event()

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ask_to_stop())
        self._workers = [self._start() for _ in range(self._count)]
        logger.info("%d workers started", self._count)
        while not self._stop.wait(0.2):
            self._replace_the_dead()
        return self._end()

    def _ask_to_stop(self) -> None:
        if self._stop.is_set():  # the second time: no more patience
            for worker in self._workers:
                worker.kill()
        self._stop.set()

    def _replace_the_dead(self) -> None:
        for index, worker in enumerate(self._workers):
            if worker.poll() is None:
                continue
            logger.error("worker %d died with exit code %d; starting another", worker.pid, worker.returncode)
            self._workers[index] = self._start()
            self._stop.wait(RESTART_SECONDS)

    def _end(self) -> int:
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        code = 0
        for worker in self._workers:
            try:
                code = max(code, abs(worker.wait(self._shutdown_timeout + GRACE_SECONDS)))
            except subprocess.TimeoutExpired:
                worker.kill()
                code = 1
        return code
