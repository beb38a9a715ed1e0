"""The life of a proxied request: read its envelope, find the target, send, bring back the answer, settle once."""

from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import Literal, NamedTuple

from nulpoint.errors import Failure, Kind, rejected
from nulpoint.gateway.admission import check_content_type
from nulpoint.gateway.destination import Destination, own_key_of
from nulpoint.gateway.headers import failure_fields, for_caller, for_provider
from nulpoint.gateway.journal import Entry, Journal
from nulpoint.gateway.preparation import Prepared, prepare
from nulpoint.gateway.relay import STREAM_FIELDS, check_answer, error_event, is_stream, relay_stream, whole_body
from nulpoint.http.client import Client
from nulpoint.http.message import JSON_TYPE, Headers, Request, field
from nulpoint.http.reply import Reply
from nulpoint.http.strand import Cancelled
from nulpoint.http.upstream import Upstream
from nulpoint.providers.spec import Provider
from nulpoint.routing.plan import Router
from nulpoint.wire.completions import from_chat
from nulpoint.wire.envelope import read_envelope
from nulpoint.wire.provider_error import provider_failure
from nulpoint.wire.retry_after import seconds_to_wait
from nulpoint.wire.usage import read_facts

Route = Literal["chat", "completions", "embeddings"]


class Call(NamedTuple):
    """A request made ready for one provider."""

    destination: Destination
    prepared: Prepared
    own_key: str | None
    stream: bool
    model: str


class Proxy:
    """Answers the requests of one route by asking a provider."""

    def __init__(
        self,
        route: Route,
        router: Router,
        client: Client,
        journal: Journal,
        cross_origin: Callable[[Headers], bytes],
        *,
        forward_keys: bool,
        strict: bool,
        max_answer: int,
    ) -> None:
        self._route: Route = route
        self._router = router
        self._client = client
        self._journal = journal
        self._cross_origin = cross_origin
        self._forward_keys = forward_keys
        self._strict = strict
        self._max_answer = max_answer
        self._destinations: dict[str, Destination] = {}

    async def answer(self, request: Request, reply: Reply) -> None:
        """One request, from its bytes to its record. Whatever happens, it is settled once."""
        entry = Entry(request, self._route)
        self._journal.inflight += 1
        try:
            call = self._prepare(request, entry)
            message = self._message(call, request)
            entry.sent = perf_counter()
            connection = await self._client.send(call.destination.pool, message)
            entry.first_byte = perf_counter()
            try:
                await self._bring_back(call, connection, request, reply, entry)
            finally:
                connection.release()
        except Failure as failure:
            entry.failure = failure
            self._tell(failure, request, reply, entry)
        except Cancelled:
            entry.failure = Failure(Kind.CALLER_LEFT, 499, "the caller left")
            raise
        except BaseException:
            entry.failure = Failure(Kind.INTERNAL, 500, "internal error")
            raise
        finally:
            self._journal.inflight -= 1
            self._journal.settle(entry, request, reply)

    def _prepare(self, request: Request, entry: Entry) -> Call:
        check_content_type(request.headers)
        envelope = read_envelope(request.body)
        entry.model = envelope.model
        entry.stream = bool(envelope.stream)
        target = self._router.resolve(envelope.model, self._route)
        destination = self._destination(target.provider)
        entry.provider = destination.name
        entry.answered_model = target.model
        prepared = prepare(
            request.body, envelope, target.provider.spec, target.model, self._route, destination.through_chat
        )
        if prepared.dropped:
            if self._strict or request.headers.get(b"x-nulpoint-strict", b"").lower() == b"true":
                raise _not_expressible(prepared.dropped, destination.name)
            self._journal.fields_dropped(destination.name, len(prepared.dropped))
        own_key = own_key_of(request.headers) if self._forward_keys else None
        return Call(destination, prepared, own_key, entry.stream, target.model)

    def _destination(self, provider: Provider) -> Destination:
        destination = self._destinations.get(provider.spec.name)
        if destination is None:
            destination = Destination(provider, self._route, self._client)
            self._destinations[destination.name] = destination
        return destination

    def _message(self, call: Call, request: Request) -> bytes:
        passed_on = for_provider(request.headers, call.own_key is not None)
        return call.destination.message(call.prepared.body, passed_on, call.own_key, call.model, call.stream)

    async def _bring_back(self, call: Call, connection: Upstream, request: Request, reply: Reply, entry: Entry) -> None:
        if not 200 <= connection.status < 300:
            raise await self._provider_failure(call, connection)
        fields = self._fields(call, connection.headers, request, entry)
        if call.stream and is_stream(connection):
            await self._stream(call, connection, reply, entry, fields)
        else:
            body = connection.whole or await whole_body(connection, self._max_answer)
            self._send_whole(call, connection.status, body, reply, entry, fields)

    def _send_whole(self, call: Call, status: int, body: bytes, reply: Reply, entry: Entry, fields: bytes) -> None:
        entry.first_byte = perf_counter()  # all the time until now was the provider's
        codec = call.prepared.codec
        if codec is not None:
            body = codec.decode(body, _unix_seconds())
        elif call.prepared.embeddings is not None:
            body = call.prepared.embeddings.decode(body, reply.request.body, call.model)
        facts = read_facts(body)
        if facts.suspect:
            check_answer(call.destination.name, body, call.destination.secret(call.own_key))
        if call.stream:
            text = "the provider was asked for a stream and sent a whole answer"
            raise Failure(Kind.UPSTREAM, 502, text, code="provider_malformed")
        if call.destination.through_chat:
            body = from_chat(body)
        entry.usage = facts.usage
        entry.answered_model = facts.model or entry.answered_model
        entry.began = perf_counter()
        reply.send(status, JSON_TYPE + fields, body)

    async def _stream(self, call: Call, connection: Upstream, reply: Reply, entry: Entry, fields: bytes) -> None:
        watcher = call.prepared.watcher(call.destination.through_chat, _unix_seconds())
        entry.began = perf_counter()
        try:
            says_done = call.destination.provider.spec.sends_done
            await relay_stream(connection, reply, watcher, STREAM_FIELDS + fields, says_done)
        finally:
            facts = watcher.facts()
            entry.usage = facts.usage
            entry.answered_model = facts.model or entry.answered_model

    async def _provider_failure(self, call: Call, connection: Upstream) -> Failure:
        status = connection.status
        if 300 <= status < 400:
            text = f"the provider answered with a redirect ({status}); redirects are never followed"
            return Failure(Kind.UPSTREAM, 502, text, code="provider_redirect")
        body = await whole_body(connection, self._max_answer)
        wait = seconds_to_wait(connection.headers.get(b"retry-after"), datetime.now(UTC).timestamp())
        destination = call.destination
        return provider_failure(destination.name, status, body, wait, destination.secret(call.own_key))

    def _fields(self, call: Call, answered: Headers, request: Request, entry: Entry) -> bytes:
        """The header block of an answer, without content fields."""
        passed = for_caller(answered)
        own_id = b"" if b"x-request-id" in answered else field(b"x-request-id", entry.id)
        dropped = call.prepared.dropped
        noted = field(b"x-nulpoint-dropped", ",".join(dropped).encode()) if dropped else b""
        return b"%b%b%bx-nulpoint-request-id: %b\r\nx-nulpoint-provider: %b\r\n%b" % (
            passed, own_id, noted, entry.id, call.destination.label, self._cross_origin(request.headers),
        )  # fmt: skip

    def _tell(self, failure: Failure, request: Request, reply: Reply, entry: Entry) -> None:
        """A status where none has gone out yet; in a stream that has begun, an error event and no proper end."""
        if reply.committed:
            if not reply.complete:
                reply.write(error_event(failure))
            return
        entry.began = entry.began or perf_counter()
        reply.send(failure.status, self._failure_fields(failure, request, entry), failure.envelope())

    def _failure_fields(self, failure: Failure, request: Request, entry: Entry) -> bytes:
        block = failure_fields(failure, entry.id) + self._cross_origin(request.headers)
        return block + (field(b"x-nulpoint-provider", entry.provider.encode()) if entry.provider else b"")


def _unix_seconds() -> int:
    return int(datetime.now(UTC).timestamp())


def _not_expressible(fields: list[str], provider: str) -> Failure:
    """What `STRICT_PARAMS` makes of fields that would be dropped."""
    text = f"{provider} cannot take {', '.join(fields)}; leave it out, or turn off STRICT_PARAMS (x-nulpoint-strict)"
    return rejected(text, param=fields[0], code="unsupported_parameter")
