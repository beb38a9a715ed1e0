"""Dispatches requests to their handlers by path and method."""

import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from nulpoint.api.admin import CONFIG, EXPLAIN, RELOAD, AdminPages
from nulpoint.api.cors import CorsPolicy
from nulpoint.api.path_table import VERSION, PathMatch, PathTable, ServedPath, operation_spellings, spellings
from nulpoint.api.status import Page, StatusPages
from nulpoint.errors import Failure, Kind, rejected
from nulpoint.http.message import HttpRequest, header
from nulpoint.http.server.response import ResponseWriter
from nulpoint.protocols.client_protocol import ClientProtocol
from nulpoint.protocols.openai.client import OPENAI_CLIENT
from nulpoint.proxy.handler import ProxyHandler
from nulpoint.request.client_auth import ClientAuthenticator
from nulpoint.request.context import RequestContext, request_id
from nulpoint.request.headers import failure_headers
from nulpoint.request.recorder import RequestRecorder

logger = logging.getLogger(__name__)

_MODELS = "/models"
MODELS = VERSION + _MODELS
_ONE_MODEL = MODELS + "/{id}"
CLIENT_PAGES = ("/readiness", MODELS)
OPERATOR_PAGES = ("/health", "/metrics")
ADMIN_PAGES = (CONFIG, EXPLAIN, RELOAD)
_NO_ORIGINS = CorsPolicy(())
_WITHOUT_CORS = frozenset((*OPERATOR_PAGES, *ADMIN_PAGES))  # pages of other origins may not read these
_READ = ("GET", "HEAD")
Handling = Coroutine[Any, Any, None] | None


class Dispatcher:
    """Handles every request of one port: it proxies it, serves one of the gateway's own pages, or rejects it."""

    def __init__(
        self,
        proxies: Iterable[ProxyHandler],
        status: StatusPages,
        recorder: RequestRecorder,
        cors: CorsPolicy,
        client_auth: ClientAuthenticator,
        operator_auth: ClientAuthenticator,
        admin: AdminPages,
        *,
        served_paths: Collection[str],
    ) -> None:
        """Set up the routes of the port.

        `client_auth` authenticates the clients of the proxies and of the model pages, `operator_auth` those of
        OPERATOR_PAGES. `admin` serves ADMIN_PAGES and authenticates for them. `served_paths` are the pages that this
        port serves.
        """
        self._status = status
        self._recorder = recorder
        self._cors = cors
        self._client_auth = client_auth
        self._operator_auth = operator_auth
        self._admin = admin
        self._proxies: dict[str, dict[str, ProxyHandler]] = {}  # by label and method
        for proxy in proxies:
            self._proxies.setdefault(VERSION + proxy.operation.path, {})[proxy.operation.method] = proxy
        pages: dict[str, Callable[[], Page]] = {
            "/health": status.health,
            "/readiness": status.readiness,
            "/metrics": status.metrics,
            MODELS: status.models,
        }
        self._pages = {path: pages[path] for path in served_paths if path not in ADMIN_PAGES}
        self._admin_paths = frozenset(ADMIN_PAGES).intersection(served_paths)
        self._table = PathTable([*self._operation_paths(), *self._page_paths()])
        # Most requests are for an operation at one of these paths: they are found by their method and path.
        self._handlers: dict[str, dict[str, Callable[[HttpRequest, ResponseWriter], Handling]]] = {}
        for path, served in self._table.exact.items():
            for method, proxy in self._proxies.get(served.label, {}).items():
                self._handlers.setdefault(method, {})[path] = proxy.handle

    def _operation_paths(self) -> Iterator[tuple[str, ServedPath]]:
        for label, by_method in self._proxies.items():
            for path in operation_spellings(label.removeprefix(VERSION)):
                yield path, ServedPath(label, tuple(by_method))

    def _page_paths(self) -> Iterator[tuple[str, ServedPath]]:
        for path in self._pages:
            if path == MODELS:
                yield from ((spelling, ServedPath(MODELS, _READ)) for spelling in spellings(_MODELS))
                yield from ((spelling, ServedPath(_ONE_MODEL, _READ)) for spelling in spellings(_MODELS + "/{id}"))
            else:
                yield path, ServedPath(path, _READ)
        for path in self._admin_paths:
            yield path, ServedPath(path, ("POST",) if path == RELOAD else _READ)

    def handle(self, request: HttpRequest, response: ResponseWriter) -> Handling:
        handlers = self._handlers.get(request.method)
        if handlers is not None:
            proxied = handlers.get(request.path)
            if proxied is not None:
                return proxied(request, response)
        match = self._table.find(request.path)
        proxy = self._proxies.get(match.served.label, {}).get(request.method) if match is not None else None
        if match is not None and proxy is not None:
            return proxy.handle(request, response, match.parameter)
        return self._serve_page(request, response, match)

    async def _serve_page(self, request: HttpRequest, response: ResponseWriter, match: PathMatch | None) -> None:
        label = match.served.label if match is not None else "other"
        context = RequestContext(request_id(request.headers), label, request.started)
        try:
            if request.method == "OPTIONS":
                self._options(request, response, match)
            elif request.path in self._admin_paths:
                self._check_route(request, match)
                self._send_page(await self._admin.page(request, response.client.peer), request, response, context)
            else:
                self._send_page(self._page(request, match), request, response, context)
        except Failure as failure:
            context.failed(failure)
            headers = failure_headers(failure, context.id) + self._cross_origin(request).response_headers(
                request.headers
            )
            if failure.status == 405 and match is not None:
                headers += header(b"allow", match.served.allow)
            response.send(failure.status, headers, self._client_protocol(match).error_body(failure))
        finally:
            self._recorder.finish(context, request, response)

    def _client_protocol(self, match: PathMatch | None) -> ClientProtocol:
        """Return the API that clients speak at a path. Errors are in OpenAI's form where no operation is served."""
        for proxy in self._proxies.get(match.served.label, {}).values() if match is not None else ():
            return proxy.operation.client_protocol
        return OPENAI_CLIENT

    def _page(self, request: HttpRequest, match: PathMatch | None) -> Page:
        """Return the page for a request.

        Raises Failure: 404 for an unknown path or model, 405 for the wrong method, 401 if authentication fails.
        """
        served, parameter = self._check_route(request, match)
        if served.label in OPERATOR_PAGES:
            self._operator_auth.authenticate(request.headers, request.query)
        elif served.label in (MODELS, _ONE_MODEL):
            self._client_auth.authenticate(request.headers, request.query)
        page = self._pages.get(served.label)
        if page is not None:
            return page()
        return self._status.model(unquote(parameter or ""))

    def _check_route(self, request: HttpRequest, match: PathMatch | None) -> PathMatch:
        """Return what the path stands for. Raises Failure: 404 if there is no such path, 405 for the wrong method."""
        if match is None:
            served = ", ".join(sorted({*self._proxies, *self._pages}))
            text = f"unknown path {request.path[:100]!r}; this port serves {served}"
            if request.path in (*OPERATOR_PAGES, *ADMIN_PAGES):
                text = f"{request.path} is served on ADMIN_PORT"
            raise rejected(text, status=404, code="unknown_path")
        if request.method != "OPTIONS" and request.method not in match.served.methods:
            allowed = match.served.allow.decode()
            text = f"{request.method} is not allowed on {request.path[:100]}; allowed: {allowed}"
            raise rejected(text, status=405, code="method_not_allowed")
        return match

    def _options(self, request: HttpRequest, response: ResponseWriter, match: PathMatch | None) -> None:
        allowed = b"GET, HEAD, POST, OPTIONS"
        if request.path != "*":
            allowed = self._check_route(request, match).served.allow
        cross_origin = self._cross_origin(request).preflight_headers(request.headers)
        response.send(204, header(b"allow", allowed) + cross_origin, b"")

    def _send_page(self, page: Page, request: HttpRequest, response: ResponseWriter, context: RequestContext) -> None:
        status, content_type, body = page
        headers = header(b"content-type", content_type) + header(b"x-request-id", context.id)
        response.send(status, headers + self._cross_origin(request).response_headers(request.headers), body)

    def _cross_origin(self, request: HttpRequest) -> CorsPolicy:
        return _NO_ORIGINS if request.path in _WITHOUT_CORS else self._cors

    # -- called by the server ------------------------------------------------------------------------------------------

    def precheck(self, request: HttpRequest) -> None:
        served, _ = self._check_route(request, self._table.find(request.path))
        if served.label in self._proxies:
            self._client_auth.authenticate(request.headers, request.query)

    def request_rejected(self, failure: Failure, request: HttpRequest) -> tuple[bytes, bytes]:
        logger.debug("rejected an invalid request: %s", failure.message)
        new_id = request_id({})
        self._recorder.rejected_by_server(failure, new_id)
        headers = failure_headers(failure, new_id) + self._cors.response_headers(request.headers)
        return headers, self._client_protocol(self._table.find(request.path)).error_body(failure)

    def handler_crashed(self, response: ResponseWriter, crash: Exception) -> None:
        """Handle an exception that is a bug: log it, and send a 500 that reveals no internals."""
        logger.error("a request failed because of a bug in nulpoint", exc_info=crash)
        if not response.committed:
            text = "nulpoint failed on this request; its log has the details"
            failure = Failure(Kind.INTERNAL, 500, text, code="internal_error")
            request_headers = response.request.headers
            headers = failure_headers(failure, request_id(request_headers))
            headers += self._cors.response_headers(request_headers)
            body = self._client_protocol(self._table.find(response.request.path)).error_body(failure)
            response.send(500, headers, body)
