"""Writes what vectors are for into the texts, for models that have no member for it.

Source: Google's page on embeddings, the part about `gemini-embedding-2` (read 2026-11).
"""

from nulpoint.protocols.openai.chat import RequestFields

_QUERIES = {
    "RETRIEVAL_QUERY": "search result",
    "QUESTION_ANSWERING": "question answering",
    "FACT_VERIFICATION": "fact checking",
    "CODE_RETRIEVAL_QUERY": "code retrieval",
    "CLASSIFICATION": "classification",
    "CLUSTERING": "clustering",
    "SEMANTIC_SIMILARITY": "sentence similarity",
}
_DOCUMENT = "RETRIEVAL_DOCUMENT"
_NO_TASK = ("", "TASK_TYPE_UNSPECIFIED")


def with_task(texts: list[str], task: str, title: str, fields: RequestFields) -> list[str]:
    """Return the texts with the task in front of each. What has no place there is reported as dropped."""
    if task == _DOCUMENT:
        return [f"title: {title or 'none'} | text: {text}" for text in texts]
    if title:
        fields.report_dropped("title")
    if task in _QUERIES:
        return [f"task: {_QUERIES[task]} | query: {text}" for text in texts]
    if task not in _NO_TASK:
        fields.report_dropped("task_type")
    return texts
