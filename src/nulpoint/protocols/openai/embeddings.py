"""What the embeddings codecs share: the caller's texts, and vectors in the shape of OpenAI's answer."""

import struct
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from nulpoint.formats.malformed import MALFORMED, malformed_response
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, RequestFields, invalid, optional_text, read_response, too_many
from nulpoint.protocols.openai.usage import Tokens


class EmbeddingVectors(NamedTuple):
    """What an answer holds. `tokens`: None where it does not tell; `more`: what OpenAI's shape has no place for."""

    vectors: Sequence[Any]
    tokens: int | None
    extra: Mapping[str, Any] = MappingProxyType({})


_MOST_REPEATED = 8 * 1024 * 1024  # characters that are said again for each text


def pop_input(fields: RequestFields) -> str | list[str]:
    """The caller's text or texts. Raises Failure (400), for token ids too: only OpenAI's models read those."""
    texts = fields.pop("input")
    several = isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts)
    if not several and not isinstance(texts, str):
        raise invalid("input", "must be a text or a list of texts; token ids are read by OpenAI's models only")
    if several and len(texts) > fields.limits.parts:
        raise too_many(len(texts), fields.limits.parts, "input", "MAX_CONTENT_PARTS")
    return texts  # type: ignore[no-any-return]  # looked at just now


def pop_texts(fields: RequestFields) -> list[str]:
    """The same as a list, for providers that answer in numbers alone, whatever encoding is asked for."""
    texts = pop_input(fields)
    if fields.pop("encoding_format") not in (None, "float", "base64"):
        raise invalid("encoding_format", "must be float or base64")
    return [texts] if isinstance(texts, str) else texts


def pop_repeated_texts(fields: RequestFields, names: Mapping[str, str], texts: list[str]) -> dict[str, str]:
    """The texts among the members that a provider wants said of each text to embed, by the provider's names.

    Raises Failure (400) for what is no text, and for what would be too much when said so often.
    """
    made = {}
    for name, there in names.items():
        text = optional_text(fields.pop(name), name)
        if text:
            made[there] = text
        if len(text) * len(texts) > _MOST_REPEATED:
            problem = f"is repeated for each of the {len(texts)} texts in `input`, over {_MOST_REPEATED} characters"
            raise invalid(name, f"{problem} in all; shorten it, or send fewer texts a request")
    return made


def to_openai_response(
    provider: str, body: bytes, request: bytes, model: str, find: Callable[[dict[str, Any]], EmbeddingVectors]
) -> bytes:
    """A provider's answer in OpenAI's shape, the usage at its end. `request` is the caller's, for the encoding it asked
    for. Raises Failure (502)."""
    answer = read_response(provider, body)
    as_base64 = msgspec.json.decode(request).get("encoding_format") == "base64"
    try:
        return msgspec.json.encode(_shaped(provider, _checked(find(answer)), model, as_base64))
    except MALFORMED:
        raise malformed_response("the provider's answer cannot be used: it has no embeddings") from None


def _checked(found: EmbeddingVectors) -> EmbeddingVectors:
    """Raises msgspec.ValidationError where a vector is not one of numbers, or tokens are no count."""
    msgspec.convert(found.vectors, list[list[float]])
    msgspec.convert(found.tokens, Tokens | None)
    return found


def _shaped(provider: str, found: EmbeddingVectors, model: str, as_base64: bool) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if as_base64 else vector}
        for index, vector in enumerate(found.vectors)
    ]
    made: dict[str, Any] = {"object": "list", "data": data, "model": model}
    if found.extra:
        made[EXTRA_FIELDS] = {provider: found.extra}
    if found.tokens is not None:
        made["usage"] = usage(found.tokens)
    return made


def usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def _packed(vector: list[float]) -> str:
    """Little-endian 32-bit floats, as OpenAI's SDKs read them."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
