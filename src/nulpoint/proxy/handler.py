"""Handles the requests of one operation.

The steps are in `ProxyHandler.handle` and `ProxyHandler._process`, in this order: parse and authenticate, check the
rate limits and admission, look in the cache, join an identical call in progress, try the targets in turn, record.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from nulpoint.cache.layer import CachedValues, CacheLayer, cache_layer
from nulpoint.cache.policy import CacheLookup
from nulpoint.cache.replay import PIECE, CachedResponse
from nulpoint.errors import Failure, Kind
from nulpoint.formats.content_coding import ContentTooLongError, coding_of
from nulpoint.formats.json_nodes import CHECKED_BYTES, check_structure
from nulpoint.http.coroutine_runner import RequestCancelled
from nulpoint.http.message import HttpRequest, header
from nulpoint.http.server.response import ResponseWriter
from nulpoint.providers.operations import Operation
from nulpoint.proxy.attempt_loop import AttemptLoop
from nulpoint.proxy.response_sink import ResponseSink
from nulpoint.proxy.rules import ProxyRules
from nulpoint.proxy.services import Services
from nulpoint.proxy.singleflight import call_key, follow
from nulpoint.proxy.streaming.response import StreamResponse
from nulpoint.proxy.translation_thread import LARGE, let_others_run
from nulpoint.request.compressed_body import BRIEF_BYTES, body_too_large, decompress_body
from nulpoint.request.content_type import check_content_type
from nulpoint.request.context import RequestContext, request_id
from nulpoint.request.headers import failure_headers, provider_headers
from nulpoint.request.request import ProxyRequest, parse_request
from nulpoint.routing.chains import TargetPlan


class ProxyHandler:
    """Serves the requests of one operation, from the cache or by calling providers."""

    def __init__(self, operation: Operation, services: Services, rules: ProxyRules) -> None:
        self.operation = operation
        self._route = operation.name
        self._client_protocol = operation.client_protocol
        self._services = services
        self._rules = rules
        self._bodies = services.recorder.bodies
        self._loop = asyncio.get_running_loop()
        self._single_flight = services.single_flight if operation.shared else None
        self._cache = cache_layer(operation, services.cache) if services.cache is not None else None
        self._needs_canonical_text = self._cache is not None and self._cache.needs_canonical_text
        self._attempts = AttemptLoop(operation, services, rules)

    def handle(
        self, request: HttpRequest, response: ResponseWriter, path_model: str | None = None
    ) -> Coroutine[Any, Any, None] | None:
        """Serve one request, and record it exactly once, whatever happens. `path_model` is the model in its path.

        Returns None if that is done already, because the request was rejected or its response was in memory. Otherwise
        the coroutine that is returned does the rest.
        """
        context = RequestContext(request_id(request.headers), self._route, request.started)
        if self._bodies is not None:
            response.body_tap = context.copy_body(self._bodies)
        if len(request.body) > CHECKED_BYTES or b"content-encoding" in request.headers:
            return self._read_and_serve(request, response, context, path_model)
        return self._serve(request, response, context, path_model)

    def _serve(
        self, request: HttpRequest, response: ResponseWriter, context: RequestContext, path_model: str | None
    ) -> Coroutine[Any, Any, None] | None:
        """Do what needs no waiting, and return what does the rest, as `handle` does."""
        rest = None
        try:
            proxy_request = parse_request(
                request,
                self._rules.request,
                self.operation,
                self._loop.time(),
                path_model=path_model,
                canonical=self._needs_canonical_text,
            )
            context.request_parsed(proxy_request.envelope.model, proxy_request.stream, proxy_request.client.identity)
            plan = self._services.router.plan(proxy_request.envelope.model, self._route)
            if self._cache is None:
                rest = self._process(proxy_request, plan, None, None, None, response, context)
            else:
                rest = self._serve_from_memory(self._cache, proxy_request, plan, response, context)
        except BaseException as error:
            self._fail(error, request, response, context)
            if not isinstance(error, Failure):
                raise
        finally:
            if rest is None:
                self._services.recorder.finish(context, request, response)
        return rest

    async def _process(
        self,
        proxy_request: ProxyRequest,
        plan: TargetPlan,
        lookup: CacheLookup | None,
        cached: CachedResponse | None,
        values: CachedValues | None,
        response: ResponseWriter,
        context: RequestContext,
    ) -> None:
        """Do everything that may have to wait. `cached` and `values` are None if the cache has not been asked yet."""
        services, size, stream = self._services, len(proxy_request.request.body), proxy_request.stream
        services.recorder.inflight += 1
        sink: ResponseSink | None = None
        try:
            if size > LARGE or services.admission.closed or not services.admission.try_acquire(size, stream):
                await self._wait_for_admission(size, stream)
            try:
                if services.limiter is not None or (lookup is not None and values is None):
                    cached, values = await self._check_limits_and_cache(proxy_request, lookup, context)
                if cached is not None:
                    await self._send_cached(cached, proxy_request, response, context)
                    return
                if lookup is None or self._cache is None:
                    sink, shared_call = self._sink(proxy_request, response, context), None
                else:
                    context.cache_missed(may_read=lookup.may_read)
                    sink = self._sink(proxy_request, response, context)
                    proxy_request = self._cache.on_miss(sink, values or {}, lookup, plan, proxy_request)
                    shared_call = None
                    if self._single_flight is not None and lookup.may_read:
                        shared_call = self._single_flight.join_or_lead(call_key(proxy_request, lookup), sink)
                if shared_call is not None:
                    await follow(shared_call, sink)
                else:
                    await self._attempts.run(proxy_request, plan, sink)
            finally:
                services.admission.release(size, stream)
        except BaseException as error:
            self._fail(error, proxy_request.request, response, context)
            if not isinstance(error, Failure):
                raise
        finally:
            services.recorder.inflight -= 1
            self._finish(proxy_request.request, response, context, sink)

    async def _read_and_serve(
        self, request: HttpRequest, response: ResponseWriter, context: RequestContext, path_model: str | None
    ) -> None:
        """Serve a request whose body has to be decompressed, or is so long that reading it could block others."""
        recorder, translation = self._services.recorder, self._services.translation
        valid = False
        recorder.inflight += 1
        try:
            self._rules.request.authenticator.authenticate(request.headers, request.query)
            check_content_type(request.headers)
            coding = coding_of(request.headers)
            if coding is not None:
                request.body = await self._decompress(request.body, coding)
                request.headers = {
                    name: value for name, value in request.headers.items() if name != b"content-encoding"
                }
            if len(request.body) > CHECKED_BYTES:
                await translation.run(partial(check_structure, request.body))
            valid = True
        except BaseException as error:
            self._fail(error, request, response, context)
            if not isinstance(error, Failure):
                raise
        finally:
            recorder.inflight -= 1
            if not valid:
                recorder.finish(context, request, response)
        rest = self._serve(request, response, context, path_model) if valid else None
        if rest is not None:
            await rest

    async def _decompress(self, body: bytes, coding: bytes) -> bytes:
        """Decompress a body, in the translation thread unless that takes little time. Raises Failure."""
        limit = self._rules.request.max_body_bytes
        with suppress(ContentTooLongError):
            return decompress_body(body, coding, min(limit, BRIEF_BYTES))
        with suppress(ContentTooLongError):
            return await self._services.translation.run(partial(decompress_body, body, coding, limit))
        raise body_too_large(limit)

    # -- admission and limits ------------------------------------------------------------------------------------------

    async def _wait_for_admission(self, size: int, stream: bool) -> None:
        """Admit a large request after others have had their turn, or wait until there is capacity. Raises Failure."""
        admission = self._services.admission
        if size > LARGE:
            await let_others_run()
            if not admission.closed and admission.try_acquire(size, stream):
                return
        await admission.acquire(size, stream)

    async def _check_limits_and_cache(
        self, proxy_request: ProxyRequest, lookup: CacheLookup | None, context: RequestContext
    ) -> tuple[CachedResponse | None, CachedValues]:
        """Check the rate limits and look in the cache, in one round trip if both are in Redis. Raises Failure (429)."""
        cache, limiter = self._cache, self._services.limiter
        pending = None
        if cache is not None and lookup is not None and self._should_read_cache(proxy_request, lookup):
            pending = cache.lookup(lookup)
        if limiter is not None:
            await limiter.admit(proxy_request, context, self._loop.time())
            # The identical call that was in progress may have ended in the meantime.
            if pending is None and cache is not None and lookup is not None:
                pending = cache.lookup(lookup) if self._should_read_cache(proxy_request, lookup) else None
        if cache is None or lookup is None or pending is None:
            return None, {}
        values = await pending
        return cache.cached_response(values, lookup, proxy_request) if values else None, values

    def _should_read_cache(self, proxy_request: ProxyRequest, lookup: CacheLookup) -> bool:
        """Return False if the client asked for a fresh response, or if an identical call is in progress."""
        single_flight = self._single_flight
        return lookup.may_read and (
            single_flight is None or single_flight.find(call_key(proxy_request, lookup)) is None
        )

    # -- cache ---------------------------------------------------------------------------------------------------------

    def _serve_from_memory(
        self,
        cache: CacheLayer,
        proxy_request: ProxyRequest,
        plan: TargetPlan,
        response: ResponseWriter,
        context: RequestContext,
    ) -> Coroutine[Any, Any, None] | None:
        """Serve the request without waiting if its response is in memory. Otherwise return what does the rest."""
        lookup = cache.policy.lookup_for(proxy_request, plan)
        cached = values = None
        if lookup is None:
            context.cache_bypassed()
        elif lookup.may_read and self._services.limiter is None:
            cached, values = cache.peek(lookup, proxy_request)
            if cached is not None and not (proxy_request.stream and len(cached.body) > PIECE):
                client_headers = self._services.cross_origin(proxy_request.request.headers)
                cache.replayer.send(cached, proxy_request, response, context, client_headers)
                return None
        return self._process(proxy_request, plan, lookup, cached, values, response, context)

    async def _send_cached(
        self, cached: CachedResponse, proxy_request: ProxyRequest, response: ResponseWriter, context: RequestContext
    ) -> None:
        assert self._cache is not None
        client_headers = self._services.cross_origin(proxy_request.request.headers) + context.limit_headers
        await self._cache.replayer.send_paced(cached, proxy_request, response, context, client_headers)

    # -- the response and the record -----------------------------------------------------------------------------------

    def _sink(self, proxy_request: ProxyRequest, response: ResponseWriter, context: RequestContext) -> ResponseSink:
        client_headers = b"x-nulpoint-request-id: %b\r\nx-cache: %b\r\n%b%b" % (
            context.id,
            context.cache.encode() or b"BYPASS",
            self._services.cross_origin(proxy_request.request.headers),
            context.limit_headers,
        )
        if not proxy_request.stream:
            return ResponseSink(response, context, client_headers)
        deadlines, keepalive = self._services.deadlines, self._rules.keepalive
        stream = StreamResponse(response, context, client_headers, deadlines, keepalive, self._loop.time())
        return ResponseSink(response, context, client_headers, stream)

    def _fail(
        self, error: BaseException, request: HttpRequest, response: ResponseWriter, context: RequestContext
    ) -> None:
        """Record why a request was not served, and send the client an error if it is still connected."""
        if isinstance(error, Failure):
            context.failed(error)
            self._send_error(error, request, response, context)
        elif isinstance(error, RequestCancelled):
            context.failed(error.failure or _client_disconnected())
            if error.failure is not None:
                self._send_error(error.failure, request, response, context)
        else:
            failure = _internal_error()
            context.failed(failure)
            self._send_stream_error(
                failure, response, context
            )  # if nothing has been sent, the dispatcher sends the error

    def _send_error(
        self, failure: Failure, request: HttpRequest, response: ResponseWriter, context: RequestContext
    ) -> None:
        """Send an error response; in a stream that has begun, send an error event and do not end it properly."""
        if response.committed:
            self._send_stream_error(failure, response, context)
            return
        context.response_began()
        attempts = context.attempts
        if attempts is not None:
            failure = failure.with_attempts(attempts.as_builtins())
        headers = failure_headers(failure, context.id)
        headers += self._services.cross_origin(request.headers) + context.limit_headers
        if context.cache:
            headers += header(b"x-cache", context.cache.encode())
        if context.provider:
            headers += provider_headers(context.provider.encode(), context.response_model or context.model)
            headers += header(b"x-nulpoint-attempts", b"%d" % (attempts.count if attempts is not None else 0))
        if attempts is not None and b"x-nulpoint-trace" in request.headers:
            headers += header(b"x-nulpoint-trace", attempts.trace())
        response.send(failure.status, headers, self._client_protocol.error_body(failure))

    def _send_stream_error(self, failure: Failure, response: ResponseWriter, context: RequestContext) -> None:
        if response.committed and not response.complete:
            response.write((context.error_event or self._client_protocol.error_event)(failure))

    def _finish(
        self, request: HttpRequest, response: ResponseWriter, context: RequestContext, sink: ResponseSink | None
    ) -> None:
        """End the shared call, give unused limits back, and record the request."""
        if sink is not None and sink.shared_call is not None:
            sink.shared_call.finish(context.failure)
        if response.client_has_left:
            context.failed(_client_disconnected())  # the call was completed for the clients that share it
        if self._services.limiter is not None:
            self._services.limiter.finish(context, self._loop.time())
        self._services.recorder.finish(context, request, response)


def _internal_error() -> Failure:
    return Failure(Kind.INTERNAL, 500, "nulpoint failed on this request; its log has the details")


def _client_disconnected() -> Failure:
    return Failure(Kind.CLIENT_DISCONNECTED, 499, "the client disconnected")
