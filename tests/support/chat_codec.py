"""Chat completions in front of each provider protocol, without HTTP."""

from collections.abc import Mapping
from typing import NamedTuple

from nulpoint.conversation.emulation import NO_EMULATION
from nulpoint.conversation.request import ConversationRequest
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat_client import ChatRequest, read_chat_request
from nulpoint.protocols.openai.stream import StreamTransformer
from nulpoint.protocols.provider_protocol import ResponseSource
from nulpoint.protocols.registry import PROVIDER_PROTOCOLS
from nulpoint.protocols.translation import TranslatedRequest, Translation, translate

_NO_REQUEST = ChatRequest(ConversationRequest((), (), None, None, {}))


class ChatCodec(NamedTuple):
    """Translates for clients of chat completions. `source` is what is known of responses."""

    wire: str
    source: ResponseSource = ResponseSource()

    def encode(self, body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> TranslatedRequest:
        return translate(read_chat_request(body, limits), PROVIDER_PROTOCOLS[self.wire], model, limits)

    @property
    def _plain(self) -> Translation:
        """The translation of the responses to a request in which nothing had to be replaced."""
        return Translation(_NO_REQUEST, PROVIDER_PROTOCOLS[self.wire], NO_EMULATION)

    def decode(self, body: bytes, created: int) -> bytes:
        return self._plain.response(body, self.source, created).body

    def stream(self, created: int, show_usage: bool) -> StreamTransformer:
        return self._plain.stream(self.source, created, show_usage=show_usage)


CODECS: Mapping[str, ChatCodec] = {wire: ChatCodec(wire) for wire in PROVIDER_PROTOCOLS if wire != "openai"}
