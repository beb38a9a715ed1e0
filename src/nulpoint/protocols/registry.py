"""Defines the codecs by wire format.

A new host that uses a known format only needs its row in the catalogue, nothing here.
"""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import NamedTuple

from nulpoint.conversation.emulation import EmulationWriter, ToolEmulation
from nulpoint.conversation.request import ConversationRequest
from nulpoint.conversation.stream import StreamWriter
from nulpoint.protocols.anthropic import request as anthropic_request
from nulpoint.protocols.anthropic import response as anthropic_response
from nulpoint.protocols.anthropic.stream import AnthropicStreamParser
from nulpoint.protocols.bedrock import embeddings as bedrock_embeddings
from nulpoint.protocols.bedrock import errors as bedrock_errors
from nulpoint.protocols.bedrock import request as bedrock_request
from nulpoint.protocols.bedrock import response as bedrock_response
from nulpoint.protocols.bedrock.stream import BedrockStreamParser
from nulpoint.protocols.emulation import NO_EMULATION, Emulation
from nulpoint.protocols.gemini import embeddings as gemini_embeddings
from nulpoint.protocols.gemini import request as gemini_request
from nulpoint.protocols.gemini import response as gemini_response
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.mistral import embeddings as mistral_embeddings
from nulpoint.protocols.mistral import request as mistral_request
from nulpoint.protocols.mistral import response as mistral_response
from nulpoint.protocols.mistral.stream import MistralStreamParser
from nulpoint.protocols.openai.chat import EncodedRequest, reject_deep_nesting
from nulpoint.protocols.openai.chat_reader import read_chat
from nulpoint.protocols.openai.chat_writer import ChatStreamWriter, write_response
from nulpoint.protocols.openai.stream import StreamTransformer
from nulpoint.protocols.provider_protocol import ProviderProtocol, RenderedRequest
from nulpoint.protocols.vertex import anthropic
from nulpoint.protocols.vertex import embeddings as vertex_embeddings


class Codec(NamedTuple):
    """Translates chat requests, responses and streams for one wire format.

    Fields:
        encode: returns the provider's request for the client's body, a model name and limits. Raises Failure (400).
        decode: returns the response to the client for the provider's body and the time in Unix seconds. Raises Failure
            (502).
        stream: returns a stream transformer, for the time in Unix seconds and whether to show usage.
        id_header: the response header that holds the id of the response, for formats whose body does not have it.
        with_response_id: returns the codec to use for a response with this value of `id_header`.
        provider: the provider protocol that the codec puts behind the chat format, for the formats that have one.
    """

    encode: Callable[[bytes, str, TranslationLimits], EncodedRequest]
    decode: Callable[[bytes, int], bytes]
    stream: Callable[[int, bool], StreamTransformer]
    id_header: bytes = b""
    with_response_id: Callable[[bytes], "Codec"] | None = None
    provider: ProviderProtocol | None = None


@cache
def chat_encoder(
    render: Callable[[ConversationRequest, str, TranslationLimits], RenderedRequest],
) -> Callable[[bytes, str, TranslationLimits], EncodedRequest]:
    """Return what reads a chat request and writes it as a provider's."""

    @reject_deep_nesting
    def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
        request = read_chat(body, limits)
        rendered = render(request, model, limits)
        undo = Emulation(*rendered.emulation, request.has_legacy_functions())
        return EncodedRequest(rendered.body, rendered.dropped, undo)

    return encode


def chat_codec(provider: ProviderProtocol, emulation: Emulation = NO_EMULATION) -> Codec:
    """Return the codec that reads and writes the chat format in front of a provider protocol."""
    tools = ToolEmulation(emulation.custom_tools, emulation.schema_tool)
    legacy_functions = emulation.legacy_functions

    def decode(body: bytes, created: int) -> bytes:
        response = provider.parse(body)
        if tools.any():
            response = tools.restore_response(response)
        return write_response(response, created, legacy_functions=legacy_functions)

    def stream(created: int, show_usage: bool) -> StreamTransformer:
        writer: StreamWriter = ChatStreamWriter(created, show_usage, legacy_functions=legacy_functions)
        return provider.stream_parser(EmulationWriter(writer, tools) if tools.any() else writer)

    return Codec(chat_encoder(provider.render), decode, stream, provider=provider)


def with_emulation(codec: Codec, emulation: Emulation) -> Codec:
    """Return the codec for one request that was sent in another form and whose response must be restored."""
    with_response_id = codec.with_response_id
    if codec.provider is not None:
        restoring = chat_codec(codec.provider, emulation)
    else:
        restoring = Codec(
            codec.encode,
            lambda body, created: emulation.restore_response(codec.decode(body, created)),
            lambda created, show_usage: emulation.wrap_stream(codec.stream(created, show_usage)),
        )
    if with_response_id is None:
        return restoring
    return restoring._replace(
        id_header=codec.id_header,
        with_response_id=lambda response_id: with_emulation(with_response_id(response_id), emulation),
    )


def codec_for_response(codec: Codec, headers: Mapping[bytes, bytes]) -> Codec:
    """Return the codec for a response with these headers. It differs from `codec` if a header holds the response id."""
    response_id = headers.get(codec.id_header)
    return codec if response_id is None or codec.with_response_id is None else codec.with_response_id(response_id)


class EmbeddingsCodec(NamedTuple):
    """Translates embeddings requests and responses for one wire format.

    Fields:
        encode: returns the provider's request for the client's body, a model name and limits. Raises Failure (400).
        decode: returns the client's response for the provider's body, the client's body and the model name. Raises
            Failure (502).
        token_count_header: the response header that holds the number of tokens, for formats that have one.
        add_token_count: returns a response of `decode` with the value of `token_count_header` added.
        returns_body_unchanged: `decode` returns the provider's body as it is.
    """

    encode: Callable[[bytes, str, TranslationLimits], EncodedRequest]
    decode: Callable[[bytes, bytes, str], bytes]
    token_count_header: bytes = b""
    add_token_count: Callable[[bytes, bytes], bytes] = lambda response, _: response
    returns_body_unchanged: bool = False


@lru_cache(maxsize=1024)
def _bedrock(model: str) -> Codec:
    """Return the codec for a model behind Bedrock. It holds the model name because Converse responses lack it."""
    return _bedrock_with_id(model, "")._replace(
        id_header=bedrock_response.ID_HEADER,
        with_response_id=lambda response_id: _bedrock_with_id(model, response_id.decode("latin-1")),
    )


def _bedrock_with_id(model: str, response_id: str) -> Codec:
    return chat_codec(
        ProviderProtocol(
            bedrock_request.render,
            lambda body: bedrock_response.parse(body, model, response_id),
            lambda writer: BedrockStreamParser(writer, model, response_id),
        )
    )


# Readers of error responses for providers whose errors need more than the status and the body formats that
# `protocols/provider_errors.py` knows. From status, headers and body a reader returns the status that the error stands
# for, and a body in one of those formats.
ErrorReader = Callable[[int, Mapping[bytes, bytes], bytes], tuple[int, bytes]]
ERROR_READERS: Mapping[str, ErrorReader] = MappingProxyType({"bedrock": bedrock_errors.read_error})

EMBEDDINGS: Mapping[str, EmbeddingsCodec] = MappingProxyType(
    {
        "bedrock": EmbeddingsCodec(
            bedrock_embeddings.encode,
            bedrock_embeddings.decode,
            bedrock_embeddings.TOKEN_COUNT_HEADER,
            bedrock_embeddings.add_token_count,
        ),
        "gemini": EmbeddingsCodec(gemini_embeddings.encode, gemini_embeddings.decode),
        "mistral": EmbeddingsCodec(mistral_embeddings.encode, mistral_embeddings.decode, returns_body_unchanged=True),
        "vertex": EmbeddingsCodec(vertex_embeddings.encode, vertex_embeddings.decode),
    }
)
_ENCODE_GEMINI = chat_encoder(gemini_request.render)
_ANTHROPIC = ProviderProtocol(anthropic_request.render, anthropic_response.parse, AnthropicStreamParser)
CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "anthropic": chat_codec(_ANTHROPIC),
        "bedrock": _bedrock(""),
        "gemini": Codec(_ENCODE_GEMINI, gemini_response.decode, gemini_response.GeminiStream),
        "mistral": chat_codec(
            ProviderProtocol(mistral_request.render, mistral_response.parse, MistralStreamParser),
        ),
        "vertex": Codec(_ENCODE_GEMINI, gemini_response.decode, gemini_response.GeminiStream),
        "vertex-anthropic": chat_codec(_ANTHROPIC._replace(render=anthropic.render)),
    }
)
_CODECS_BY_MODEL = {"bedrock": _bedrock}


def codec_for_model(wire: str, model: str) -> Codec | None:
    """Return the codec for chat with a model, or None for hosts that use the OpenAI format."""
    codec_by_model = _CODECS_BY_MODEL.get(wire)
    return codec_by_model(model) if codec_by_model is not None else CODECS.get(wire)
