"""Dispatches requests to their handlers by path and method."""

import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any
from urllib.parse import unquote

from nulpoint.api.admin import CONFIG, EXPLAIN, RELOAD, AdminPages
from nulpoint.api.cors import CorsPolicy
from nulpoint.api.status import Page, StatusPages
from nulpoint.errors import Failure, Kind, rejected
from nulpoint.http.message import HttpRequest, header
from nulpoint.http.server.response import ResponseWriter
from nulpoint.protocols.openai.client import OPENAI_CLIENT
from nulpoint.proxy.handler import ProxyHandler
from nulpoint.request.client_auth import ClientAuthenticator
from nulpoint.request.context import RequestContext, request_id
from nulpoint.request.headers import failure_headers
from nulpoint.request.recorder import RequestRecorder

logger = logging.getLogger(__name__)

MODELS = "/v1/models"
CLIENT_PAGES = ("/readiness", MODELS)
OPERATOR_PAGES = ("/health", "/metrics")
ADMIN_PAGES = (CONFIG, EXPLAIN, RELOAD)
_NO_ORIGINS = CorsPolicy(())
_WITHOUT_CORS = frozenset((*OPERATOR_PAGES, *ADMIN_PAGES))  # pages of other origins may not read these
Handling = Coroutine[Any, Any, None] | None


class Dispatcher:
    """Handles every request of one port: it proxies it, serves one of the gateway's own pages, or rejects it."""

    def __init__(
        self,
        proxies: Mapping[str, ProxyHandler],
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

        `proxies` are by path. `client_auth` authenticates the clients of the proxies and of the model pages,
        `operator_auth` those of OPERATOR_PAGES. `admin` serves ADMIN_PAGES and authenticates for them. `served_paths`
        are the pages that this port serves.
        """
        self._status = status
        self._recorder = recorder
        self._cors = cors
        self._client_auth = client_auth
        self._operator_auth = operator_auth
        self._admin = admin
        self._proxy_handlers = {path: proxy.handle for path, proxy in proxies.items()}
        pages: dict[str, Callable[[], Page]] = {
            "/health": status.health,
            "/readiness": status.readiness,
            "/metrics": status.metrics,
            MODELS: status.models,
        }
        self._pages = {path: pages[path] for path in served_paths if path not in ADMIN_PAGES}
        self._admin_paths = frozenset(ADMIN_PAGES).intersection(served_paths)

    def handle(self, request: HttpRequest, response: ResponseWriter) -> Handling:
        if request.method == "POST":
            proxied = self._proxy_handlers.get(request.path)
            if proxied is not None:
                return proxied(request, response)
        return self._serve_page(request, response)

    async def _serve_page(self, request: HttpRequest, response: ResponseWriter) -> None:
        context = RequestContext(request_id(request.headers), self._route_label(request.path), request.started)
        try:
            if request.method == "OPTIONS":
                self._options(request, response)
            elif request.path in self._admin_paths:
                self._check_route(request)
                self._send_page(await self._admin.page(request, response.client.peer), request, response, context)
            else:
                self._send_page(self._page(request), request, response, context)
        except Failure as failure:
            context.failed(failure)
            headers = failure_headers(failure, context.id) + self._cross_origin(request).response_headers(
                request.headers
            )
            if failure.status == 405:
                headers += header(b"allow", self._allowed(request.path))
            response.send(failure.status, headers, OPENAI_CLIENT.error_body(failure))
        finally:
            self._recorder.finish(context, request, response)

    def _page(self, request: HttpRequest) -> Page:
        """Return the page for a request.

        Raises Failure: 404 for an unknown path or model, 405 for the wrong method, 401 if authentication fails.
        """
        self._check_route(request)
        if request.path in OPERATOR_PAGES:
            self._operator_auth.authenticate(request.headers, request.query)
        elif request.path.startswith(MODELS):
            self._client_auth.authenticate(request.headers, request.query)
        page = self._pages.get(request.path)
        if page is not None:
            return page()
        return self._status.model(unquote(request.path.removeprefix(MODELS + "/")))

    def _check_route(self, request: HttpRequest) -> None:
        allowed = self._allowed(request.path)
        if not allowed:
            served = ", ".join(sorted({*self._proxy_handlers, *self._pages}))
            text = f"unknown path {request.path[:100]!r}; this port serves {served}"
            if request.path in (*OPERATOR_PAGES, *ADMIN_PAGES):
                text = f"{request.path} is served on ADMIN_PORT"
            raise rejected(text, status=404, code="unknown_path")
        if request.method.encode("ascii") not in allowed.split(b", "):
            text = f"{request.method} is not allowed on {request.path[:100]}; allowed: {allowed.decode()}"
            raise rejected(text, status=405, code="method_not_allowed")

    def _allowed(self, path: str) -> bytes:
        """Return the value of the `Allow` header for a path; empty if there is no such path."""
        if path in self._proxy_handlers or (path == RELOAD and path in self._admin_paths):
            return b"POST, OPTIONS"
        if path in self._pages or path in self._admin_paths or self._is_model(path):
            return b"GET, HEAD, OPTIONS"
        return b""

    def _route_label(self, path: str) -> str:
        """Return the path as a metrics label, from a fixed set of values."""
        if path in self._proxy_handlers or path in self._pages or path in self._admin_paths:
            return path
        return MODELS + "/{id}" if self._is_model(path) else "other"

    def _is_model(self, path: str) -> bool:
        return path.startswith(MODELS + "/") and MODELS in self._pages

    def _options(self, request: HttpRequest, response: ResponseWriter) -> None:
        allowed = self._allowed(request.path)
        if not allowed and request.path != "*":
            self._check_route(request)
        cross_origin = self._cross_origin(request).preflight_headers(request.headers)
        response.send(204, header(b"allow", allowed or b"GET, HEAD, POST, OPTIONS") + cross_origin, b"")

    def _send_page(self, page: Page, request: HttpRequest, response: ResponseWriter, context: RequestContext) -> None:
        status, content_type, body = page
        headers = header(b"content-type", content_type) + header(b"x-request-id", context.id)
        response.send(status, headers + self._cross_origin(request).response_headers(request.headers), body)

    def _cross_origin(self, request: HttpRequest) -> CorsPolicy:
        return _NO_ORIGINS if request.path in _WITHOUT_CORS else self._cors

    # -- called by the server ------------------------------------------------------------------------------------------

    def precheck(self, request: HttpRequest) -> None:
        self._check_route(request)
        if request.path in self._proxy_handlers:
            self._client_auth.authenticate(request.headers, request.query)

    def request_rejected(self, failure: Failure, request: HttpRequest) -> tuple[bytes, bytes]:
        logger.debug("rejected an invalid request: %s", failure.message)
        new_id = request_id({})
        self._recorder.rejected_by_server(failure, new_id)
        headers = failure_headers(failure, new_id) + self._cors.response_headers(request.headers)
        return headers, OPENAI_CLIENT.error_body(failure)

    def handler_crashed(self, response: ResponseWriter, crash: Exception) -> None:
        """Handle an exception that is a bug: log it, and send a 500 that reveals no internals."""
        logger.error("a request failed because of a bug in nulpoint", exc_info=crash)
        if not response.committed:
            text = "nulpoint failed on this request; its log has the details"
            failure = Failure(Kind.INTERNAL, 500, text, code="internal_error")
            request_headers = response.request.headers
            headers = failure_headers(failure, request_id(request_headers))
            response.send(
                500, headers + self._cors.response_headers(request_headers), OPENAI_CLIENT.error_body(failure)
            )
