"""Chat completions in front of each provider protocol, without HTTP."""

from collections.abc import Mapping
from typing import NamedTuple

from nulpoint.conversation.emulation import NO_EMULATION, ToolEmulation
from nulpoint.conversation.request import ConversationRequest
from nulpoint.conversation.tools import FunctionTool
from nulpoint.models.catalog import built_in_models
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat_client.request import ChatRequest, read_chat_request
from nulpoint.protocols.provider_protocol import ResponseSource
from nulpoint.protocols.registry import PROVIDER_PROTOCOLS
from nulpoint.protocols.stream_transformer import StreamTransformer
from nulpoint.protocols.translation import TranslatedRequest, TranslatedResponse, Translation, translate

# The provider whose models a wire format is tested with.
HOSTS = {
    **{wire: wire for wire in PROVIDER_PROTOCOLS},
    "vertex": "vertexai",
    "vertex-anthropic": "vertexai-claude",
}
_NO_REQUEST = ChatRequest(ConversationRequest((), (), None, None, {}))
_LEGACY_REQUEST = ChatRequest(
    ConversationRequest((), (FunctionTool("f", path="functions[0]", legacy=True),), None, None, {})
)


class ChatCodec(NamedTuple):
    """Translates for clients of chat completions.

    Fields:
        wire: the wire format of the provider.
        source: what is known of its responses.
        request: the request to which they belong.
        emulation: what was replaced in the request.
    """

    wire: str
    source: ResponseSource = ResponseSource()
    request: ChatRequest = _NO_REQUEST
    emulation: ToolEmulation = NO_EMULATION

    def encode(self, body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> TranslatedRequest:
        facts = built_in_models().of(HOSTS[self.wire], model)
        return translate(read_chat_request(body, limits), PROVIDER_PROTOCOLS[self.wire], model, facts, limits)

    def answering(self, body: bytes, model: str) -> "ChatCodec":
        """Return the codec for the response to a request."""
        request = read_chat_request(body, DEFAULT_LIMITS)
        return self._replace(request=request, emulation=self.encode(body, model).translation.emulation)

    def restoring(self, emulation: ToolEmulation, *, legacy_functions: bool = False) -> "ChatCodec":
        """Return the codec for the response to a request in which this was replaced."""
        return self._replace(emulation=emulation, request=_LEGACY_REQUEST if legacy_functions else _NO_REQUEST)

    @property
    def _translation(self) -> Translation:
        return Translation(self.request, PROVIDER_PROTOCOLS[self.wire], self.emulation)

    def response(self, body: bytes, created: int) -> TranslatedResponse:
        return self._translation.response(body, self.source, created)

    def decode(self, body: bytes, created: int) -> bytes:
        return self.response(body, created).body

    def stream(self, created: int, show_usage: bool) -> StreamTransformer:
        return self._translation.stream(self.source, created, show_usage=show_usage)


CODECS: Mapping[str, ChatCodec] = {wire: ChatCodec(wire) for wire in PROVIDER_PROTOCOLS if wire != "openai"}


def codec_for_model(wire: str, model: str) -> ChatCodec:
    """Return the codec for responses of a model."""
    return CODECS[wire]._replace(source=ResponseSource(model))
