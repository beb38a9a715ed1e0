"""One attempt: send the request to one target, and bring back what it answers."""

from datetime import UTC, datetime
from functools import partial
from time import perf_counter

import msgspec

from nulpoint.cache.writer import ResponseOrigin
from nulpoint.errors import Failure, Kind
from nulpoint.formats.json_nodes import check_answer_node_count, exceeds_node_count
from nulpoint.formats.malformed import malformed_response
from nulpoint.formats.retry_after import retry_after_seconds
from nulpoint.http.client.connection import UpstreamConnection
from nulpoint.http.client.pool import UpstreamClient
from nulpoint.http.message import JSON_TYPE, Headers, header
from nulpoint.protocols.openai.completions import from_chat
from nulpoint.protocols.openai.usage import ResponseMetadata, read_final_metadata, read_metadata
from nulpoint.protocols.provider_errors import provider_failure, redact_failure
from nulpoint.providers.auth import Signer
from nulpoint.proxy.prepared_requests import UpstreamCall
from nulpoint.proxy.response_body import check_response, other_form, read_body
from nulpoint.proxy.response_sink import ResponseSink
from nulpoint.proxy.stream_relay import StreamRelay, is_stream
from nulpoint.proxy.stream_response import StreamResponse
from nulpoint.proxy.translation_thread import ALWAYS_LONG, ALWAYS_SHORT, TranslationThread, takes_long
from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.request.headers import headers_for_client, headers_for_client_error, headers_for_provider
from nulpoint.request.request import ProxyRequest
from nulpoint.routing.attempt_planner import PlannedAttempt

NAME_SHOWN = 200  # characters of a model's name in the log: the provider's word for it may be of any length


class UpstreamAttempt(msgspec.Struct):
    """One. `max_answer`: bytes of a whole answer. `translation`: the thread for answers that take long to translate.
    `committed`: the caller has got some of a stream's content. `signer` proves who we are, where there are no keys."""

    planned: PlannedAttempt
    call: UpstreamCall
    proxy_request: ProxyRequest
    sink: ResponseSink
    max_answer: int
    translation: TranslationThread
    committed: bool = False
    signer: Signer | None = None

    async def run(self, client: UpstreamClient) -> None:
        """Raises Failure when this target has not answered, or not to the end."""
        proxy_request, context, planned = self.proxy_request, self.sink.context, self.planned
        endpoint, prepared = self.call.endpoint, self.call.prepared
        context.provider = endpoint.name
        context.response_model = context.upstream_model = planned.target.model
        context.dropped = len(prepared.dropped)
        if endpoint.identity is not None:
            self.signer = endpoint.signer(proxy_request.client_api_key)
        if self.signer is not None and len(prepared.body) > ALWAYS_LONG:
            head = await self.translation.run(self._request_head)  # signing reads all of the body
        else:
            head = self._request_head()
        context.first_byte = 0.0
        context.sent = perf_counter()
        connection = await client.send(endpoint.pool, head, planned.timeout, proxy_request.deadline, prepared.body)
        if self.signer is not None and self.signer.refused(connection.status, connection.headers):
            connection = await self._retry_with_renewed_token(client, self.signer, connection)
        context.first_byte = perf_counter()
        try:
            body = connection.whole if connection.status == 200 and self.sink.stream is None else None
            if body is None or len(body) > ALWAYS_SHORT:
                await self._receive(connection)
            else:  # nearly always, of an answer that is no stream
                self._send_body(connection, body)
        except Failure as caught:  # a codec that reads an error of the provider's does not know the credential
            failure = redact_failure(caught, self._secret)
            context.response_model = self._secret.redact(context.response_model)  # the caller is told that, too
            if self.signer is not None and failure.kind is Kind.AUTH:
                failure = _own_credential_refused(failure, endpoint.name)
            raise failure from None
        finally:
            connection.release()

    def _request_head(self) -> bytes:
        proxy_request, planned, call = self.proxy_request, self.planned, self.call
        return call.endpoint.request_head(
            call.prepared.body,
            headers_for_provider(
                proxy_request.request.headers, proxy_request.client_api_key is not None, proxy_request.authenticator
            ),
            proxy_request.client_api_key,
            planned.lease.credential,
            planned.target.model,
            proxy_request.stream,
            self.signer,
        )

    async def _retry_with_renewed_token(
        self, client: UpstreamClient, refused: Signer, connection: UpstreamConnection
    ) -> UpstreamConnection:
        """Ask once more where our token was withdrawn before its time, and another one can be had. Raises Failure."""
        endpoint = self.call.endpoint
        try:
            renewed = endpoint.identity is not None and await endpoint.identity.renewed(
                refused, self.proxy_request.deadline
            )
        except BaseException:
            connection.release()
            raise
        if not renewed:
            return connection
        connection.release()
        self.signer = endpoint.signer(None)
        body, deadline = self.call.prepared.body, self.proxy_request.deadline
        return await client.send(endpoint.pool, self._request_head(), self.planned.timeout, deadline, body)

    @property
    def _secret(self) -> CredentialMatcher:
        return self.call.endpoint.matcher(self.proxy_request.client_api_key, self.planned.lease.credential, self.signer)

    async def _receive(self, connection: UpstreamConnection) -> None:
        if connection.status != 200:
            raise await self._provider_failure(connection)
        if self.sink.stream is not None and is_stream(connection.headers, self.call.endpoint.stream_content):
            await self._relay(connection, self.sink.stream)
        else:
            body = connection.whole or await read_body(connection, self.max_answer)
            if self._takes_long(body):
                await self._send_long(connection, body)
            else:
                self._send_body(connection, body)

    def _takes_long(self, body: bytes) -> bool:
        """Whether a whole answer has to be translated in a thread."""
        translates = self.call.prepared.decodes_answers or self.call.endpoint.through_chat
        return translates and takes_long(body)

    async def _send_long(self, connection: UpstreamConnection, body: bytes) -> None:
        self.sink.context.first_byte = perf_counter()  # all the time until now was the provider's
        read = await self.translation.run(partial(self._read_whole, connection.headers, body))
        self._send_body(connection, body, read)

    def _send_body(
        self, connection: UpstreamConnection, body: bytes, read: tuple[bytes, ResponseMetadata] | None = None
    ) -> None:
        """Send a whole answer. `read`: what `_read_whole` makes of it, where that is known already."""
        context, cache_writer = self.sink.context, self.sink.cache_writer
        if read is None:
            context.first_byte = perf_counter()  # all the time until now was the provider's
            read = self._read_whole(connection.headers, body)
        body, metadata = read
        context.usage = metadata.usage
        context.response_model = (metadata.model or context.response_model)[:NAME_SHOWN]
        source = None
        if cache_writer is not None:
            source = self._origin(metadata.ended)
            body = cache_writer.complete(body, source)
        context.response_started = perf_counter()
        fields = JSON_TYPE + self._shared_headers(connection)
        if self.sink.shared_call is not None:
            self.sink.shared_call.start(connection.status, fields)
            self.sink.shared_call.add(body)
        self.sink.response.send(connection.status, fields + self._client_headers(connection), body)
        if cache_writer is not None and source is not None:
            cache_writer.store_body(body, source)

    def _read_whole(self, headers: Headers, body: bytes) -> tuple[bytes, ResponseMetadata]:
        """The caller's form of a whole answer, and what is worth knowing of it. It changes nothing, since it may run in
        a thread. Raises Failure for what is no answer to this request."""
        endpoint, prepared = self.call.endpoint, self.call.prepared
        if prepared.codec is not None or prepared.embeddings is not None:  # else it passes byte for byte
            if len(body) > self.proxy_request.max_json_nodes and prepared.decodes_answers:
                check_answer_node_count(body, self.proxy_request.max_json_nodes)
            body = prepared.decode_response(
                body, headers, _unix_seconds(), self.proxy_request.body, self.planned.target.model
            )
        metadata = read_metadata(body) if self.sink.cache_writer is None else read_final_metadata(body)
        if metadata.suspect:
            if not self.proxy_request.stream and is_stream(headers, endpoint.stream_content):
                raise other_form("a whole answer", "a stream")
            check_response(endpoint.name, body, self._secret, self.proxy_request.max_json_nodes)
        if self.proxy_request.stream:
            raise other_form("a stream", "a whole answer")
        if endpoint.through_chat:
            check_answer_node_count(body, self.proxy_request.max_json_nodes)
            body = from_chat(body)
        return body, metadata

    async def _relay(self, connection: UpstreamConnection, answer: StreamResponse) -> None:
        endpoint, prepared = self.call.endpoint, self.call.prepared
        cache_writer = self.sink.cache_writer
        transformer = prepared.stream_transformer(
            endpoint.through_chat, connection.headers, _unix_seconds(), all_usage=cache_writer is not None
        )
        stream_recorder = None
        if cache_writer is not None:
            transformer = stream_recorder = cache_writer.record(transformer, prepared.hide_usage)
        answer.set_headers(self._shared_headers(connection), self._client_headers(connection), endpoint.label)
        says_done = endpoint.provider.spec.sends_done
        relay = StreamRelay(connection, answer, transformer, says_done)
        try:
            await relay.run()
        finally:
            self.committed = relay.committed
            metadata = transformer.metadata()
            context = self.sink.context
            context.committed = relay.committed
            context.usage = metadata.usage
            context.response_model = (metadata.model or context.response_model)[:NAME_SHOWN]
        if cache_writer is not None and stream_recorder is not None:
            cache_writer.store_stream(stream_recorder, self._origin())

    def _origin(self, ended: bool = False) -> ResponseOrigin:
        """Who has answered."""
        context = self.sink.context
        return ResponseOrigin(
            self.planned.target, context.response_model, context.usage, self.call.prepared.dropped, ended
        )

    async def _provider_failure(self, connection: UpstreamConnection) -> Failure:
        status, headers = connection.status, connection.headers
        if 300 <= status < 400:
            text = f"the provider answered with a redirect ({status}); redirects are never followed"
            return Failure(Kind.UPSTREAM, 502, text, code="provider_redirect")
        if status < 300:  # a part of an answer, or none yet: nothing that was asked for
            return malformed_response(f"the provider answered with {status}; a whole answer has the status 200")
        body = await read_body(connection, self.max_answer)
        if exceeds_node_count(body, self.proxy_request.max_json_nodes):
            body = b""  # nobody can say so much about an error
        wait = retry_after_seconds(
            headers.get(b"retry-after-ms"), headers.get(b"retry-after"), datetime.now(UTC).timestamp()
        )
        endpoint = self.call.endpoint
        if endpoint.read_error is not None:
            status, body = endpoint.read_error(status, headers, body)
        credential = self._secret
        shown = headers_for_client_error(headers, credential, beside_limits=bool(self.sink.context.limit_result))
        return provider_failure(endpoint.name, status, body, wait, credential).with_headers(shown)

    def _shared_headers(self, connection: UpstreamConnection) -> bytes:
        """The header fields of the answer that are the same for all who share it, without content fields."""
        planned, prepared = self.planned, self.call.prepared
        dropped = header(b"x-nulpoint-dropped", ",".join(prepared.dropped).encode()) if prepared.dropped else b""
        endpoint, model = self.call.endpoint, planned.target.model
        introduction = endpoint.attribution_by_model.get(model) or endpoint.attribution_headers(model)
        skipped = headers_for_client(
            connection.headers, self._secret, beside_limits=bool(self.sink.context.limit_result)
        )
        shared = self.sink.shared_headers
        return b"%b%bx-nulpoint-attempts: %d\r\n%b%b" % (skipped, introduction, planned.number, dropped, shared)

    def _client_headers(self, connection: UpstreamConnection) -> bytes:
        """The caller's own, with its request id where the provider gave none."""
        own = self.sink.client_headers
        if b"x-request-id" not in connection.headers:
            own += header(b"x-request-id", self.sink.context.id)
        if b"x-nulpoint-trace" in self.proxy_request.request.headers:
            own += header(b"x-nulpoint-trace", self._trace())
        return own

    def _trace(self) -> bytes:
        before = self.sink.context.attempts.trace() if self.sink.context.attempts is not None else b""
        milliseconds = int((perf_counter() - self.sink.context.sent) * 1000)
        last = b"%b;ok;%d" % (self.call.endpoint.label, milliseconds)
        return before + b", " + last if before else last


def _own_credential_refused(failure: Failure, provider: str) -> Failure:
    """The provider refused a credential that the gateway comes by itself: no caller can mend that by another key."""
    text = f"{provider} does not accept the gateway's own credential: {failure.message}"
    return Failure(
        Kind.UPSTREAM,
        502,
        text,
        code="provider_credential_refused",
        provider_status=failure.provider_status,
        headers=failure.headers,
    )


def _unix_seconds() -> int:
    return int(datetime.now(UTC).timestamp())
