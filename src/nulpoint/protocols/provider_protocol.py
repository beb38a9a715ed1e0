"""Defines what a wire protocol of providers consists of."""

from collections.abc import Callable
from typing import NamedTuple

from nulpoint.conversation.emulation import ToolEmulation
from nulpoint.conversation.request import ConversationRequest
from nulpoint.conversation.response import ConversationResponse
from nulpoint.conversation.stream import StreamWriter
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.stream import StreamTransformer


class RenderedRequest(NamedTuple):
    """A request in a provider's format, the names of dropped members, and what to undo in the response."""

    body: bytes
    dropped: list[str]
    emulation: ToolEmulation


class ProviderProtocol(NamedTuple):
    """Reads and writes one wire protocol that providers speak.

    Fields:
        render: returns the request for a conversation, a model name and limits. Raises Failure (400).
        parse: returns a complete response. Raises Failure (502).
        stream_parser: returns what reads a stream and calls the client's writer.
    """

    render: Callable[[ConversationRequest, str, TranslationLimits], RenderedRequest]
    parse: Callable[[bytes], ConversationResponse]
    stream_parser: Callable[[StreamWriter], StreamTransformer]
