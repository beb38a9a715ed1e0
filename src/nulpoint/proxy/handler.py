"""The life of a proxied request: read it, find its targets, try them in turn, settle once."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from nulpoint.cache.layer import CachedValues, CacheLayer, CacheServices, cache_layer
from nulpoint.cache.policy import CacheLookup
from nulpoint.cache.replay import PIECE, CachedResponse
from nulpoint.errors import Failure, Kind
from nulpoint.http.client.pool import UpstreamClient
from nulpoint.http.coroutine_runner import RequestCancelled
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.message import Headers, HttpRequest, header
from nulpoint.http.server.response import ResponseWriter
from nulpoint.protocols.openai.envelope import asks_for_usage
from nulpoint.providers.auth import Identities
from nulpoint.providers.spec import Provider, Route
from nulpoint.proxy.admission import AdmissionController
from nulpoint.proxy.attempt import UpstreamAttempt
from nulpoint.proxy.endpoint import ProviderEndpoint
from nulpoint.proxy.failover import Failover, FailoverContext
from nulpoint.proxy.prepared_requests import PreparedCalls, UpstreamCall, prepare_call
from nulpoint.proxy.rate_limits import RequestLimiter
from nulpoint.proxy.repeated_hit import RepeatedHit
from nulpoint.proxy.response_sink import ResponseSink
from nulpoint.proxy.rules import ProxyRules
from nulpoint.proxy.singleflight import SingleFlight, call_key, follow
from nulpoint.proxy.stream_relay import error_event
from nulpoint.proxy.stream_response import StreamResponse
from nulpoint.proxy.translation_thread import ALWAYS_SHORT, TranslationThread, takes_long
from nulpoint.request.headers import failure_headers, provider_headers
from nulpoint.request.recorder import RequestContext, RequestRecorder, request_id
from nulpoint.request.request import ProxyRequest, parse_request
from nulpoint.routing.attempt_planner import plan_first_attempt
from nulpoint.routing.chains import Target, TargetPlan
from nulpoint.routing.provider_health import ProviderHealth
from nulpoint.routing.router import Router

_LONG = 1024 * 1024  # bytes of a request


class Services(NamedTuple):
    """What all routes share. None stands for what is off: `flights` share calls, `cache` keeps answers, `limiting` says
    how many may be asked for. `chance` gives numbers from 0 to 1. `identities` by provider, of those without keys.
    `translation` is the thread for what takes long to translate.
    """

    router: Router
    provider_health: Mapping[str, ProviderHealth]
    client: UpstreamClient
    recorder: RequestRecorder
    admission: AdmissionController
    single_flight: SingleFlight | None
    cache: CacheServices | None
    limiter: RequestLimiter | None
    deadlines: DeadlineSweeper
    cross_origin: Callable[[Headers], bytes]
    random: Callable[[], float]
    identities: Identities
    translation: TranslationThread


class ProxyHandler:
    """Answers the requests of one route: from the cache, or by asking providers."""

    def __init__(self, route: Route, around: Services, rules: ProxyRules) -> None:
        self._route: Route = route
        self._services = around
        self._rules = rules
        self._bodies = around.recorder.bodies
        self._loop = asyncio.get_running_loop()
        self._endpoints: dict[str, ProviderEndpoint] = {}
        self._failover = Failover(route, around.provider_health, around.client, around.recorder, around.random, rules)
        self._cache_layer = cache_layer(route, around.cache) if around.cache is not None else None

    def handle(self, request: HttpRequest, response: ResponseWriter) -> Coroutine[Any, Any, None] | None:
        """One request, from its bytes to its record; whatever happens, it is settled once.

        None where that has been done when this returns: it was wrong, or its answer is known.
        """
        context = RequestContext(request_id(request.headers), self._route, request.started)
        if self._bodies is not None:
            context.body_copy = response.body_tap = self._bodies.copy()
        going = None
        try:
            proxy_request = parse_request(request, self._rules.request, self._loop.time())
            context.model = proxy_request.envelope.model
            context.stream = proxy_request.stream
            context.key = proxy_request.client.identity
            plan = self._services.router.plan(proxy_request.envelope.model, self._route)
            if self._cache_layer is None:
                going = self._process(proxy_request, plan, None, None, response, context)
            else:
                going = self._try_memory_cache(self._cache_layer, proxy_request, plan, response, context)
        except Failure as failure:
            context.failure = failure
            self._send_error(failure, request, response, context)
        except BaseException:
            context.failure = _internal_error()
            raise
        finally:
            if going is None:
                self._services.recorder.finish(context, request, response)
        return going

    def _try_memory_cache(
        self,
        cache_layer: CacheLayer,
        proxy_request: ProxyRequest,
        plan: TargetPlan,
        response: ResponseWriter,
        context: RequestContext,
    ) -> Coroutine[Any, Any, None] | None:
        """Answer from the cache, where that needs no waiting."""
        lookup = cache_layer.policy.lookup_for(proxy_request, plan)
        found = None
        if lookup is None:
            context.cache = "BYPASS"
        elif lookup.may_read and self._services.limiter is None:
            cached, found = cache_layer.peek(lookup, proxy_request)
            if cached is not None:
                if not proxy_request.stream or len(cached.body) <= PIECE:
                    self._send_cached(cache_layer, cached, lookup, proxy_request, response, context)
                    return None
                found = None  # it has to wait for its reader
        return self._process(proxy_request, plan, lookup, found, response, context)

    def _send_cached(
        self,
        cache_layer: CacheLayer,
        cached: CachedResponse,
        lookup: CacheLookup,
        proxy_request: ProxyRequest,
        response: ResponseWriter,
        context: RequestContext,
    ) -> None:
        origin = self._services.cross_origin(proxy_request.request.headers)
        fields = cache_layer.replayer.send(cached, proxy_request, response, context, origin)
        if lookup.batch is None and b"expect" not in proxy_request.request.headers:
            response.repeat = partial(self._repeat, cache_layer, lookup, proxy_request, response, context, fields)

    def _repeat(
        self,
        cache_layer: CacheLayer,
        lookup: CacheLookup,
        proxy_request: ProxyRequest,
        response: ResponseWriter,
        context: RequestContext,
        fields: bytes,
    ) -> RepeatedHit | None:
        """How this request, which is answered, can be answered when it comes again."""
        parts, recorder, request = self._services.cache, self._services.recorder, proxy_request.request
        if parts is None or parts.cache.memory is None:
            return None
        given_id = context.id if context.id == request.headers.get(b"x-request-id") else None
        return RepeatedHit(
            parts.cache.memory,
            parts,
            cache_layer.replayer,
            recorder,
            lookup,
            asks_for_usage(proxy_request.envelope),
            fields,
            given_id,
            recorder.build_record(context, request, response),
            request,
        )

    async def _process(
        self,
        proxy_request: ProxyRequest,
        plan: TargetPlan,
        lookup: CacheLookup | None,
        found: CachedValues | None,
        response: ResponseWriter,
        context: RequestContext,
    ) -> None:
        """The rest, with all that may be waited for. `found`: what the cache has; None where it was not asked yet."""
        recorder, admission, limiter = self._services.recorder, self._services.admission, self._services.limiter
        size = len(proxy_request.request.body)
        recorder.inflight += 1
        try:
            if size > _LONG or admission.closed or not admission.try_acquire(size, proxy_request.stream):
                await self._enter(size, proxy_request.stream)
            try:
                if lookup is not None and found is None:
                    found = await self._lookup_cache(lookup, proxy_request, response, context)
                elif limiter is not None:
                    await limiter.admit(proxy_request, context, self._loop.time())
                if lookup is None:
                    await self._call_providers(
                        proxy_request, plan, self._response_sink(proxy_request, response, context), None
                    )
                elif not response.committed:
                    await self._join_or_call(proxy_request, plan, lookup, found or {}, response, context)
            finally:
                admission.release(size, proxy_request.stream)
        except Failure as failure:
            context.failure = failure
            self._send_error(failure, proxy_request.request, response, context)
        except RequestCancelled as cancelled:
            context.failure = cancelled.failure or _client_disconnected()
            if cancelled.failure is not None:
                self._send_error(cancelled.failure, proxy_request.request, response, context)
            raise
        except BaseException:
            context.failure = _internal_error()
            self._send_stream_error(context.failure, response)  # else whoever runs this answers
            raise
        finally:
            recorder.inflight -= 1
            self._finish(proxy_request.request, response, context)

    async def _enter(self, size: int, stream: bool) -> None:
        """Take a place at the gate for a long request, or wait for one."""
        admission = self._services.admission
        if size > _LONG:
            await self._let_others_run()
            if not admission.closed and admission.try_acquire(size, stream):
                return
        await admission.acquire(size, stream)

    async def _let_others_run(self) -> None:
        """Let the event loop serve what is waiting: reading over a long request once more takes up to 50 ms."""
        turn = self._loop.create_future()
        self._loop.call_soon(turn.set_result, None)
        await turn

    def _finish(self, request: HttpRequest, response: ResponseWriter, context: RequestContext) -> None:
        """Once a request, when nothing more will happen to it."""
        if response.client_has_left:
            context.failure = _client_disconnected()  # the answer was for others who shared it
        if self._services.limiter is not None:
            self._services.limiter.finish(context, self._loop.time())
        self._services.recorder.finish(context, request, response)

    async def _lookup_cache(
        self, lookup: CacheLookup, proxy_request: ProxyRequest, response: ResponseWriter, context: RequestContext
    ) -> CachedValues:
        """Ask the cache, in one round trip together with the limits, and answer if it can. Gives what it has."""
        cache_layer, limiter = self._cache_layer, self._services.limiter
        assert cache_layer is not None
        coming = cache_layer.lookup(lookup) if self._should_read_cache(lookup, proxy_request) else None
        if limiter is not None:
            await limiter.admit(proxy_request, context, self._loop.time())
            if coming is None and self._should_read_cache(
                lookup, proxy_request
            ):  # the call it was to share has just ended
                coming = cache_layer.lookup(lookup)
        found: CachedValues = await coming if coming is not None else {}
        cached = cache_layer.cached_response(found, lookup, proxy_request) if found else None
        if cached is not None:
            client_headers = self._services.cross_origin(proxy_request.request.headers) + context.limit_headers
            await cache_layer.replayer.send_paced(cached, proxy_request, response, context, client_headers)
        return found

    def _should_read_cache(self, lookup: CacheLookup, proxy_request: ProxyRequest) -> bool:
        """Not where the caller wants a fresh answer, or a call under way will bring one."""
        single_flight = self._services.single_flight
        return lookup.may_read and (
            single_flight is None or single_flight.find(call_key(proxy_request, lookup)) is None
        )

    async def _join_or_call(
        self,
        proxy_request: ProxyRequest,
        plan: TargetPlan,
        lookup: CacheLookup,
        found: CachedValues,
        response: ResponseWriter,
        context: RequestContext,
    ) -> None:
        """Get what the cache does not have by another caller's call, or by one of its own. Raises Failure."""
        assert self._cache_layer is not None
        context.cache = "MISS" if lookup.may_read else "BYPASS"
        sink = self._response_sink(proxy_request, response, context)
        proxy_request = self._cache_layer.on_miss(sink, found, lookup, plan, proxy_request)
        single_flight = self._services.single_flight if lookup.may_read else None
        if single_flight is None:
            await self._call_providers(proxy_request, plan, sink, None)
            return
        key = call_key(proxy_request, lookup)
        shared_call = single_flight.find(key)
        if shared_call is None:
            await self._call_providers(proxy_request, plan, sink, key)
        else:
            context.coalesced = True
            await follow(shared_call, sink)

    async def _call_providers(
        self, proxy_request: ProxyRequest, plan: TargetPlan, sink: ResponseSink, key: bytes | None
    ) -> None:
        """Try the targets in turn. Raises Failure when none of them has answered. `key`: others may share the call."""
        targets = plan.fixed or plan.targets(has_client_key=proxy_request.client_key_digest is not None)
        primary = targets[0]
        sink.context.provider = primary.provider.spec.name
        single_flight = self._services.single_flight if key is not None else None
        ended: Failure | None = None
        if single_flight is not None and key is not None:
            single_flight.lead(key, sink)
        try:
            # What the caller did wrong is told before anything is tried.
            if len(proxy_request.body) <= ALWAYS_SHORT:
                call = prepare_call(proxy_request, self._route, self._endpoint(primary.provider), primary)
            else:
                call = await self._prepare_long(proxy_request, primary)
            began = self._loop.time()
            planned = plan_first_attempt(
                targets,
                self._services.provider_health,
                self._rules.attempts,
                proxy_request.deadline,
                proxy_request.client_key_digest,
                began,
            )
            attempt, failure = None, None
            if planned is not None:
                attempt = UpstreamAttempt(
                    planned, call, proxy_request, sink, self._rules.max_response, self._services.translation
                )
                try:
                    await attempt.run(self._services.client)
                    return
                except Failure as caught:
                    failure = caught
            calls = PreparedCalls(
                proxy_request, self._route, self._endpoint, self._services.translation, {primary.name: call}
            )
            await self._failover.run(FailoverContext(proxy_request, sink, targets, calls), attempt, failure, began)
        except BaseException as error:
            ended = _for_followers(error)
            raise
        finally:
            sink.close()
            if single_flight is not None and key is not None:
                single_flight.finish(key, sink, ended)

    async def _prepare_long(self, proxy_request: ProxyRequest, target: Target) -> UpstreamCall:
        """A call of a long request, which is translated in a thread where that takes long. Raises Failure."""
        endpoint = self._endpoint(target.provider)
        if endpoint.translates and takes_long(proxy_request.body):
            work = partial(prepare_call, proxy_request, self._route, endpoint, target)
            return await self._services.translation.run(work)
        if len(proxy_request.body) > _LONG:
            await self._let_others_run()
        return prepare_call(proxy_request, self._route, endpoint, target)

    def _endpoint(self, provider: Provider) -> ProviderEndpoint:
        endpoint = self._endpoints.get(provider.spec.name)
        if endpoint is None:
            identity = self._services.identities.get(provider.spec.name)
            endpoint = ProviderEndpoint(provider, self._route, self._services.client, identity)
            self._endpoints[endpoint.name] = endpoint
        return endpoint

    def _response_sink(
        self, proxy_request: ProxyRequest, response: ResponseWriter, context: RequestContext
    ) -> ResponseSink:
        shown, origin = context.cache.encode() or b"BYPASS", self._services.cross_origin(proxy_request.request.headers)
        client_headers = b"x-nulpoint-request-id: %b\r\nx-cache: %b\r\n%b%b" % (
            context.id,
            shown,
            origin,
            context.limit_headers,
        )
        if not proxy_request.stream:
            return ResponseSink(response, context, client_headers)
        around, keepalive = self._services, self._rules.keepalive
        stream = StreamResponse(response, context, client_headers, around.deadlines, keepalive, self._loop.time())
        return ResponseSink(response, context, client_headers, stream)

    def _send_error(
        self, failure: Failure, request: HttpRequest, response: ResponseWriter, context: RequestContext
    ) -> None:
        """A status where none has gone out yet; in a stream that has begun, an error event and no proper end."""
        if response.committed:
            self._send_stream_error(failure, response)
            return
        context.response_started = context.response_started or perf_counter()
        attempts = context.attempts
        if attempts is not None:
            failure = failure.with_attempts(attempts.as_builtins())
        fields = (
            failure_headers(failure, context.id) + self._services.cross_origin(request.headers) + context.limit_headers
        )
        if context.cache:
            fields += header(b"x-cache", context.cache.encode())
        if context.provider:
            fields += provider_headers(context.provider.encode(), context.response_model or context.model)
            fields += header(b"x-nulpoint-attempts", b"%d" % (attempts.made if attempts is not None else 0))
        if attempts is not None and b"x-nulpoint-trace" in request.headers:
            fields += header(b"x-nulpoint-trace", attempts.trace())
        response.send(failure.status, fields, failure.envelope())

    def _send_stream_error(self, failure: Failure, response: ResponseWriter) -> None:
        if response.committed and not response.complete:
            response.write(error_event(failure))


def _internal_error() -> Failure:
    return Failure(Kind.INTERNAL, 500, "nulpoint failed on this request; its log has the details")


def _client_disconnected() -> Failure:
    return Failure(Kind.CLIENT_DISCONNECTED, 499, "the caller left")


def _for_followers(error: BaseException) -> Failure:
    """What those are told who shared a call that ended so."""
    if isinstance(error, RequestCancelled) and error.failure is not None:
        return error.failure
    bug = Failure(Kind.INTERNAL, 500, "the call this request shared failed by a bug of nulpoint")
    return error if isinstance(error, Failure) else bug
