"""Tests that no token, assertion or secret of a cloud appears, with servers that repeat everything they receive."""

import asyncio
import json
import logging

import pytest

from nulpoint.credentials import schedule
from nulpoint.mock import start
from support import cloud_mocks
from support.event_loop import run
from support.http_client import Caller, post
from support.running_gateway import gateway

FAULTS = ("repeat", "repeat=403", "repeat_in_200", "repeat_first", "repeat_mid_stream", "expired_token", "token_repeat")
MODELS = {
    "azure": ("azure-gpt-4o",),
    "vertexai": ("vertexai-gemini-2.5-flash", "vertexai-claude-haiku-4-5"),
}
MANAGED = {"AZURE_OPENAI_API_KEY": "", "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential"}


async def responses_and_pages(running, models):
    """Return the responses to every kind of request, and the pages."""
    client, texts = await Caller.connect(running.port), []
    for model in models:
        for streamed in (False, True):
            body = {"model": model, "stream": streamed, "messages": [{"role": "user", "content": "hi"}]}
            client.send(post(json.dumps(body).encode(), "/v1/chat/completions", "x-nulpoint-trace: 1"))
            try:
                texts.append(str(await client.answer()))
            except asyncio.IncompleteReadError as cut:
                texts.append(str(cut.partial))
                client = await Caller.connect(running.port)
    for page in ("/health", "/metrics", "/v1/models"):
        client.send(f"GET {page} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        texts.append(str(await client.answer()))
    return texts


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("cloud", ["azure key", "azure", "vertexai"])
def test_nothing_of_a_credential_is_shown(cloud, fault, monkeypatch, caplog):
    monkeypatch.setattr(schedule, "MIN_SECONDS_BEFORE_REFUSAL", 0.0)
    caplog.set_level(logging.DEBUG)
    name, _, by_key = cloud.partition(" ")

    async def main():
        server = await start(name)
        monkeypatch.setenv("IDENTITY_HEADER", "here")
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        settings = {"LOG_LEVEL": "debug", **(MANAGED if name == "azure" and not by_key else {})}
        async with gateway(settings, providers={name: server}) as running:
            texts = await responses_and_pages(running, MODELS[name])
            credentials = {value for header, value in server.last["headers"] if header in ("authorization", "api-key")}
            secret, _, argument = fault.partition("=")
            server.set_fault(secret, arg=float(argument) if argument else None)
            texts += await responses_and_pages(running, MODELS[name])
            credentials |= {value for header, value in server.last["headers"] if header in ("authorization", "api-key")}
            texts += [record.getMessage() + str(record.exc_info) for record in caplog.records]
            texts.append(running.log().decode())
        return texts, {value.removeprefix("Bearer ") for value in credentials}

    texts, credentials = run(main())
    assert credentials
    text = "\n".join(texts)
    for secret in {*credentials, *(cloud_mocks.private_key().splitlines()[1:4])}:
        assert secret not in text
        assert secret[:12] not in text or secret.startswith("sk-configured")
    assert "eyJ" not in text  # the beginning of every assertion
    assert "ya29" not in text
