"""From the caller's body to the body a provider gets. The same bytes, unless something declared must change."""

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
    """`dropped` names the request members this provider cannot take; `hide_usage`: the caller did not ask for it.

    `codec` is None for hosts that speak the OpenAI format. `finish_ends`: its streams end with a finish reason, not
    with `[DONE]`.
    """

    body: bytes
    dropped: list[str]
    hide_usage: bool
    codec: Codec | None = None
    embeddings: EmbeddingsCodec | None = None
    finish_ends: bool = False

    def decode_response(self, body: bytes, headers: Headers, created: int, request: bytes, model: str) -> bytes:
        """A whole answer as the caller gets it, but for what goes through chat. Raises Failure (502).

        `headers`: of the answer. `created`: Unix seconds, for answers without a date. `request`: the caller's body.
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
    def decodes_answers(self) -> bool:
        """Whether `answer` reads the whole body; else it passes byte for byte."""
        return self.codec is not None or (self.embeddings is not None and not self.embeddings.returns_body_unchanged)

    def stream_transformer(
        self, through_chat: bool, headers: Headers, created: int, *, all_usage: bool = False
    ) -> StreamTransformer:
        """What passes the stream of answers on to the caller. `headers` and `created` as for `answer`.

        `all_usage`: show it in any case.
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
    """Raises Failure (400) for what cannot be said to this provider."""
    dropped: list[str] = []
    if through_chat:
        body, dropped = to_chat(body)
    embeddings = EMBEDDINGS.get(spec.wire) if route == "embeddings" else None
    if embeddings is not None:
        encoded = embeddings.encode(body, model, limits)
        return UpstreamRequest(encoded.body, encoded.dropped, False, embeddings=embeddings)
    codec = codec_for_model(spec.wire, model) if spec.wire in CODECS and route != "embeddings" else None
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
    """Turn on `stream_options.include_usage`, keeping the other options as they are."""
    if envelope.stream_options is UNSET:
        return json_edit.add_member(body, "stream_options", b'{"include_usage":true}')
    member = [member for member in json_edit.members(body) if member.key == "stream_options"][-1]
    options = decode_member("stream_options", body[member.start : member.end]) or {}
    return json_edit.JsonEdit(member.start, member.end, msgspec.json.encode({**options, "include_usage": True}))
