"""The state of the process that does not depend on its present configuration."""

from collections.abc import Sequence
from typing import Any, Protocol

from nulpoint.http.client.pool import UpstreamClient
from nulpoint.request.recorder import RequestRecorder


class ConfigGeneration(Protocol):
    """The objects that serve requests under one configuration."""

    @property
    def recorder(self) -> RequestRecorder: ...

    @property
    def client(self) -> UpstreamClient: ...


class ReloadStatus(Protocol):
    """The outcome of reloads of the configuration."""

    def health(self) -> dict[str, Any]:
        """Return the members for the health page."""


class ProcessState:
    """The state of the process.

    `started` is when it started, in the event loop's time. `ready` becomes false when the gateway drains. `generations`
    are those with requests in flight; the last one gets the new requests.
    """

    def __init__(self, started: float) -> None:
        self.started = started
        self.ready = True
        self.generations: Sequence[ConfigGeneration] = ()

    @property
    def inflight(self) -> int:
        """Return the number of requests in flight."""
        return sum(generation.recorder.inflight for generation in self.generations)

    @property
    def connections(self) -> int:
        """Return the number of connections to providers, open or being opened."""
        clients = {id(generation.client): generation.client for generation in self.generations}
        return sum(client.connections() for client in clients.values())
