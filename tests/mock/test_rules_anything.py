"""Whatever a request holds, a mock answers it or says what is wrong: it never breaks."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nulpoint.mock.answers import Call
from nulpoint.mock.anthropic import server as anthropic_server
from nulpoint.mock.bedrock import server as bedrock_server
from nulpoint.mock.gemini import server as gemini_server
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
# the provider, its path and header fields, and requests it takes
MOCKS = {
    "anthropic": (
        anthropic_server,
        "/v1/messages",
        {"x-api-key": "k", "anthropic-version": "2023-06-01"},
        [anthropic_requests.request(change) for change in anthropic_requests.TAKEN.values()],
    ),
    "bedrock": (
        bedrock_server,
        f"/model/{bedrock_requests.MODEL}/converse-stream",
        BEARER,
        [bedrock_requests.request(change) for change in bedrock_requests.TAKEN.values()],
    ),
    "gemini": (
        gemini_server,
        "/v1beta/models/gemini-3-flash:streamGenerateContent",
        {"x-goog-api-key": "k"},
        [gemini_requests.request(change) for _, change in gemini_requests.TAKEN.values()],
    ),
    "mistral": (
        mistral_server,
        "/v1/chat/completions",
        BEARER,
        [mistral_requests.request(change) for change in mistral_requests.TAKEN.values()],
    ),
    "openai": (
        openai_server,
        "/v1/chat/completions",
        BEARER,
        [openai_requests.request(change) for change in openai_requests.TAKEN.values()],
    ),
}


def places(value, path=()):
    """Every member and item, by its path."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in members:
        yield (*path, name)
        yield from places(inner, (*path, name))


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
def test_any_change_is_answered(provider, data):
    module, path, headers, bodies = MOCKS[provider]
    body = data.draw(st.sampled_from(bodies))
    place = data.draw(st.sampled_from(list(places(body))))
    call = Call("POST", path, headers, changed(body, place, data.draw(JSON)), 1, 3)
    answer = module.DIALECT.answer(call)
    assert answer.status in (200, 400, 404, 422)
    assert answer.events or answer.body
