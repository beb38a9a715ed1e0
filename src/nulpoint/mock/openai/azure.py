"""Azure OpenAI: OpenAI's API under other paths, with deployments, content filters, and its own words for errors.

Both surfaces: `/openai/v1` and the dated one. Beside it stand the token servers of Entra ID.
"""

import re
from typing import Any

import msgspec

from nulpoint.mock.interface import MockRequest, MockResponse, ProviderApi, json_response, json_text, sse_event
from nulpoint.mock.openai import server as openai_server
from nulpoint.mock.tokens import entra_token, is_valid_token, managed_token

FILTERED_PROMPT = "please filter"
_OPENID = "/.well-known/openid-configuration"
_DATED_PATH = re.compile(r"/openai/deployments/([^/]+)/(chat/completions|embeddings)")
_V1_PATH = re.compile(r"/openai/v1/(chat/completions|embeddings)")
_VERSION = re.compile(r"api-version=20[0-9]{2}-[0-9]{2}-[0-9]{2}(-preview)?")
_ROUTES = {"chat/completions": openai_server.create_chat_completion, "embeddings": openai_server.create_embeddings}
_TOKEN = re.compile(r"/[^/]+/oauth2/v2\.0/token")
_SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_CODES = {401: "401", 404: "404", 429: "429", 500: "InternalServerError"}
_DENIED = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)


def respond(request: MockRequest) -> MockResponse:
    if request.path.startswith("/msi/token"):
        return managed_token(request)
    if _TOKEN.fullmatch(request.path):
        return entra_token(request)
    if request.path.endswith(_OPENID):
        return _openid(request)
    found = _respond(request)
    found.headers = {"apim-request-id": f"mock-{request.number}", "x-ms-region": "Sweden Central", **found.headers}
    return found


def _respond(request: MockRequest) -> MockResponse:
    if not _is_authorized(request.headers):
        return error(401, _DENIED)
    newer, dated = _V1_PATH.fullmatch(request.path), _DATED_PATH.fullmatch(request.path)
    if not newer and not (dated and _VERSION.fullmatch(request.query)):
        return error(404, "Resource not found")
    if not isinstance(request.body, dict):
        return error(400, "We could not parse the JSON body of your request.")
    if dated:
        request.body["model"] = dated[1]
    if str(request.body.get("model")).startswith("no-such"):
        text = "The API deployment for this resource does not exist. If you created the deployment within the last 5 "
        return json_response({"error": {"code": "DeploymentNotFound", "message": text + "minutes, please wait."}}, 404)
    route = newer[1] if newer else dated[2] if dated else ""
    if route == "chat/completions" and FILTERED_PROMPT in json_text(request.body.get("messages")):
        return _filtered()
    found = _ROUTES[route](request)
    return _with_filters(found) if route == "chat/completions" and found.status == 200 else found


def _is_authorized(headers: dict[str, str]) -> bool:
    key, token = headers.get("api-key"), headers.get("authorization", "").removeprefix("Bearer ")
    return is_valid_token(token) if key is None else key not in ("", "bad-key")


def error(status: int, message: str) -> MockResponse:
    return json_response(_error(status, message), status)


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"code": _CODES.get(status, "BadRequest"), "message": message}}


def _rate_limited(seconds: float) -> MockResponse:
    limited = error(429, "Requests have exceeded the token rate limit of your current tier.")
    limited.headers = {"retry-after": f"{seconds:g}", "retry-after-ms": f"{seconds * 1000:g}"} if seconds else {}
    return limited


def _error_event(status: int, message: str) -> bytes:
    return sse_event(_error(status, message))


def _filtered() -> MockResponse:
    result = {**_SAFE, "violence": {"filtered": True, "severity": "medium"}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": result}
    text = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    told = {"message": text, "type": None, "param": "prompt", "code": "content_filter", "status": 400}
    return json_response({"error": {**told, "innererror": inner}}, 400)


def _with_filters(response: MockResponse) -> MockResponse:
    """What the filters say of the prompt and of the answer; in a stream the prompt's come first, without a choice."""
    prompt = [{"prompt_index": 0, "content_filter_results": _SAFE}]
    if response.events is None:
        body = msgspec.json.decode(response.body)
        for choice in body["choices"]:
            choice["content_filter_results"] = _SAFE
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
        choice["content_filter_results"] = _SAFE if choice["delta"].get("content") else {}
    return sse_event(chunk)


def _openid(request: MockRequest) -> MockResponse:
    authority = f"https://{request.headers['host']}/{request.path.split('/')[1]}"
    names = {"token": "token", "authorization": "authorize"}
    endpoints = {f"{name}_endpoint": f"{authority}/oauth2/v2.0/{path}" for name, path in names.items()}
    return json_response({**endpoints, "issuer": f"{authority}/v2.0"})


def _is_token_path(path: str) -> bool:
    return bool(_TOKEN.fullmatch(path)) or path.startswith("/msi/token") or path.endswith(_OPENID)


API = ProviderApi(respond, error, _rate_limited, _error_event, is_token_path=_is_token_path)
