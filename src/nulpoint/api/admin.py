"""The admin pages for operators: /admin/config, /admin/explain and /admin/reload."""

from collections.abc import Awaitable
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec

from nulpoint.api.explain import RoutingExplainer
from nulpoint.api.local_only import check_local
from nulpoint.api.status import JSON, Page
from nulpoint.errors import Failure, Kind, rejected
from nulpoint.http.message import HttpRequest
from nulpoint.providers.operations import OPERATIONS
from nulpoint.request.client_auth import ClientAuthenticator

CONFIG, EXPLAIN, RELOAD = "/admin/config", "/admin/explain", "/admin/reload"


class AdminError(Failure):
    """The configuration was rejected. `problems` describes everything that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        text = f"{count} in the configuration; the previous one stays in force: {'; '.join(problems)}"
        super().__init__(Kind.REJECTED, 422, text, code="invalid_configuration")
        self.problems = problems

    def more_members(self) -> dict[str, Any]:
        return {"problems": self.problems}


class AdminControl(Protocol):
    """The operations of the process that the admin pages need."""

    def health(self) -> dict[str, Any]:
        """Return the outcome of the last reload of the configuration."""

    def config(self) -> dict[str, Any]:
        """Return the configuration in force, without secrets."""

    def reload(self) -> Awaitable[dict[str, Any]]:
        """Reload the configuration in all processes. Return what changed. Raises AdminError."""


class AdminPages:
    """Serves the admin pages.

    `operator_auth` authenticates operators; it is None if no admin key is set. Then only requests from this machine are
    accepted.
    """

    def __init__(
        self, operator_auth: ClientAuthenticator | None, control: AdminControl, explainer: RoutingExplainer
    ) -> None:
        self._operator_auth = operator_auth
        self._control = control
        self._explainer = explainer

    async def page(self, request: HttpRequest, peer: str) -> Page:
        """Serve a page. `peer` is the address of the client.

        Raises Failure: 401 or 403 if the client may not see the page, and the errors of the page itself.
        """
        if self._operator_auth is not None:
            self._operator_auth.authenticate(request.headers, request.query)
        else:
            check_local(peer, request)
        return 200, JSON, msgspec.json.encode(await self._content(request))

    async def _content(self, request: HttpRequest) -> dict[str, Any]:
        if request.path == EXPLAIN:
            return self._explain(request)
        _parameters(request)
        return await self._control.reload() if request.path == RELOAD else self._control.config()

    def _explain(self, request: HttpRequest) -> dict[str, Any]:
        parameters = _parameters(request, "model", "route")
        if not parameters.get("model"):
            text = f"the parameter model is missing; example: {EXPLAIN}?model=gpt-5.4"
            raise rejected(text, param="model", code="missing_parameter")
        route = parameters.get("route", "chat")
        if route not in OPERATIONS:
            raise rejected(f"route must be one of: {', '.join(OPERATIONS)}", param="route", code="invalid_parameter")
        return self._explainer.explain(parameters["model"], route)


def _parameters(request: HttpRequest, *allowed: str) -> dict[str, str]:
    """Return the query parameters without `key`, which is a credential. Raises Failure (400) for one not allowed."""
    parameters = dict(parse_qsl(request.query, keep_blank_values=True))
    parameters.pop("key", None)
    for name in parameters:
        if name not in allowed:
            has = f"it has: {', '.join(allowed)}" if allowed else "it has none"
            raise rejected(
                f"{request.path} has no parameter {name[:50]!r}; {has}", param=name[:50], code="invalid_parameter"
            )
    return parameters
