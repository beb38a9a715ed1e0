"""Azure OpenAI: OpenAI's API under other paths, with deployments, content filters, and its own words for errors.

Both surfaces: `/openai/v1` and the dated one. Beside it stand the token servers of Entra ID.
"""

import re
from typing import Any

import msgspec

from nulpoint.mock.answers import Answer, Call, Dialect, event, json_answer, json_text
from nulpoint.mock.openai import server as openai_server
from nulpoint.mock.tokens import entra_token, is_valid, managed_token

FILTERED = "please filter"
_OPENID = "/.well-known/openid-configuration"
_DATED = re.compile(r"/openai/deployments/([^/]+)/(chat/completions|embeddings)")
_NEWER = re.compile(r"/openai/v1/(chat/completions|embeddings)")
_VERSION = re.compile(r"api-version=20[0-9]{2}-[0-9]{2}-[0-9]{2}(-preview)?")
_ROUTES = {"chat/completions": openai_server.chat, "embeddings": openai_server.embeddings}
_TOKEN = re.compile(r"/[^/]+/oauth2/v2\.0/token")
_SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_CODES = {401: "401", 404: "404", 429: "429", 500: "InternalServerError"}
_DENIED = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource."
)


def answer(call: Call) -> Answer:
    if call.path.startswith("/msi/token"):
        return managed_token(call)
    if _TOKEN.fullmatch(call.path):
        return entra_token(call)
    if call.path.endswith(_OPENID):
        return _openid(call)
    found = _answer(call)
    found.headers = {"apim-request-id": f"mock-{call.number}", "x-ms-region": "Sweden Central", **found.headers}
    return found


def _answer(call: Call) -> Answer:
    if not _is_known(call.headers):
        return error(401, _DENIED)
    newer, dated = _NEWER.fullmatch(call.path), _DATED.fullmatch(call.path)
    if not newer and not (dated and _VERSION.fullmatch(call.query)):
        return error(404, "Resource not found")
    if not isinstance(call.body, dict):
        return error(400, "We could not parse the JSON body of your request.")
    if dated:
        call.body["model"] = dated[1]
    if str(call.body.get("model")).startswith("no-such"):
        text = "The API deployment for this resource does not exist. If you created the deployment within the last 5 "
        return json_answer({"error": {"code": "DeploymentNotFound", "message": text + "minutes, please wait."}}, 404)
    route = newer[1] if newer else dated[2] if dated else ""
    if route == "chat/completions" and FILTERED in json_text(call.body.get("messages")):
        return _filtered()
    found = _ROUTES[route](call)
    return _with_filters(found) if route == "chat/completions" and found.status == 200 else found


def _is_known(headers: dict[str, str]) -> bool:
    key, token = headers.get("api-key"), headers.get("authorization", "").removeprefix("Bearer ")
    return is_valid(token) if key is None else key not in ("", "bad-key")


def error(status: int, message: str) -> Answer:
    return json_answer(_error(status, message), status)


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"code": _CODES.get(status, "BadRequest"), "message": message}}


def _rate_limited(seconds: float) -> Answer:
    limited = error(429, "Requests have exceeded the token rate limit of your current tier.")
    limited.headers = {"retry-after": f"{seconds:g}", "retry-after-ms": f"{seconds * 1000:g}"} if seconds else {}
    return limited


def _error_event(status: int, message: str) -> bytes:
    return event(_error(status, message))


def _filtered() -> Answer:
    result = {**_SAFE, "violence": {"filtered": True, "severity": "medium"}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": result}
    text = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    told = {"message": text, "type": None, "param": "prompt", "code": "content_filter", "status": 400}
    return json_answer({"error": {**told, "innererror": inner}}, 400)


def _with_filters(found: Answer) -> Answer:
    """What the filters say of the prompt and of the answer; in a stream the prompt's come first, without a choice."""
    prompt = [{"prompt_index": 0, "content_filter_results": _SAFE}]
    if found.events is None:
        body = msgspec.json.decode(found.body)
        for choice in body["choices"]:
            choice["content_filter_results"] = _SAFE
        found.body = msgspec.json.encode({**body, "prompt_filter_results": prompt})
        return found
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": prompt}
    found.events = [event(first), *map(_with_filter, found.events)]
    return found


def _with_filter(one: bytes) -> bytes:
    if one == openai_server.DONE:
        return one
    chunk = msgspec.json.decode(one.removeprefix(b"data: "))
    for choice in chunk["choices"]:
        choice["content_filter_results"] = _SAFE if choice["delta"].get("content") else {}
    return event(chunk)


def _openid(call: Call) -> Answer:
    authority = f"https://{call.headers['host']}/{call.path.split('/')[1]}"
    names = {"token": "token", "authorization": "authorize"}
    endpoints = {f"{name}_endpoint": f"{authority}/oauth2/v2.0/{path}" for name, path in names.items()}
    return json_answer({**endpoints, "issuer": f"{authority}/v2.0"})


def _gives_tokens(path: str) -> bool:
    return bool(_TOKEN.fullmatch(path)) or path.startswith("/msi/token") or path.endswith(_OPENID)


DIALECT = Dialect(answer, error, _rate_limited, _error_event, gives_tokens=_gives_tokens)
