"""One attempt: send the request to one target, and bring back what it answers."""

from datetime import UTC, datetime
from functools import partial
from time import perf_counter

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.request.request import Asked
from nulpoint.proxy.prepared_requests import Call
from nulpoint.request.headers import for_caller, for_caller_of_failure, for_provider
from nulpoint.cache.writer import Source
from nulpoint.proxy.response_sink import Outlet
from nulpoint.proxy.stream_relay import Relay, is_stream
from nulpoint.proxy.stream_response import StreamAnswer
from nulpoint.proxy.translation_thread import ALWAYS_LONG, ALWAYS_SHORT, TranslationThread, takes_long
from nulpoint.proxy.response_body import check_answer, other_form, whole_body
from nulpoint.http.client.pool import Client
from nulpoint.http.message import JSON_TYPE, Headers, field
from nulpoint.http.client.connection import Upstream
from nulpoint.providers.auth import Signer
from nulpoint.routing.attempt_planner import Leg
from nulpoint.protocols.openai.completions import from_chat
from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.formats.malformed import unusable
from nulpoint.formats.json_nodes import check_answer_node_count, exceeds_node_count
from nulpoint.protocols.provider_errors import hide, provider_failure
from nulpoint.formats.retry_after import wait_of
from nulpoint.protocols.openai.usage import Facts, read_facts, read_whole

NAME_SHOWN = 200  # characters of a model's name in the log: the provider's word for it may be of any length


class Attempt(msgspec.Struct):
    """One. `max_answer`: bytes of a whole answer. `translation`: the thread for answers that take long to translate.
    `committed`: the caller has got some of a stream's content. `signer` proves who we are, where there are no keys."""

    leg: Leg
    call: Call
    asked: Asked
    outlet: Outlet
    max_answer: int
    translation: TranslationThread
    committed: bool = False
    signer: Signer | None = None

    async def make(self, client: Client) -> None:
        """Raises Failure when this target has not answered, or not to the end."""
        asked, entry, leg = self.asked, self.outlet.entry, self.leg
        destination, prepared = self.call.destination, self.call.prepared
        entry.provider = destination.name
        entry.answered_model = entry.asked_model = leg.target.model
        entry.dropped = len(prepared.dropped)
        if destination.identity is not None:
            self.signer = destination.signer(asked.own_key)
        if self.signer is not None and len(prepared.body) > ALWAYS_LONG:
            message = await self.translation.run(self._message)  # signing reads all of the body
        else:
            message = self._message()
        entry.first_byte = 0.0
        entry.sent = perf_counter()
        connection = await client.send(destination.pool, message, leg.timeout, asked.until)
        if self.signer is not None and self.signer.refused(connection.status, connection.headers):
            connection = await self._with_renewed(client, self.signer, connection)
        entry.first_byte = perf_counter()
        try:
            body = connection.whole if connection.status == 200 and self.outlet.stream is None else None
            if body is None or len(body) > ALWAYS_SHORT:
                await self._bring_back(connection)
            else:  # nearly always, of an answer that is no stream
                self._send_whole(connection, body)
        except Failure as failure:  # a codec that reads an error of the provider's does not know the credential
            hide(failure, self._secret)
            entry.answered_model = self._secret.redact(entry.answered_model)  # the caller is told that, too
            if self.signer is not None and failure.kind is Kind.AUTH:
                raise _not_ours(failure, destination.name) from None
            raise
        finally:
            connection.release()

    def _message(self) -> bytes:
        asked, leg, call = self.asked, self.leg, self.call
        return call.destination.message(
            call.prepared.body,
            for_provider(asked.request.headers, asked.own_key is not None, asked.callers),
            asked.own_key,
            leg.admission.credential,
            leg.target.model,
            asked.stream,
            self.signer,
        )

    async def _with_renewed(self, client: Client, refused: Signer, connection: Upstream) -> Upstream:
        """Ask once more where our token was withdrawn before its time, and another one can be had. Raises Failure."""
        destination = self.call.destination
        try:
            renewed = destination.identity is not None and await destination.identity.renewed(refused, self.asked.until)
        except BaseException:
            connection.release()
            raise
        if not renewed:
            return connection
        connection.release()
        self.signer = destination.signer(None)
        return await client.send(destination.pool, self._message(), self.leg.timeout, self.asked.until)

    @property
    def _secret(self) -> CredentialMatcher:
        return self.call.destination.matcher(self.asked.own_key, self.leg.admission.credential, self.signer)

    async def _bring_back(self, connection: Upstream) -> None:
        if connection.status != 200:
            raise await self._provider_failure(connection)
        if self.outlet.stream is not None and is_stream(connection.headers, self.call.destination.stream_content):
            await self._relay(connection, self.outlet.stream)
        else:
            body = connection.whole or await whole_body(connection, self.max_answer)
            if self._takes_long(body):
                await self._send_long(connection, body)
            else:
                self._send_whole(connection, body)

    def _takes_long(self, body: bytes) -> bool:
        """Whether a whole answer has to be translated in a thread."""
        translates = self.call.prepared.decodes_answers or self.call.destination.through_chat
        return translates and takes_long(body)

    async def _send_long(self, connection: Upstream, body: bytes) -> None:
        self.outlet.entry.first_byte = perf_counter()  # all the time until now was the provider's
        read = await self.translation.run(partial(self._read_whole, connection.headers, body))
        self._send_whole(connection, body, read)

    def _send_whole(self, connection: Upstream, body: bytes, read: tuple[bytes, Facts] | None = None) -> None:
        """Send a whole answer. `read`: what `_read_whole` makes of it, where that is known already."""
        entry, keeper = self.outlet.entry, self.outlet.keeper
        if read is None:
            entry.first_byte = perf_counter()  # all the time until now was the provider's
            read = self._read_whole(connection.headers, body)
        body, facts = read
        entry.usage = facts.usage
        entry.answered_model = (facts.model or entry.answered_model)[:NAME_SHOWN]
        source = None
        if keeper is not None:
            source = self._source(facts.ended)
            body = keeper.whole(body, source)
        entry.began = perf_counter()
        fields = JSON_TYPE + self._fields(connection)
        if self.outlet.flight is not None:
            self.outlet.flight.start(connection.status, fields)
            self.outlet.flight.add(body)
        self.outlet.reply.send(connection.status, fields + self._own_fields(connection), body)
        if keeper is not None and source is not None:
            keeper.keep_whole(body, source)

    def _read_whole(self, headers: Headers, body: bytes) -> tuple[bytes, Facts]:
        """The caller's form of a whole answer, and what is worth knowing of it. It changes nothing, since it may run in
        a thread. Raises Failure for what is no answer to this request."""
        destination, prepared = self.call.destination, self.call.prepared
        if prepared.codec is not None or prepared.embeddings is not None:  # else it passes byte for byte
            if len(body) > self.asked.max_json_nodes and prepared.decodes_answers:
                check_answer_node_count(body, self.asked.max_json_nodes)
            body = prepared.answer(body, headers, _unix_seconds(), self.asked.body, self.leg.target.model)
        facts = read_facts(body) if self.outlet.keeper is None else read_whole(body)
        if facts.suspect:
            if not self.asked.stream and is_stream(headers, destination.stream_content):
                raise other_form("a whole answer", "a stream")
            check_answer(destination.name, body, self._secret, self.asked.max_json_nodes)
        if self.asked.stream:
            raise other_form("a stream", "a whole answer")
        if destination.through_chat:
            check_answer_node_count(body, self.asked.max_json_nodes)
            body = from_chat(body)
        return body, facts

    async def _relay(self, connection: Upstream, answer: StreamAnswer) -> None:
        destination, prepared = self.call.destination, self.call.prepared
        keeper = self.outlet.keeper
        watcher = prepared.watcher(
            destination.through_chat, connection.headers, _unix_seconds(), all_usage=keeper is not None
        )
        recorder = None
        if keeper is not None:
            watcher = recorder = keeper.record(watcher, prepared.hide_usage)
        answer.offer(self._fields(connection), self._own_fields(connection), destination.label)
        says_done = destination.provider.spec.sends_done
        relay = Relay(connection, answer, watcher, says_done)
        try:
            await relay.run()
        finally:
            self.committed = relay.committed
            facts = watcher.facts()
            entry = self.outlet.entry
            entry.committed = relay.committed
            entry.usage = facts.usage
            entry.answered_model = (facts.model or entry.answered_model)[:NAME_SHOWN]
        if keeper is not None and recorder is not None:
            keeper.keep_stream(recorder, self._source())

    def _source(self, ended: bool = False) -> Source:
        """Who has answered."""
        entry = self.outlet.entry
        return Source(self.leg.target, entry.answered_model, entry.usage, self.call.prepared.dropped, ended)

    async def _provider_failure(self, connection: Upstream) -> Failure:
        status, headers = connection.status, connection.headers
        if 300 <= status < 400:
            text = f"the provider answered with a redirect ({status}); redirects are never followed"
            return Failure(Kind.UPSTREAM, 502, text, code="provider_redirect")
        if status < 300:  # a part of an answer, or none yet: nothing that was asked for
            return unusable(f"the provider answered with {status}; a whole answer has the status 200")
        body = await whole_body(connection, self.max_answer)
        if exceeds_node_count(body, self.asked.max_json_nodes):
            body = b""  # nobody can say so much about an error
        wait = wait_of(headers.get(b"retry-after-ms"), headers.get(b"retry-after"), datetime.now(UTC).timestamp())
        destination = self.call.destination
        if destination.read_error is not None:
            status, body = destination.read_error(status, headers, body)
        credential = self._secret
        failure = provider_failure(destination.name, status, body, wait, credential)
        failure.fields = for_caller_of_failure(headers, credential, beside_limits=bool(self.outlet.entry.limit))
        return failure

    def _fields(self, connection: Upstream) -> bytes:
        """The header fields of the answer that are the same for all who share it, without content fields."""
        leg, prepared = self.leg, self.call.prepared
        dropped = field(b"x-nulpoint-dropped", ",".join(prepared.dropped).encode()) if prepared.dropped else b""
        destination, model = self.call.destination, leg.target.model
        introduction = destination.introductions.get(model) or destination.introduce(model)
        passed = for_caller(connection.headers, self._secret, beside_limits=bool(self.outlet.entry.limit))
        shared = self.outlet.shared_fields
        return b"%b%bx-nulpoint-attempts: %d\r\n%b%b" % (passed, introduction, leg.number, dropped, shared)

    def _own_fields(self, connection: Upstream) -> bytes:
        """The caller's own, with its request id where the provider gave none."""
        own = self.outlet.own_fields
        if b"x-request-id" not in connection.headers:
            own += field(b"x-request-id", self.outlet.entry.id)
        if b"x-nulpoint-trace" in self.asked.request.headers:
            own += field(b"x-nulpoint-trace", self._trace())
        return own

    def _trace(self) -> bytes:
        before = self.outlet.entry.attempts.trace() if self.outlet.entry.attempts is not None else b""
        milliseconds = int((perf_counter() - self.outlet.entry.sent) * 1000)
        last = b"%b;ok;%d" % (self.call.destination.label, milliseconds)
        return before + b", " + last if before else last


def _not_ours(failure: Failure, provider: str) -> Failure:
    """The provider refused a credential that the gateway comes by itself: no caller can mend that by another key."""
    text = f"{provider} does not accept the gateway's own credential: {failure.message}"
    ours = Failure(Kind.UPSTREAM, 502, text, code="provider_credential_refused", answered=failure.answered)
    ours.fields = failure.fields
    return ours


def _unix_seconds() -> int:
    return int(datetime.now(UTC).timestamp())
