"""Makes the body for a provider from the client's: the same bytes, unless something has to be changed or translated."""

import msgspec

from nulpoint.formats import json_edit
from nulpoint.http.message import Headers
from nulpoint.protocols.client_protocol import ConversationFormat
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.envelope import Envelope, asks_for_usage
from nulpoint.protocols.openai.stream_options import usage_option
from nulpoint.protocols.provider_protocol import ProviderProtocol, ResponseSource
from nulpoint.protocols.registry import PROVIDER_PROTOCOLS, EmbeddingsCodec
from nulpoint.protocols.stream_transformer import StreamTransformer
from nulpoint.protocols.translation import TranslatedResponse, Translation, translate
from nulpoint.providers.chat_adapter.adapter import ChatAdapter
from nulpoint.providers.spec import ProviderSpec
from nulpoint.proxy.endpoint import ProviderEndpoint
from nulpoint.routing.chains import Target


class UpstreamRequest(msgspec.Struct, frozen=True):
    """A request as one provider gets it, and how the response is translated back.

    Fields:
        body: the body to send.
        dropped: the members that the provider does not support.
        model: the model that is asked for.
        hide_usage: the client did not ask for the usage of a stream.
        translation: how a conversation is translated; None if it is passed on.
        embeddings: how embeddings are translated; None if they are passed on.
        finish_ends: the provider's streams end with a finish reason and not with an event of their own.
        method: the method of the API in the path, if it has several for the same operation.
    """

    body: bytes
    dropped: list[str]
    model: str
    hide_usage: bool = False
    translation: Translation | None = None
    embeddings: EmbeddingsCodec | None = None
    finish_ends: bool = False
    method: str = ""

    @property
    def decodes_responses(self) -> bool:
        """Return whether a response that is not a stream is decoded; if not, its bytes do not change."""
        return self.translation is not None or (
            self.embeddings is not None and not self.embeddings.returns_body_unchanged
        )

    def translate_response(
        self, translation: Translation, body: bytes, headers: Headers, created: int
    ) -> TranslatedResponse:
        """Translate a response that is not a stream. Raises Failure (502).

        `headers` are the response's, and `created` is the date in Unix seconds for responses without one.
        """
        return translation.response(body, self._source(translation, headers), created)

    def decode_embeddings(self, codec: EmbeddingsCodec, body: bytes, headers: Headers, request: bytes) -> bytes:
        """Translate a response with embeddings, for the client's body `request`. Raises Failure (502)."""
        decoded = codec.decode(body, request, self.model)
        count = headers.get(codec.token_count_header)
        return decoded if count is None else codec.add_token_count(decoded, count)

    def stream_transformer(
        self, client_format: ConversationFormat, headers: Headers, created: int, *, all_usage: bool = False
    ) -> StreamTransformer:
        """Return what checks the provider's stream, and translates it to the client's format if necessary.

        With `all_usage` the usage is included even if the client did not ask for it.
        """
        hide_usage = self.hide_usage and not all_usage
        if self.translation is None:
            return client_format.observer(hide_usage=hide_usage, finish_ends=self.finish_ends)
        source = self._source(self.translation, headers)
        return self.translation.stream(source, created, show_usage=not hide_usage)

    def _source(self, translation: Translation, headers: Headers) -> ResponseSource:
        id_header = translation.provider.id_header
        response_id = headers.get(id_header, b"").decode("latin-1") if id_header else ""
        return ResponseSource(self.model, response_id)


class _Named(msgspec.Struct):
    name: str


class _Tool(msgspec.Struct):
    function: _Named | None = None


class _Tools(msgspec.Struct):
    tools: list[_Tool] | None = None


_read_tools = msgspec.json.Decoder(_Tools).decode


def prepare(
    body: bytes,
    envelope: Envelope,
    endpoint: ProviderEndpoint,
    target: Target,
    limits: TranslationLimits = DEFAULT_LIMITS,
    *,
    is_fallback: bool = False,
) -> UpstreamRequest:
    """Make the request for a target. Raises Failure (400) if the provider does not support it.

    The names of tools are passed on to a host with OpenAI's format, which the client has chosen. If the target is a
    fallback, names that OpenAI does not accept are replaced, and restored in the response.
    """
    client_format, spec, model = endpoint.operation.client_protocol.conversations, endpoint.provider.spec, target.model
    if endpoint.embeddings is not None:
        encoded = endpoint.embeddings.encode(body, model, limits, target.facts)
        codec, method = endpoint.embeddings, encoded.method
        return UpstreamRequest(encoded.body, encoded.dropped, model, embeddings=codec, method=method)
    adapter = endpoint.chat_adapter(target) if endpoint.sends_chat else None
    protocol = endpoint.provider_protocol
    if protocol is None and is_fallback and endpoint.sends_chat and _has_refused_names(body):
        protocol = PROVIDER_PROTOCOLS[spec.wire]
    if client_format is not None and protocol is not None:
        return _translate(body, envelope, client_format, protocol, adapter, target, limits)
    dropped: list[str] = []
    if adapter is not None:
        body, dropped = adapter.adapt(body, envelope.frame)
    elif spec.rename or spec.drop:
        body, dropped = json_edit.rewrite(body, spec.rename, spec.drop)
    return _pass_on(body, dropped, envelope, client_format, spec, model)


def _has_refused_names(body: bytes) -> bool:
    """Return whether a chat request has tools with names that OpenAI does not accept."""
    try:
        tools = _read_tools(body).tools
    except msgspec.DecodeError:
        return False  # the host says what is wrong
    rule = PROVIDER_PROTOCOLS["openai"].names.tools
    return rule is not None and any(tool.function and not rule.accepts(tool.function.name) for tool in tools or ())


def _pass_on(
    body: bytes,
    dropped: list[str],
    envelope: Envelope,
    client_format: ConversationFormat | None,
    spec: ProviderSpec,
    model: str,
) -> UpstreamRequest:
    """Make a request for a provider that speaks the client's API: the same bytes, but for a few members."""
    edits = []
    if model != envelope.model:
        edits.append(json_edit.set_model(body, model))
    hide_usage = bool(envelope.stream) and spec.stream_usage == "ask" and not asks_for_usage(envelope)
    if hide_usage and client_format is not None:
        edits.append(client_format.ask_for_usage(body, envelope))
    edited = json_edit.apply(body, edits) if edits else body
    return UpstreamRequest(edited, dropped, model, hide_usage, finish_ends=not spec.sends_done)


def _translate(
    body: bytes,
    envelope: Envelope,
    client_format: ConversationFormat,
    provider: ProviderProtocol,
    adapter: ChatAdapter | None,
    target: Target,
    limits: TranslationLimits,
) -> UpstreamRequest:
    """Make a request for a provider that speaks another API. Raises Failure (400)."""
    spec, model = target.provider.spec, target.model
    request = client_format.read_request(body, limits)
    translated, dropped, translation = translate(request, provider, model, target.facts, limits)
    hide_usage = not asks_for_usage(envelope)
    if adapter is not None:
        translated, more = adapter.adapt(translated, translated)
        dropped = [*dropped, *more]
    if provider.has_openai_members and envelope.stream and spec.stream_usage == "ask" and hide_usage:
        translated = json_edit.apply(translated, [usage_option(translated, envelope)])
    return UpstreamRequest(translated, dropped, model, hide_usage, translation, finish_ends=not spec.sends_done)
