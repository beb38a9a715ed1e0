"""Embedding models of Amazon and Cohere behind Bedrock's InvokeModel, in the shape of OpenAI's embeddings.

Facts: AWS's pages of inference parameters. InvokeModel passes the body to the model as it is, so each maker has a shape
of its own. Titan embeds one text a call. The number of Cohere's tokens stands in a header field alone.
"""

import re
from typing import Any, Literal

import msgspec

from nulpoint.protocols.bedrock.capabilities import check_model
from nulpoint.protocols.openai.chat import Encoded, Members, deep_nesting_refused, read_body, write_body, wrong
from nulpoint.protocols.openai.embeddings import Found, decoded, take_texts, usage
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits

COUNT = b"x-amzn-bedrock-input-token-count"  # the header field
_COHERE_TEXTS = 96
_TOLD = re.compile(rb'"usage":\{"prompt_tokens":\d+,"total_tokens":\d+\}\}$')
_PASSED = frozenset({"embedding", "embeddings", "inputTextTokenCount", "texts", "embeddingsByType"})


@deep_nesting_refused
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> Encoded:
    """The model's own members pass. Raises Failure (400) for what is no text, too many, or for an unknown model."""
    check_model(model)
    shape = _shape(model)
    members = Members(read_body(body), limits)
    members.take("model")
    texts = take_texts(members)
    dimensions = members.take("dimensions")
    request = (
        _titan(texts, dimensions, model, members) if shape == "titan" else _cohere(texts, dimensions, model, members)
    )
    return Encoded(write_body({**request, **members.rest()}), members.dropped)


def _shape(model: str) -> Literal["titan", "cohere"]:
    if "amazon.titan-embed-" in model:
        return "titan"
    if "cohere.embed-" in model:
        return "cohere"
    text = "is no embedding model known behind Bedrock: use amazon.titan-embed-... or cohere.embed-..."
    raise wrong("model", text, "model_not_found")


def _titan(texts: list[str], dimensions: Any, model: str, members: Members) -> dict[str, Any]:
    if len(texts) > 1:
        text = (
            f"holds {len(texts)} texts, and Titan embeds one a call: send one text a request, or use cohere.embed-..."
        )
        raise wrong("input", text, "unsupported_value")
    request: dict[str, Any] = {"inputText": texts[0]}
    if dimensions is None:
        return request
    if "titan-embed-image" in model:
        request["embeddingConfig"] = {"outputEmbeddingLength": dimensions}
    elif "titan-embed-text-v1" in model or "titan-embed-g1" in model:
        members.drop("dimensions")
    else:
        request["dimensions"] = dimensions
    return request


def _cohere(texts: list[str], dimensions: Any, model: str, members: Members) -> dict[str, Any]:
    if len(texts) > _COHERE_TEXTS:
        raise wrong("input", f"must hold at most {_COHERE_TEXTS} texts; this request has {len(texts)}")
    request: dict[str, Any] = {"texts": texts, "input_type": "search_document"}
    if "embed-v4" in model:
        request["embedding_types"] = ["float"]
    if dimensions is not None and "embed-v4" in model:
        request["output_dimension"] = dimensions
    elif dimensions is not None:
        members.drop("dimensions")
    return request


def decode(body: bytes, request: bytes, model: str) -> bytes:
    """`request` is the caller's, for the encoding it asked for. Raises Failure (502)."""
    return decoded("bedrock", body, request, model, _found)


def _found(answer: dict[str, Any]) -> Found:
    given = answer["embeddings"] if "embeddings" in answer else [answer["embedding"]]
    vectors = given["float"] if isinstance(given, dict) else given
    more = {name: value for name, value in answer.items() if name not in _PASSED and value is not None}
    if isinstance(given, dict) and set(given) != {"float"}:
        more["embeddings"] = {name: value for name, value in given.items() if name != "float"}
    return Found([list(vector) for vector in vectors], answer.get("inputTextTokenCount"), more)


def counted(answer: bytes, count: bytes) -> bytes:
    """An answer of `decode` with the tokens of the header field, unless it tells them itself: then at its end."""
    if not count.isdigit() or _TOLD.search(answer, len(answer) - 100):
        return answer
    return b'%b,"usage":%b}' % (answer[:-1], msgspec.json.encode(usage(int(count[:9]))))
