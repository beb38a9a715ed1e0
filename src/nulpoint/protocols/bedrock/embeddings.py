"""Embedding models of Amazon and Cohere behind Bedrock's InvokeModel, in the shape of OpenAI's embeddings.

Facts: AWS's pages of inference parameters. InvokeModel passes the body to the model as it is, so each maker has a shape
of its own. Titan embeds one text a call. The number of Cohere's tokens stands in a header field alone.
"""

import re
from typing import Any, Literal

import msgspec

from nulpoint.protocols.bedrock.capabilities import check_model
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

COUNT = b"x-amzn-bedrock-input-token-count"  # the header field
_COHERE_TEXTS = 96
_TOLD = re.compile(rb'"usage":\{"prompt_tokens":\d+,"total_tokens":\d+\}\}$')
_PASSED = frozenset({"embedding", "embeddings", "inputTextTokenCount", "texts", "embeddingsByType"})


@reject_deep_nesting
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """The model's own members pass. Raises Failure (400) for what is no text, too many, or for an unknown model."""
    check_model(model)
    shape = _shape(model)
    fields = RequestFields(read_body(body), limits)
    fields.pop("model")
    texts = pop_texts(fields)
    dimensions = fields.pop("dimensions")
    request = (
        _titan(texts, dimensions, model, fields) if shape == "titan" else _cohere(texts, dimensions, model, fields)
    )
    return EncodedRequest(write_body({**request, **fields.leftovers()}), fields.dropped)


def _shape(model: str) -> Literal["titan", "cohere"]:
    if "amazon.titan-embed-" in model:
        return "titan"
    if "cohere.embed-" in model:
        return "cohere"
    text = "is no embedding model known behind Bedrock: use amazon.titan-embed-... or cohere.embed-..."
    raise invalid("model", text, "model_not_found")


def _titan(texts: list[str], dimensions: Any, model: str, fields: RequestFields) -> dict[str, Any]:
    if len(texts) > 1:
        text = (
            f"holds {len(texts)} texts, and Titan embeds one a call: send one text a request, or use cohere.embed-..."
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
    if len(texts) > _COHERE_TEXTS:
        raise invalid("input", f"must hold at most {_COHERE_TEXTS} texts; this request has {len(texts)}")
    request: dict[str, Any] = {"texts": texts, "input_type": "search_document"}
    if "embed-v4" in model:
        request["embedding_types"] = ["float"]
    if dimensions is not None and "embed-v4" in model:
        request["output_dimension"] = dimensions
    elif dimensions is not None:
        fields.report_dropped("dimensions")
    return request


def decode(body: bytes, request: bytes, model: str) -> bytes:
    """`request` is the caller's, for the encoding it asked for. Raises Failure (502)."""
    return to_openai_response("bedrock", body, request, model, _found)


def _found(answer: dict[str, Any]) -> EmbeddingVectors:
    given = answer["embeddings"] if "embeddings" in answer else [answer["embedding"]]
    vectors = given["float"] if isinstance(given, dict) else given
    more = {name: value for name, value in answer.items() if name not in _PASSED and value is not None}
    if isinstance(given, dict) and set(given) != {"float"}:
        more["embeddings"] = {name: value for name, value in given.items() if name != "float"}
    return EmbeddingVectors([list(vector) for vector in vectors], answer.get("inputTextTokenCount"), more)


def counted(answer: bytes, count: bytes) -> bytes:
    """An answer of `decode` with the tokens of the header field, unless it tells them itself: then at its end."""
    if not count.isdigit() or _TOLD.search(answer, len(answer) - 100):
        return answer
    return b'%b,"usage":%b}' % (answer[:-1], msgspec.json.encode(usage(int(count[:9]))))
