"""Defines the provider protocols by wire format.

A new host that uses a known format only needs its row in the catalogue, nothing here.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.anthropic import request as anthropic_request
from nulpoint.protocols.anthropic import response as anthropic_response
from nulpoint.protocols.anthropic.stream import AnthropicStreamParser
from nulpoint.protocols.bedrock import embeddings as bedrock_embeddings
from nulpoint.protocols.bedrock import errors as bedrock_errors
from nulpoint.protocols.bedrock import request as bedrock_request
from nulpoint.protocols.bedrock import response as bedrock_response
from nulpoint.protocols.bedrock.stream import BedrockStreamParser
from nulpoint.protocols.gemini import embeddings as gemini_embeddings
from nulpoint.protocols.gemini import request as gemini_request
from nulpoint.protocols.gemini import response as gemini_response
from nulpoint.protocols.gemini.continuation import GEMINI_CONTINUATION
from nulpoint.protocols.gemini.stream import GeminiStreamParser
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.mistral import embeddings as mistral_embeddings
from nulpoint.protocols.mistral import request as mistral_request
from nulpoint.protocols.mistral import response as mistral_response
from nulpoint.protocols.mistral.stream import MistralStreamParser
from nulpoint.protocols.name_rules import (
    ANTHROPIC_NAMES,
    BEDROCK_NAMES,
    GEMINI_NAMES,
    MISTRAL_NAMES,
    OPENAI_NAMES,
)
from nulpoint.protocols.openai.chat import EncodedRequest
from nulpoint.protocols.openai.chat_provider import request as openai_request
from nulpoint.protocols.openai.chat_provider import response as openai_response
from nulpoint.protocols.openai.chat_provider.stream import OpenAIChatStreamParser
from nulpoint.protocols.provider_protocol import ProviderProtocol
from nulpoint.protocols.vertex import anthropic, gemini
from nulpoint.protocols.vertex import embeddings as vertex_embeddings


class EmbeddingsCodec(NamedTuple):
    """Translates embeddings requests and responses for one wire format.

    Fields:
        encode: returns the provider's request for the client's body, a model name, limits, and what is known of the
            model. Raises Failure (400).
        decode: returns the client's response for the provider's body, the client's body and the model name. Raises
            Failure (502).
        token_count_header: the response header that holds the number of tokens, for formats that have one.
        add_token_count: returns a response of `decode` with the value of `token_count_header` added.
        returns_body_unchanged: `decode` returns the provider's body as it is.
    """

    encode: Callable[[bytes, str, TranslationLimits, ModelFacts], EncodedRequest]
    decode: Callable[[bytes, bytes, str], bytes]
    token_count_header: bytes = b""
    add_token_count: Callable[[bytes, bytes], bytes] = lambda response, _: response
    returns_body_unchanged: bool = False


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
_ANTHROPIC = ProviderProtocol(
    anthropic_request.render,
    lambda body, _: anthropic_response.parse(body),
    lambda writer, _: AnthropicStreamParser(writer),
    names=ANTHROPIC_NAMES,
)
_GEMINI = ProviderProtocol(
    gemini_request.render,
    lambda body, _: gemini_response.parse(body),
    lambda writer, _: GeminiStreamParser(writer),
    names=GEMINI_NAMES,
    continuation=GEMINI_CONTINUATION,
)
PROVIDER_PROTOCOLS: Mapping[str, ProviderProtocol] = MappingProxyType(
    {
        "anthropic": _ANTHROPIC,
        "bedrock": ProviderProtocol(
            bedrock_request.render,
            lambda body, source: bedrock_response.parse(body, source.model, source.response_id),
            lambda writer, source: BedrockStreamParser(writer, source.model, source.response_id),
            bedrock_response.ID_HEADER,
            names=BEDROCK_NAMES,
        ),
        "gemini": _GEMINI,
        "mistral": ProviderProtocol(
            mistral_request.render,
            lambda body, _: mistral_response.parse(body),
            lambda writer, _: MistralStreamParser(writer),
            names=MISTRAL_NAMES,
        ),
        "openai": ProviderProtocol(
            openai_request.render,
            lambda body, _: openai_response.parse(body),
            lambda writer, _: OpenAIChatStreamParser(writer),
            has_openai_members=True,
            names=OPENAI_NAMES,
        ),
        "vertex": _GEMINI._replace(render=gemini.render),
        "vertex-anthropic": _ANTHROPIC._replace(render=anthropic.render),
    }
)
