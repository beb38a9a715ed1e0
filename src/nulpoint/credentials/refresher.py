"""Keep a credential fresh: fetch it in a thread before the present one expires, one fetch at a time."""

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

PATIENCE = 5.0  # seconds that a request waits to replace a rejected token, or the start waits for the first one
SLOW = 30.0  # seconds; a fetch that takes longer is logged
_LONGEST_SLEEP = 60.0  # seconds; the schedule is checked again this often, because the wall clock may be adjusted


class CredentialRefresher:
    """Refreshes the credential of one identity, which several providers may share. Needs a running event loop.

    `label` names the providers in log messages; `random` returns numbers from 0 to 1.
    """

    def __init__(self, label: str, source: CredentialSource, random: Callable[[], float]) -> None:
        self._label = label
        self._source = source
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._schedule = RefreshSchedule()
        self._credential: Credential | None = None
        self._problem = ""
        self._wake = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []  # waiting for the end of the present or next fetch
        self._task: asyncio.Task[None] | None = None

    # -- for requests --------------------------------------------------------------------------------------------------

    def signer(self, now: float) -> Signer:
        """Return the present signer; see `providers.auth.Identity`."""
        credential = self._credential
        if credential is not None and now < credential.expires:
            return credential.signer
        self._wake.set()  # it may have expired early because the clock was adjusted
        text = f"the gateway has no valid credential for {self._label} at present; its log shows the cause"
        raise Failure(Kind.UPSTREAM, 502, text, code="provider_credential_unavailable")

    async def renew(self, refused: Signer, deadline: float = inf) -> bool:
        """Replace a rejected signer; see `providers.auth.Identity`."""
        if self._credential is not None and self._credential.signer is refused:
            if not self._schedule.record_refusal(_unix()):
                return False
            logger.warning("the credential for %s was rejected before it expired; fetching a new one", self._label)
            self._wake.set()
            await self._wait_for_fetch(deadline)
        return self._credential is not None and self._credential.signer.secret != refused.secret

    # -- life cycle ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Fetch the first credential; if that fails or takes long, continue in the background."""
        self._task = self._loop.create_task(self._run())
        await self._wait_for_fetch()
        if self._credential is None:
            reason = self._problem or "no response yet"
            logger.error("started without a credential for %s: %s; will try again", self._label, reason)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def started(self) -> bool:
        return self._task is not None

    @property
    def missing(self) -> bool:
        return self._credential is None or self._credential.expires <= _unix()

    def health(self) -> dict[str, Any]:
        """Return what /health shows: times and counts, nothing of the credential."""
        page: dict[str, Any] = {"status": "missing" if self.missing else "ok", "failures": self._schedule.failures}
        if self._credential is not None and self._credential.expires < float("inf"):
            page["expires_in_seconds"] = round(self._credential.expires - _unix())
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
        slow = self._loop.call_later(SLOW, self._warn_slow)
        try:
            credential = await in_thread(self._source.fetch)
        except Exception as error:  # noqa: BLE001 - libraries raise anything; the fetch is repeated in any case
            reason = str(error) if isinstance(error, CredentialError) else _unexpected(error)
            self._record_failure(reason)
        else:
            if self._schedule.failures:
                logger.warning("fetched a credential for %s again", self._label)
            self._credential, self._problem = credential, ""
            self._schedule.record_success(_unix(), credential.expires)
        finally:
            slow.cancel()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            _resolve(waiter)

    def _record_failure(self, reason: str) -> None:
        if reason != self._problem:  # log a reason once, not with every attempt
            logger.error("cannot fetch a credential for %s: %s", self._label, reason)
        self._problem = reason
        self._schedule.record_failure(_unix(), self._random())

    def _warn_slow(self) -> None:
        text = "fetching a credential for %s has taken %g s so far: the token server does not respond"
        logger.warning(text, self._label, SLOW)

    async def _wait_for_fetch(self, deadline: float = inf) -> None:
        """Wait for the end of a fetch, for PATIENCE at most.

        This must work in a `CoroutineRunner`, so it cannot use timeouts that need a current task.
        """
        ended = self._loop.create_future()
        self._waiters.append(ended)
        timer = self._loop.call_at(min(deadline, self._loop.time() + PATIENCE), _resolve, ended)
        try:
            await ended
        finally:
            timer.cancel()


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def in_thread(work: Callable[[], Credential]) -> Credential:
    """Fetch in a thread that does not delay the end of the process."""

    def guarded() -> Credential:
        try:
            return work()
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - for example a panic in a library's Rust code
            raise CredentialError(_unexpected(error)) from None

    return await run_in_daemon_thread(guarded, "credential")


def _unexpected(error: BaseException) -> str:
    """Describe an error of a library by its type alone, because its text may contain secrets."""
    return f"the library failed with {type(error).__name__}"


def _unix() -> float:
    return datetime.now(UTC).timestamp()
