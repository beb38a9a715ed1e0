"""Defines what a wire protocol of providers consists of."""

from collections.abc import Callable
from typing import NamedTuple

from nulpoint.conversation.response import ConversationResponse
from nulpoint.conversation.stream import StreamWriter
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import EncodedRequest
from nulpoint.protocols.openai.stream import StreamTransformer


class ProviderProtocol(NamedTuple):
    """Reads and writes one wire protocol that providers speak.

    Fields:
        encode: returns the provider's request for a chat request, a model name and limits. Raises Failure (400).
        parse: returns a complete response. Raises Failure (502).
        stream_parser: returns what reads a stream and calls the client's writer.
    """

    encode: Callable[[bytes, str, TranslationLimits], EncodedRequest]
    parse: Callable[[bytes], ConversationResponse]
    stream_parser: Callable[[StreamWriter], StreamTransformer]
