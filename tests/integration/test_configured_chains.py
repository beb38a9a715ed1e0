"""Chains of config.yaml over real sockets, and that a caller's key goes to nobody but the provider it is for."""

import json

import pytest

from support.event_loop import run
from support.http_client import CHAT, Caller, post
from support.running_gateway import gateway

CHAIN = "fallbacks:\n  gpt-4o: [{openai/gpt-4o: 1, mistral/mistral-large-latest: 1}, anthropic/claude-haiku-4-5]\n"
NAMES = ("openai", "mistral", "anthropic")


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "config.yaml").write_text(CHAIN)
    return tmp_path


async def answered_by(running, times, *fields):
    caller = await Caller.connect(running.port)
    names = []
    for _ in range(times):
        caller.send(post(CHAT, "/v1/chat/completions", *fields))
        status, headers, body = await caller.answer()
        assert status == 200, body
        names.append((headers["x-nulpoint-provider"], headers["x-nulpoint-model"], headers["x-nulpoint-attempts"]))
    return names


def test_a_chain_of_the_user_s_own_spreads_and_fails_over(directory):
    async def main():
        async with gateway({"COALESCE": "false"}, names=NAMES, directory=directory) as running:
            first, second = ("openai", "gpt-4o", "1"), ("mistral", "mistral-large-latest", "1")
            assert await answered_by(running, 4) == [first, second] * 2
            running.mocks["openai"].set_fault("status", arg=500)
            assert await answered_by(running, 2) == [("mistral", "mistral-large-latest", "2"), second]
            running.mocks["mistral"].set_fault("status", arg=503)
            last = ("anthropic", "claude-haiku-4-5", "3")
            assert await answered_by(running, 2) == [last, last]
            assert json.loads(running.log().splitlines()[-1])["attempts"][0]["outcome"] == "upstream"

    run(main())


def test_a_caller_s_key_is_sent_to_the_model_s_own_provider_only(directory):
    async def main():
        settings = {"ALLOW_CLIENT_API_KEYS": "true", "COALESCE": "false"}
        async with gateway(settings, names=NAMES, directory=directory) as running:
            answered = await answered_by(running, 4, "Authorization: Bearer callers-own")
            assert answered == [("openai", "gpt-4o", "1")] * 4
            running.mocks["openai"].set_fault("status", arg=500, count=1)
            answered = await answered_by(running, 1, "Authorization: Bearer callers-own")
            assert answered == [("openai", "gpt-4o", "2")]
            assert dict(running.mocks["openai"].last["headers"])["authorization"] == "Bearer callers-own"
            assert (running.mocks["mistral"].requests, running.mocks["anthropic"].requests) == (0, 0)

    run(main())
