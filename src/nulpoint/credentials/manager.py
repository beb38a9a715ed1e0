"""All identities of a process: opened, started, asked how they are, stopped."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from nulpoint.credentials.kinds import KINDS
from nulpoint.credentials.refresher import CredentialRefresher
from nulpoint.credentials.source import CredentialSource
from nulpoint.providers.spec import IdentitySettings, Provider

Open = Callable[[IdentitySettings], CredentialSource]


def open_source(settings: IdentitySettings) -> CredentialSource:
    """Where the credentials of an identity come from."""
    return KINDS[settings.kind].open(dict(settings.values))


class CredentialManager:
    """Providers with the same identity share one keeper, also with the vault `before`. Needs a running loop."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        random: Callable[[], float],
        before: "CredentialManager | None" = None,
        open_: Open = open_source,
    ) -> None:
        by_identity: dict[IdentitySettings, list[str]] = {}
        for name, provider in providers.items():
            if provider.identity is not None:
                by_identity.setdefault(provider.identity, []).append(name)
        self.by_provider: dict[str, CredentialRefresher] = {}
        self._keepers: dict[IdentitySettings, CredentialRefresher] = {}
        known = before._keepers if before is not None else {}
        for settings, names in by_identity.items():
            refresher = known.get(settings) or CredentialRefresher(" and ".join(names), open_(settings), random)
            self._keepers[settings] = refresher
            self.by_provider |= dict.fromkeys(names, refresher)

    async def start(self) -> None:
        """Fetch what is needed and not held already, all at the same time."""
        await asyncio.gather(*(refresher.start() for refresher in self._keepers.values() if not refresher.started))

    @property
    def held(self) -> list[tuple[object, Callable[[], None]]]:
        """What has to be stopped when nobody has it any more, and how."""
        return [(refresher, refresher.stop) for refresher in self._keepers.values()]

    @property
    def degraded(self) -> bool:
        """A credential that is needed is missing just now."""
        return any(refresher.missing for refresher in self._keepers.values())

    def health(self, provider: str) -> dict[str, Any] | None:
        """For /health; None for a provider without an identity."""
        refresher = self.by_provider.get(provider)
        return refresher.health() if refresher is not None else None
