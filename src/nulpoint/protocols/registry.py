"""Which codec speaks which wire format. A host of a known format needs its row in the catalogue and nothing here."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from nulpoint.protocols.anthropic import request as anthropic_request
from nulpoint.protocols.anthropic import response as anthropic_response
from nulpoint.protocols.anthropic.stream import AnthropicStream
from nulpoint.protocols.bedrock import embeddings as bedrock_embeddings
from nulpoint.protocols.bedrock import errors as bedrock_errors
from nulpoint.protocols.bedrock import request as bedrock_request
from nulpoint.protocols.bedrock import response as bedrock_response
from nulpoint.protocols.bedrock.stream import BedrockStream
from nulpoint.protocols.emulation import Emulation
from nulpoint.protocols.gemini import embeddings as gemini_embeddings
from nulpoint.protocols.gemini import request as gemini_request
from nulpoint.protocols.gemini import response as gemini_response
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.mistral import embeddings as mistral_embeddings
from nulpoint.protocols.mistral import request as mistral_request
from nulpoint.protocols.mistral import response as mistral_response
from nulpoint.protocols.openai.chat import EncodedRequest
from nulpoint.protocols.openai.stream import StreamTransformer
from nulpoint.protocols.vertex import anthropic
from nulpoint.protocols.vertex import embeddings as vertex_embeddings


class Codec(NamedTuple):
    """Chat in one format. `created` is in Unix seconds; a stream's second argument says whether to show usage.

    Where the body of an answer does not say its id, the header field `id_in` does, and `identified` is the codec that
    knows it.
    """

    encode: Callable[[bytes, str, TranslationLimits], EncodedRequest]
    decode: Callable[[bytes, int], bytes]
    stream: Callable[[int, bool], StreamTransformer]
    id_in: bytes = b""
    identified: Callable[[bytes], "Codec"] | None = None


def with_emulation(codec: Codec, emulation: Emulation) -> Codec:
    """The codec for one request whose answer has something to undo."""
    identified = codec.identified
    return Codec(
        codec.encode,
        lambda body, created: emulation.answer(codec.decode(body, created)),
        lambda created, show_usage: emulation.stream(codec.stream(created, show_usage)),
        codec.id_in,
        (lambda field: with_emulation(identified(field), emulation)) if identified is not None else None,
    )


def codec_for(codec: Codec, headers: Mapping[bytes, bytes]) -> Codec:
    """The codec for an answer with these header fields, where it wants to see one."""
    field = headers.get(codec.id_in)
    return codec if field is None or codec.identified is None else codec.identified(field)


class EmbeddingsCodec(NamedTuple):
    """Embeddings in one format. `decode` is also given the caller's request and the model's name.

    `counted` adds the tokens to what `decode` gave, where the header field `count_in` has them. `passes_answers`:
    `decode` gives an answer back as it is.
    """

    encode: Callable[[bytes, str, TranslationLimits], EncodedRequest]
    decode: Callable[[bytes, bytes, str], bytes]
    count_in: bytes = b""
    counted: Callable[[bytes, bytes], bytes] = lambda answer, _: answer
    passes_answers: bool = False


@lru_cache(maxsize=1024)
def _bedrock(model: str) -> Codec:
    """Converse's answers do not name their model, so that they are read with its name at hand."""
    return _bedrock_answer(model, "")._replace(
        id_in=bedrock_response.ID, identified=lambda field: _bedrock_answer(model, field.decode("latin-1"))
    )


def _bedrock_answer(model: str, answer_id: str) -> Codec:
    return Codec(
        bedrock_request.encode,
        lambda body, created: bedrock_response.decode(body, created, model, answer_id),
        lambda created, show_usage: BedrockStream(created, show_usage, model, answer_id),
    )


# Where an error is told by more than its status and the shapes that `wire.provider_error` knows: from status, header
# fields and body to the status it stands for, and a body in such a shape.
ErrorReader = Callable[[int, Mapping[bytes, bytes], bytes], tuple[int, bytes]]
ERRORS: Mapping[str, ErrorReader] = MappingProxyType({"bedrock": bedrock_errors.plain})

EMBEDDINGS: Mapping[str, EmbeddingsCodec] = MappingProxyType(
    {
        "bedrock": EmbeddingsCodec(
            bedrock_embeddings.encode, bedrock_embeddings.decode, bedrock_embeddings.COUNT, bedrock_embeddings.counted
        ),
        "gemini": EmbeddingsCodec(gemini_embeddings.encode, gemini_embeddings.decode),
        "mistral": EmbeddingsCodec(mistral_embeddings.encode, mistral_embeddings.decode, passes_answers=True),
        "vertex": EmbeddingsCodec(vertex_embeddings.encode, vertex_embeddings.decode),
    }
)
CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "anthropic": Codec(anthropic_request.encode, anthropic_response.decode, AnthropicStream),
        "bedrock": _bedrock(""),
        "gemini": Codec(gemini_request.encode, gemini_response.decode, gemini_response.GeminiStream),
        "mistral": Codec(mistral_request.encode, mistral_response.decode, mistral_response.MistralStream),
        "vertex": Codec(gemini_request.encode, gemini_response.decode, gemini_response.GeminiStream),
        "vertex-anthropic": Codec(anthropic.encode, anthropic_response.decode, AnthropicStream),
    }
)
_TOLD_THE_MODEL = {"bedrock": _bedrock}


def codec_for_model(wire: str, model: str) -> Codec | None:
    """The codec for chat with a model; None for hosts that speak the OpenAI format."""
    told = _TOLD_THE_MODEL.get(wire)
    return told(model) if told is not None else CODECS.get(wire)
