"""Which codec speaks which wire format. A host of a known format needs its row in the catalogue and nothing here."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from nulpoint.codecs import anthropic, gemini, gemini_embeddings, mistral
from nulpoint.codecs.anthropic_stream import AnthropicStream
from nulpoint.codecs.canonical import Encoded
from nulpoint.wire.stream import Watcher


class Codec(NamedTuple):
    """Chat in one format. `created` is in Unix seconds; a stream's second argument says whether to show usage."""

    encode: Callable[[bytes, str], Encoded]
    decode: Callable[[bytes, int], bytes]
    stream: Callable[[int, bool], Watcher]


class EmbeddingsCodec(NamedTuple):
    """Embeddings in one format. `decode` is also given the caller's request and the model's name."""

    encode: Callable[[bytes, str], Encoded]
    decode: Callable[[bytes, bytes, str], bytes]


EMBEDDINGS: Mapping[str, EmbeddingsCodec] = MappingProxyType(
    {"gemini": EmbeddingsCodec(gemini_embeddings.encode, gemini_embeddings.decode)}
)
CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "anthropic": Codec(anthropic.encode, anthropic.decode, AnthropicStream),
        "gemini": Codec(gemini.encode, gemini.decode, gemini.GeminiStream),
        "mistral": Codec(mistral.encode, mistral.decode, mistral.MistralStream),
    }
)
