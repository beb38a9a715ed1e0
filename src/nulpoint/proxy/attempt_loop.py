"""Makes the attempts of a request: one target after another, until one has served it."""

import asyncio
from collections.abc import Sequence
from functools import partial

from nulpoint.errors import Failure, Kind
from nulpoint.providers.operations import Operation
from nulpoint.providers.spec import Provider
from nulpoint.proxy.attempt import UpstreamAttempt
from nulpoint.proxy.endpoint import ProviderEndpoint
from nulpoint.proxy.prepared_requests import PreparedCalls, UpstreamCall, prepare_call
from nulpoint.proxy.response_sink import ResponseSink
from nulpoint.proxy.rules import ProxyRules
from nulpoint.proxy.services import Services
from nulpoint.proxy.translation_thread import ALWAYS_SHORT, LARGE, let_others_run, takes_long
from nulpoint.request.request import ProxyRequest
from nulpoint.routing.attempt_planner import AttemptPlanner, PlannedAttempt, plan_first_attempt, record_failure
from nulpoint.routing.breaker import State
from nulpoint.routing.chains import Target, TargetPlan
from nulpoint.routing.provider_health import cooldown_scope


class AttemptLoop:
    """Makes the attempts of the requests of one operation."""

    def __init__(self, operation: Operation, services: Services, rules: ProxyRules) -> None:
        self._operation = operation
        self._services = services
        self._rules = rules if operation.retried else rules._replace(attempts=rules.attempts.without_retries())
        self._loop = asyncio.get_running_loop()
        self._endpoints: dict[str, ProviderEndpoint] = {}

    async def run(self, proxy_request: ProxyRequest, plan: TargetPlan, sink: ResponseSink) -> None:
        """Try the targets of the plan in turn until one has served the request. Raises Failure if none has.

        Most requests succeed on the first attempt, so the state that further attempts need is only made when that one
        has failed, or cannot be made unconditionally. A request that the first target does not support is rejected
        before any attempt.
        """
        targets = plan.fixed or plan.targets(has_client_key=proxy_request.client_key_digest is not None)
        primary = targets[0]
        name = primary.provider.spec.name
        failover: Failover | None = None
        try:
            try:
                endpoint = self._endpoints.get(name) or self._endpoint(primary.provider)
                if len(proxy_request.body) <= ALWAYS_SHORT:
                    call = prepare_call(proxy_request, endpoint, primary)
                else:
                    call = await self._prepare_long(proxy_request, endpoint, primary)
            except BaseException:
                sink.context.target_chosen(name)
                raise
            started = self._loop.time()
            planned = plan_first_attempt(
                targets,
                self._services.provider_health,
                self._rules.attempts,
                proxy_request.deadline,
                proxy_request.client_key_digest,
                started,
                proxy_request.conversation_key,
            )
            if planned is None:
                sink.context.target_chosen(name)
                failover = self._failover(proxy_request, targets, sink, call, first_attempt_made=False)
                planned, call, started = await failover.first_attempt()
            while True:
                attempt = UpstreamAttempt(
                    planned, call, proxy_request, sink, self._rules.max_response, self._services.translation
                )
                try:
                    if planned.wait:
                        await asyncio.sleep(planned.wait)
                    await attempt.run(self._services.client)
                    break
                except Failure as failure:
                    if failover is None:
                        failover = self._failover(proxy_request, targets, sink, call, first_attempt_made=True)
                    planned, call, started = await failover.next_attempt(planned, failure, started)
            if failover is not None:
                failover.succeeded(planned, started)
        finally:
            sink.close()
            if failover is not None:
                failover.close()

    async def _prepare_long(
        self, proxy_request: ProxyRequest, endpoint: ProviderEndpoint, target: Target
    ) -> UpstreamCall:
        """Prepare a long request, in the translation thread if translating it takes long. Raises Failure."""
        if endpoint.decodes_requests(target, proxy_request.body) and takes_long(proxy_request.body):
            work = partial(prepare_call, proxy_request, endpoint, target)
            return await self._services.translation.run(work)
        if len(proxy_request.body) > LARGE:
            await let_others_run()
        return prepare_call(proxy_request, endpoint, target)

    def _failover(
        self,
        proxy_request: ProxyRequest,
        targets: Sequence[Target],
        sink: ResponseSink,
        call: UpstreamCall,
        *,
        first_attempt_made: bool,
    ) -> "Failover":
        """Return the state for further attempts. `call` is the request as prepared for the first target."""
        calls = PreparedCalls(proxy_request, self._endpoint, self._services.translation, {targets[0].name: call})
        planner = AttemptPlanner(
            targets,
            self._services.provider_health,
            self._rules.attempts,
            proxy_request.deadline,
            proxy_request.client_key_digest,
            calls.can_express,
            proxy_request.conversation_key,
            first_attempt_made=first_attempt_made,
        )
        return Failover(self._services, self._rules, targets, sink, calls, planner)

    def _endpoint(self, provider: Provider) -> ProviderEndpoint:
        endpoint = self._endpoints.get(provider.spec.name)
        if endpoint is None:
            identity = self._services.identities.get(provider.spec.name)
            endpoint = ProviderEndpoint(provider, self._operation, self._services.client, identity)
            self._endpoints[endpoint.name] = endpoint
        return endpoint


NextAttempt = tuple[PlannedAttempt, UpstreamCall, float]  # with the loop time at which it starts


class Failover:
    """Plans and records the attempts of one request of which the first did not succeed, or was not unconditional."""

    def __init__(
        self,
        services: Services,
        rules: ProxyRules,
        targets: Sequence[Target],
        sink: ResponseSink,
        calls: PreparedCalls,
        planner: AttemptPlanner,
    ) -> None:
        self._provider_health = services.provider_health
        self._recorder = services.recorder
        self._random = services.random
        self._rules = rules
        self._targets = targets
        self._primary = targets[0].provider.spec.name
        self._context = sink.context
        self._calls = calls
        self._planner = planner
        self._loop = asyncio.get_running_loop()
        self._history = sink.context.record_attempts()
        self._current: PlannedAttempt | None = None  # its lease has not been given back
        self._started = 0.0  # when the current attempt started

    async def first_attempt(self) -> NextAttempt:
        """Plan the first attempt. Raises Failure if no target can be called."""
        await self._calls.make_ready(self._targets)
        try:
            return self._begin(self._planner.first(self._loop.time()))
        except Failure:
            self._recorder.failover_exhausted(self._primary)
            raise

    async def next_attempt(self, planned: PlannedAttempt, failure: Failure, started: float) -> NextAttempt:
        """Record a failed attempt and plan the next one. Raises Failure, the error for the client, if there is none."""
        self._record_failure(planned, failure, started)
        self._current = None
        await self._calls.make_ready(self._targets)
        try:
            following = self._plan_next(planned, failure)
            self._current = following
            names = planned.target.provider.spec.name, following.target.provider.spec.name
            self._recorder.failed_over(self._primary, *names, failure.kind.value)
            return self._begin(following)
        except Failure:
            if not self._context.committed and self._planner.can_fail_over(planned, failure):
                self._recorder.failover_exhausted(self._primary)
            raise

    def succeeded(self, planned: PlannedAttempt, started: float) -> None:
        """Record the attempt that has served the request."""
        name, now = planned.target.provider.spec.name, self._loop.time()
        changed = self._provider_health[name].record(planned.lease, planned.target.model, None, now)
        self._record_breaker_change(name, changed)
        self._current = None
        self._history.succeeded(planned.target, self._loop.time() - started)
        if planned.target is not self._targets[0]:
            self._recorder.failover_succeeded(self._primary, name)

    def _plan_next(self, planned: PlannedAttempt, failure: Failure) -> PlannedAttempt:
        """Return the attempt that follows a failed one. Raises Failure if there is none."""
        if self._context.committed:
            raise failure from None
        following = self._planner.next_after(planned, failure, self._loop.time(), self._random())
        if following is None:
            raise self._planner.final_error(failure) from None
        return following

    def close(self) -> None:
        """Record the end of the attempts. This must be called once, whatever happened."""
        current = self._current
        if current is not None:  # a cancelled request or a bug says nothing about the provider
            name, now = current.target.provider.spec.name, self._loop.time()
            self._history.abandoned(current.target, now - self._started)
            self._record_breaker_change(name, self._provider_health[name].release(current.lease, now))
        self._history.skipped(self._planner.skipped)
        self._recorder.targets_skipped(self._planner.skipped)

    def _begin(self, planned: PlannedAttempt) -> NextAttempt:
        """Return the attempt with its call. Raises Failure if the target does not support the request."""
        self._current = planned
        self._started = self._loop.time()
        call = self._calls.prepare_for(planned.target)
        if planned.lease.permit.probe:
            self._record_breaker_change(planned.target.provider.spec.name, State.HALF_OPEN)
        return planned, call, self._started

    def _record_failure(self, planned: PlannedAttempt, failure: Failure, started: float) -> None:
        name, model, now = planned.target.provider.spec.name, planned.target.model, self._loop.time()
        refused_key = self._newly_refused_key(planned, failure, now)
        rules, has_alternative = self._rules.attempts, len(self._targets) > 1
        changed = record_failure(planned, self._provider_health, rules, failure, now, has_alternative=has_alternative)
        self._record_breaker_change(name, changed)
        if refused_key:
            self._recorder.key_refused(name, refused_key, failure, cooldown_scope(failure, model))
        self._recorder.attempt_failed(name, self._context.route, failure, now - started)
        self._history.failed(planned.target, failure, now - started)

    def _newly_refused_key(self, planned: PlannedAttempt, failure: Failure, now: float) -> int:
        """Return the number of the configured key that was refused, counted from 1.

        Return 0 if no configured key was refused, or if it is cooling down for that already.
        """
        credential, health = planned.lease.credential, self._provider_health[planned.target.provider.spec.name]
        if failure.kind not in (Kind.AUTH, Kind.QUOTA) or not isinstance(credential, int):
            return 0
        scope = cooldown_scope(failure, planned.target.model)
        return 0 if health.cooldowns.end_of(credential, scope, now) else credential + 1

    def _record_breaker_change(self, provider: str, state: State | None) -> None:
        if state is not None:
            self._recorder.breaker_changed(provider, state)
