"""Gemini's batchEmbedContents behind OpenAI's embeddings: one request a text, the order kept."""

import struct
from base64 import b64encode
from typing import Any

import msgspec

from nulpoint.codecs.canonical import EXTRA, Encoded, Members, read_answer, read_body, write_body, wrong
from nulpoint.codecs.gemini_models import check_model
from nulpoint.wire.foreign import MISSHAPEN, unusable


def encode(body: bytes, model: str) -> Encoded:
    """`task_type` and `title` are Gemini's own and pass. Raises Failure (400) for token ids: only OpenAI reads them."""
    check_model(model)
    members = Members(read_body(body))
    members.take("model")
    texts = members.take("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise wrong("input", "must be a text or a list of texts; token ids are read by OpenAI's models only")
    if members.take("encoding_format") not in (None, "float", "base64"):
        raise wrong("encoding_format", "must be float or base64")
    shared: dict[str, Any] = {"model": f"models/{model.removeprefix('models/')}"}
    for name, there in (("dimensions", "outputDimensionality"), ("task_type", "taskType"), ("title", "title")):
        value = members.take(name)
        if value is not None:
            shared[there] = value
    requests = [{**shared, "content": {"parts": [{"text": text}]}} for text in texts]
    for name in members.rest():
        members.drop(name)
    return Encoded(write_body({"requests": requests}), members.dropped)


def decode(body: bytes, request: bytes, model: str) -> bytes:
    """`request` is the caller's, for the encoding it asked for. Raises Failure (502)."""
    answer = read_answer("gemini", body)
    as_base64 = msgspec.json.decode(request).get("encoding_format") == "base64"
    try:
        return msgspec.json.encode(_embeddings(answer, as_base64, model))
    except MISSHAPEN:
        raise unusable("the provider's answer cannot be used: it has no embeddings") from None


def _embeddings(answer: dict[str, Any], as_base64: bool, model: str) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": index, "embedding": packed(one["values"]) if as_base64 else one["values"]}
        for index, one in enumerate(answer["embeddings"])
    ]
    counts = answer.get("usageMetadata") or {}
    tokens = counts.get("promptTokenCount") or 0  # older models report none
    more = {name: value for name, value in answer.items() if name not in ("embeddings", "usageMetadata")}
    if set(counts) - {"promptTokenCount"}:
        more["usageMetadata"] = counts
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    made = {"object": "list", "data": data, "model": model, "usage": usage}
    return {**made, EXTRA: {"gemini": more}} if more else made


def packed(vector: list[float]) -> str:
    """Little-endian 32-bit floats, as OpenAI's SDKs read them."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
