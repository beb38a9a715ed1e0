"""What a sink of the request log is, and the thread that writes to one, through its bad times too."""

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
MAINTENANCE_SECONDS = 1.0
_LONG = 4096  # bytes; a longer line counts as several records


class SinkError(Exception):
    """A sink cannot be written now. The text says why, for operators; it may pass."""


class LogSink(Protocol):
    """Where records go. Called from one thread only."""

    @property
    def name(self) -> str:
        """For logs and `/health`."""

    def write(self, lines: list[bytes]) -> None:
        """Write all lines, and take what is safe out of the list. Raises SinkError with the others left in it."""

    def maintain(self) -> None:
        """What is to be done now and then, whether records come or not. Raises SinkError."""

    def close(self) -> None: ...


def weight(line: bytes) -> int:
    """How many records of LOG_QUEUE a line counts as: one each 4 KiB."""
    return 1 + len(line) // _LONG


class LogWriter:
    """Writes to one sink. While it fails, records wait for it up to `capacity`; more are dropped and counted."""

    def __init__(self, sink: LogSink, capacity: int, on_drop: Callable[[], None]) -> None:
        self._sink = sink
        self._capacity = capacity
        self._on_drop = on_drop
        self._batches: SimpleQueue[tuple[int, list[bytes]] | None] = SimpleQueue()  # with their weights
        self._enqueued = 0  # weights; changed by the loop only
        self._done = 0  # changed by the thread only
        self._dropped = 0
        self._reported = 0  # how many of them have been told of
        self._stopping = threading.Event()
        self._error = ""
        self._thread = threading.Thread(target=self._run, name=f"request-log-{sink.name}", daemon=True)
        self._thread.start()

    def enqueue(self, lines: list[bytes]) -> None:
        """As many of them as there is room for."""
        room, batch = self._capacity - (self._enqueued - self._done), list(lines)
        heavy = sum(map(weight, batch))
        while heavy > room and batch:
            heavy -= weight(batch.pop())
        if len(batch) < len(lines):
            self._drop(len(lines) - len(batch))
        if batch:
            self._enqueued += heavy
            self._batches.put((heavy, batch))

    def stop(self) -> None:
        """Write what is there, once, and stop."""
        self._stopping.set()
        self._batches.put(None)

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    @property
    def error(self) -> str:
        """Why it cannot write just now; empty while it can."""
        died = not self._thread.is_alive() and not self._stopping.is_set()
        return "its writer has ended by a bug; stderr has the details" if died else self._error

    def health(self) -> dict[str, Any]:
        error = self.error
        state = {"status": "failing", "error": error} if error else {"status": "ok"}
        return {"sink": self._sink.name, **state, "waiting": self._enqueued - self._done, "dropped": self._dropped}

    def _drop(self, count: int) -> None:
        self._dropped += count
        for _ in range(count):
            self._on_drop()

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                taken = self._batches.get(timeout=MAINTENANCE_SECONDS)
            except Empty:
                self._maintain()
                continue
            if taken is None:
                break
            heavy, batch = taken
            self._write(batch)
            self._done += heavy
            if not self._stopping.is_set():
                self._maintain()
        self._sink.close()

    def _write(self, batch: list[bytes]) -> None:
        while batch:
            try:
                self._sink.write(batch)
                self._write_succeeded()
            except SinkError as error:
                self._write_failed(error)
                if self._stopping.wait(RETRY_SECONDS):
                    break
        if batch:
            self._drop(len(batch))

    def _maintain(self) -> None:
        """When this is called, all that came has been written."""
        try:
            self._sink.maintain()
            self._write_succeeded()
        except SinkError as error:
            self._write_failed(error)

    def _write_failed(self, error: SinkError) -> None:
        if not self._error:
            logger.error("the request log %s cannot be written: %s", self._sink.name, error)
        self._error = str(error)

    def _write_succeeded(self) -> None:
        if self._error:
            self._error = ""
            lost, self._reported = self._dropped - self._reported, self._dropped
            logger.warning("the request log %s is written again; %d records were dropped", self._sink.name, lost)
