"""Defines what a wire protocol of providers consists of."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from nulpoint.conversation.emulation import ToolEmulation
from nulpoint.conversation.names import ANY_NAMES, NameRules
from nulpoint.conversation.request import ConversationRequest
from nulpoint.conversation.response import ConversationResponse
from nulpoint.conversation.stream import StreamWriter
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.stream_transformer import StreamTransformer

Headers = Mapping[bytes, bytes]
NO_HEADERS: Headers = MappingProxyType({})


class RenderedRequest(NamedTuple):
    """A request in a provider's format, the names of dropped members, and what to undo in the response.

    `headers` are sent with it. A header that the client sends too gets both values.
    """

    body: bytes
    dropped: list[str]
    emulation: ToolEmulation
    headers: Headers = NO_HEADERS


class ResponseSource(NamedTuple):
    """What is known of a response before its body is read.

    Fields:
        model: the requested model.
        response_id: the value of the protocol's `id_header`, or empty.
    """

    model: str = ""
    response_id: str = ""


class ResponseContinuation(NamedTuple):
    """How the rest of a response is requested from providers that give a long one in several parts.

    Fields:
        token_in_response: returns the token of a complete response of which there is a further part, or None.
        token_in_stream: returns the same for a stream parser that has read everything which the provider has sent. Its
            response then goes on with the stream of the next part.
        request: returns the request for the next part, from the one for the first part and the token.
        join: returns the parts of a response as one response.
    """

    token_in_response: Callable[[bytes], str | None]
    token_in_stream: Callable[[StreamTransformer], str | None]
    request: Callable[[bytes, str], bytes]
    join: Callable[[Sequence[bytes]], bytes]


class ProviderProtocol(NamedTuple):
    """Reads and writes one wire protocol that providers speak.

    Fields:
        render: returns the request for a conversation, from the name of the model, what is known of it, and limits.
            Raises Failure (400).
        parse: returns a complete response. Raises Failure (502).
        stream_parser: returns what reads a stream and calls the client's writer.
        id_header: the response header that holds the id of the response, for protocols whose bodies do not have it.
        has_openai_members: requests are those of OpenAI's chat completions, in which hosts differ in a few members.
        names: the names of tools and parameters that the provider accepts. The others are replaced before `render`.
        continuation: how the rest of a response is requested; None if a response always comes as a whole.
    """

    render: Callable[[ConversationRequest, str, ModelFacts, TranslationLimits], RenderedRequest]
    parse: Callable[[bytes, ResponseSource], ConversationResponse]
    stream_parser: Callable[[StreamWriter, ResponseSource], StreamTransformer]
    id_header: bytes = b""
    has_openai_members: bool = False
    names: NameRules = ANY_NAMES
    continuation: ResponseContinuation | None = None
