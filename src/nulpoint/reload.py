"""Reading the configuration again: when its files change, at SIGHUP, and by POST /admin/reload.

The files are looked at twice a second (`Place.signature`) and read when two looks in a row have found the same change,
so that a file is not read while it is being written. Looking, unlike being told by the kernel, works for every way in
which editors, `mv`, and mounts of containers change a file, and costs nothing that could be measured.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from nulpoint.config import Config, ConfigError, Place
from nulpoint.config.difference import changes
from nulpoint.config.place import Signature
from nulpoint.stores.metrics import Metrics

logger = logging.getLogger("nulpoint")

LOOK_SECONDS = 0.5
CHANGED, UNCHANGED, REFUSED = "changed", "unchanged", "refused"


class Report(msgspec.Struct, frozen=True):
    """How one reading went. `changed`: names of what is new; `problems`: why nothing is."""

    result: str
    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Reloading:
    """`serve` puts a configuration in force, whole or not at all: when it raises, the one before still is.

    `running` gives the one in force. Needs a running event loop.
    """

    def __init__(
        self,
        place: Place,
        running: Callable[[], Config],
        serve: Callable[[Config], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        self._place = place
        self._running = running
        self._serve = serve
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._current: asyncio.Task[Report] | None = None
        self._next: asyncio.Task[Report] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._read: Signature | None = None  # of what was read last
        self._since = datetime.now(UTC)  # the one in force is
        self._times = 0
        self._problems: tuple[str, ...] = ()  # of what was read last

    def reload(self) -> "asyncio.Task[Report]":
        """Read what is written now. One at a time: all who ask during one get the next, the same for all of them."""
        if self._next is None:
            self._next = self._loop.create_task(self._after(self._current))
        return self._next

    async def _after(self, current: "asyncio.Task[Report] | None") -> Report:
        if current is not None:
            await asyncio.wait((current,))
        self._current, self._next = self._next, None
        report = await self._read_again()
        self._note(report)
        return report

    async def _read_again(self) -> Report:
        running = self._running()
        self._read = await asyncio.to_thread(self._place.signature)
        try:
            config = await asyncio.to_thread(self._place.load, running)
            if config == running:
                return Report(UNCHANGED)
            await self._serve(config)
        except ConfigError as error:
            return Report(REFUSED, problems=tuple(map(str, error.problems)))
        except Exception:
            logger.error("the configuration could not be put in force by a bug in nulpoint", exc_info=True)
            return Report(
                REFUSED, problems=("it could not be put in force by a bug in nulpoint; its log has the details",)
            )
        return Report(CHANGED, changes(running, config))

    def _note(self, report: Report) -> None:
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
            for name, why in self._running().left_out.items():
                logger.info("%s is left out: %s", name, why)
            if waiting := self._running().after_restart:
                logger.warning("%s will count from the next start on", _listed(waiting))
        elif before:
            logger.info("the configuration is again the one in force")

    # -- the files -----------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Look after the files from now on, while CONFIG_WATCH says so."""
        self._watching = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        before: Signature | None = None
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._running().config_watch:
                continue
            now = await asyncio.to_thread(self._place.signature)
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


def _listed(names: tuple[str, ...], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
