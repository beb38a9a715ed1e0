"""A mock of Vertex AI with Gemini and Anthropic models, Google access tokens and the token server."""

import re
from typing import Any

from nulpoint.mock.anthropic import server as anthropic_server
from nulpoint.mock.gemini import server as gemini_server
from nulpoint.mock.gemini.rules import normalize
from nulpoint.mock.interface import MockRequest, MockResponse, ProviderApi, json_response, token_count, vector
from nulpoint.mock.tokens import google_token, is_valid_token

TOKEN_PATH = "/token"
_MODEL_PATH = re.compile(r"/v1/projects/([^/]+)/locations/([^/]+)/publishers/(google|anthropic)/models/([^/:]+):(\w+)")
_VERSION = "vertex-2023-10-16"
_EMBEDDING_MODELS = re.compile(r"(text-embedding-00\d|gemini-embedding-001|text-multilingual-embedding-002)")
_SINGLE_INSTANCE_MODEL = "gemini-embedding-001"
_UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
_TOKEN_EXPIRED = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_EXPIRED"}


def respond(request: MockRequest) -> MockResponse:
    if request.path == TOKEN_PATH:
        return google_token(request)
    if not is_valid_token(request.headers.get("authorization", "").removeprefix("Bearer ")):
        return error(401, _UNAUTHENTICATED)
    match = _MODEL_PATH.fullmatch(request.path)
    if match is None:
        return error(404, "Not found.")
    project, location, publisher, model, method = match.groups()
    if project.startswith("other"):
        resource = f"//aiplatform.googleapis.com/projects/{project}/locations/{location}"
        message = f"Permission 'aiplatform.endpoints.predict' denied on resource '{resource}' (or it may not exist)."
        return error(403, message)
    model = model.replace("%40", "@")
    if not isinstance(request.body, dict):
        return error(400, "Invalid JSON payload received.")
    response = {"google": _google, "anthropic": _anthropic}[publisher](request, model, method)
    if response is None:
        text = f"Publisher Model `projects/{project}/locations/{location}/publishers/{publisher}/models/{model}` "
        return error(404, f"{text}was not found or your project does not have access to it.")
    return response


def _google(request: MockRequest, model: str, method: str) -> MockResponse | None:
    if method == "predict":
        return _predict(request.body, model) if _EMBEDDING_MODELS.fullmatch(model) else None
    methods = {"generateContent": gemini_server.generate_content, "streamGenerateContent": gemini_server.stream_content}
    if method not in methods or not model.startswith("gemini-"):
        return None
    if method == "streamGenerateContent" and request.query != "alt=sse":
        return error(400, "The mock streams only server-sent events: add alt=sse.")
    if any("role" not in content for content in request.body.get("contents") or ()):
        return error(400, "Please use a valid role: user, model.")
    request.body = normalize(request.body)
    return methods[method](request, model)


def _anthropic(request: MockRequest, model: str, method: str) -> MockResponse | None:
    body = request.body
    if method not in ("rawPredict", "streamRawPredict") or not model.startswith("claude"):
        return None
    if "model" in body:
        return anthropic_server.error(400, "model: Extra inputs are not permitted")
    if body.pop("anthropic_version", None) != _VERSION:
        return anthropic_server.error(400, "anthropic_version: Field required")
    if bool(body.get("stream")) != (method == "streamRawPredict"):
        return anthropic_server.error(400, "stream: does not go with this method")
    request.body = {**body, "model": model}
    return anthropic_server.create_message(request)


def _predict(body: dict[str, Any], model: str) -> MockResponse:
    instances = body.get("instances")
    if not isinstance(instances, list) or not instances:
        return error(400, "instances: must hold at least one instance")
    if model == _SINGLE_INSTANCE_MODEL and len(instances) > 1:
        return error(400, f"The model {model} takes one instance a request.")
    size = (body.get("parameters") or {}).get("outputDimensionality") or 768
    return json_response({"predictions": [_prediction(instance["content"], size) for instance in instances]})


def _prediction(text: str, size: int) -> dict[str, Any]:
    counts = {"token_count": token_count(text), "truncated": False}
    return {"embeddings": {"values": vector(text, size), "statistics": counts}}


def error(status: int, message: str) -> MockResponse:
    return gemini_server.error(status, message, [_TOKEN_EXPIRED] if status == 401 else None)


def _api_for_path(path: str) -> ProviderApi | None:
    """Return the API whose error format the path uses: Anthropic models report errors as Anthropic does."""
    return anthropic_server.API if "/publishers/anthropic/" in path else None


API = ProviderApi(
    respond,
    error,
    gemini_server.API.rate_limited,
    gemini_server.API.error_event,
    _api_for_path,
    lambda path: path == TOKEN_PATH,
)
