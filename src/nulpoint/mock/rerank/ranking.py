"""What the mocks of rerankers share: a score that depends only on the texts."""

import re
from typing import Any, NamedTuple

_WORD = re.compile(r"\w+")


class Ranked(NamedTuple):
    """A document with its place in the request and its score, from 0 to 1."""

    position: int
    score: float
    text: str


def rank(query: str, documents: list[Any], limit: int | None) -> list[Ranked]:
    """Return the documents with the highest scores, best first: the share of the query's words that they have."""
    words = set(_WORD.findall(query.lower()))
    texts = [document if isinstance(document, str) else str(document.get("text", "")) for document in documents]
    ranked = [
        Ranked(index, len(words & set(_WORD.findall(text.lower()))) / max(1, len(words)), text)
        for index, text in enumerate(texts)
    ]
    return sorted(ranked, key=lambda each: -each.score)[:limit]


def ranked_results(body: dict[str, Any], with_documents: bool) -> list[dict[str, Any]]:
    """Return the `results` of a valid request, in the form of Cohere, Jina, Together AI and vLLM."""
    results = []
    for each in rank(body["query"], body["documents"], body.get("top_n")):
        document = {"document": {"text": each.text}} if with_documents else {}
        results.append({"index": each.position, "relevance_score": each.score, **document})
    return results


def find_problem(body: Any, limit_name: str) -> str | None:
    """Return what every host rejects in a request; None if it is valid."""
    if not isinstance(body, dict):
        return "the body must be a JSON object"
    if not isinstance(body.get("query"), str) or not body["query"]:
        return "query is required"
    documents = body.get("documents")
    if not isinstance(documents, list) or not documents:
        return "documents is required and must not be empty"
    if not all(isinstance(document, (str, dict)) for document in documents):
        return "documents must be strings or objects with text"
    limit = body.get(limit_name)
    if limit is not None and (type(limit) is not int or limit < 1):
        return f"{limit_name} must be at least 1"
    return None
