"""A prompt for a provider that the gateway does not know never goes to another one, unless the operator says so."""

import json

import pytest

from support.event_loop import run
from support.http_client import Caller, post
from support.running_gateway import gateway


def ask(model, settings=()):
    """Return the response, and the number of requests that the mock of OpenAI has received."""

    async def main():
        async with gateway(dict(settings)) as running:
            caller = await Caller.connect(running.port)
            caller.send(
                post(json.dumps({"model": model, "messages": [{"role": "user", "content": "a secret"}]}).encode())
            )
            status, headers, body = await caller.answer()
            return status, headers, json.loads(body), running.mock.requests

    return run(main())


@pytest.mark.parametrize(
    "model", ["vertex_ai/gemini-2.5-pro", "google/gemini-3.8-flash", "x-ai/grok-4.7", "acme/model"]
)
def test_it_is_a_404_that_lists_the_configured_providers(model):
    status, _, body, requests = ask(model)
    assert (status, requests) == (404, 0)
    error = body["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "model", "model_not_found")
    assert "configured providers: openai." in error["message"]


def test_it_goes_unchanged_to_the_default_that_is_set():
    status, headers, _, requests = ask("acme/gpt-4o", {"DEFAULT_PROVIDER": "openai"}.items())
    assert (headers["x-nulpoint-provider"], headers["x-nulpoint-model"], requests) == ("openai", "acme/gpt-4o", 1)
    assert status in (200, 404)  # the mock answers for itself


@pytest.mark.parametrize("model", ["qwen3-max", "minimax-m2", "voxtral-small-latest", "codestral", "zai.glm-4.7"])
def test_names_of_makers_that_are_not_configured_stay_here_too(model):
    status, _, body, requests = ask(model)
    assert (status, body["error"]["code"], requests) == (400, "provider_not_configured", 0)
