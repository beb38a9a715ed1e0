"""Keeps one credential fresh: fetched in a thread, ahead of its end, one fetch at a time."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from typing import Any

from nulpoint.credentials.schedule import RefreshSchedule
from nulpoint.credentials.source import Credential, CredentialError, CredentialSource
from nulpoint.errors import Failure, Kind
from nulpoint.providers.auth import Signer
from nulpoint.threads import run_in_daemon_thread

logger = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds a request waits for a new token whose old one was refused, or the start for the first one
SLOW = 30.0  # seconds; a fetch that takes longer is told of
_LONGEST_SLEEP = 60.0  # the wall clock may be set: the time that is due is looked at anew that often


class CredentialRefresher:
    """One identity's, perhaps of several providers. Needs a running event loop; `chance` gives numbers from 0 to 1."""

    def __init__(self, label: str, source: CredentialSource, random: Callable[[], float]) -> None:
        self._label = label
        self._source = source
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._schedule = RefreshSchedule()
        self._held: Credential | None = None
        self._problem = ""
        self._wake = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []  # for the end of the fetch under way, or the next one
        self._task: asyncio.Task[None] | None = None

    # -- what requests ask ---------------------------------------------------------------------------------------------

    def signer(self, now: float) -> Signer:
        """As `providers.auth.Identity` has it."""
        held = self._held
        if held is not None and now < held.expires:
            return held.signer
        self._wake.set()  # it may have run out just now, by a clock that was set
        text = f"the gateway has no valid credential of its own for {self._label} just now; its log tells why"
        raise Failure(Kind.UPSTREAM, 502, text, code="provider_credential_unavailable")

    async def renewed(self, refused: Signer, deadline: float = inf) -> bool:
        """As `providers.auth.Identity` has it."""
        if self._held is not None and self._held.signer is refused:
            if not self._schedule.refused(_unix()):
                return False
            logger.warning("the credential for %s was refused before its time: fetching another one", self._label)
            self._wake.set()
            await self._next_fetch(deadline)
        return self._held is not None and self._held.signer.secret != refused.secret

    # -- its life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Fetch the first credential; where that fails or takes long, it goes on beside the requests."""
        self._task = self._loop.create_task(self._run())
        await self._next_fetch()
        if self._held is None:
            why = self._problem or "no answer yet"
            logger.error("started without a credential for %s: %s; it is tried again", self._label, why)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def started(self) -> bool:
        return self._task is not None

    @property
    def missing(self) -> bool:
        return self._held is None or self._held.expires <= _unix()

    def health(self) -> dict[str, Any]:
        """For /health: times and counts only."""
        page: dict[str, Any] = {"status": "missing" if self.missing else "ok", "failures": self._schedule.failures}
        if self._held is not None and self._held.expires < float("inf"):
            page["expires_in_seconds"] = round(self._held.expires - _unix())
        return page

    async def _run(self) -> None:
        while True:
            wait = min(self._schedule.wait(_unix()), _LONGEST_SLEEP)
            if wait > 0:
                self._wake.clear()
                timer = self._loop.call_later(wait, self._wake.set)
                try:
                    await self._wake.wait()
                finally:
                    timer.cancel()
            else:
                await self._fetch()

    async def _fetch(self) -> None:
        slow = self._loop.call_later(SLOW, self._tell_slow)
        try:
            held = await in_thread(self._source.fetch)
        except Exception as error:  # noqa: BLE001 - a library's; whatever it is, it is tried again
            self._failed(str(error) if isinstance(error, CredentialError) else f"{type(error).__name__} of its library")
        else:
            if self._schedule.failures:
                logger.warning("a credential for %s has come", self._label)
            self._held, self._problem = held, ""
            self._schedule.fetched(_unix(), held.expires)
        finally:
            slow.cancel()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def _failed(self, why: str) -> None:
        if why != self._problem:  # once, not with every try
            logger.error("no credential for %s can be fetched: %s", self._label, why)
        self._problem = why
        self._schedule.failed(_unix(), self._random())

    def _tell_slow(self) -> None:
        text = "a credential for %s is being fetched for %g s now: whoever gives it out does not answer"
        logger.warning(text, self._label, SLOW)

    async def _next_fetch(self, deadline: float = inf) -> None:
        """Wait until a fetch has ended, but not long. Works in a strand: no timeout that asks for the current task."""
        ended = self._loop.create_future()
        self._waiting.append(ended)
        timer = self._loop.call_at(min(deadline, self._loop.time() + PATIENCE), _resolve, ended)
        try:
            await ended
        finally:
            timer.cancel()


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def in_thread(work: Callable[[], Credential]) -> Credential:
    """Fetch in a thread that nobody waits for at the end of the process."""

    def guarded() -> Credential:
        try:
            return work()
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - a panic in a library's Rust, say: whoever waits must be told
            raise CredentialError(f"{type(error).__name__} of its library") from None

    return await run_in_daemon_thread(guarded, "credential")


def _unix() -> float:
    return datetime.now(UTC).timestamp()
