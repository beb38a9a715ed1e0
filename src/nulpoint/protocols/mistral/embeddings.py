"""Mistral's embeddings behind OpenAI's: the same, but for one name, token ids, and what it refuses."""

from typing import Any

from nulpoint.protocols.openai.chat import Encoded, Members, deep_nesting_refused, read_body, write_body
from nulpoint.protocols.openai.embeddings import take_input
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits


@deep_nesting_refused
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> Encoded:
    """Raises Failure (400) for token ids: only OpenAI's models read them. Mistral's own members pass."""
    members = Members(read_body(body), limits)
    members.take("model")
    request: dict[str, Any] = {"model": model, "input": take_input(members)}
    for name, there in (("dimensions", "output_dimension"), ("metadata", "metadata")):
        value = members.take(name)
        if value is not None:
            request[there] = value
    request |= members.rest()
    return Encoded(write_body(request), members.dropped)


def decode(body: bytes, _request: bytes, _model: str) -> bytes:
    """Mistral answers in OpenAI's shape, in the encoding that was asked for."""
    return body
