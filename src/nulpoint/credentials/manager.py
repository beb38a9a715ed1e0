"""Manage the identities of a process: create, start, inspect and stop their credential refreshers."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from nulpoint.credentials.kinds import KINDS
from nulpoint.credentials.refresher import CredentialRefresher
from nulpoint.credentials.source import CredentialSource
from nulpoint.providers.spec import IdentitySettings, Provider

SourceFactory = Callable[[IdentitySettings], CredentialSource]


def open_source(settings: IdentitySettings) -> CredentialSource:
    """Return the source of an identity's credentials."""
    return KINDS[settings.kind].open(dict(settings.values))


class CredentialManager:
    """Holds one refresher per identity, shared by all providers with that identity. Needs a running event loop.

    Refreshers of the manager `previous` are taken over if their identity has not changed.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        random: Callable[[], float],
        previous: "CredentialManager | None" = None,
        open_: SourceFactory = open_source,
    ) -> None:
        by_identity: dict[IdentitySettings, list[str]] = {}
        for name, provider in providers.items():
            if provider.identity is not None:
                by_identity.setdefault(provider.identity, []).append(name)
        self.by_provider: dict[str, CredentialRefresher] = {}
        self._refreshers: dict[IdentitySettings, CredentialRefresher] = {}
        known = previous._refreshers if previous is not None else {}
        for settings, names in by_identity.items():
            refresher = known.get(settings) or CredentialRefresher(" and ".join(names), open_(settings), random)
            self._refreshers[settings] = refresher
            self.by_provider |= dict.fromkeys(names, refresher)

    async def start(self) -> None:
        """Start the refreshers that are not running yet, all at the same time."""
        await asyncio.gather(*(refresher.start() for refresher in self._refreshers.values() if not refresher.started))

    @property
    def closers(self) -> list[tuple[object, Callable[[], None]]]:
        """The refreshers, each with the function that stops it once no runtime uses it."""
        return [(refresher, refresher.stop) for refresher in self._refreshers.values()]

    @property
    def degraded(self) -> bool:
        """Return whether a credential is missing at present."""
        return any(refresher.missing for refresher in self._refreshers.values())

    def health(self, provider: str) -> dict[str, Any] | None:
        """Return what /health shows about a provider's identity; None if it has none."""
        refresher = self.by_provider.get(provider)
        return refresher.health() if refresher is not None else None
