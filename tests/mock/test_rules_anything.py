"""The mocks respond to any request, however malformed, and never fail themselves."""

import json

import pytest
import test_rules_anthropic
import test_rules_bedrock
import test_rules_gemini
import test_rules_mistral
import test_rules_openai
from hypothesis import given, settings
from hypothesis import strategies as st

from nulpoint.mock.anthropic import server as anthropic_server
from nulpoint.mock.bedrock import server as bedrock_server
from nulpoint.mock.gemini import server as gemini_server
from nulpoint.mock.interface import MockRequest
from nulpoint.mock.mistral import server as mistral_server
from nulpoint.mock.openai import server as openai_server

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "name", "text", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
BEARER = {"authorization": "Bearer k"}
# the provider's module, a path, headers, and requests that it accepts
MOCKS = {
    "anthropic": (
        anthropic_server,
        "/v1/messages",
        {"x-api-key": "k", "anthropic-version": "2023-06-01"},
        [test_rules_anthropic.request(change) for change in test_rules_anthropic.ACCEPTED.values()],
    ),
    "bedrock": (
        bedrock_server,
        f"/model/{test_rules_bedrock.MODEL}/converse-stream",
        BEARER,
        [test_rules_bedrock.request(change) for change in test_rules_bedrock.ACCEPTED.values()],
    ),
    "gemini": (
        gemini_server,
        "/v1beta/models/gemini-3-flash:streamGenerateContent",
        {"x-goog-api-key": "k"},
        [test_rules_gemini.request(change) for _, change in test_rules_gemini.ACCEPTED.values()],
    ),
    "mistral": (
        mistral_server,
        "/v1/chat/completions",
        BEARER,
        [test_rules_mistral.request(change) for change in test_rules_mistral.ACCEPTED.values()],
    ),
    "openai": (
        openai_server,
        "/v1/chat/completions",
        BEARER,
        [test_rules_openai.request(change) for change in test_rules_openai.ACCEPTED.values()],
    ),
}


def paths(value, path=()):
    """Yield the path of every member and item inside a JSON value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in members:
        yield (*path, name)
        yield from paths(inner, (*path, name))


def changed(body, path, value):
    body = json.loads(json.dumps(body))
    inner = body
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return body


@pytest.mark.parametrize("provider", MOCKS)
@settings(max_examples=100)
@given(data=st.data())
def test_any_change_gets_a_response(provider, data):
    module, path, headers, bodies = MOCKS[provider]
    body = data.draw(st.sampled_from(bodies))
    path_to_change = data.draw(st.sampled_from(list(paths(body))))
    request = MockRequest("POST", path, headers, changed(body, path_to_change, data.draw(JSON)), 1, 3)
    response = module.API.respond(request)
    assert response.status in (200, 400, 404, 422)
    assert response.events or response.body
