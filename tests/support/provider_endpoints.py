"""Endpoints of providers without connections, for requests that are prepared and never sent."""

from typing import cast

from nulpoint.http.client.pool import UpstreamClient
from nulpoint.providers.operations import OPERATIONS
from nulpoint.providers.spec import Provider, ProviderSpec, Route
from nulpoint.proxy.endpoint import ProviderEndpoint


class _NoClient:
    def pool(self, *_: object) -> None:
        """There are no connections."""


def endpoint_of(host: ProviderSpec, route: Route) -> ProviderEndpoint:
    provider = Provider(spec=host, base_url="https://example.com")
    return ProviderEndpoint(provider, OPERATIONS[route], cast(UpstreamClient, _NoClient()))
