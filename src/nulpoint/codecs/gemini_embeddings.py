"""Gemini's batchEmbedContents behind OpenAI's embeddings: one request a text, the order kept."""

import struct
from base64 import b64encode
from typing import Any

import msgspec

from nulpoint.codecs.canonical import Encoded, Members, read_body, write_body, wrong
from nulpoint.codecs.gemini_models import check_model
from nulpoint.errors import Failure, Kind


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
    try:
        answer: Any = msgspec.json.decode(body)
        vectors = [one["values"] for one in answer["embeddings"]]
    except (msgspec.DecodeError, KeyError, TypeError):
        text = "the provider's answer cannot be used: it has no embeddings"
        raise Failure(Kind.UPSTREAM, 502, text, code="provider_malformed") from None
    packed = msgspec.json.decode(request).get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        for index, vector in enumerate(vectors)
    ]
    tokens = (answer.get("usageMetadata") or {}).get("promptTokenCount") or 0  # older models report none
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": usage})


def _packed(vector: list[float]) -> str:
    """Little-endian 32-bit floats, as OpenAI's SDKs read them."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
