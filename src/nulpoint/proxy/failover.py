"""The way of a request whose first attempt did not answer it, or could not be made: from target to target."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.http.client.pool import UpstreamClient
from nulpoint.providers.spec import Route
from nulpoint.proxy.attempt import UpstreamAttempt
from nulpoint.proxy.prepared_requests import PreparedCalls
from nulpoint.proxy.response_sink import ResponseSink
from nulpoint.proxy.rules import ProxyRules
from nulpoint.request.attempts import AttemptHistory
from nulpoint.request.recorder import RequestRecorder
from nulpoint.request.request import ProxyRequest
from nulpoint.routing.attempt_planner import AttemptPlanner, PlannedAttempt, record_failure
from nulpoint.routing.breaker import State
from nulpoint.routing.chains import Target
from nulpoint.routing.provider_health import ProviderHealth, cooldown_scope
from nulpoint.routing.retry import can_fail_over


class FailoverContext(msgspec.Struct, frozen=True):
    """One request, where its answer goes, where it may go itself, and where it has been."""

    proxy_request: ProxyRequest
    sink: ResponseSink
    targets: Sequence[Target]
    calls: PreparedCalls
    attempts: AttemptHistory = msgspec.field(default_factory=AttemptHistory)

    @property
    def primary(self) -> str:
        """The name of the provider that is asked first."""
        return self.targets[0].provider.spec.name


class Failover:
    """Of one route. `chance` gives numbers from 0 to 1."""

    def __init__(
        self,
        route: Route,
        provider_health: Mapping[str, ProviderHealth],
        client: UpstreamClient,
        recorder: RequestRecorder,
        random: Callable[[], float],
        rules: ProxyRules,
    ) -> None:
        self._route = route
        self._provider_health = provider_health
        self._client = client
        self._recorder = recorder
        self._random = random
        self._rules = rules
        self._loop = asyncio.get_running_loop()

    async def run(
        self, journey: FailoverContext, made: UpstreamAttempt | None, failure: Failure | None, began: float
    ) -> None:
        """Try what can still be tried. `made`: the attempt that failed at `began` (loop time), if there was one.

        Raises Failure when no target has answered.
        """
        journey.attempts.started = journey.sink.context.started
        journey.sink.context.attempts = journey.attempts
        planner = AttemptPlanner(
            journey.targets,
            self._provider_health,
            self._rules.attempts,
            journey.proxy_request.deadline,
            journey.proxy_request.client_key_digest,
            journey.calls.can_express,
            first_attempt_made=made is not None,
        )
        attempt = made
        held: PlannedAttempt | None = None  # its permit is not given back yet
        try:
            if made is None or failure is None:
                await journey.calls.make_ready(journey.targets)
                held = planner.first(self._loop.time())
            else:
                self._failed(journey, made, failure, began)
                await journey.calls.make_ready(journey.targets)
                held = self._plan_next(planner, made, failure)
                self._record_failover(journey, made.planned, held, failure)
            while True:
                began, planned = self._loop.time(), held
                attempt = self._new_attempt(journey, planned)
                try:
                    await self._run_attempt(attempt)
                except Failure as caught:
                    self._failed(journey, attempt, caught, began)
                    held = None
                    held = self._plan_next(planner, attempt, caught)
                    self._record_failover(journey, planned, held, caught)
                else:
                    health = self._provider_health[planned.target.provider.spec.name]
                    self._record_breaker_change(
                        planned, health.record(planned.lease, planned.target.model, None, self._loop.time())
                    )
                    held = None
                    self._succeeded(journey, planned, began)
                    return
        except Failure as last:
            cut = attempt is not None and attempt.committed
            if not cut and can_fail_over(last, has_client_key=journey.proxy_request.client_key_digest is not None):
                self._recorder.failover_exhausted(journey.primary)
            raise
        finally:
            if held is not None:  # the caller has left, or it is a bug: that says nothing about the provider
                journey.attempts.abandoned(held.target, self._loop.time() - began)
                health = self._provider_health[held.target.provider.spec.name]
                self._record_breaker_change(held, health.release(held.lease, self._loop.time()))
            journey.attempts.skipped(planner.skipped)
            self._recorder.targets_skipped(planner.skipped)

    def _new_attempt(self, journey: FailoverContext, planned: PlannedAttempt) -> UpstreamAttempt:
        call = journey.calls.prepare_for(planned.target)
        return UpstreamAttempt(
            planned, call, journey.proxy_request, journey.sink, self._rules.max_response, journey.calls.thread
        )

    async def _run_attempt(self, attempt: UpstreamAttempt) -> None:
        planned = attempt.planned
        if planned.lease.permit.probe:
            self._record_breaker_change(planned, State.HALF_OPEN)
        if planned.wait:
            await asyncio.sleep(planned.wait)
        await attempt.run(self._client)

    def _succeeded(self, journey: FailoverContext, planned: PlannedAttempt, began: float) -> None:
        journey.attempts.succeeded(planned.target, self._loop.time() - began)
        if planned.target is not journey.targets[0]:
            self._recorder.failover_succeeded(journey.primary, planned.target.provider.spec.name)

    def _failed(self, journey: FailoverContext, attempt: UpstreamAttempt, failure: Failure, began: float) -> None:
        """Settle a failed attempt, and note it."""
        planned, now = attempt.planned, self._loop.time()
        name = planned.target.provider.spec.name
        refused = self._newly_refused(planned, failure, now)
        self._record_breaker_change(
            planned, record_failure(planned, self._provider_health, self._rules.attempts, failure, now)
        )
        if refused:
            self._recorder.key_refused(name, refused, failure, cooldown_scope(failure, planned.target.model))
        self._recorder.attempt_failed(name, self._route, failure, now - began)
        journey.attempts.failed(planned.target, failure, now - began)

    def _plan_next(self, planner: AttemptPlanner, attempt: UpstreamAttempt, failure: Failure) -> PlannedAttempt:
        """The attempt that follows a failed one. Raises Failure when none does."""
        following = None
        if not attempt.committed:
            following = planner.next_after(attempt.planned, failure, self._loop.time(), self._random())
        if following is None:
            raise planner.final_error(failure) from None
        return following

    def _record_failover(
        self, journey: FailoverContext, planned: PlannedAttempt, following: PlannedAttempt, failure: Failure
    ) -> None:
        names = planned.target.provider.spec.name, following.target.provider.spec.name
        self._recorder.failed_over(journey.primary, *names, failure.kind.value)

    def _newly_refused(self, planned: PlannedAttempt, failure: Failure, now: float) -> int:
        """Which configured key, counted from 1, is refused and did not rest for that already; 0 where none is."""
        credential, health = planned.lease.credential, self._provider_health[planned.target.provider.spec.name]
        if failure.kind not in (Kind.AUTH, Kind.QUOTA) or not isinstance(credential, int):
            return 0
        scope = cooldown_scope(failure, planned.target.model)
        return 0 if health.cooldowns.end_of(credential, scope, now) else credential + 1

    def _record_breaker_change(self, planned: PlannedAttempt, changed: State | None) -> None:
        if changed is not None:
            self._recorder.breaker_changed(planned.target.provider.spec.name, changed)
