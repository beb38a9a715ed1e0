"""Gemini's batchEmbedContents behind OpenAI's embeddings: one request a text, the order kept."""

from typing import Any

from nulpoint.protocols.gemini.capabilities import check_model
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

_SAID_OF_EACH = {"task_type": "taskType", "title": "title"}


@deep_nesting_refused
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """`task_type` and `title` are Gemini's own and pass. Raises Failure (400) for token ids: only OpenAI reads them."""
    check_model(model)
    fields = RequestFields(read_body(body), limits)
    fields.pop("model")
    texts = take_texts(fields)
    shared: dict[str, Any] = {"model": f"models/{model.removeprefix('models/')}"}
    dimensions = fields.pop("dimensions")
    if dimensions is not None:
        check_whole_number(dimensions, "dimensions")
        shared["outputDimensionality"] = dimensions
    shared |= repeated(fields, _SAID_OF_EACH, texts)
    requests = [{**shared, "content": {"parts": [{"text": text}]}} for text in texts]
    for name in fields.leftovers():
        fields.report_dropped(name)
    return EncodedRequest(write_body({"requests": requests}), fields.dropped)


def decode(body: bytes, request: bytes, model: str) -> bytes:
    """`request` is the caller's, for the encoding it asked for. Raises Failure (502)."""
    return decoded("gemini", body, request, model, _found)


def _found(answer: dict[str, Any]) -> VectorsFound:
    counts = answer.get("usageMetadata") or {}
    more = {name: value for name, value in answer.items() if name not in ("embeddings", "usageMetadata")}
    if set(counts) - {"promptTokenCount"}:
        more["usageMetadata"] = counts
    # older models report no tokens
    return VectorsFound([one["values"] for one in answer["embeddings"]], counts.get("promptTokenCount") or 0, more)
