"""Mocks of the rerank endpoints of Cohere, Jina and Voyage.

Sources (read 2026-11): the hosts' API references, and for Voyage the types of its TypeScript SDK. Cohere reports the
searches or the tokens that it bills in `meta`, Jina and Voyage report `usage.total_tokens`. Voyage says `top_k` and
`data` where the others say `top_n` and `results`, and rejects parameters that it does not know.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from nulpoint.mock.interface import MockRequest, MockResponse, ProviderApi, json_response, sse_event, token_count
from nulpoint.mock.openai.server import create_embeddings
from nulpoint.mock.rerank.ranking import find_problem, rank, ranked_results

_VOYAGE_PARAMETERS = ("model", "query", "documents", "top_k", "return_documents", "truncation")
_SEARCH_DOCUMENTS = 100  # documents that Cohere bills as one search


def _cohere_error(status: int, message: str) -> MockResponse:
    return json_response({"id": "mock", "message": message}, status)


def _detail_error(status: int, message: str) -> MockResponse:
    return json_response({"detail": message}, status)


def _tokens(body: dict[str, Any]) -> int:
    return token_count(body["query"]) * len(body["documents"]) + token_count(body["documents"])


def _cohere(request: MockRequest) -> MockResponse:
    body = request.body
    problem = find_problem(body, "top_n")
    if problem is not None:
        return _cohere_error(400, f"invalid request: {problem}")
    results = ranked_results(body, False)
    billed = {"search_units": -(-len(body["documents"]) // _SEARCH_DOCUMENTS)}
    if body["model"].startswith("rerank-v5"):
        billed = {"input_tokens": _tokens(body)}
    meta = {"api_version": {"version": "2"}, "billed_units": billed}
    return json_response({"id": f"mock-{request.number}", "results": results, "meta": meta})


def _jina(request: MockRequest) -> MockResponse:
    if request.path == "/v1/embeddings":
        return create_embeddings(request)
    body = request.body
    problem = find_problem(body, "top_n")
    if problem is not None:
        return _detail_error(422, problem)
    results = ranked_results(body, body.get("return_documents", True))
    usage = {"total_tokens": _tokens(body)}
    return json_response({"model": body["model"], "object": "list", "usage": usage, "results": results})


def _voyage(request: MockRequest) -> MockResponse:
    body = request.body
    problem = find_problem(body, "top_k")
    if problem is not None:
        return _detail_error(400, problem)
    unknown = [name for name in body if name not in _VOYAGE_PARAMETERS]
    if unknown:
        return _detail_error(400, f"Argument '{unknown[0]}' is not supported by our API.")
    data = []
    for each in rank(body["query"], body["documents"], body.get("top_k")):
        document = {"document": each.text} if body.get("return_documents") else {}
        data.append({"relevance_score": each.score, "index": each.position, **document})
    usage = {"total_tokens": _tokens(body)}
    return json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})


def _api(
    paths: tuple[str, ...],
    create: Callable[[MockRequest], MockResponse],
    error: Callable[[int, str], MockResponse],
) -> ProviderApi:
    """Return the API of a host that serves POST requests at these paths."""

    def respond(request: MockRequest) -> MockResponse:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not key or key == "bad-key":
            return error(401, "invalid api token")
        if request.method != "POST" or request.path not in paths:
            return error(404, "page not found")
        if not isinstance(request.body, dict) or not isinstance(request.body.get("model"), str):
            return error(400, "invalid request: model is required")
        if request.body["model"].startswith("no-such"):
            return error(404, f"model '{request.body['model']}' not found")
        return create(request)

    def rate_limited(seconds: float) -> MockResponse:
        response = error(429, "rate limit exceeded")
        response.headers = {"retry-after": f"{seconds:g}"} if seconds else {}
        return response

    def error_event(status: int, message: str) -> bytes:
        return sse_event(msgspec.json.decode(error(status, message).body))

    return ProviderApi(respond, error, rate_limited, error_event)


COHERE = _api(("/v2/rerank",), _cohere, _cohere_error)
JINA = _api(("/v1/rerank", "/v1/embeddings"), _jina, _detail_error)
VOYAGE = _api(("/v1/rerank",), _voyage, _detail_error)
