"""Gemini's batchEmbedContents behind OpenAI's embeddings: one request a text, the order kept."""

from typing import Any

from nulpoint.protocols.gemini.capabilities import check_model
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

_SAID_OF_EACH = {"task_type": "taskType", "title": "title"}


@reject_deep_nesting
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """`task_type` and `title` are Gemini's own and pass. Raises Failure (400) for token ids: only OpenAI reads them."""
    check_model(model)
    fields = RequestFields(read_body(body), limits)
    fields.pop("model")
    texts = pop_texts(fields)
    shared: dict[str, Any] = {"model": f"models/{model.removeprefix('models/')}"}
    dimensions = fields.pop("dimensions")
    if dimensions is not None:
        check_whole_number(dimensions, "dimensions")
        shared["outputDimensionality"] = dimensions
    shared |= pop_repeated_texts(fields, _SAID_OF_EACH, texts)
    requests = [{**shared, "content": {"parts": [{"text": text}]}} for text in texts]
    for name in fields.leftovers():
        fields.report_dropped(name)
    return EncodedRequest(write_body({"requests": requests}), fields.dropped)


def decode(body: bytes, request: bytes, model: str) -> bytes:
    """`request` is the caller's, for the encoding it asked for. Raises Failure (502)."""
    return to_openai_response("gemini", body, request, model, _found)


def _found(answer: dict[str, Any]) -> EmbeddingVectors:
    counts = answer.get("usageMetadata") or {}
    more = {name: value for name, value in answer.items() if name not in ("embeddings", "usageMetadata")}
    if set(counts) - {"promptTokenCount"}:
        more["usageMetadata"] = counts
    # older models report no tokens
    return EmbeddingVectors([one["values"] for one in answer["embeddings"]], counts.get("promptTokenCount") or 0, more)
