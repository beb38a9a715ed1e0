"""What is true of the process, under whatever configuration it serves just now."""

from collections.abc import Sequence
from typing import Any, Protocol

from nulpoint.request.recorder import Journal
from nulpoint.http.client.pool import Client


class Generation(Protocol):
    """What serves under one configuration."""

    @property
    def journal(self) -> Journal: ...

    @property
    def client(self) -> Client: ...


class Reloading(Protocol):
    """How it went when the configuration was read again."""

    def health(self) -> dict[str, Any]:
        """Members of the page."""


class Life:
    """`started` in loop time. `ready` turns false when the gateway drains.

    `generations`: those with requests in flight; the last one gets the new requests.
    """

    def __init__(self, started: float) -> None:
        self.started = started
        self.ready = True
        self.generations: Sequence[Generation] = ()

    @property
    def inflight(self) -> int:
        """Requests begun and not yet settled."""
        return sum(one.journal.inflight for one in self.generations)

    @property
    def connections(self) -> int:
        """Connections to providers, open or being opened."""
        clients = {id(one.client): one.client for one in self.generations}
        return sum(client.connections() for client in clients.values())
