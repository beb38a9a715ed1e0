"""A mock of Vertex AI with Gemini and Anthropic models, Google access tokens and the token server."""

import re
from typing import Any

from nulpoint.mock.anthropic import server as anthropic_server
from nulpoint.mock.anthropic.models import find_model
from nulpoint.mock.gemini import models as gemini_models
from nulpoint.mock.gemini import server as gemini_server
from nulpoint.mock.gemini.rules import normalize
from nulpoint.mock.interface import MockRequest, MockResponse, ProviderApi, json_response, token_count, vector
from nulpoint.mock.model_table import is_retired
from nulpoint.mock.tokens import google_token, is_valid_token

TOKEN_PATH = "/token"
_MODEL_PATH = re.compile(
    r"/v1(?:beta1)?/projects/([^/]+)/locations/([^/]+)/publishers/(google|anthropic)/models/([^/:]+):(\w+)"
)
_KNOWN_MODELS = re.compile(r"(gemini|text-embedding|text-multilingual-embedding)-")
_VERSION = "vertex-2023-10-16"
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
    response = _google(request, model, method) if publisher == "google" else _anthropic(request, model, method, project)
    if response is None:
        text = f"Publisher Model `projects/{project}/locations/{location}/publishers/{publisher}/models/{model}` "
        return error(404, f"{text}was not found or your project does not have access to it.")
    return response


def _google(request: MockRequest, model: str, method: str) -> MockResponse | None:
    row = gemini_models.find_model(model)
    if not _KNOWN_MODELS.match(model) or is_retired(row, "vertexai", request.today):
        return None
    if row.embeds:
        return _embed(request, model, method, row.embeds.get("vertexai", ()))
    methods = {"generateContent": gemini_server.generate_content, "streamGenerateContent": gemini_server.stream_content}
    if method not in methods:
        return None
    if method == "streamGenerateContent" and request.query != "alt=sse":
        return error(400, "The mock streams only server-sent events: add alt=sse.")
    if any("role" not in content for content in request.body.get("contents") or ()):
        return error(400, "Please use a valid role: user, model.")
    request.body = normalize(request.body)
    if "continuationToken" in request.body and not request.path.startswith("/v1beta1/"):
        return error(400, 'Invalid JSON payload received. Unknown name "continuationToken": Cannot find field.')
    return methods[method](request, model, "vertexai")


def _embed(request: MockRequest, model: str, method: str, methods: tuple[str, ...]) -> MockResponse | None:
    if method == "predict" and method not in methods:
        text = f"{model} is not supported by predict. Use embedContent instead."
        return gemini_server.error(400, text, kind="FAILED_PRECONDITION")
    if method not in methods:
        return None
    if method == "predict":
        return _predict(request.body, model)
    request.body = normalize(request.body)
    return gemini_server.embed(request, batch=method == "batchEmbedContents")


def _anthropic(request: MockRequest, model: str, method: str, project: str) -> MockResponse | None:
    body = request.body
    if method not in ("rawPredict", "streamRawPredict") or not model.startswith("claude"):
        return None
    if "model" in body:
        return anthropic_server.error(400, "model: Extra inputs are not permitted")
    if body.pop("anthropic_version", None) != _VERSION:
        return anthropic_server.error(400, "anthropic_version: Field required")
    if bool(body.get("stream")) != (method == "streamRawPredict"):
        return anthropic_server.error(400, "stream: does not go with this method")
    if is_retired(find_model(model), "vertexai", request.today):
        return None
    betas = body.pop("anthropic_beta", None)
    if isinstance(betas, list):
        request.headers = {**request.headers, "anthropic-beta": ",".join(map(str, betas))}
    request.body = {**body, "model": model}
    return anthropic_server.create_message(request, project, "vertexai")


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
