"""The mocks respond to any request, however malformed, and never fail themselves."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nulpoint.mock.anthropic import server as anthropic_server
from nulpoint.mock.bedrock import server as bedrock_server
from nulpoint.mock.gemini import server as gemini_server
from nulpoint.mock.interface import MockRequest
from nulpoint.mock.mistral import server as mistral_server
from nulpoint.mock.openai import server as openai_server
from support.mock_requests import anthropic as anthropic_requests
from support.mock_requests import bedrock as bedrock_requests
from support.mock_requests import gemini as gemini_requests
from support.mock_requests import mistral as mistral_requests
from support.mock_requests import openai as openai_requests

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
        [anthropic_requests.request(change) for change in anthropic_requests.ACCEPTED.values()],
    ),
    "bedrock": (
        bedrock_server,
        f"/model/{bedrock_requests.MODEL}/converse-stream",
        BEARER,
        [bedrock_requests.request(change) for change in bedrock_requests.ACCEPTED.values()],
    ),
    "gemini": (
        gemini_server,
        "/v1beta/models/gemini-3-flash:streamGenerateContent",
        {"x-goog-api-key": "k"},
        [gemini_requests.request(change) for _, change in gemini_requests.ACCEPTED.values()],
    ),
    "mistral": (
        mistral_server,
        "/v1/chat/completions",
        BEARER,
        [mistral_requests.request(change) for change in mistral_requests.ACCEPTED.values()],
    ),
    "openai": (
        openai_server,
        "/v1/chat/completions",
        BEARER,
        [openai_requests.request(change) for change in openai_requests.ACCEPTED.values()],
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
