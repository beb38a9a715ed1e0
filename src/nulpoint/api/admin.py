"""Operators' pages that tell more, and change something: /admin/config, /admin/explain, /admin/reload."""

from collections.abc import Awaitable
from typing import Any, Protocol, get_args
from urllib.parse import parse_qsl

import msgspec

from nulpoint.api.explain import RoutingExplainer
from nulpoint.api.local_only import check_local
from nulpoint.api.status import JSON, Page
from nulpoint.errors import Failure, Kind, rejected
from nulpoint.http.message import HttpRequest
from nulpoint.providers.spec import Route
from nulpoint.request.client_auth import ClientAuthenticator

CONFIG, EXPLAIN, RELOAD = "/admin/config", "/admin/explain", "/admin/reload"
_ROUTES: tuple[Route, ...] = get_args(Route)


class AdminError(Failure):
    """The configuration is not taken; `problems` are all that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        text = f"{count} in the configuration; the one in force stays: {'; '.join(problems)}"
        super().__init__(Kind.REJECTED, 422, text, code="invalid_configuration")
        self.problems = problems

    def _members(self) -> dict[str, Any]:
        return {**super()._members(), "problems": self.problems}


class AdminControl(Protocol):
    """The process, as far as these pages reach into it."""

    def health(self) -> dict[str, Any]:
        """How it went when the configuration was read again."""

    def config(self) -> dict[str, Any]:
        """The configuration in force, without secrets."""

    def reload(self) -> Awaitable[dict[str, Any]]:
        """Read the configuration again, in all processes. Gives what changed; raises Refused."""


class AdminPages:
    """`operators`: who may see the pages; None where there is no key, and this machine is trusted instead."""

    def __init__(
        self, operators: ClientAuthenticator | None, control: AdminControl, explainer: RoutingExplainer
    ) -> None:
        self._operators = operators
        self._control = control
        self._explainer = explainer

    async def page(self, request: HttpRequest, peer: str) -> Page:
        """`peer`: the address the request comes from. Raises Failure: 401, 403, and what the page has to say."""
        if self._operators is not None:
            self._operators.authenticate(request.headers)
        else:
            check_local(peer, request)
        return 200, JSON, msgspec.json.encode(await self._content(request))

    async def _content(self, request: HttpRequest) -> dict[str, Any]:
        if request.path == EXPLAIN:
            return self._explain(request)
        _parameters(request)
        return await self._control.reload() if request.path == RELOAD else self._control.config()

    def _explain(self, request: HttpRequest) -> dict[str, Any]:
        given = _parameters(request, "model", "route")
        if not given.get("model"):
            text = f"say which model: {EXPLAIN}?model=gpt-5.4"
            raise rejected(text, param="model", code="missing_parameter")
        for route in _ROUTES:
            if given.get("route", "chat") == route:
                return self._explainer.explain(given["model"], route)
        raise rejected(f"route must be one of: {', '.join(_ROUTES)}", param="route", code="invalid_parameter")


def _parameters(request: HttpRequest, *known: str) -> dict[str, str]:
    """Raises Failure (400)."""
    given = dict(parse_qsl(request.query, keep_blank_values=True))
    for name in given:
        if name not in known:
            has = f"it has: {', '.join(known)}" if known else "it has none"
            raise rejected(
                f"{request.path} has no parameter {name[:50]!r}; {has}", param=name[:50], code="invalid_parameter"
            )
    return given
