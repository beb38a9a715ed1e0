"""Translates OpenAI's embeddings API to the methods of Vertex AI, in which models differ.

`predict` takes one instance for each text. Gemini's models have `embedContent` for a single text, and
`batchEmbedContents` for several.

Sources: Google's documentation, "Text embeddings API" (read 2026-11); google-genai 3.6.1 (`embed_content`).
"""

from typing import Any

import msgspec

from nulpoint.models.facts import NO_FACTS, ModelFacts
from nulpoint.protocols.gemini.embedding_tasks import with_task
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

_TASK_MEMBERS = {"task_type": "taskType", "title": "title"}
_PREDICT, _EMBED, _EMBED_BATCH = "predict", "embedContent", "batchEmbedContents"


@reject_deep_nesting
def encode(
    body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS, facts: ModelFacts = NO_FACTS
) -> EncodedRequest:
    """Return a request for Vertex AI. Raises Failure (400), among others for input in token ids.

    Vertex AI's own members `task_type`, `title` and `auto_truncate` are passed on.
    """
    fields = RequestFields(read_body(body), limits)
    fields.pop("model")
    texts = pop_texts(fields)
    shared = pop_repeated_texts(fields, _TASK_MEMBERS, texts)
    parameters = _parameters(fields)
    if facts.embeddings_method in (_EMBED, _EMBED_BATCH):
        if facts.embeddings_task_in_text:
            texts = with_task(texts, shared.pop("taskType", ""), shared.pop("title", ""), fields)
        contents = [_content(text, {**shared, **parameters}) for text in texts]
        single = len(contents) == 1
        method, request = (_EMBED, contents[0]) if single else (_EMBED_BATCH, {"requests": contents})
    else:
        method, request = _PREDICT, _prediction(texts, shared, parameters)
    for name in fields.leftovers():
        fields.report_dropped(name)
    return EncodedRequest(write_body(request), fields.dropped, method)


def _parameters(fields: RequestFields) -> dict[str, Any]:
    dimensions, truncate = fields.pop("dimensions"), fields.pop("auto_truncate")
    parameters = {"outputDimensionality": dimensions} if dimensions is not None else {}
    if dimensions is not None:
        check_whole_number(dimensions, "dimensions")
    if truncate is not None:
        parameters["autoTruncate"] = truncate
    return parameters


def _prediction(texts: list[str], shared: dict[str, str], parameters: dict[str, Any]) -> dict[str, Any]:
    names = {"task_type" if name == "taskType" else name: value for name, value in shared.items()}
    request: dict[str, Any] = {"instances": [{**names, "content": text} for text in texts]}
    return {**request, "parameters": parameters} if parameters else request


def _content(text: str, config: dict[str, Any]) -> dict[str, Any]:
    content = {"content": {"role": "user", "parts": [{"text": text}]}}
    return {**content, "embedContentConfig": config} if config else content


def decode(body: bytes, request: bytes, model: str) -> bytes:
    """Return the response in OpenAI's format. Raises Failure (502).

    `request` is the client's body, which says how vectors are to be encoded.
    """
    return to_openai_response("vertexai", body, request, model, _vectors)


def _vectors(response: dict[str, Any]) -> EmbeddingVectors:
    """Read the response of any of the methods."""
    if "predictions" not in response:
        return _contents(response)
    embeddings = [prediction["embeddings"] for prediction in response["predictions"]]
    return EmbeddingVectors([embedding["values"] for embedding in embeddings], _counted_tokens(embeddings))


def _contents(response: dict[str, Any]) -> EmbeddingVectors:
    embeddings = [response["embedding"]] if "embedding" in response else response["embeddings"]
    usage = response.get("usageMetadata") or {}
    tokens = usage.get("promptTokenCount") or _counted_tokens(embeddings)
    extra = {"truncated": True} if response.get("truncated") else {}
    return EmbeddingVectors([embedding["values"] for embedding in embeddings], tokens, extra)


def _counted_tokens(embeddings: list[dict[str, Any]]) -> int:
    statistics = [embedding.get("statistics") or {} for embedding in embeddings]
    counts = [counted.get("token_count") or counted.get("tokenCount") or 0 for counted in statistics]
    return sum(int(count) for count in msgspec.convert(counts, list[float]))  # Vertex AI writes 7.0 for 7
