"""Translates OpenAI's embeddings API to Vertex AI's `predict`: one instance per text, in the same order.

Sources: Google's documentation, "Text embeddings API" (read 2026-11).
"""

from typing import Any

import msgspec

from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat import (
    EncodedRequest,
    RequestFields,
    check_whole_number,
    read_body,
    reject_deep_nesting,
    write_body,
)
from nulpoint.protocols.openai.embeddings import EmbeddingVectors, pop_repeated_texts, pop_texts, to_openai_response

_INSTANCE_MEMBERS = {"task_type": "task_type", "title": "title"}


@reject_deep_nesting
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """Return a request for Vertex AI. Raises Failure (400), among others for input in token ids.

    Vertex AI's own members `task_type`, `title` and `auto_truncate` are passed on.
    """
    fields = RequestFields(read_body(body), limits)
    fields.pop("model")
    texts = pop_texts(fields)
    shared = pop_repeated_texts(fields, _INSTANCE_MEMBERS, texts)
    request: dict[str, Any] = {"instances": [{**shared, "content": text} for text in texts]}
    dimensions, truncate = fields.pop("dimensions"), fields.pop("auto_truncate")
    parameters = {"outputDimensionality": dimensions} if dimensions is not None else {}
    if dimensions is not None:
        check_whole_number(dimensions, "dimensions")
    if truncate is not None:
        parameters["autoTruncate"] = truncate
    if parameters:
        request["parameters"] = parameters
    for name in fields.leftovers():
        fields.report_dropped(name)
    return EncodedRequest(write_body(request), fields.dropped)


def decode(body: bytes, request: bytes, model: str) -> bytes:
    """Return the response in OpenAI's format. Raises Failure (502).

    `request` is the client's body, which says how vectors are to be encoded.
    """
    return to_openai_response("vertexai", body, request, model, _vectors)


def _vectors(response: dict[str, Any]) -> EmbeddingVectors:
    embeddings = [prediction["embeddings"] for prediction in response["predictions"]]
    counts = [(embedding.get("statistics") or {}).get("token_count") or 0 for embedding in embeddings]
    tokens = sum(int(count) for count in msgspec.convert(counts, list[float]))  # Vertex AI writes 7.0 for 7
    return EmbeddingVectors([embedding["values"] for embedding in embeddings], tokens)
