"""All identities of a process: opened, started, asked how they are, stopped."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from nulpoint.credentials.refresher import Keeper
from nulpoint.credentials.source import Source
from nulpoint.credentials.kinds import KINDS
from nulpoint.providers.spec import IdentitySettings, Provider

Open = Callable[[IdentitySettings], Source]


def open_source(settings: IdentitySettings) -> Source:
    """Where the credentials of an identity come from."""
    return KINDS[settings.kind].open(dict(settings.values))


class Vault:
    """Providers with the same identity share one keeper, also with the vault `before`. Needs a running loop."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        chance: Callable[[], float],
        before: "Vault | None" = None,
        open_: Open = open_source,
    ) -> None:
        by_identity: dict[IdentitySettings, list[str]] = {}
        for name, provider in providers.items():
            if provider.identity is not None:
                by_identity.setdefault(provider.identity, []).append(name)
        self.by_provider: dict[str, Keeper] = {}
        self._keepers: dict[IdentitySettings, Keeper] = {}
        known = before._keepers if before is not None else {}
        for settings, names in by_identity.items():
            keeper = known.get(settings) or Keeper(" and ".join(names), open_(settings), chance)
            self._keepers[settings] = keeper
            self.by_provider |= dict.fromkeys(names, keeper)

    async def start(self) -> None:
        """Fetch what is needed and not held already, all at the same time."""
        await asyncio.gather(*(keeper.start() for keeper in self._keepers.values() if not keeper.started))

    @property
    def held(self) -> list[tuple[object, Callable[[], None]]]:
        """What has to be stopped when nobody has it any more, and how."""
        return [(keeper, keeper.stop) for keeper in self._keepers.values()]

    @property
    def degraded(self) -> bool:
        """A credential that is needed is missing just now."""
        return any(keeper.missing for keeper in self._keepers.values())

    def health(self, provider: str) -> dict[str, Any] | None:
        """For /health; None for a provider without an identity."""
        keeper = self.by_provider.get(provider)
        return keeper.health() if keeper is not None else None
