"""What is true of the process, under whatever configuration it serves just now."""

from collections.abc import Sequence
from typing import Any, Protocol

from nulpoint.http.client.pool import UpstreamClient
from nulpoint.request.recorder import RequestRecorder


class ConfigGeneration(Protocol):
    """What serves under one configuration."""

    @property
    def recorder(self) -> RequestRecorder: ...

    @property
    def client(self) -> UpstreamClient: ...


class ReloadStatus(Protocol):
    """How it went when the configuration was read again."""

    def health(self) -> dict[str, Any]:
        """Members of the page."""


class ProcessState:
    """`started` in loop time. `ready` turns false when the gateway drains.

    `generations`: those with requests in flight; the last one gets the new requests.
    """

    def __init__(self, started: float) -> None:
        self.started = started
        self.ready = True
        self.generations: Sequence[ConfigGeneration] = ()

    @property
    def inflight(self) -> int:
        """Requests begun and not yet settled."""
        return sum(one.recorder.inflight for one in self.generations)

    @property
    def connections(self) -> int:
        """Connections to providers, open or being opened."""
        clients = {id(one.client): one.client for one in self.generations}
        return sum(client.connections() for client in clients.values())
