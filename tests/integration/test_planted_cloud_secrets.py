"""Tokens, assertions and secrets of the clouds, with servers that repeat all they were told: nothing of it comes out."""

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


async def all_that_is_said(running, models):
    """Every answer to every kind of request, and the pages."""
    caller, said = await Caller.connect(running.port), []
    for model in models:
        for streamed in (False, True):
            body = {"model": model, "stream": streamed, "messages": [{"role": "user", "content": "hi"}]}
            caller.send(post(json.dumps(body).encode(), "/v1/chat/completions", "x-nulpoint-trace: 1"))
            try:
                said.append(str(await caller.answer()))
            except asyncio.IncompleteReadError as cut:
                said.append(str(cut.partial))
                caller = await Caller.connect(running.port)
    for page in ("/health", "/metrics", "/v1/models"):
        caller.send(f"GET {page} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        said.append(str(await caller.answer()))
    return said


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
            said = await all_that_is_said(running, MODELS[name])
            used = {value for field, value in server.last["headers"] if field in ("authorization", "api-key")}
            secret, _, argument = fault.partition("=")
            server.set_fault(secret, arg=float(argument) if argument else None)
            said += await all_that_is_said(running, MODELS[name])
            used |= {value for field, value in server.last["headers"] if field in ("authorization", "api-key")}
            said += [record.getMessage() + str(record.exc_info) for record in caplog.records]
            said.append(running.log().decode())
        return said, {one.removeprefix("Bearer ") for one in used}

    said, used = run(main())
    assert used
    text = "\n".join(said)
    for secret in {*used, *(cloud_mocks.private_key().splitlines()[1:4])}:
        assert secret not in text
        assert secret[:12] not in text or secret.startswith("sk-configured")
    assert "eyJ" not in text  # the beginning of every assertion
    assert "ya29" not in text
