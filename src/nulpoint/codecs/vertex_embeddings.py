"""Vertex AI's `predict` behind OpenAI's embeddings: one instance a text, the order kept.

Facts: Google's documentation, "Text embeddings API" (read 2026-11).
"""

from typing import Any

import msgspec

from nulpoint.codecs.canonical import Encoded, Members, read_body, write_body
from nulpoint.codecs.embeddings import Found, decoded, take_texts


def encode(body: bytes, model: str) -> Encoded:
    """`task_type`, `title` and `auto_truncate` are Vertex's own and pass. Raises Failure (400) for token ids."""
    members = Members(read_body(body))
    members.take("model")
    texts = take_texts(members)
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
    return decoded("vertexai", body, request, model, _found)


def _found(answer: dict[str, Any]) -> Found:
    each = [one["embeddings"] for one in answer["predictions"]]
    counts = [(one.get("statistics") or {}).get("token_count") or 0 for one in each]
    tokens = sum(int(count) for count in msgspec.convert(counts, list[float]))  # 7.0 where others have 7
    return Found([one["values"] for one in each], tokens)
