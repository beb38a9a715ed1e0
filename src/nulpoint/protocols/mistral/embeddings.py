"""Mistral's embeddings behind OpenAI's: the same, but for one name, token ids, and what it refuses."""

from typing import Any

from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat import EncodedRequest, RequestFields, read_body, reject_deep_nesting, write_body
from nulpoint.protocols.openai.embeddings import pop_input


@reject_deep_nesting
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """Raises Failure (400) for token ids: only OpenAI's models read them. Mistral's own members pass."""
    fields = RequestFields(read_body(body), limits)
    fields.pop("model")
    request: dict[str, Any] = {"model": model, "input": pop_input(fields)}
    for name, there in (("dimensions", "output_dimension"), ("metadata", "metadata")):
        value = fields.pop(name)
        if value is not None:
            request[there] = value
    request |= fields.leftovers()
    return EncodedRequest(write_body(request), fields.dropped)


def decode(body: bytes, _request: bytes, _model: str) -> bytes:
    """Mistral answers in OpenAI's shape, in the encoding that was asked for."""
    return body
