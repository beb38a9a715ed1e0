"""The interface of a log sink, and the thread that writes to a sink and retries when the sink fails."""

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
MAINTENANCE_SECONDS = 1.0
_BYTES_PER_RECORD = 4096  # a longer line counts as several records


class SinkError(Exception):
    """The sink cannot be written at present, perhaps only for a while. The text tells operators why."""


class LogSink(Protocol):
    """A destination for log records. It is only called from one thread."""

    @property
    def name(self) -> str:
        """Return the name for logs and `/health`."""

    def write(self, lines: list[bytes]) -> None:
        """Write all lines. Raises SinkError with the lines still to be written left in the list."""

    def maintain(self) -> None:
        """Do periodic maintenance, whether there are records or not. Raises SinkError."""

    def close(self) -> None: ...


def weight(line: bytes) -> int:
    """Return how many records a line counts as for LOG_QUEUE: one per 4 KiB."""
    return 1 + len(line) // _BYTES_PER_RECORD


class LogWriter:
    """Writes to one sink in a thread.

    While the sink fails, up to `capacity` records wait for it. Further ones are dropped and counted.
    """

    def __init__(self, sink: LogSink, capacity: int, on_drop: Callable[[], None]) -> None:
        self._sink = sink
        self._capacity = capacity
        self._on_drop = on_drop
        self._batches: SimpleQueue[tuple[int, list[bytes]] | None] = SimpleQueue()  # with their weights
        self._enqueued = 0  # total weight of the lines enqueued; only changed by the event loop
        self._done = 0  # total weight of the lines done with; only changed by the thread
        self._dropped = 0
        self._reported = 0  # how many dropped records have been reported
        self._stopping = threading.Event()
        self._error = ""
        self._thread = threading.Thread(target=self._run, name=f"request-log-{sink.name}", daemon=True)
        self._thread.start()

    def enqueue(self, lines: list[bytes]) -> None:
        """Hand over lines to be written. Those for which there is no room are dropped."""
        room, batch = self._capacity - (self._enqueued - self._done), list(lines)
        total = sum(map(weight, batch))
        while total > room and batch:
            total -= weight(batch.pop())
        if len(batch) < len(lines):
            self._drop(len(lines) - len(batch))
        if batch:
            self._enqueued += total
            self._batches.put((total, batch))

    def stop(self) -> None:
        """Try once to write the waiting lines, and stop."""
        self._stopping.set()
        self._batches.put(None)

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    @property
    def error(self) -> str:
        """Return why the sink cannot be written at present; empty if it can."""
        died = not self._thread.is_alive() and not self._stopping.is_set()
        return "its writer has stopped because of a bug; stderr has the details" if died else self._error

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
                item = self._batches.get(timeout=MAINTENANCE_SECONDS)
            except Empty:
                self._maintain()
                continue
            if item is None:
                break
            total, batch = item
            self._write(batch)
            self._done += total
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
        """Do the sink's maintenance. There are no lines waiting to be written."""
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
            logger.warning("the request log %s can be written again; %d records were dropped", self._sink.name, lost)
