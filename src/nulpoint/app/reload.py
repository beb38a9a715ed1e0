"""Reload the configuration when its files change, at SIGHUP, and on POST /admin/reload.

The files are checked twice a second (`ConfigSource.signature`) and read when two checks in a row have seen the same
change, so that a file is not read while it is being written. Unlike kernel notifications, polling works for every way
in which editors, `mv` and container mounts change a file, and its cost is too small to measure.
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
from nulpoint.config.retirements import retirement_warnings
from nulpoint.config.safeguards import ALLOW, KEYS
from nulpoint.config.source import Signature
from nulpoint.telemetry.metrics.metrics import Metrics
from nulpoint.threads import run_in_daemon_thread

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
READ_SECONDS = 60.0  # time for one reading; a large file takes seconds, but a file system may hang for ever
MAX_UNFINISHED_READINGS = 8  # while this many readings hang, no other one is started
CHANGED, UNCHANGED, REFUSED = "changed", "unchanged", "refused"


class ReloadReport(msgspec.Struct, frozen=True):
    """The result of a reload: the names of what has changed, or the problems for which it was rejected."""

    result: str
    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


T = TypeVar("T")


class ReadingTimeoutError(Exception):
    """The configuration files could not be read in time. The text is for operators."""


class FileReadings:
    """Reads the configuration files in threads, with a time limit for each reading.

    A hanging file system blocks the thread that reads from it. Neither the code that asked for the reading nor the end
    of the process waits for such a thread. Further readings can start meanwhile, up to a maximum number.
    """

    def __init__(self, seconds: float = READ_SECONDS) -> None:
        self._seconds = seconds
        self._unfinished: set[object] = set()

    @property
    def unfinished(self) -> bool:
        """Return whether a reading is still running or hanging."""
        return bool(self._unfinished)

    async def run(self, read: Callable[[], T]) -> T:
        """Run `read` in a thread. Raises ReadingTimeoutError and the exceptions of `read`."""
        unfinished, mark = self._unfinished, object()
        if len(unfinished) >= MAX_UNFINISHED_READINGS:
            text = f"{len(unfinished)} reads of the configuration files have not returned; check their file system"
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
            text = f"the configuration files could not be read within {self._seconds:g} s; check their file system"
            raise ReadingTimeoutError(text) from None
        self._unfinished = set()  # the files are readable again, so readings that still hang no longer count
        return result


class Reloader:
    """Reloads the configuration from `source`. Needs a running event loop.

    `running` returns the configuration in force. `serve` puts another one in force; if it raises, nothing has changed.
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
        self._read: Signature | None = None  # the signature of the files when they were last read
        self._readings = FileReadings()
        self._since = datetime.now(UTC)  # when the configuration in force was loaded
        self._times = 0
        self._problems: tuple[str, ...] = ()  # the problems found by the last reading
        self._warnings: list[str] = []  # of targets that retire

    def reload(self) -> "asyncio.Task[ReloadReport]":
        """Reload the configuration. Requests during a reload share the one that follows it."""
        if self._next is None:
            self._next = self._loop.create_task(self._after(self._current))
        return self._next

    async def _after(self, current: "asyncio.Task[ReloadReport] | None") -> ReloadReport:
        if current is not None:
            await asyncio.wait((current,))
        self._current, self._next = self._next, None
        report = await self._read_again()
        self._record(report)
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
            logger.error("the configuration could not be applied because of a bug in nulpoint", exc_info=True)
            problem = "the configuration could not be applied because of a bug in nulpoint; see its log for details"
            return ReloadReport(REFUSED, problems=(problem,))
        return ReloadReport(CHANGED, changes(running, config))

    def _record(self, report: ReloadReport) -> None:
        self._metrics.configuration_read(report.result)
        before, self._problems = self._problems, report.problems
        if report.result == REFUSED:
            text = "the new configuration is rejected and the present one stays in force: %d problems"
            logger.error(text, len(report.problems))
            for problem in report.problems:
                logger.error("  %s", problem)
        elif report.result == CHANGED:
            self._since = datetime.now(UTC)
            self._times += 1
            logger.info("the configuration has changed: %s", _listed(report.changed) or "the origin of values")
            self._warn_of_no_keys(report.changed)
            for name, reason in self._running().left_out.items():
                logger.info("%s is left out: %s", name, reason)
            if after_restart := self._running().after_restart:
                logger.warning("%s will take effect at the next start", _listed(after_restart))
        elif before:
            logger.info("the configuration files match the configuration in force again")
        if report.result != REFUSED:
            self.warn_of_retirements()

    def warn_of_retirements(self) -> None:
        """Log the targets whose models have retired or retire soon, unless the same was logged last time."""
        before, self._warnings = self._warnings, retirement_warnings(self._running(), self._source.today())
        for warning in self._warnings:
            if warning not in before:
                logger.warning("%s", warning)

    def _warn_of_no_keys(self, changed: tuple[str, ...]) -> None:
        for name, meaning in KEYS.items():
            if name in changed and not getattr(self._running(), name.lower()):
                logger.warning("%s has been removed, as %s=true allows: %s", name, ALLOW, meaning)

    # -- the files -----------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Watch the files from now on, whenever CONFIG_WATCH is on."""
        self._watching = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        before: Signature | None = None
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if not self._running().config_watch or self._readings.unfinished:
                continue
            try:
                now = await self._readings.run(self._source.signature)
            except ReadingTimeoutError as error:
                logger.error("%s; watching resumes once they can be read", error)
                continue
            if now == before and now != self._read:
                await asyncio.wait((self.reload(),))
            before = now

    def stop(self) -> None:
        for task in (self._watching, self._current, self._next):
            if task is not None:
                task.cancel()

    # -- reporting -----------------------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """Return what /health shows: since when the configuration is in force, and the problems of a newer one."""
        page: dict[str, Any] = {"status": REFUSED if self._problems else "ok"}
        page |= {"since": self._since.isoformat(timespec="milliseconds"), "changes": self._times}
        if self._problems:
            page["problems"] = self._problems
        if after_restart := self._running().after_restart:
            page["after_restart"] = after_restart
        return page


def _read(source: ConfigSource, running: Config) -> tuple[Signature, Config | ConfigError]:
    """Return the files' signature, taken before they are read, and the configuration or the error."""
    signature = source.signature()
    try:
        return signature, source.load(running)
    except ConfigError as error:
        return signature, error


def _listed(names: tuple[str, ...], limit: int = 20) -> str:
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
