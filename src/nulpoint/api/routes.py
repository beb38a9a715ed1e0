"""Paths to handlers: the one table of what this gateway answers."""

import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any
from urllib.parse import unquote

from nulpoint.errors import Failure, Kind, rejected
from nulpoint.api.admin import CONFIG, EXPLAIN, RELOAD, Admin
from nulpoint.api.cors import CrossOrigin
from nulpoint.request.headers import failure_fields
from nulpoint.request.recorder import Entry, Journal, request_id
from nulpoint.proxy.handler import Proxy
from nulpoint.api.status import Page, Status
from nulpoint.http.message import Headers, Request, field
from nulpoint.http.server.response import Reply
from nulpoint.request.client_auth import Callers

logger = logging.getLogger(__name__)

MODELS = "/v1/models"
CALLERS_PAGES = ("/readiness", MODELS)
OPERATORS = ("/health", "/metrics")
ADMIN = (CONFIG, EXPLAIN, RELOAD)
_NOBODY = CrossOrigin(())
_OPERATORS_OWN = frozenset((*OPERATORS, *ADMIN))  # no page of another origin may read them
Answer = Coroutine[Any, Any, None] | None


class Gateway:
    """Answers every request of one port: proxied routes, own pages, and refusals."""

    def __init__(
        self,
        proxies: Mapping[str, Proxy],
        status: Status,
        journal: Journal,
        cors: CrossOrigin,
        callers: Callers,
        operators: Callers,
        admin: Admin,
        *,
        shows: Collection[str],
    ) -> None:
        """`proxies` by path; `shows`: the pages' paths; `callers`: who may ask the proxies and for models, `operators`:
        who may see the pages of OPERATORS; `admin` has those of ADMIN, and knows who may see them."""
        self._status = status
        self._journal = journal
        self._cors = cors
        self._callers = callers
        self._operators = operators
        self._admin = admin
        self._posts = {path: proxy.answer for path, proxy in proxies.items()}
        pages: dict[str, Callable[[], Page]] = {
            "/health": status.health,
            "/readiness": status.readiness,
            "/metrics": status.metrics,
            MODELS: status.models,
        }
        self._pages = {path: pages[path] for path in shows if path not in ADMIN}
        self._admin_paths = frozenset(ADMIN).intersection(shows)

    def answer(self, request: Request, reply: Reply) -> Answer:
        if request.method == "POST":
            proxied = self._posts.get(request.path)
            if proxied is not None:
                return proxied(request, reply)
        return self._answer_here(request, reply)

    async def _answer_here(self, request: Request, reply: Reply) -> None:
        entry = Entry(request_id(request.headers), self._route_label(request.path), request.started)
        try:
            if request.method == "OPTIONS":
                self._options(request, reply)
            elif request.path in self._admin_paths:
                self._check_route(request)
                self._show(await self._admin.page(request, reply.caller.peer), request, reply, entry)
            else:
                self._show(self._page(request), request, reply, entry)
        except Failure as failure:
            entry.failure = failure
            fields = failure_fields(failure, entry.id) + self._cross_origin(request).answer_fields(request.headers)
            if failure.status == 405:
                fields += field(b"allow", self._allowed(request.path))
            reply.send(failure.status, fields, failure.envelope())
        finally:
            self._journal.settle(entry, request, reply)

    def _page(self, request: Request) -> Page:
        """Raises Failure: 404 for an unknown path or model, 405 for a known path with another method, 401."""
        self._check_route(request)
        if request.path in OPERATORS:
            self._operators.identify(request.headers)
        elif request.path.startswith(MODELS):
            self._callers.identify(request.headers)
        page = self._pages.get(request.path)
        if page is not None:
            return page()
        return self._status.model(unquote(request.path.removeprefix(MODELS + "/")))

    def _check_route(self, request: Request) -> None:
        allowed = self._allowed(request.path)
        if not allowed:
            served = ", ".join(sorted({*self._posts, *self._pages}))
            text = f"unknown path {request.path[:100]!r}; this port serves {served}"
            if request.path in (*OPERATORS, *ADMIN):
                text = f"{request.path} is served on ADMIN_PORT"
            raise rejected(text, status=404, code="unknown_path")
        if request.method.encode("ascii") not in allowed.split(b", "):
            text = f"{request.method} is not allowed on {request.path[:100]}; allowed: {allowed.decode()}"
            raise rejected(text, status=405, code="method_not_allowed")

    def _allowed(self, path: str) -> bytes:
        """The value of the `Allow` field of a path; empty when there is no such path."""
        if path in self._posts or (path == RELOAD and path in self._admin_paths):
            return b"POST, OPTIONS"
        if path in self._pages or path in self._admin_paths or self._is_model(path):
            return b"GET, HEAD, OPTIONS"
        return b""

    def _route_label(self, path: str) -> str:
        """A closed set, whatever paths callers think of."""
        if path in self._posts or path in self._pages or path in self._admin_paths:
            return path
        return MODELS + "/{id}" if self._is_model(path) else "other"

    def _is_model(self, path: str) -> bool:
        return path.startswith(MODELS + "/") and MODELS in self._pages

    def _options(self, request: Request, reply: Reply) -> None:
        allowed = self._allowed(request.path)
        if not allowed and request.path != "*":
            self._check_route(request)
        cross_origin = self._cross_origin(request).options_fields(request.headers)
        reply.send(204, field(b"allow", allowed or b"GET, HEAD, POST, OPTIONS") + cross_origin, b"")

    def _show(self, page: Page, request: Request, reply: Reply, entry: Entry) -> None:
        status, content_type, body = page
        fields = field(b"content-type", content_type) + field(b"x-request-id", entry.id)
        reply.send(status, fields + self._cross_origin(request).answer_fields(request.headers), body)

    def _cross_origin(self, request: Request) -> CrossOrigin:
        return _NOBODY if request.path in _OPERATORS_OWN else self._cors

    # -- what the server asks ------------------------------------------------------------------------------------------

    def precheck(self, request: Request) -> None:
        self._check_route(request)
        if request.path in self._posts:
            self._callers.identify(request.headers)

    def refused(self, failure: Failure, headers: Headers) -> bytes:
        logger.debug("refused a connection's request: %s", failure.message)
        new_id = request_id({})
        self._journal.refused(failure, new_id)
        return failure_fields(failure, new_id) + self._cors.answer_fields(headers)

    def crashed(self, reply: Reply, crash: Exception) -> None:
        """A bug. The caller learns that, and nothing of the inside."""
        logger.error("a request failed by a bug in nulpoint", exc_info=crash)
        if not reply.committed:
            text = "nulpoint failed on this request; its log has the details"
            failure = Failure(Kind.INTERNAL, 500, text, code="internal_error")
            headers = reply.request.headers
            fields = failure_fields(failure, request_id(headers)) + self._cors.answer_fields(headers)
            reply.send(500, fields, failure.envelope())
