"""A mock of Azure OpenAI: OpenAI's API with other paths, deployments, content filters and other errors.

It serves both `/openai/v1` and the paths with an API version, and the token servers of Entra ID.
"""

import re
from typing import Any

import msgspec

from nulpoint.mock.interface import MockRequest, MockResponse, ProviderApi, json_response, json_text, sse_event
from nulpoint.mock.openai import server as openai_server
from nulpoint.mock.tokens import entra_token, is_valid_token, managed_token

FILTERED_PROMPT = "please filter"
_OPENID_PATH = "/.well-known/openid-configuration"
_DATED_PATH = re.compile(r"/openai/deployments/([^/]+)/(chat/completions|embeddings)")
_V1_PATH = re.compile(r"/openai/v1/(chat/completions|embeddings)")
_API_VERSION = re.compile(r"api-version=20[0-9]{2}-[0-9]{2}-[0-9]{2}(-preview)?")
_ROUTES = {"chat/completions": openai_server.create_chat_completion, "embeddings": openai_server.create_embeddings}
_TOKEN_PATH = re.compile(r"/[^/]+/oauth2/v2\.0/token")
_SAFE_RESULTS = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_ERROR_CODES = {401: "401", 404: "404", 429: "429", 500: "InternalServerError"}
_ACCESS_DENIED = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)


def respond(request: MockRequest) -> MockResponse:
    if request.path.startswith("/msi/token"):
        return managed_token(request)
    if _TOKEN_PATH.fullmatch(request.path):
        return entra_token(request)
    if request.path.endswith(_OPENID_PATH):
        return _openid(request)
    response = _respond(request)
    response.headers = {
        "apim-request-id": f"mock-{request.number}",
        "x-ms-region": "Sweden Central",
        **response.headers,
    }
    return response


def _respond(request: MockRequest) -> MockResponse:
    if not _is_authorized(request.headers):
        return error(401, _ACCESS_DENIED)
    v1_match, dated_match = _V1_PATH.fullmatch(request.path), _DATED_PATH.fullmatch(request.path)
    if not v1_match and not (dated_match and _API_VERSION.fullmatch(request.query)):
        return error(404, "Resource not found")
    if not isinstance(request.body, dict):
        return error(400, "We could not parse the JSON body of your request.")
    if dated_match:
        request.body["model"] = dated_match[1]
    if str(request.body.get("model")).startswith("no-such"):
        text = "The API deployment for this resource does not exist. If you created the deployment within the last 5 "
        return json_response({"error": {"code": "DeploymentNotFound", "message": text + "minutes, please wait."}}, 404)
    route = v1_match[1] if v1_match else dated_match[2] if dated_match else ""
    if route == "chat/completions" and FILTERED_PROMPT in json_text(request.body.get("messages")):
        return _filtered()
    response = _ROUTES[route](request)
    return _with_filters(response) if route == "chat/completions" and response.status == 200 else response


def _is_authorized(headers: dict[str, str]) -> bool:
    key, token = headers.get("api-key"), headers.get("authorization", "").removeprefix("Bearer ")
    return is_valid_token(token) if key is None else key not in ("", "bad-key")


def error(status: int, message: str) -> MockResponse:
    return json_response(_error(status, message), status)


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"code": _ERROR_CODES.get(status, "BadRequest"), "message": message}}


def _rate_limited(seconds: float) -> MockResponse:
    response = error(429, "Requests have exceeded the token rate limit of your current tier.")
    response.headers = {"retry-after": f"{seconds:g}", "retry-after-ms": f"{seconds * 1000:g}"} if seconds else {}
    return response


def _error_event(status: int, message: str) -> bytes:
    return sse_event(_error(status, message))


def _filtered() -> MockResponse:
    result = {**_SAFE_RESULTS, "violence": {"filtered": True, "severity": "medium"}}
    inner_error = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": result}
    text = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    error_body = {"message": text, "type": None, "param": "prompt", "code": "content_filter", "status": 400}
    return json_response({"error": {**error_body, "innererror": inner_error}}, 400)


def _with_filters(response: MockResponse) -> MockResponse:
    """Add the content filter results. In a stream, those of the prompt come first, in a chunk without a choice."""
    prompt = [{"prompt_index": 0, "content_filter_results": _SAFE_RESULTS}]
    if response.events is None:
        body = msgspec.json.decode(response.body)
        for choice in body["choices"]:
            choice["content_filter_results"] = _SAFE_RESULTS
        response.body = msgspec.json.encode({**body, "prompt_filter_results": prompt})
        return response
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": prompt}
    response.events = [sse_event(first), *map(_with_filter, response.events)]
    return response


def _with_filter(event: bytes) -> bytes:
    if event == openai_server.DONE:
        return event
    chunk = msgspec.json.decode(event.removeprefix(b"data: "))
    for choice in chunk["choices"]:
        choice["content_filter_results"] = _SAFE_RESULTS if choice["delta"].get("content") else {}
    return sse_event(chunk)


def _openid(request: MockRequest) -> MockResponse:
    authority = f"https://{request.headers['host']}/{request.path.split('/')[1]}"
    endpoint_paths = {"token": "token", "authorization": "authorize"}
    endpoints = {f"{name}_endpoint": f"{authority}/oauth2/v2.0/{path}" for name, path in endpoint_paths.items()}
    return json_response({**endpoints, "issuer": f"{authority}/v2.0"})


def _is_token_path(path: str) -> bool:
    return bool(_TOKEN_PATH.fullmatch(path)) or path.startswith("/msi/token") or path.endswith(_OPENID_PATH)


API = ProviderApi(respond, error, _rate_limited, _error_event, is_token_path=_is_token_path)
