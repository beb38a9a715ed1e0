"""The way of a request whose first attempt did not answer it, or could not be made: from target to target."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.request.request import Asked
from nulpoint.proxy.attempt import Attempt
from nulpoint.request.attempts import Attempts
from nulpoint.proxy.prepared_requests import Calls
from nulpoint.request.recorder import Journal
from nulpoint.proxy.response_sink import Outlet
from nulpoint.proxy.rules import ProxyRules
from nulpoint.http.client.pool import Client
from nulpoint.providers.spec import Route
from nulpoint.routing.breaker import State
from nulpoint.routing.chains import Target
from nulpoint.routing.attempt_planner import Course, Leg, settle
from nulpoint.routing.retry import elsewhere
from nulpoint.routing.provider_health import Standing, rest_scope


class Journey(msgspec.Struct, frozen=True):
    """One request, where its answer goes, where it may go itself, and where it has been."""

    asked: Asked
    outlet: Outlet
    targets: Sequence[Target]
    calls: Calls
    attempts: Attempts = msgspec.field(default_factory=Attempts)

    @property
    def primary(self) -> str:
        """The name of the provider that is asked first."""
        return self.targets[0].provider.spec.name


class Failover:
    """Of one route. `chance` gives numbers from 0 to 1."""

    def __init__(
        self,
        route: Route,
        standings: Mapping[str, Standing],
        client: Client,
        journal: Journal,
        chance: Callable[[], float],
        rules: ProxyRules,
    ) -> None:
        self._route = route
        self._standings = standings
        self._client = client
        self._journal = journal
        self._chance = chance
        self._rules = rules
        self._loop = asyncio.get_running_loop()

    async def go_on(self, journey: Journey, made: Attempt | None, failure: Failure | None, began: float) -> None:
        """Try what can still be tried. `made`: the attempt that failed at `began` (loop time), if there was one.

        Raises Failure when no target has answered.
        """
        journey.attempts.started = journey.outlet.entry.started
        journey.outlet.entry.attempts = journey.attempts
        course = Course(
            journey.targets, self._standings, self._rules.course, journey.asked.until, journey.asked.own,
            journey.calls.fits, begun=made is not None,
        )  # fmt: skip
        attempt = made
        held: Leg | None = None  # its permit is not given back yet
        try:
            if made is None or failure is None:
                await journey.calls.make_ready(journey.targets)
                held = course.first(self._loop.time())
            else:
                self._failed(journey, made, failure, began)
                await journey.calls.make_ready(journey.targets)
                held = self._following(course, made, failure)
                self._moved(journey, made.leg, held, failure)
            while True:
                began, leg = self._loop.time(), held
                attempt = self._attempt(journey, leg)
                try:
                    await self._make(attempt)
                except Failure as caught:
                    self._failed(journey, attempt, caught, began)
                    held = None
                    held = self._following(course, attempt, caught)
                    self._moved(journey, leg, held, caught)
                else:
                    standing = self._standings[leg.target.provider.spec.name]
                    self._note(leg, standing.settle(leg.admission, leg.target.model, None, self._loop.time()))
                    held = None
                    self._succeeded(journey, leg, began)
                    return
        except Failure as last:
            cut = attempt is not None and attempt.committed
            if not cut and elsewhere(last, own_key=journey.asked.own is not None):
                self._journal.failover_exhausted(journey.primary)
            raise
        finally:
            if held is not None:  # the caller has left, or it is a bug: that says nothing about the provider
                journey.attempts.abandoned(held.target, self._loop.time() - began)
                standing = self._standings[held.target.provider.spec.name]
                self._note(held, standing.forgo(held.admission, self._loop.time()))
            journey.attempts.passed_over(course.passed)
            self._journal.passed_over(course.passed)

    def _attempt(self, journey: Journey, leg: Leg) -> Attempt:
        call = journey.calls.to(leg.target)
        return Attempt(leg, call, journey.asked, journey.outlet, self._rules.max_answer, journey.calls.thread)

    async def _make(self, attempt: Attempt) -> None:
        leg = attempt.leg
        if leg.admission.permit.probe:
            self._note(leg, State.HALF_OPEN)
        if leg.wait:
            await asyncio.sleep(leg.wait)
        await attempt.make(self._client)

    def _succeeded(self, journey: Journey, leg: Leg, began: float) -> None:
        journey.attempts.succeeded(leg.target, self._loop.time() - began)
        if leg.target is not journey.targets[0]:
            self._journal.failover_succeeded(journey.primary, leg.target.provider.spec.name)

    def _failed(self, journey: Journey, attempt: Attempt, failure: Failure, began: float) -> None:
        """Settle a failed attempt, and note it."""
        leg, now = attempt.leg, self._loop.time()
        name = leg.target.provider.spec.name
        refused = self._newly_refused(leg, failure, now)
        self._note(leg, settle(leg, self._standings, self._rules.course, failure, now))
        if refused:
            self._journal.key_refused(name, refused, failure, rest_scope(failure, leg.target.model))
        self._journal.attempt_failed(name, self._route, failure, now - began)
        journey.attempts.failed(leg.target, failure, now - began)

    def _following(self, course: Course, attempt: Attempt, failure: Failure) -> Leg:
        """The attempt that follows a failed one. Raises Failure when none does."""
        following = None
        if not attempt.committed:
            following = course.after(attempt.leg, failure, self._loop.time(), self._chance())
        if following is None:
            raise course.last_word(failure) from None
        return following

    def _moved(self, journey: Journey, leg: Leg, following: Leg, failure: Failure) -> None:
        names = leg.target.provider.spec.name, following.target.provider.spec.name
        self._journal.failed_over(journey.primary, *names, failure.kind.value)

    def _newly_refused(self, leg: Leg, failure: Failure, now: float) -> int:
        """Which configured key, counted from 1, is refused and did not rest for that already; 0 where none is."""
        credential, standing = leg.admission.credential, self._standings[leg.target.provider.spec.name]
        if failure.kind not in (Kind.AUTH, Kind.QUOTA) or not isinstance(credential, int):
            return 0
        scope = rest_scope(failure, leg.target.model)
        return 0 if standing.rests.until(credential, scope, now) else credential + 1

    def _note(self, leg: Leg, changed: State | None) -> None:
        if changed is not None:
            self._journal.breaker_changed(leg.target.provider.spec.name, changed)
