"""Vertex AI's `predict` behind OpenAI's embeddings: one instance a text, the order kept.

Facts: Google's documentation, "Text embeddings API" (read 2026-11).
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

_SAID_OF_EACH = {"task_type": "task_type", "title": "title"}


@reject_deep_nesting
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """`task_type`, `title` and `auto_truncate` are Vertex's own and pass. Raises Failure (400) for token ids."""
    fields = RequestFields(read_body(body), limits)
    fields.pop("model")
    texts = pop_texts(fields)
    shared = pop_repeated_texts(fields, _SAID_OF_EACH, texts)
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
    """`request` is the caller's, for the encoding it asked for. Raises Failure (502)."""
    return to_openai_response("vertexai", body, request, model, _found)


def _found(answer: dict[str, Any]) -> EmbeddingVectors:
    each = [one["embeddings"] for one in answer["predictions"]]
    counts = [(one.get("statistics") or {}).get("token_count") or 0 for one in each]
    tokens = sum(int(count) for count in msgspec.convert(counts, list[float]))  # 7.0 where others have 7
    return EmbeddingVectors([one["values"] for one in each], tokens)
