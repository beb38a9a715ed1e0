"""Translates OpenAI's embeddings to Gemini's batchEmbedContents, with one request for each text, in the same order.

Source: Google's reference of the method, which accepts up to 100 requests (read 2026-11).
"""

from typing import Any

from nulpoint.models.facts import NO_FACTS, ModelFacts
from nulpoint.protocols.gemini.embedding_tasks import with_task
from nulpoint.protocols.gemini.model_name import check_model
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat import (
    EncodedRequest,
    RequestFields,
    check_whole_number,
    invalid,
    read_body,
    reject_deep_nesting,
    write_body,
)
from nulpoint.protocols.openai.embeddings import EmbeddingVectors, pop_repeated_texts, pop_texts, to_openai_response

_MAX_TEXTS = 100
_REPEATED_MEMBERS = {"task_type": "taskType", "title": "title"}  # sent with each text


@reject_deep_nesting
def encode(
    body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS, facts: ModelFacts = NO_FACTS
) -> EncodedRequest:
    """Translate a request, which may have Gemini's own `task_type` and `title`. Raises Failure (400)."""
    check_model(model)
    fields = RequestFields(read_body(body), limits)
    fields.pop("model")
    texts = pop_texts(fields)
    if len(texts) > _MAX_TEXTS:
        raise invalid("input", f"has {len(texts)} texts, and Gemini accepts up to {_MAX_TEXTS}; use several requests")
    shared: dict[str, Any] = {"model": f"models/{model.removeprefix('models/')}"}
    dimensions = fields.pop("dimensions")
    if dimensions is not None:
        check_whole_number(dimensions, "dimensions")
        shared["outputDimensionality"] = dimensions
    repeated = pop_repeated_texts(fields, _REPEATED_MEMBERS, texts)
    if facts.embeddings_task_in_text:
        texts = with_task(texts, repeated.get("taskType", ""), repeated.get("title", ""), fields)
    else:
        shared |= repeated
    requests = [{**shared, "content": {"parts": [{"text": text}]}} for text in texts]
    for name in fields.leftovers():
        fields.report_dropped(name)
    return EncodedRequest(write_body({"requests": requests}), fields.dropped)


def decode(body: bytes, request: bytes, model: str) -> bytes:
    """Translate a response; `request` is the client's, which says how to encode vectors. Raises Failure (502)."""
    return to_openai_response("gemini", body, request, model, _read_vectors)


def _read_vectors(response: dict[str, Any]) -> EmbeddingVectors:
    usage = response.get("usageMetadata") or {}
    extra = {name: value for name, value in response.items() if name not in ("embeddings", "usageMetadata")}
    if set(usage) - {"promptTokenCount"}:
        extra["usageMetadata"] = usage
    vectors = [embedding["values"] for embedding in response["embeddings"]]
    return EmbeddingVectors(vectors, usage.get("promptTokenCount") or 0, extra)  # older models report no tokens
