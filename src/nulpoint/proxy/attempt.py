"""Sends a request to one target and relays its response: one attempt."""

from datetime import UTC, datetime
from functools import partial
from time import perf_counter

import msgspec

from nulpoint.errors import Failure, Kind
from nulpoint.formats.json_edit import rewrite
from nulpoint.formats.json_nodes import check_response_node_count, exceeds_node_count
from nulpoint.formats.malformed import malformed_response
from nulpoint.formats.retry_after import parse_retry_after_headers
from nulpoint.http.client.connection import UpstreamConnection
from nulpoint.http.client.pool import UpstreamClient
from nulpoint.http.deadlines import NEVER
from nulpoint.http.message import JSON_TYPE, Headers, header
from nulpoint.protocols.openai.usage import ResponseMetadata
from nulpoint.protocols.provider_errors import provider_failure, redact_failure
from nulpoint.protocols.translation import TranslatedResponse, Translation
from nulpoint.providers.auth import Signer
from nulpoint.proxy.continued_response import ContinuedResponse
from nulpoint.proxy.prepared_requests import UpstreamCall
from nulpoint.proxy.response_body import check_response, read_body, stream_mismatch, unrecognised_response
from nulpoint.proxy.response_sink import ResponseSink
from nulpoint.proxy.streaming.relay import StreamRelay, is_stream
from nulpoint.proxy.streaming.response import StreamResponse
from nulpoint.proxy.translation_thread import ALWAYS_LONG, ALWAYS_SHORT, TranslationThread, takes_long
from nulpoint.redaction.credential_matcher import NO_CREDENTIAL, CredentialMatcher
from nulpoint.request.headers import headers_for_client, headers_for_client_error, headers_for_provider
from nulpoint.request.request import ProxyRequest
from nulpoint.routing.attempt_planner import PlannedAttempt


class UpstreamAttempt(msgspec.Struct):
    """Makes one attempt at one target.

    `max_response` is the most bytes of a response that is not a stream. `translation` is the thread for responses that
    take long to translate. `signer` authenticates the request if the provider has no configured keys. `secret` is the
    credential in the request, which must not be in anything that the client or the log sees. `connection` is the one
    that has the response, or a part of it.
    """

    planned: PlannedAttempt
    call: UpstreamCall
    proxy_request: ProxyRequest
    sink: ResponseSink
    max_response: int
    translation: TranslationThread
    signer: Signer | None = None
    secret: CredentialMatcher = NO_CREDENTIAL
    connection: UpstreamConnection | None = None

    async def run(self, client: UpstreamClient) -> None:
        """Send the request and relay the response. Raises Failure if there is none, or if it is incomplete."""
        context, planned, call = self.sink.context, self.planned, self.call
        provider, model, dropped = call.endpoint.name, planned.target.model, len(call.prepared.dropped)
        if call.endpoint.identity is not None:
            context.attempt_started(provider, model, dropped)
            self.signer = call.endpoint.signer(self.proxy_request.client_api_key)
        if self.signer is not None and len(call.prepared.body) > ALWAYS_LONG:
            # Signing reads the whole body.
            head = await self.translation.run(partial(self._request_head, call.prepared.body))
        else:
            head = self._request_head(call.prepared.body)
        context.request_sent(provider, model, dropped)
        connection = await client.send(
            call.endpoint.pool, head, planned.timeout, self.proxy_request.deadline, call.prepared.body
        )
        if self.signer is not None and self.signer.is_refusal(connection.status, connection.headers):
            connection = await self._retry_with_renewed_token(client, self.signer, connection)
        self.connection = connection
        try:
            self.secret = call.endpoint.matcher(
                self.proxy_request.client_api_key, planned.lease.credential, self.signer
            )
            body = connection.whole if connection.status == 200 and self.sink.stream is None else None
            translation = call.prepared.translation
            may_continue = translation is not None and translation.provider.continuation is not None
            if body is None or len(body) > ALWAYS_SHORT or (may_continue and self._has_more(body)):
                context.provider_responded()
                await self._receive(client, connection, body)
            else:  # nearly always, unless the response is a stream
                self._send_body(connection, body)
        except Failure as caught:  # what reads an error from the provider does not know the credential
            failure = redact_failure(caught, self.secret)
            if failure.kind is Kind.TOO_LONG and failure.param is None:
                failure = failure.with_param(call.endpoint.operation.prompt)
            context.model_redacted(self.secret.redact(context.response_model))  # the client sees it in a header
            if self.signer is not None and failure.kind is Kind.AUTH:
                failure = _own_credential_refused(failure, provider)
            raise failure from None
        finally:
            if self.connection is not None:
                self.connection.release()

    def _release(self) -> None:
        """Give the connection back, once, because another request may use it from then on."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.release()

    def _request_head(self, body: bytes, *, continued: bool = False) -> bytes:
        proxy_request, planned, call = self.proxy_request, self.planned, self.call
        return call.endpoint.request_head(
            body,
            headers_for_provider(
                proxy_request.request.headers,
                proxy_request.client_api_key is not None,
                proxy_request.authenticator,
                proxy_request.client.gateway_key,
                call.prepared.translation.headers if call.prepared.translation is not None else None,
            ),
            proxy_request.client_api_key,
            planned.lease.credential,
            planned.target.model,
            proxy_request.stream,
            self.signer,
            call.prepared.method,
            continued=continued,
        )

    async def _retry_with_renewed_token(
        self, client: UpstreamClient, refused: Signer, connection: UpstreamConnection
    ) -> UpstreamConnection:
        """Send the request again with a new token if the provider has revoked the one used. Raises Failure."""
        endpoint = self.call.endpoint
        try:
            renewed = endpoint.identity is not None and await endpoint.identity.renew(
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
        return await client.send(endpoint.pool, self._request_head(body), self.planned.timeout, deadline, body)

    def _has_more(self, body: bytes) -> bool:
        """Return whether this is not the whole response."""
        translation = self.call.prepared.translation
        continuation = translation.provider.continuation if translation is not None else None
        return continuation is not None and continuation.token_in_response(body) is not None

    def _continued(self, client: UpstreamClient) -> ContinuedResponse | None:
        """Return what requests the further parts of the response, or None if there cannot be any."""
        prepared = self.call.prepared
        if prepared.translation is None or prepared.translation.provider.continuation is None:
            return None
        return ContinuedResponse(
            prepared.translation.provider.continuation, prepared.body, partial(self._request_part, client)
        )

    async def _request_part(self, client: UpstreamClient, body: bytes, committed: bool) -> UpstreamConnection:
        """Request a further part of the response. If it is committed, the deadline of the request has been lifted."""
        self._release()
        deadline = NEVER if committed else self.proxy_request.deadline
        endpoint, head = self.call.endpoint, self._request_head(body, continued=True)
        connection = await client.send(endpoint.pool, head, self.planned.timeout, deadline, body)
        self.connection = connection
        if connection.status != 200:
            raise await self._provider_failure(connection)
        if self.sink.stream is not None and not is_stream(connection.headers, endpoint.stream_content_type):
            raise stream_mismatch("a stream", "another content")
        return connection

    async def _receive(self, client: UpstreamClient, connection: UpstreamConnection, body: bytes | None) -> None:
        """Read the response and send it to the client. `body` is the body, as far as it has been read already."""
        if connection.status != 200:
            raise await self._provider_failure(connection)
        if self.sink.stream is not None and is_stream(connection.headers, self.call.endpoint.stream_content_type):
            await self._relay(client, connection, self.sink.stream)
        else:
            if body is None:
                body = connection.whole or await read_body(connection, self.max_response)
            continued = self._continued(client)
            if continued is not None:
                connection, body = await continued.whole(
                    connection, body, lambda part: read_body(part, self.max_response)
                )
            if self._takes_long(body):
                await self._send_long(connection, body)
            else:
                self._send_body(connection, body)

    def _takes_long(self, body: bytes) -> bool:
        """Return whether translating the response would block the event loop for too long."""
        return self.call.prepared.decodes_responses and takes_long(body)

    async def _send_long(self, connection: UpstreamConnection, body: bytes) -> None:
        self.sink.context.provider_responded()
        read = await self.translation.run(partial(self._read_whole, connection.headers, body))
        self._send_body(connection, body, read)

    def _send_body(
        self, connection: UpstreamConnection, body: bytes, read: tuple[bytes, ResponseMetadata] | None = None
    ) -> None:
        """Send a response that is not a stream. `read` is the result of `_read_whole`, if it is known already."""
        context, cache_writer = self.sink.context, self.sink.cache_writer
        if read is None:
            context.provider_responded()
            read = self._read_whole(connection.headers, body)
        body, metadata = read
        context.served_by(metadata.model, metadata.usage)
        target, dropped = self.planned.target, self.call.prepared.dropped
        if cache_writer is not None:
            body = cache_writer.complete(body, target, dropped)
        context.response_began()
        headers = JSON_TYPE + self._shared_headers(connection)
        if self.sink.shared_call is not None:
            self.sink.shared_call.start(connection.status, headers)
            self.sink.shared_call.add(body)
        self.sink.response.send(connection.status, headers + self._client_headers(connection), body)
        if cache_writer is not None:
            cache_writer.store_body(body, target, dropped, context, ended=metadata.ended)

    def _read_whole(self, headers: Headers, body: bytes) -> tuple[bytes, ResponseMetadata]:
        """Return the response in the client's format, and its metadata.

        This changes nothing, because it may run in a thread. Raises Failure if it is not a response to this request.
        """
        prepared, max_nodes = self.call.prepared, self.proxy_request.translation.json_nodes
        if prepared.translation is not None:
            return self._translated(prepared.translation, headers, body)
        if prepared.embeddings is not None:
            if prepared.decodes_responses and len(body) > max_nodes:
                check_response_node_count(body, max_nodes)
            body = prepared.decode_embeddings(prepared.embeddings, body, headers, self.proxy_request.body)
        endpoint, operation = self.call.endpoint, self.call.endpoint.operation
        metadata = operation.read_metadata(body)
        if metadata.suspect:
            if not self.proxy_request.stream and is_stream(headers, endpoint.stream_content_type):
                raise stream_mismatch("a JSON body", "a stream")
            check_response(endpoint.name, body, self.secret, max_nodes)
            if operation.suspect_is_error:
                raise unrecognised_response(endpoint.name, body, self.secret, max_nodes)
            if operation.check_answer is not None and not exceeds_node_count(body, max_nodes):
                operation.check_answer(endpoint.name, body, self.proxy_request.body)
        if self.proxy_request.stream:
            raise stream_mismatch("a stream", "a JSON body")
        if endpoint.response_names:
            check_response_node_count(body, max_nodes)
            body, _ = rewrite(body, endpoint.response_names, frozenset())
        return body, metadata

    def _translated(self, translation: Translation, headers: Headers, body: bytes) -> TranslatedResponse:
        """Return the response in the client's format, and its metadata. Raises Failure as `_read_whole` does."""
        max_nodes = self.proxy_request.translation.json_nodes
        if len(body) > max_nodes:
            check_response_node_count(body, max_nodes)
        translated = self.call.prepared.translate_response(translation, body, headers, _unix_seconds())
        if self.proxy_request.stream:
            raise stream_mismatch("a stream", "a JSON body")
        return translated

    async def _relay(self, client: UpstreamClient, connection: UpstreamConnection, stream: StreamResponse) -> None:
        endpoint, prepared = self.call.endpoint, self.call.prepared
        cache_writer = self.sink.cache_writer
        client_format = endpoint.operation.client_protocol.conversations
        assert client_format is not None  # or else the client could not have asked for a stream
        transformer = parser = prepared.stream_transformer(
            client_format, connection.headers, _unix_seconds(), all_usage=cache_writer is not None
        )
        stream_recorder = None
        if cache_writer is not None:
            transformer = stream_recorder = cache_writer.record(transformer, prepared.hide_usage)
        stream.set_headers(self._shared_headers(connection), self._client_headers(connection), endpoint.label)
        relay = StreamRelay(connection, stream, transformer, client_format, self._check_silence)
        continued = self._continued(client)
        try:
            await relay.run(partial(continued.next_stream, parser) if continued is not None else None)
        finally:
            metadata = transformer.metadata()
            self.sink.context.stream_ended(metadata.model, metadata.usage, committed=relay.committed)
        if cache_writer is not None and stream_recorder is not None:
            cache_writer.store_stream(stream_recorder, self.planned.target, prepared.dropped, self.sink.context)

    def _check_silence(self, events: bytes, complete: bool) -> None:
        """Raise Failure if a stream without content is an error. Translated streams have been checked already."""
        client_format = self.call.endpoint.operation.client_protocol.conversations
        if self.call.prepared.translation is None and client_format is not None:
            failure = client_format.stream_failure(events, self.proxy_request.body, complete=complete)
            if failure is not None:
                raise failure

    async def _provider_failure(self, connection: UpstreamConnection) -> Failure:
        status, headers = connection.status, connection.headers
        if 300 <= status < 400:
            text = f"the provider responded with a redirect ({status}); redirects are never followed"
            return Failure(Kind.UPSTREAM, 502, text, code="provider_redirect")
        if status < 300:  # a part of a response, or none yet
            return malformed_response(f"the provider responded with {status}; a complete response has the status 200")
        body = await read_body(connection, self.max_response)
        if exceeds_node_count(body, self.proxy_request.translation.json_nodes):
            body = b""  # no error is described in that many values
        wait = parse_retry_after_headers(
            headers.get(b"retry-after-ms"), headers.get(b"retry-after"), datetime.now(UTC).timestamp()
        )
        endpoint = self.call.endpoint
        if endpoint.read_error is not None:
            status, body = endpoint.read_error(status, headers, body)
        credential = self.secret
        shown = headers_for_client_error(headers, credential, beside_limits=bool(self.sink.context.limit_result))
        return provider_failure(endpoint.name, status, body, wait, credential).with_headers(shown)

    def _shared_headers(self, connection: UpstreamConnection) -> bytes:
        """Return the headers that are the same for all clients that share the response, except Content-Type."""
        planned, prepared = self.planned, self.call.prepared
        dropped = header(b"x-nulpoint-dropped", ",".join(prepared.dropped).encode()) if prepared.dropped else b""
        endpoint, model = self.call.endpoint, planned.target.model
        attribution = endpoint.attribution_by_model.get(model) or endpoint.attribution_headers(model)
        passed_on = headers_for_client(
            connection.headers, self.secret, beside_limits=bool(self.sink.context.limit_result)
        )
        shared = self.sink.shared_headers
        return b"%b%bx-nulpoint-attempts: %d\r\n%b%b" % (passed_on, attribution, planned.number, dropped, shared)

    def _client_headers(self, connection: UpstreamConnection) -> bytes:
        """Return the headers for this client alone. They have the gateway's request id if the provider sent none."""
        headers = self.sink.client_headers
        if b"x-request-id" not in connection.headers:
            headers += header(b"x-request-id", self.sink.context.id)
        if b"x-nulpoint-trace" in self.proxy_request.request.headers:
            headers += header(b"x-nulpoint-trace", self._trace())
        return headers

    def _trace(self) -> bytes:
        before = self.sink.context.attempts.trace() if self.sink.context.attempts is not None else b""
        milliseconds = int((perf_counter() - self.sink.context.sent) * 1000)
        last = b"%b;ok;%d" % (self.call.endpoint.label, milliseconds)
        return before + b", " + last if before else last


def _own_credential_refused(failure: Failure, provider: str) -> Failure:
    """Return the failure for a refused credential of the gateway: a server error, because no client can fix it."""
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
