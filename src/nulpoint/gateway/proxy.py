"""The life of a proxied request: read it, find its targets, try them in turn, settle once."""

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import NamedTuple

from nulpoint.errors import Failure, Kind
from nulpoint.gateway.asked import Asked, AskRules, read_request
from nulpoint.gateway.attempt import Attempt, Outlet
from nulpoint.gateway.attempts import Attempts
from nulpoint.gateway.calls import Calls
from nulpoint.gateway.destination import Destination
from nulpoint.gateway.flight import Flight, Flights
from nulpoint.gateway.gate import Gate
from nulpoint.gateway.headers import failure_fields, provider_fields
from nulpoint.gateway.journal import Entry, Journal
from nulpoint.gateway.relay import error_event
from nulpoint.gateway.sharing import follow, identity
from nulpoint.gateway.stream_answer import StreamAnswer
from nulpoint.http.client import Client
from nulpoint.http.message import Headers, Request, field
from nulpoint.http.reply import Reply
from nulpoint.http.strand import Cancelled
from nulpoint.http.ticker import Ticker
from nulpoint.providers.spec import Provider, Route
from nulpoint.routing.breaker import State
from nulpoint.routing.chains import Plan
from nulpoint.routing.course import Course, CourseRules, Leg, settle, straight
from nulpoint.routing.plan import Router
from nulpoint.routing.standing import Standing


class ProxyRules(NamedTuple):
    """`keepalive`: seconds a streaming caller waits before comments come; `max_answer`: bytes of a whole answer."""

    ask: AskRules
    course: CourseRules
    keepalive: float
    max_answer: int


class Surroundings(NamedTuple):
    """What all routes share. `flights` is None where requests are not shared; `chance` gives numbers from 0 to 1."""

    router: Router
    standings: Mapping[str, Standing]
    client: Client
    journal: Journal
    gate: Gate
    flights: Flights | None
    ticker: Ticker
    cross_origin: Callable[[Headers], bytes]
    chance: Callable[[], float]


class Proxy:
    """Answers the requests of one route by asking providers."""

    def __init__(self, route: Route, around: Surroundings, rules: ProxyRules) -> None:
        self._route: Route = route
        self._around = around
        self._rules = rules
        self._loop = asyncio.get_running_loop()
        self._destinations: dict[str, Destination] = {}

    async def answer(self, request: Request, reply: Reply) -> None:
        """One request, from its bytes to its record. Whatever happens, it is settled once."""
        entry = Entry.of(request, self._route)
        journal = self._around.journal
        journal.inflight += 1
        try:
            asked = read_request(request, self._rules.ask, self._loop.time())
            entry.model = asked.envelope.model
            entry.stream = asked.stream
            size, gate = len(request.body), self._around.gate
            if gate.closed or not gate.take(size, asked.stream):
                await gate.wait(size, asked.stream)
            try:
                plan = self._around.router.plan(asked.envelope.model, self._route)
                if self._around.flights is None:
                    await self._serve(asked, plan, reply, entry, None)
                else:
                    await self._share(asked, plan, reply, entry, self._around.flights)
            finally:
                gate.leave(size, asked.stream)
        except Failure as failure:
            entry.failure = failure
            self._tell(failure, request, reply, entry)
        except Cancelled as cancelled:
            entry.failure = cancelled.failure or _caller_left()
            if cancelled.failure is not None:
                self._tell(cancelled.failure, request, reply, entry)
            raise
        except BaseException:
            entry.failure = Failure(Kind.INTERNAL, 500, "nulpoint failed on this request; its log has the details")
            if reply.committed:  # else whoever runs this answers
                self._tell(entry.failure, request, reply, entry)
            raise
        finally:
            journal.inflight -= 1
            journal.settle(entry, request, reply)

    async def _share(self, asked: Asked, plan: Plan, reply: Reply, entry: Entry, flights: Flights) -> None:
        """Join the same request of another caller, or make the call."""
        key = identity(asked, self._route, plan)
        if key is None:
            await self._serve(asked, plan, reply, entry, None)
            return
        flight = flights.find(key)
        if flight is not None:
            entry.coalesced = True
            await follow(flight, self._outlet(asked, reply, entry, None), entry)
            return
        flight = flights.lead(key, reply, entry)
        try:
            await self._serve(asked, plan, reply, entry, flight)
        except Failure as failure:
            flight.failure = failure
            raise
        except Cancelled as cancelled:
            flight.failure = cancelled.failure
            raise
        except BaseException:
            flight.failure = Failure(Kind.INTERNAL, 500, "the call this request shared failed by a bug")
            raise
        finally:
            flights.land(key, flight)
            if flight.leader_left:
                entry.failure = _caller_left()

    async def _serve(self, asked: Asked, plan: Plan, reply: Reply, entry: Entry, flight: Flight | None) -> None:
        """Try the targets in turn. Raises Failure when none of them has answered."""
        targets = plan.fixed or plan.targets()
        entry.provider = targets[0].provider.spec.name
        calls = Calls(asked, self._route, self._destination)
        call = calls.to(targets[0])  # what the caller did wrong is told before anything is tried
        standings, rules = self._around.standings, self._rules.course
        began = self._loop.time()
        held = leg = straight(targets, standings, rules, asked.until, asked.own, began)
        course: Course | None = None
        outlet = self._outlet(asked, reply, entry, flight)
        try:
            if leg is None:
                course = Course(targets, standings, rules, asked.until, asked.own, calls.fits, begun=False)
                held = leg = course.first(began)
            while True:
                call = call if leg.target is targets[0] else calls.to(leg.target)
                if call.prepared.dropped:
                    self._around.journal.fields_dropped(call.destination.name, len(call.prepared.dropped))
                attempt = Attempt(leg, call, asked, outlet, entry, self._rules.max_answer)
                try:
                    if leg.wait:
                        await asyncio.sleep(leg.wait)
                    await attempt.make(self._around.client)
                    changed = standings[leg.target.provider.spec.name].succeeded(leg.admission, self._loop.time())
                    held = None
                    if changed is not None or entry.attempts is not None:
                        self._recovered(leg, entry, changed, began)
                    return
                except Failure as failure:
                    if course is None:
                        course = Course(targets, standings, rules, asked.until, asked.own, calls.fits, begun=True)
                    held = None
                    held = leg = self._after(course, attempt, failure, began)
                    names = attempt.leg.target.provider.spec.name, leg.target.provider.spec.name
                    self._around.journal.failed_over(*names, failure.kind.value)
                began = self._loop.time()
        finally:
            if held is not None:  # cancelled, or a bug
                standings[held.target.provider.spec.name].forgo(held.admission, self._loop.time())
            if course is not None:
                entry.attempts = Attempts.of(entry.attempts)
                entry.attempts.passed_over(course.passed)
            outlet.close()

    def _recovered(self, leg: Leg, entry: Entry, changed: State | None, began: float) -> None:
        """An attempt has succeeded that was not the first, or that closed a breaker."""
        if changed is not None:
            self._around.journal.breaker_changed(leg.target.provider.spec.name, changed)
        if entry.attempts is not None:
            entry.attempts.succeeded(leg.target, self._loop.time() - began)

    def _after(self, course: Course, attempt: Attempt, failure: Failure, began: float) -> Leg:
        """The attempt that follows a failed one. Raises Failure when none does."""
        leg, entry, now = attempt.leg, attempt.entry, self._loop.time()
        changed = settle(leg, self._around.standings, self._rules.course, failure, now)
        if changed is not None:
            self._around.journal.breaker_changed(leg.target.provider.spec.name, changed)
        self._around.journal.attempt_failed(leg.target.provider.spec.name, self._route, failure)
        entry.attempts = Attempts.of(entry.attempts)
        entry.attempts.failed(leg.target, failure, now - began)
        following = None if attempt.committed else course.after(leg, failure, now, self._around.chance())
        if following is None:
            raise course.last_word(failure) from None
        return following

    def _destination(self, provider: Provider) -> Destination:
        destination = self._destinations.get(provider.spec.name)
        if destination is None:
            destination = Destination(provider, self._route, self._around.client)
            self._destinations[destination.name] = destination
        return destination

    def _outlet(self, asked: Asked, reply: Reply, entry: Entry, flight: Flight | None) -> Outlet:
        own_fields = b"x-nulpoint-request-id: %b\r\n%b" % (entry.id, self._around.cross_origin(asked.request.headers))
        stream = None
        if asked.stream:
            stream = StreamAnswer(
                reply, entry, flight, own_fields, self._around.ticker, self._rules.keepalive, self._loop.time()
            )
        return Outlet(reply, own_fields, stream, flight)

    def _tell(self, failure: Failure, request: Request, reply: Reply, entry: Entry) -> None:
        """A status where none has gone out yet; in a stream that has begun, an error event and no proper end."""
        if reply.committed:
            if not reply.complete:
                reply.write(error_event(failure))
            return
        entry.began = entry.began or perf_counter()
        fields = failure_fields(failure, entry.id) + self._around.cross_origin(request.headers)
        if entry.provider:
            fields += provider_fields(entry.provider.encode(), entry.answered_model or entry.model)
            fields += field(b"x-nulpoint-attempts", b"%d" % (entry.attempts.made if entry.attempts is not None else 0))
        if entry.attempts is not None:
            failure.attempts = entry.attempts.as_builtins()
            if b"x-nulpoint-trace" in request.headers:
                fields += field(b"x-nulpoint-trace", entry.attempts.trace())
        reply.send(failure.status, fields, failure.envelope())


def _caller_left() -> Failure:
    return Failure(Kind.CALLER_LEFT, 499, "the caller left")
