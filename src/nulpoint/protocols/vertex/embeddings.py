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
    deep_nesting_refused,
    read_body,
    write_body,
)
from nulpoint.protocols.openai.embeddings import VectorsFound, decoded, repeated, take_texts

_SAID_OF_EACH = {"task_type": "task_type", "title": "title"}


@deep_nesting_refused
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """`task_type`, `title` and `auto_truncate` are Vertex's own and pass. Raises Failure (400) for token ids."""
    fields = RequestFields(read_body(body), limits)
    fields.pop("model")
    texts = take_texts(fields)
    shared = repeated(fields, _SAID_OF_EACH, texts)
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
    return decoded("vertexai", body, request, model, _found)


def _found(answer: dict[str, Any]) -> VectorsFound:
    each = [one["embeddings"] for one in answer["predictions"]]
    counts = [(one.get("statistics") or {}).get("token_count") or 0 for one in each]
    tokens = sum(int(count) for count in msgspec.convert(counts, list[float]))  # 7.0 where others have 7
    return VectorsFound([one["values"] for one in each], tokens)
