"""Asks the rules of the mock providers about requests, without sockets."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from nulpoint.mock.anthropic import rules as anthropic
from nulpoint.mock.bedrock import rules as bedrock
from nulpoint.mock.gemini import rules as gemini
from nulpoint.mock.mistral import rules as mistral
from nulpoint.mock.openai import hosts
from nulpoint.mock.openai import rules as openai
from nulpoint.proxy.upstream_request import UpstreamRequest

Problem = object | None


def _claude(request: UpstreamRequest, body: Any, host: str) -> Problem:
    added = request.translation.headers if request.translation is not None else {}
    headers = {name.decode(): value.decode() for name, value in added.items()}
    return anthropic.find_problem(body, {"anthropic-version": "2023-06-01", **headers}, host=host)


def _anthropic(request: UpstreamRequest, body: Any) -> Problem:
    return _claude(request, body, "anthropic")


def _vertexai_claude(request: UpstreamRequest, body: Any) -> Problem:
    del body["anthropic_version"]
    return _claude(request, {**body, "model": request.model}, "vertexai")


def _bedrock(request: UpstreamRequest, body: Any) -> Problem:
    return bedrock.find_problem(body, request.model)


def _gemini(host: str) -> "_Rule":
    return lambda request, body: gemini.find_problem(gemini.normalize(body), request.model, host=host)


def _mistral(request: UpstreamRequest, body: Any) -> Problem:
    return mistral.validation_errors(body) or mistral.find_problem(body)


def _openai(request: UpstreamRequest, body: Any) -> Problem:
    return openai.find_problem(body)


def _openai_shaped(host: str) -> "_Rule":
    return lambda request, body: openai.find_problem(body) or hosts.find_problem(body, host)


_Rule = Callable[[UpstreamRequest, Any], Problem]
_RULES: Mapping[str, _Rule] = {
    "anthropic": _anthropic,
    "vertexai-claude": _vertexai_claude,
    "bedrock": _bedrock,
    "gemini": _gemini("gemini"),
    "vertexai": _gemini("vertexai"),
    "mistral": _mistral,
    "openai": _openai,
    **{host: _openai_shaped(host) for host in hosts.HOSTS},
}
HOSTS = tuple(_RULES)


def find_problem(host: str, request: UpstreamRequest) -> Problem:
    """Return why the mock of a host refuses a prepared request, or None if it accepts it."""
    return _RULES[host](request, json.loads(request.body))
