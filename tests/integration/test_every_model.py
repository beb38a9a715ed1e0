"""Every known model is sent only requests that it accepts.

The facts of the gateway and the tables of the mocks were written down separately. Here they have to agree: each request
of a table is prepared for each model as a real request is, and goes through the rules of the mock of its host.
"""

import json
from functools import cache

import pytest

from nulpoint.errors import Failure
from nulpoint.models.catalog import built_in_models
from nulpoint.protocols.openai.envelope import read_envelope
from nulpoint.providers.catalog import CATALOG
from nulpoint.proxy.upstream_request import prepare
from nulpoint.routing.chains import Target
from support.host_rules import HOSTS, find_problem
from support.model_requests import MODEL_REQUESTS, model_request
from support.provider_endpoints import endpoint_of

MODELS = built_in_models()
UNLISTED = {"fireworks": ["accounts/fireworks/models/qwen3-235b-a22b", "accounts/fireworks/models/gpt-oss-120b"]}
# It ended before there were reasoning and tools, and what it accepted is not in the facts.
ENDED = {"gemini": ["gemini-pro"]}
# What the gateway itself refuses, by the name of the request, with the member that it names.
ONE_CHOICE = {"two choices": "n"}
OWN_AUDIO = {"speech": "audio.format"}  # Gemini speaks only in a format of its own
REFUSED = {
    **dict.fromkeys(("anthropic", "vertexai-claude", "bedrock"), ONE_CHOICE),
    **dict.fromkeys(("gemini", "vertexai"), ONE_CHOICE | OWN_AUDIO),
}
TOOLS_REFUSED_AS = {"never": "tools", "without_reasoning": "reasoning_effort"}
# Names that OpenAI does not accept are passed on, so that the host answers for itself.
PASSED_ON = {"tool names": "tools[1].function.name"}


def chat_models(host):
    names = [*MODELS.names(host), *UNLISTED.get(host, ())]
    chat = [name for name in names if MODELS.of(host, name).kind == "chat" and MODELS.of(host, name).chat]
    return [name for name in chat if name not in ENDED.get(host, ())]


@cache
def endpoint(host):
    return endpoint_of(CATALOG[host], "chat")


def problem(host, model, body, *, is_fallback=False):
    """Return the member that the gateway or the host refuses a request for, or else the host's complaint, or None."""
    target = Target.at(endpoint(host).provider, model)
    try:
        request = prepare(body, read_envelope(body), endpoint(host), target, is_fallback=is_fallback)
    except Failure as failure:
        return failure.param
    found = find_problem(host, request)
    return None if found is None else getattr(found, "param", None) or str(found)


def allowed(host, model, name):
    """Return the members for which a request may be refused."""
    members = {REFUSED.get(host, {}).get(name)}
    if endpoint(host).sends_chat:
        members.add(PASSED_ON.get(name))
    if host == "openai" and {"tools", "functions"} & MODEL_REQUESTS[name].keys():
        members.add(TOOLS_REFUSED_AS.get(MODELS.of(host, model).chat_tools))
    return members


def test_every_host_has_models():
    assert all(chat_models(host) for host in HOSTS)


@pytest.mark.parametrize(("host", "model"), [(host, model) for host in HOSTS for model in chat_models(host)])
def test_the_host_accepts_every_request(host, model):
    problems = {}
    for name in MODEL_REQUESTS:
        for stream in (False, True):
            found = problem(host, model, json.dumps(model_request(name, model, stream=stream)).encode())
            if found not in {None, *allowed(host, model, name)}:
                problems[name, stream] = found
    assert problems == {}


@pytest.mark.parametrize("host", HOSTS)
def test_a_fallback_gets_names_of_tools_that_it_accepts(host):
    for model in chat_models(host):
        body = json.dumps(model_request("tool names", model, stream=True)).encode()
        found = problem(host, model, body, is_fallback=True)
        assert found in {None, *allowed(host, model, "tool names")} - set(PASSED_ON.values())


@pytest.mark.parametrize("model", ["gpt-7", "gpt-6.3-luna", "gpt-7-2027-05-01"])
@pytest.mark.parametrize("host", ["openai", "azure"])
def test_the_host_of_an_unknown_model_answers_for_itself(host, model):
    target = Target.at(endpoint(host).provider, model)
    for name in MODEL_REQUESTS:
        body = json.dumps(model_request(name, model, stream=False)).encode()
        prepare(body, read_envelope(body), endpoint(host), target)
