"""Reading the configuration again: when its files change, at SIGHUP, and by POST /admin/reload.

The files are looked at twice a second (`Place.signature`) and read when two looks in a row have found the same change,
so that a file is not read while it is being written. Looking, unlike being told by the kernel, works for every way in
which editors, `mv`, and mounts of containers change a file, and costs nothing that could be measured.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from nulpoint.config import Config, ConfigError, ConfigSource
from nulpoint.config.diff import changes
from nulpoint.config.safeguards import ALLOW, KEYS
from nulpoint.config.source import Signature
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.threads import run_in_daemon_thread

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
READ_SECONDS = 60.0  # one reading; a large file takes some seconds, a file system that hangs any time
MOST_READINGS = 8  # that have not come back, before no other one is begun
CHANGED, UNCHANGED, REFUSED = "changed", "unchanged", "refused"


class ReloadReport(msgspec.Struct, frozen=True):
    """How one reading went. `changed`: names of what is new; `problems`: why nothing is."""

    result: str
    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


T = TypeVar("T")


class ReadingTimeoutError(Exception):
    """The files could not be read in time; the text says so to an operator."""


class FileReadings:
    """Runs what reads the configuration's files in threads, each for a limited time.

    A file system that hangs holds a thread for as long as it hangs. Nobody waits for that thread: neither who asked for
    the reading, nor the end of the process. Another reading can begin meanwhile, but not any number of them.
    """

    def __init__(self, seconds: float = READ_SECONDS) -> None:
        self._seconds = seconds
        self._unfinished: set[object] = set()

    @property
    def unfinished(self) -> bool:
        """Whether a thread has not come back yet."""
        return bool(self._unfinished)

    async def run(self, read: Callable[[], T]) -> T:
        """Run `read` in a thread. Raises ReadingTimeoutError, and what `read` raises."""
        unfinished, mark = self._unfinished, object()
        if len(unfinished) >= MOST_READINGS:
            text = f"{MOST_READINGS} readings of the configuration's files have not come back; see to their file system"
            raise ReadingTimeoutError(text)
        unfinished.add(mark)

        def work() -> T:
            try:
                return read()
            finally:
                unfinished.discard(mark)

        try:
            result = await asyncio.wait_for(run_in_daemon_thread(work, "configuration"), self._seconds)
        except TimeoutError:
            text = f"the configuration's files could not be read within {self._seconds:g} s; see to their file system"
            raise ReadingTimeoutError(text) from None
        self._unfinished = set()  # the files can be read again, and those that hang elsewhere matter no more
        return result


class Reloader:
    """`serve` puts a configuration in force, whole or not at all: when it raises, the one before still is.

    `running` gives the one in force. Needs a running event loop.
    """

    def __init__(
        self,
        source: ConfigSource,
        running: Callable[[], Config],
        serve: Callable[[Config], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        self._source = source
        self._running = running
        self._serve = serve
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._current: asyncio.Task[ReloadReport] | None = None
        self._next: asyncio.Task[ReloadReport] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._read: Signature | None = None  # of what was read last
        self._readings = FileReadings()
        self._since = datetime.now(UTC)  # the one in force is
        self._times = 0
        self._problems: tuple[str, ...] = ()  # of what was read last

    def reload(self) -> "asyncio.Task[ReloadReport]":
        """Read what is written now. One at a time: all who ask during one get the next, the same for all of them."""
        if self._next is None:
            self._next = self._loop.create_task(self._after(self._current))
        return self._next

    async def _after(self, current: "asyncio.Task[ReloadReport] | None") -> ReloadReport:
        if current is not None:
            await asyncio.wait((current,))
        self._current, self._next = self._next, None
        report = await self._read_again()
        self._note(report)
        return report

    async def _read_again(self) -> ReloadReport:
        running = self._running()
        try:
            self._read, config = await self._readings.run(partial(_read, self._source, running))
            if isinstance(config, ConfigError):
                return ReloadReport(REFUSED, problems=tuple(map(str, config.problems)))
            if config == running:
                return ReloadReport(UNCHANGED)
            await self._serve(config)
        except ReadingTimeoutError as error:
            return ReloadReport(REFUSED, problems=(str(error),))
        except Exception:
            logger.error("the configuration could not be put in force by a bug in nulpoint", exc_info=True)
            return ReloadReport(
                REFUSED, problems=("it could not be put in force by a bug in nulpoint; its log has the details",)
            )
        return ReloadReport(CHANGED, changes(running, config))

    def _note(self, report: ReloadReport) -> None:
        self._metrics.configuration_read(report.result)
        before, self._problems = self._problems, report.problems
        if report.result == REFUSED:
            logger.error("the configuration is not taken, the one in force stays: %d problems", len(report.problems))
            for problem in report.problems:
                logger.error("  %s", problem)
        elif report.result == CHANGED:
            self._since = datetime.now(UTC)
            self._times += 1
            logger.info("the configuration has changed: %s", _listed(report.changed) or "where values come from")
            self._warn_of_no_keys(report.changed)
            for name, why in self._running().left_out.items():
                logger.info("%s is left out: %s", name, why)
            if waiting := self._running().after_restart:
                logger.warning("%s will count from the next start on", _listed(waiting))
        elif before:
            logger.info("the configuration is again the one in force")

    def _warn_of_no_keys(self, changed: tuple[str, ...]) -> None:
        for name, meaning in KEYS.items():
            if name in changed and not getattr(self._running(), name.lower()):
                logger.warning("%s is taken away, as %s=true allows: %s", name, ALLOW, meaning)

    # -- the files -----------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Look after the files from now on, while CONFIG_WATCH says so."""
        self._watching = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        before: Signature | None = None
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._running().config_watch or self._readings.unfinished:
                continue
            try:
                now = await self._readings.run(self._source.signature)
            except ReadingTimeoutError as error:
                logger.error("%s; it is watched again once they can be read", error)
                continue
            if now == before and now != self._read:
                await asyncio.wait((self.reload(),))
            before = now

    def stop(self) -> None:
        for task in (self._watching, self._current, self._next):
            if task is not None:
                task.cancel()

    # -- what is told --------------------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """For /health: since when the configuration is in force, and what is wrong with a newer one."""
        page: dict[str, Any] = {"status": REFUSED if self._problems else "ok"}
        page |= {"since": self._since.isoformat(timespec="milliseconds"), "changes": self._times}
        if self._problems:
            page["problems"] = self._problems
        if waiting := self._running().after_restart:
            page["after_restart"] = waiting
        return page


def _read(source: ConfigSource, running: Config) -> tuple[Signature, Config | ConfigError]:
    """The files' signature, taken before they are read, and what they say or what is wrong with it."""
    signature = source.signature()
    try:
        return signature, source.load(running)
    except ConfigError as error:
        return signature, error


def _listed(names: tuple[str, ...], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
