"""Vertex AI: Gemini's and Anthropic's models under one roof, behind Google's access tokens; with the token server."""

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
_DENIED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
_REASON = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_EXPIRED"}


def respond(request: MockRequest) -> MockResponse:
    if request.path == TOKEN_PATH:
        return google_token(request)
    if not is_valid_token(request.headers.get("authorization", "").removeprefix("Bearer ")):
        return error(401, _DENIED)
    found = _MODEL_PATH.fullmatch(request.path)
    if found is None:
        return error(404, "Not found.")
    project, location, publisher, model, verb = found.groups()
    if project.startswith("other"):
        place = f"//aiplatform.googleapis.com/projects/{project}/locations/{location}"
        denied = f"Permission 'aiplatform.endpoints.predict' denied on resource '{place}' (or it may not exist)."
        return error(403, denied)
    model = model.replace("%40", "@")
    if not isinstance(request.body, dict):
        return error(400, "Invalid JSON payload received.")
    known = {"google": _google, "anthropic": _anthropic}[publisher](request, model, verb)
    if known is None:
        text = f"Publisher Model `projects/{project}/locations/{location}/publishers/{publisher}/models/{model}` "
        return error(404, f"{text}was not found or your project does not have access to it.")
    return known


def _google(request: MockRequest, model: str, verb: str) -> MockResponse | None:
    if verb == "predict":
        return _predict(request.body, model) if _EMBEDDING_MODELS.fullmatch(model) else None
    verbs = {"generateContent": gemini_server.generate_content, "streamGenerateContent": gemini_server.stream_content}
    if verb not in verbs or not model.startswith("gemini-"):
        return None
    if verb == "streamGenerateContent" and request.query != "alt=sse":
        return error(400, "The mock streams as events only: alt=sse.")
    if any("role" not in content for content in request.body.get("contents") or ()):
        return error(400, "Please use a valid role: user, model.")
    request.body = normalize(request.body)
    return verbs[verb](request, model)


def _anthropic(request: MockRequest, model: str, verb: str) -> MockResponse | None:
    body = request.body
    if verb not in ("rawPredict", "streamRawPredict") or not model.startswith("claude"):
        return None
    if "model" in body:
        return anthropic_server.error(400, "model: Extra inputs are not permitted")
    if body.pop("anthropic_version", None) != _VERSION:
        return anthropic_server.error(400, "anthropic_version: Field required")
    if bool(body.get("stream")) != (verb == "streamRawPredict"):
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
    return json_response({"predictions": [_prediction(one["content"], size) for one in instances]})


def _prediction(text: str, size: int) -> dict[str, Any]:
    counts = {"token_count": token_count(text), "truncated": False}
    return {"embeddings": {"values": vector(text, size), "statistics": counts}}


def error(status: int, message: str) -> MockResponse:
    return gemini_server.error(status, message, [_REASON] if status == 401 else None)


def _api_for_path(path: str) -> ProviderApi | None:
    """Errors that a model's maker tells come in the maker's words."""
    return anthropic_server.API if "/publishers/anthropic/" in path else None


API = ProviderApi(
    respond,
    error,
    gemini_server.API.rate_limited,
    gemini_server.API.error_event,
    _api_for_path,
    lambda path: path == TOKEN_PATH,
)
