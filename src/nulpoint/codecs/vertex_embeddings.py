"""Vertex AI's `predict` behind OpenAI's embeddings: one instance a text, the order kept.

Facts: Google's documentation, "Text embeddings API" (read 2026-11).
"""

from typing import Any

import msgspec

from nulpoint.codecs.canonical import Encoded, Members, read_answer, read_body, write_body, wrong
from nulpoint.codecs.gemini_embeddings import packed
from nulpoint.wire.foreign import MISSHAPEN, unusable


def encode(body: bytes, model: str) -> Encoded:
    """`task_type`, `title` and `auto_truncate` are Vertex's own and pass. Raises Failure (400) for token ids."""
    members = Members(read_body(body))
    members.take("model")
    texts = members.take("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise wrong("input", "must be a text or a list of texts; token ids are read by OpenAI's models only")
    if members.take("encoding_format") not in (None, "float", "base64"):
        raise wrong("encoding_format", "must be float or base64")
    shared = _taken(members, (("task_type", "task_type"), ("title", "title")))
    request: dict[str, Any] = {"instances": [{**shared, "content": text} for text in texts]}
    parameters = _taken(members, (("dimensions", "outputDimensionality"), ("auto_truncate", "autoTruncate")))
    if parameters:
        request["parameters"] = parameters
    for name in members.rest():
        members.drop(name)
    return Encoded(write_body(request), members.dropped)


def _taken(members: Members, names: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    taken = {there: members.take(name) for name, there in names}
    return {there: value for there, value in taken.items() if value is not None}


def decode(body: bytes, request: bytes, model: str) -> bytes:
    """`request` is the caller's, for the encoding it asked for. Raises Failure (502)."""
    answer = read_answer("vertexai", body)
    as_base64 = msgspec.json.decode(request).get("encoding_format") == "base64"
    try:
        found = [one["embeddings"] for one in answer["predictions"]]
        data = [
            {"object": "embedding", "index": index, "embedding": packed(one["values"]) if as_base64 else one["values"]}
            for index, one in enumerate(found)
        ]
        tokens = sum(int((one.get("statistics") or {}).get("token_count") or 0) for one in found)
    except MISSHAPEN:
        raise unusable("the provider's answer cannot be used: it has no embeddings") from None
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": usage})
