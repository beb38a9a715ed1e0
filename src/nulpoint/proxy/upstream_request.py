"""Makes the body for a provider from the client's: the same bytes, unless something has to be changed or translated."""

import msgspec
from msgspec import UNSET

from nulpoint.formats import json_edit
from nulpoint.http.message import Headers
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.completions import ChatToCompletionStream, CompletionStream, to_chat
from nulpoint.protocols.openai.envelope import Envelope, asks_for_usage, decode_member
from nulpoint.protocols.openai.stream import PassThrough, StreamTransformer, UsageStripper
from nulpoint.protocols.registry import (
    CODECS,
    EMBEDDINGS,
    Codec,
    EmbeddingsCodec,
    codec_for_model,
    codec_for_response,
    with_emulation,
)
from nulpoint.providers.spec import ProviderSpec, Route


class UpstreamRequest(msgspec.Struct, frozen=True):
    """A request as one provider gets it, and how the response is translated back.

    `dropped` names the members that the provider does not support. `hide_usage` says that the client did not ask for
    usage. `codec` is None for providers with OpenAI's format. `finish_ends` says that the provider's streams end with a
    finish reason and not with `[DONE]`.
    """

    body: bytes
    dropped: list[str]
    hide_usage: bool
    codec: Codec | None = None
    embeddings: EmbeddingsCodec | None = None
    finish_ends: bool = False

    def decode_response(self, body: bytes, headers: Headers, created: int, request: bytes, model: str) -> bytes:
        """Return a response that is not a stream in the client's format. Raises Failure (502).

        A completion that was made by chat is returned as a chat completion. `headers` are the response's, `request` is
        the client's body, and `created` is the date in Unix seconds for responses without one.
        """
        if self.codec is not None:
            codec = codec_for_response(self.codec, headers) if self.codec.id_header else self.codec
            return codec.decode(body, created)
        if self.embeddings is None:
            return body
        decoded = self.embeddings.decode(body, request, model)
        count = headers.get(self.embeddings.token_count_header)
        return decoded if count is None else self.embeddings.add_token_count(decoded, count)

    @property
    def decodes_responses(self) -> bool:
        """Return whether `decode_response` decodes the body; if not, its bytes do not change."""
        return self.codec is not None or (self.embeddings is not None and not self.embeddings.returns_body_unchanged)

    def stream_transformer(
        self, through_chat: bool, headers: Headers, created: int, *, all_usage: bool = False
    ) -> StreamTransformer:
        """Return what translates the provider's stream for the client. See `decode_response` for the arguments.

        With `all_usage` the usage is included even if the client did not ask for it.
        """
        hide_usage = self.hide_usage and not all_usage
        if self.codec is not None:
            translated = codec_for_response(self.codec, headers).stream(created, not hide_usage)
            return ChatToCompletionStream(translated) if through_chat else translated
        if through_chat:
            return CompletionStream(hide_usage=hide_usage, finish_ends=self.finish_ends)
        return UsageStripper(finish_ends=self.finish_ends) if hide_usage else PassThrough(finish_ends=self.finish_ends)


def prepare(
    body: bytes,
    envelope: Envelope,
    spec: ProviderSpec,
    model: str,
    route: Route,
    through_chat: bool,
    limits: TranslationLimits = DEFAULT_LIMITS,
) -> UpstreamRequest:
    """Make the request for a provider. Raises Failure (400) if the provider does not support it."""
    dropped: list[str] = []
    if through_chat:
        body, dropped = to_chat(body)
    embeddings = EMBEDDINGS.get(spec.wire) if route == "embeddings" else None
    if embeddings is not None:
        encoded = embeddings.encode(body, model, limits)
        return UpstreamRequest(encoded.body, encoded.dropped, False, embeddings=embeddings)
    codec = codec_for_model(spec.wire, model) if spec.wire in CODECS and route in ("chat", "completions") else None
    if codec is not None:
        encoded = codec.encode(body, model, limits)
        if encoded.emulation.any():
            codec = with_emulation(codec, encoded.emulation)
        return UpstreamRequest(encoded.body, [*dropped, *encoded.dropped], not asks_for_usage(envelope), codec)
    if spec.rename or spec.drop:
        body, more = json_edit.rewrite(body, spec.rename, spec.drop)
        dropped = [*dropped, *more]
    edits = []
    if model != envelope.model:
        edits.append(json_edit.set_model(body, model))
    hide_usage = bool(envelope.stream) and spec.stream_usage == "ask" and not asks_for_usage(envelope)
    if hide_usage:
        edits.append(_ask_for_usage(body, envelope))
    edited = json_edit.apply(body, edits) if edits else body
    return UpstreamRequest(edited, dropped, hide_usage, finish_ends=not spec.sends_done)


def _ask_for_usage(body: bytes, envelope: Envelope) -> json_edit.JsonEdit:
    """Return the edit that sets `stream_options.include_usage` and keeps the other options."""
    if envelope.stream_options is UNSET:
        return json_edit.add_member(body, "stream_options", b'{"include_usage":true}')
    *_, member = (member for member in json_edit.members(body) if member.key == "stream_options")
    options = decode_member("stream_options", body[member.start : member.end]) or {}
    return json_edit.JsonEdit(member.start, member.end, msgspec.json.encode({**options, "include_usage": True}))
