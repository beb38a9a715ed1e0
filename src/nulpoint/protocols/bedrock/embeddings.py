"""Translates OpenAI's embeddings API to the embedding models of Amazon and Cohere behind Bedrock's InvokeModel.

InvokeModel passes the body to the model unchanged, so each maker has a format of its own. Titan embeds one text per
call. The number of tokens of a Cohere call is in a response header only. Source: AWS's pages of inference parameters.
"""

import re
from typing import Any, Literal

import msgspec

from nulpoint.models.facts import NO_FACTS, ModelFacts
from nulpoint.protocols.bedrock.model_id import check_model
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat import (
    EncodedRequest,
    RequestFields,
    invalid,
    read_body,
    reject_deep_nesting,
    write_body,
)
from nulpoint.protocols.openai.embeddings import EmbeddingVectors, pop_texts, to_openai_response, usage

TOKEN_COUNT_HEADER = b"x-amzn-bedrock-input-token-count"
_MAX_COHERE_TEXTS = 96
_USAGE_AT_END = re.compile(rb'"usage":\{"prompt_tokens":\d+,"total_tokens":\d+\}\}$')
_TRANSLATED = frozenset({"embedding", "embeddings", "inputTextTokenCount", "texts", "embeddingsByType"})


@reject_deep_nesting
def encode(
    body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS, _facts: ModelFacts = NO_FACTS
) -> EncodedRequest:
    """Return a request for the model; its own members are passed on.

    Raises Failure (400) for an unknown model, for input that is not text, or for too many texts.
    """
    check_model(model)
    maker = _maker(model)
    fields = RequestFields(read_body(body), limits)
    fields.pop("model")
    texts = pop_texts(fields)
    dimensions = fields.pop("dimensions")
    translate = _titan if maker == "titan" else _cohere
    request = translate(texts, dimensions, model, fields)
    return EncodedRequest(write_body({**request, **fields.leftovers()}), fields.dropped)


def _maker(model: str) -> Literal["titan", "cohere"]:
    if "amazon.titan-embed-" in model:
        return "titan"
    if "cohere.embed-" in model:
        return "cohere"
    text = "is not a known embedding model on Bedrock: use amazon.titan-embed-... or cohere.embed-..."
    raise invalid("model", text, "model_not_found")


def _titan(texts: list[str], dimensions: Any, model: str, fields: RequestFields) -> dict[str, Any]:
    if len(texts) > 1:
        text = (
            f"has {len(texts)} texts, but Titan embeds one per call: send one text per request, or use cohere.embed-..."
        )
        raise invalid("input", text, "unsupported_value")
    request: dict[str, Any] = {"inputText": texts[0]}
    if dimensions is None:
        return request
    if "titan-embed-image" in model:
        request["embeddingConfig"] = {"outputEmbeddingLength": dimensions}
    elif "titan-embed-text-v1" in model or "titan-embed-g1" in model:
        fields.report_dropped("dimensions")
    else:
        request["dimensions"] = dimensions
    return request


def _cohere(texts: list[str], dimensions: Any, model: str, fields: RequestFields) -> dict[str, Any]:
    if len(texts) > _MAX_COHERE_TEXTS:
        raise invalid("input", f"must hold at most {_MAX_COHERE_TEXTS} texts; this request has {len(texts)}")
    request: dict[str, Any] = {"texts": texts, "input_type": "search_document"}
    if "embed-v4" in model:
        request["embedding_types"] = ["float"]
    if dimensions is not None and "embed-v4" in model:
        request["output_dimension"] = dimensions
    elif dimensions is not None:
        fields.report_dropped("dimensions")
    return request


def decode(body: bytes, request: bytes, model: str) -> bytes:
    """Return the response in OpenAI's format. Raises Failure (502).

    `request` is the client's body, which says how vectors are to be encoded.
    """
    return to_openai_response("bedrock", body, request, model, _vectors)


def _vectors(response: dict[str, Any]) -> EmbeddingVectors:
    embeddings = response["embeddings"] if "embeddings" in response else [response["embedding"]]
    vectors = embeddings["float"] if isinstance(embeddings, dict) else embeddings
    more = {name: value for name, value in response.items() if name not in _TRANSLATED and value is not None}
    if isinstance(embeddings, dict) and set(embeddings) != {"float"}:
        more["embeddings"] = {name: value for name, value in embeddings.items() if name != "float"}
    return EmbeddingVectors([list(vector) for vector in vectors], response.get("inputTextTokenCount"), more)


def add_token_count(response: bytes, count: bytes) -> bytes:
    """Add the value of TOKEN_COUNT_HEADER to a response of `decode`, unless the response already has a usage."""
    if not count.isdigit() or _USAGE_AT_END.search(response, len(response) - 100):
        return response
    return b'%b,"usage":%b}' % (response[:-1], msgspec.json.encode(usage(int(count[:9]))))
