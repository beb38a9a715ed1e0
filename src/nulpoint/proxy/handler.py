"""The life of a proxied request: read it, find its targets, try them in turn, settle once."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from nulpoint.errors import Failure, Kind
from nulpoint.request.request import Asked, read_request
from nulpoint.proxy.attempt import Attempt
from nulpoint.cache.layer import CacheParts, Caching, Found, caching
from nulpoint.proxy.prepared_requests import Call, Calls, prepare_call
from nulpoint.proxy.endpoint import Destination
from nulpoint.proxy.failover import Failover, Journey
from nulpoint.proxy.admission import Gate
from nulpoint.request.headers import failure_fields, provider_fields
from nulpoint.request.recorder import Entry, Journal, request_id
from nulpoint.proxy.rate_limits import Limiting
from nulpoint.proxy.response_sink import Outlet
from nulpoint.cache.policy import Question
from nulpoint.proxy.stream_relay import error_event
from nulpoint.proxy.repeated_hit import RepeatedHit
from nulpoint.cache.replay import PIECE, Known
from nulpoint.proxy.rules import ProxyRules
from nulpoint.proxy.singleflight import Flights, follow, identity
from nulpoint.proxy.stream_response import StreamAnswer
from nulpoint.proxy.translation_thread import ALWAYS_SHORT, TranslationThread, takes_long
from nulpoint.http.client.pool import Client
from nulpoint.http.message import Headers, Request, field
from nulpoint.http.server.response import Reply
from nulpoint.http.coroutine_runner import Cancelled
from nulpoint.http.deadlines import Ticker
from nulpoint.providers.auth import Identities
from nulpoint.providers.spec import Provider, Route
from nulpoint.routing.chains import Plan, Target
from nulpoint.routing.attempt_planner import straight
from nulpoint.routing.router import Router
from nulpoint.routing.provider_health import Standing
from nulpoint.protocols.openai.envelope import asks_for_usage

_LONG = 1024 * 1024  # bytes of a request


class Surroundings(NamedTuple):
    """What all routes share. None stands for what is off: `flights` share calls, `cache` keeps answers, `limiting` says
    how many may be asked for. `chance` gives numbers from 0 to 1. `identities` by provider, of those without keys.
    `translation` is the thread for what takes long to translate.
    """

    router: Router
    standings: Mapping[str, Standing]
    client: Client
    journal: Journal
    gate: Gate
    flights: Flights | None
    cache: CacheParts | None
    limiting: Limiting | None
    ticker: Ticker
    cross_origin: Callable[[Headers], bytes]
    chance: Callable[[], float]
    identities: Identities
    translation: TranslationThread


class Proxy:
    """Answers the requests of one route: from the cache, or by asking providers."""

    def __init__(self, route: Route, around: Surroundings, rules: ProxyRules) -> None:
        self._route: Route = route
        self._around = around
        self._rules = rules
        self._bodies = around.journal.bodies
        self._loop = asyncio.get_running_loop()
        self._destinations: dict[str, Destination] = {}
        self._failover = Failover(route, around.standings, around.client, around.journal, around.chance, rules)
        self._caching = caching(route, around.cache) if around.cache is not None else None

    def answer(self, request: Request, reply: Reply) -> Coroutine[Any, Any, None] | None:
        """One request, from its bytes to its record; whatever happens, it is settled once.

        None where that has been done when this returns: it was wrong, or its answer is known.
        """
        entry = Entry(request_id(request.headers), self._route, request.started)
        if self._bodies is not None:
            entry.copy = reply.copy = self._bodies.copy()
        going = None
        try:
            asked = read_request(request, self._rules.ask, self._loop.time())
            entry.model = asked.envelope.model
            entry.stream = asked.stream
            entry.key = asked.caller.identity
            plan = self._around.router.plan(asked.envelope.model, self._route)
            if self._caching is None:
                going = self._go_on(asked, plan, None, None, reply, entry)
            else:
                going = self._look(self._caching, asked, plan, reply, entry)
        except Failure as failure:
            entry.failure = failure
            self._tell(failure, request, reply, entry)
        except BaseException:
            entry.failure = _bug()
            raise
        finally:
            if going is None:
                self._around.journal.settle(entry, request, reply)
        return going

    def _look(
        self, caching: Caching, asked: Asked, plan: Plan, reply: Reply, entry: Entry
    ) -> Coroutine[Any, Any, None] | None:
        """Answer from the cache, where that needs no waiting."""
        question = caching.questions.read(asked, plan)
        found = None
        if question is None:
            entry.cache = "BYPASS"
        elif question.look and self._around.limiting is None:
            known, found = caching.now(question, asked)
            if known is not None:
                if not asked.stream or len(known.body) <= PIECE:
                    self._give(caching, known, question, asked, reply, entry)
                    return None
                found = None  # it has to wait for its reader
        return self._go_on(asked, plan, question, found, reply, entry)

    def _give(
        self, caching: Caching, known: Known, question: Question, asked: Asked, reply: Reply, entry: Entry
    ) -> None:
        origin = self._around.cross_origin(asked.request.headers)
        fields = caching.replay.give(known, asked, reply, entry, origin)
        if question.batch is None and b"expect" not in asked.request.headers:
            reply.repeat = partial(self._repeat, caching, question, asked, reply, entry, fields)

    def _repeat(
        self, caching: Caching, question: Question, asked: Asked, reply: Reply, entry: Entry, fields: bytes
    ) -> RepeatedHit | None:
        """How this request, which is answered, can be answered when it comes again."""
        parts, journal, request = self._around.cache, self._around.journal, asked.request
        if parts is None or parts.cache.memory is None:
            return None
        given_id = entry.id if entry.id == request.headers.get(b"x-request-id") else None
        return RepeatedHit(
            parts.cache.memory, parts, caching.replay, journal, question, asks_for_usage(asked.envelope), fields,
            given_id, journal.record(entry, request, reply), request,
        )  # fmt: skip

    async def _go_on(
        self, asked: Asked, plan: Plan, question: Question | None, found: Found | None, reply: Reply, entry: Entry
    ) -> None:
        """The rest, with all that may be waited for. `found`: what the cache has; None where it was not asked yet."""
        journal, gate, limiting = self._around.journal, self._around.gate, self._around.limiting
        size = len(asked.request.body)
        journal.inflight += 1
        try:
            if size > _LONG or gate.closed or not gate.take(size, asked.stream):
                await self._enter(size, asked.stream)
            try:
                if question is not None and found is None:
                    found = await self._wait_for_cache(question, asked, reply, entry)
                elif limiting is not None:
                    await limiting.admit(asked, entry, self._loop.time())
                if question is None:
                    await self._serve(asked, plan, self._outlet(asked, reply, entry), None)
                elif not reply.committed:
                    await self._ask(asked, plan, question, found or {}, reply, entry)
            finally:
                gate.leave(size, asked.stream)
        except Failure as failure:
            entry.failure = failure
            self._tell(failure, asked.request, reply, entry)
        except Cancelled as cancelled:
            entry.failure = cancelled.failure or _caller_left()
            if cancelled.failure is not None:
                self._tell(cancelled.failure, asked.request, reply, entry)
            raise
        except BaseException:
            entry.failure = _bug()
            self._tell_if_begun(entry.failure, reply)  # else whoever runs this answers
            raise
        finally:
            journal.inflight -= 1
            self._settle(asked.request, reply, entry)

    async def _enter(self, size: int, stream: bool) -> None:
        """Take a place at the gate for a long request, or wait for one."""
        gate = self._around.gate
        if size > _LONG:
            await self._let_others_run()
            if not gate.closed and gate.take(size, stream):
                return
        await gate.wait(size, stream)

    async def _let_others_run(self) -> None:
        """Let the event loop serve what is waiting: reading over a long request once more takes up to 50 ms."""
        turn = self._loop.create_future()
        self._loop.call_soon(turn.set_result, None)
        await turn

    def _settle(self, request: Request, reply: Reply, entry: Entry) -> None:
        """Once a request, when nothing more will happen to it."""
        if reply.caller_has_left:
            entry.failure = _caller_left()  # the answer was for others who shared it
        if self._around.limiting is not None:
            self._around.limiting.settle(entry, self._loop.time())
        self._around.journal.settle(entry, request, reply)

    async def _wait_for_cache(self, question: Question, asked: Asked, reply: Reply, entry: Entry) -> Found:
        """Ask the cache, in one round trip together with the limits, and answer if it can. Gives what it has."""
        caching, limiting = self._caching, self._around.limiting
        assert caching is not None
        coming = caching.find(question) if self._has_to_look(question, asked) else None
        if limiting is not None:
            await limiting.admit(asked, entry, self._loop.time())
            if coming is None and self._has_to_look(question, asked):  # the call it was to share has just ended
                coming = caching.find(question)
        found: Found = await coming if coming is not None else {}
        known = caching.known(found, question, asked) if found else None
        if known is not None:
            own_fields = self._around.cross_origin(asked.request.headers) + entry.limit_fields
            await caching.replay.give_slowly(known, asked, reply, entry, own_fields)
        return found

    def _has_to_look(self, question: Question, asked: Asked) -> bool:
        """Not where the caller wants a fresh answer, or a call under way will bring one."""
        flights = self._around.flights
        return question.look and (flights is None or flights.find(identity(asked, question)) is None)

    async def _ask(
        self, asked: Asked, plan: Plan, question: Question, found: Found, reply: Reply, entry: Entry
    ) -> None:
        """Get what the cache does not have by another caller's call, or by one of its own. Raises Failure."""
        assert self._caching is not None
        entry.cache = "MISS" if question.look else "BYPASS"
        outlet = self._outlet(asked, reply, entry)
        asked = self._caching.miss(outlet, found, question, plan, asked)
        flights = self._around.flights if question.look else None
        if flights is None:
            await self._serve(asked, plan, outlet, None)
            return
        key = identity(asked, question)
        flight = flights.find(key)
        if flight is None:
            await self._serve(asked, plan, outlet, key)
        else:
            entry.coalesced = True
            await follow(flight, outlet)

    async def _serve(self, asked: Asked, plan: Plan, outlet: Outlet, key: bytes | None) -> None:
        """Try the targets in turn. Raises Failure when none of them has answered. `key`: others may share the call."""
        targets = plan.fixed or plan.targets(own_key=asked.own is not None)
        primary = targets[0]
        outlet.entry.provider = primary.provider.spec.name
        flights = self._around.flights if key is not None else None
        ended: Failure | None = None
        if flights is not None and key is not None:
            flights.lead(key, outlet)
        try:
            # What the caller did wrong is told before anything is tried.
            if len(asked.body) <= ALWAYS_SHORT:
                call = prepare_call(asked, self._route, self._destination(primary.provider), primary)
            else:
                call = await self._prepare_long(asked, primary)
            began = self._loop.time()
            leg = straight(targets, self._around.standings, self._rules.course, asked.until, asked.own, began)
            attempt, failure = None, None
            if leg is not None:
                attempt = Attempt(leg, call, asked, outlet, self._rules.max_answer, self._around.translation)
                try:
                    await attempt.make(self._around.client)
                    return
                except Failure as caught:
                    failure = caught
            calls = Calls(asked, self._route, self._destination, self._around.translation, {primary.name: call})
            await self._failover.go_on(Journey(asked, outlet, targets, calls), attempt, failure, began)
        except BaseException as error:
            ended = _for_followers(error)
            raise
        finally:
            outlet.close()
            if flights is not None and key is not None:
                flights.land(key, outlet, ended)

    async def _prepare_long(self, asked: Asked, target: Target) -> Call:
        """A call of a long request, which is translated in a thread where that takes long. Raises Failure."""
        destination = self._destination(target.provider)
        if destination.translates and takes_long(asked.body):
            work = partial(prepare_call, asked, self._route, destination, target)
            return await self._around.translation.run(work)
        if len(asked.body) > _LONG:
            await self._let_others_run()
        return prepare_call(asked, self._route, destination, target)

    def _destination(self, provider: Provider) -> Destination:
        destination = self._destinations.get(provider.spec.name)
        if destination is None:
            identity = self._around.identities.get(provider.spec.name)
            destination = Destination(provider, self._route, self._around.client, identity)
            self._destinations[destination.name] = destination
        return destination

    def _outlet(self, asked: Asked, reply: Reply, entry: Entry) -> Outlet:
        shown, origin = entry.cache.encode() or b"BYPASS", self._around.cross_origin(asked.request.headers)
        own_fields = b"x-nulpoint-request-id: %b\r\nx-cache: %b\r\n%b%b" % (entry.id, shown, origin, entry.limit_fields)
        if not asked.stream:
            return Outlet(reply, entry, own_fields)
        around, keepalive = self._around, self._rules.keepalive
        stream = StreamAnswer(reply, entry, own_fields, around.ticker, keepalive, self._loop.time())
        return Outlet(reply, entry, own_fields, stream)

    def _tell(self, failure: Failure, request: Request, reply: Reply, entry: Entry) -> None:
        """A status where none has gone out yet; in a stream that has begun, an error event and no proper end."""
        if reply.committed:
            self._tell_if_begun(failure, reply)
            return
        entry.began = entry.began or perf_counter()
        attempts = entry.attempts
        if attempts is not None:
            failure.attempts = attempts.as_builtins()
        fields = failure_fields(failure, entry.id) + self._around.cross_origin(request.headers) + entry.limit_fields
        if entry.cache:
            fields += field(b"x-cache", entry.cache.encode())
        if entry.provider:
            fields += provider_fields(entry.provider.encode(), entry.answered_model or entry.model)
            fields += field(b"x-nulpoint-attempts", b"%d" % (attempts.made if attempts is not None else 0))
        if attempts is not None and b"x-nulpoint-trace" in request.headers:
            fields += field(b"x-nulpoint-trace", attempts.trace())
        reply.send(failure.status, fields, failure.envelope())

    def _tell_if_begun(self, failure: Failure, reply: Reply) -> None:
        if reply.committed and not reply.complete:
            reply.write(error_event(failure))


def _bug() -> Failure:
    return Failure(Kind.INTERNAL, 500, "nulpoint failed on this request; its log has the details")


def _caller_left() -> Failure:
    return Failure(Kind.CALLER_LEFT, 499, "the caller left")


def _for_followers(error: BaseException) -> Failure:
    """What those are told who shared a call that ended so."""
    if isinstance(error, Cancelled) and error.failure is not None:
        return error.failure
    bug = Failure(Kind.INTERNAL, 500, "the call this request shared failed by a bug of nulpoint")
    return error if isinstance(error, Failure) else bug
