"""Translates OpenAI's embeddings to Mistral's, which has another name for `dimensions` and accepts no token ids."""

from typing import Any

from nulpoint.models.facts import NO_FACTS, ModelFacts
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat import EncodedRequest, RequestFields, read_body, reject_deep_nesting, write_body
from nulpoint.protocols.openai.embeddings import pop_input


@reject_deep_nesting
def encode(
    body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS, _facts: ModelFacts = NO_FACTS
) -> EncodedRequest:
    """Translate a request, including Mistral's own members. Raises Failure (400)."""
    fields = RequestFields(read_body(body), limits)
    fields.pop("model")
    request: dict[str, Any] = {"model": model, "input": pop_input(fields)}
    for name, mistral_name in (("dimensions", "output_dimension"), ("metadata", "metadata")):
        value = fields.pop(name)
        if value is not None:
            request[mistral_name] = value
    request |= fields.leftovers()
    return EncodedRequest(write_body(request), fields.dropped)


def decode(body: bytes, _request: bytes, _model: str) -> bytes:
    """Return the response unchanged, since it is in OpenAI's format and in the requested encoding."""
    return body
