"""The parts that all embeddings codecs share: reading the client's texts, and writing vectors in OpenAI's format."""

import struct
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from nulpoint.conversation.usage import Tokens
from nulpoint.formats.malformed import MALFORMED, unusable_response
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, RequestFields, invalid, optional_text, read_response, too_many


class EmbeddingVectors(NamedTuple):
    """The content of an embeddings response.

    `tokens` is None if the provider does not report them. `extra` has the members that OpenAI's format has no place
    for.
    """

    vectors: Sequence[Any]
    tokens: int | None
    extra: Mapping[str, Any] = MappingProxyType({})


_MAX_REPEATED_LENGTH = 8 * 1024 * 1024  # characters, of a member that is repeated for each text


def pop_input(fields: RequestFields) -> str | list[str]:
    """Take `input`, a text or a list of texts. Raises Failure (400), also for token ids, which only OpenAI accepts."""
    texts = fields.pop("input")
    several = isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts)
    if not several and not isinstance(texts, str):
        raise invalid("input", "must be a text or a list of texts; only OpenAI's models accept token ids")
    if several and len(texts) > fields.limits.parts:
        raise too_many(len(texts), fields.limits.parts, "input", "MAX_CONTENT_PARTS")
    return texts  # type: ignore[no-any-return]  # the type was checked above


def pop_texts(fields: RequestFields) -> list[str]:
    """Take `input` as a list, and `encoding_format`, for providers that return vectors only as numbers."""
    texts = pop_input(fields)
    if fields.pop("encoding_format") not in (None, "float", "base64"):
        raise invalid("encoding_format", "must be float or base64")
    return [texts] if isinstance(texts, str) else texts


def pop_repeated_texts(fields: RequestFields, names: Mapping[str, str], texts: list[str]) -> dict[str, str]:
    """Take the members that a provider wants repeated for each text of `input`, and return them by its names.

    `names` maps the names in the request to the provider's. Raises Failure (400) for members that are not text, and for
    those that would be too long when repeated.
    """
    members = {}
    for name, provider_name in names.items():
        text = optional_text(fields.pop(name), name)
        if text:
            members[provider_name] = text
        if len(text) * len(texts) > _MAX_REPEATED_LENGTH:
            problem = (
                f"is repeated for each of the {len(texts)} texts in `input`, over {_MAX_REPEATED_LENGTH} characters"
            )
            raise invalid(name, f"{problem} in total; shorten it, or send fewer texts per request")
    return members


def to_openai_response(
    provider: str, body: bytes, request: bytes, model: str, find: Callable[[dict[str, Any]], EmbeddingVectors]
) -> bytes:
    """Return a provider's response in OpenAI's format, with the usage last. Raises Failure (502).

    `request` is the client's request, which says how the vectors are to be encoded. `find` reads the provider's format.
    """
    response = read_response(provider, body)
    as_base64 = msgspec.json.decode(request).get("encoding_format") == "base64"
    try:
        return msgspec.json.encode(_build_response(provider, _check_types(find(response)), model, as_base64))
    except MALFORMED:
        raise unusable_response("it has no embeddings") from None


def _check_types(embeddings: EmbeddingVectors) -> EmbeddingVectors:
    """Raise msgspec.ValidationError if a vector has anything but numbers, or the token count is not valid."""
    msgspec.convert(embeddings.vectors, list[list[float]])
    msgspec.convert(embeddings.tokens, Tokens | None)
    return embeddings


def _build_response(provider: str, embeddings: EmbeddingVectors, model: str, as_base64: bool) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": index, "embedding": _to_base64(vector) if as_base64 else vector}
        for index, vector in enumerate(embeddings.vectors)
    ]
    response: dict[str, Any] = {"object": "list", "data": data, "model": model}
    if embeddings.extra:
        response[EXTRA_FIELDS] = {provider: embeddings.extra}
    if embeddings.tokens is not None:
        response["usage"] = usage(embeddings.tokens)
    return response


def usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def _to_base64(vector: list[float]) -> str:
    """Encode a vector as little-endian 32-bit floats, as OpenAI's SDKs read them."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
