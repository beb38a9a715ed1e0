"""The life of a proxied request: read it, find its targets, try them in turn, settle once."""

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import NamedTuple

from nulpoint.errors import Failure, Kind
from nulpoint.gateway.asked import Asked, read_request
from nulpoint.gateway.attempt import Attempt
from nulpoint.gateway.calls import Calls, prepare_call
from nulpoint.gateway.destination import Destination
from nulpoint.gateway.failover import Failover, Journey
from nulpoint.gateway.gate import Gate
from nulpoint.gateway.headers import failure_fields, provider_fields
from nulpoint.gateway.journal import Entry, Journal, request_id
from nulpoint.gateway.outlet import Outlet
from nulpoint.gateway.relay import error_event
from nulpoint.gateway.rules import ProxyRules
from nulpoint.gateway.sharing import Flights, follow, identity
from nulpoint.gateway.stream_answer import StreamAnswer
from nulpoint.http.client import Client
from nulpoint.http.message import Headers, Request, field
from nulpoint.http.reply import Reply
from nulpoint.http.strand import Cancelled
from nulpoint.http.ticker import Ticker
from nulpoint.providers.spec import Provider, Route
from nulpoint.routing.chains import Plan
from nulpoint.routing.course import straight
from nulpoint.routing.plan import Router
from nulpoint.routing.standing import Standing


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
        self._failover = Failover(route, around.standings, around.client, around.journal, around.chance, rules)

    async def answer(self, request: Request, reply: Reply) -> None:
        """One request, from its bytes to its record. Whatever happens, it is settled once."""
        entry = Entry(request_id(request.headers), self._route, request.started)
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
                outlet = self._outlet(asked, reply, entry)
                if self._around.flights is None:
                    await self._serve(asked, plan, outlet)
                else:
                    await self._share(asked, plan, outlet, self._around.flights)
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
            if reply.caller_has_left:
                entry.failure = _caller_left()  # the answer was for others who shared it
            journal.settle(entry, request, reply)

    async def _share(self, asked: Asked, plan: Plan, outlet: Outlet, flights: Flights) -> None:
        """Join the same request of another caller, or make the call."""
        key = identity(asked, self._route, plan)
        if key is None:
            await self._serve(asked, plan, outlet)
            return
        flight = flights.find(key)
        if flight is not None:
            outlet.entry.coalesced = True
            await follow(flight, outlet)
            return
        flights.lead(key, outlet)
        try:
            await self._serve(asked, plan, outlet)
        except BaseException as error:
            flights.land(key, outlet, _for_followers(error))
            raise
        flights.land(key, outlet, None)

    async def _serve(self, asked: Asked, plan: Plan, outlet: Outlet) -> None:
        """Try the targets in turn. Raises Failure when none of them has answered."""
        targets = plan.fixed or plan.targets(own_key=asked.own is not None)
        primary = targets[0]
        outlet.entry.provider = primary.provider.spec.name
        try:
            # What the caller did wrong is told before anything is tried.
            call = prepare_call(asked, self._route, self._destination(primary.provider), primary)
            began = self._loop.time()
            leg = straight(targets, self._around.standings, self._rules.course, asked.until, asked.own, began)
            attempt, failure = None, None
            if leg is not None:
                attempt = Attempt(leg, call, asked, outlet, self._rules.max_answer)
                try:
                    await attempt.make(self._around.client)
                    return
                except Failure as caught:
                    failure = caught
            calls = Calls(asked, self._route, self._destination, {primary.name: call})
            await self._failover.go_on(Journey(asked, outlet, targets, calls), attempt, failure, began)
        finally:
            outlet.close()

    def _destination(self, provider: Provider) -> Destination:
        destination = self._destinations.get(provider.spec.name)
        if destination is None:
            destination = Destination(provider, self._route, self._around.client)
            self._destinations[destination.name] = destination
        return destination

    def _outlet(self, asked: Asked, reply: Reply, entry: Entry) -> Outlet:
        own_fields = b"x-nulpoint-request-id: %b\r\n%b" % (entry.id, self._around.cross_origin(asked.request.headers))
        if not asked.stream:
            return Outlet(reply, entry, own_fields)
        around, keepalive = self._around, self._rules.keepalive
        stream = StreamAnswer(reply, entry, own_fields, around.ticker, keepalive, self._loop.time())
        return Outlet(reply, entry, own_fields, stream)

    def _tell(self, failure: Failure, request: Request, reply: Reply, entry: Entry) -> None:
        """A status where none has gone out yet; in a stream that has begun, an error event and no proper end."""
        if reply.committed:
            if not reply.complete:
                reply.write(error_event(failure))
            return
        entry.began = entry.began or perf_counter()
        attempts = entry.attempts
        if attempts is not None:
            failure.attempts = attempts.as_builtins()
        fields = failure_fields(failure, entry.id) + self._around.cross_origin(request.headers)
        if entry.provider:
            fields += provider_fields(entry.provider.encode(), entry.answered_model or entry.model)
            fields += field(b"x-nulpoint-attempts", b"%d" % (attempts.made if attempts is not None else 0))
        if attempts is not None and b"x-nulpoint-trace" in request.headers:
            fields += field(b"x-nulpoint-trace", attempts.trace())
        reply.send(failure.status, fields, failure.envelope())


def _caller_left() -> Failure:
    return Failure(Kind.CALLER_LEFT, 499, "the caller left")


def _for_followers(error: BaseException) -> Failure:
    """What those are told who shared a call that ended so."""
    if isinstance(error, Cancelled) and error.failure is not None:
        return error.failure
    bug = Failure(Kind.INTERNAL, 500, "the call this request shared failed by a bug of nulpoint")
    return error if isinstance(error, Failure) else bug
