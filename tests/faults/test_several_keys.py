"""Tests of a provider with several keys: each key is refused or limited on its own."""

import asyncio
import collections
import json
import re

import pytest

from nulpoint.mock import start
from support.client_outcome import ask
from support.event_loop import run
from support.http_client import CHAT, STREAM, Caller, post
from support.provider_bytes import GOOD, answer, good_stream
from support.running_gateway import gateway
from support.scripted_provider import send, serve

REFUSED = answer(b'{"error":{"message":"bad key","code":"invalid_api_key"}}', 401)


def limited(seconds):
    return answer(b'{"error":{"message":"slow down"}}', 429, b"retry-after: %d" % seconds)


def keyed(responses, body=CHAT):
    """Start a provider whose response depends on the key; keys without an entry get a good response."""
    good = GOOD if body is CHAT else good_stream()

    def script(request):
        key = re.search(rb"authorization: Bearer (\w+)", request)[1].decode()
        return [send(responses.get(key, good))]

    return serve(choose=script)


def keys_used(provider):
    return [re.search(rb"authorization: Bearer (\w+)", request)[1].decode() for request in provider.requests]


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize("bad", [REFUSED, limited(30)], ids=["refused", "limited"])
def test_the_next_key_is_tried_before_another_target(body, bad):
    async def main():
        responses = {}
        provider = await keyed(responses, body)
        providers = {"openai": provider, "mistral": await start("mistral")}
        async with gateway({"OPENAI_API_KEYS": "a,b,c", "OPENAI_API_KEY": ""}, providers=providers) as running:
            assert (await ask(running.port, body)).headers["x-nulpoint-attempts"] == "1"
            lost = keys_used(provider)[0]  # the key of this conversation
            responses[lost] = bad
            outcome = await ask(running.port, body)
            assert (outcome.verdict, outcome.headers["x-nulpoint-attempts"]) == ("answer", "2")
            for number in range(12):  # that key is cooling down, and the others share all conversations
                outcome = await ask(running.port, body.replace(b"hi", b"%d" % number))
                assert (outcome.verdict, outcome.headers["x-nulpoint-attempts"]) == ("answer", "1")
            used = keys_used(provider)
            assert used[:2] == [lost, lost]
            assert set(used[2:]) == {"a", "b", "c"} - {lost}
            health = running.app.runtime.provider_health["openai"]
            assert health.cooldowns.active(asyncio.get_running_loop().time()) == 1
            assert health.breaker.state.name == "CLOSED"
            assert running.mocks["mistral"].requests == 0

    run(main())


def turn_of(number, turn, **members):
    """Return a turn of a conversation."""
    talk = [{"role": "user", "content": f"conversation {number}"}]
    talk += [{"role": role, "content": "more"} for _ in range(turn) for role in ("assistant", "user")]
    return json.dumps({"model": "gpt-4o", "messages": talk, **members}).encode()


SESSIONS = {
    "first messages": lambda number, turn: (turn_of(number, turn),),
    "cache key": lambda number, turn: (turn_of(turn, 0, prompt_cache_key=f"session {number}"),),
    "session header": lambda number, turn: (turn_of(turn, 0), "/v1/chat/completions", f"Session-Id: {number}"),
}


@pytest.mark.parametrize("request_of", SESSIONS.values(), ids=SESSIONS)
def test_each_conversation_keeps_its_key_and_all_keys_are_used(request_of):
    async def main():
        provider = await keyed({})
        settings = {"OPENAI_API_KEYS": "a,b,c,d", "OPENAI_API_KEY": ""}
        async with gateway(settings, providers={"openai": provider}) as running:
            for turn in range(3):
                for number in range(40):
                    assert (await ask(running.port, *request_of(number, turn))).verdict == "answer"
            used = keys_used(provider)
            assert used[:40] == used[40:80] == used[80:]
            shares = collections.Counter(used[:40])
            assert sorted(shares) == ["a", "b", "c", "d"]
            assert min(shares.values()) >= 4

    run(main())


def test_requests_that_belong_to_no_conversation_use_the_keys_in_turn():
    vectors = b'{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":1,"total_tokens":1}}'

    async def main():
        provider = await serve(choose=lambda request: [send(answer(vectors))])
        settings = {"OPENAI_API_KEYS": "a,b,c", "OPENAI_API_KEY": ""}
        async with gateway(settings, providers={"openai": provider}) as running:
            caller = await Caller.connect(running.port)
            for _ in range(6):
                caller.send(post(b'{"model":"text-embedding-3-small","input":"hi"}', "/v1/embeddings"))
                assert (await caller.answer())[0] == 200
            assert keys_used(provider) == ["a", "b", "c", "a", "b", "c"]

    run(main())


def test_when_all_keys_are_limited_the_shortest_wait_is_reported_and_each_key_is_tried_once():
    async def main():
        provider = await keyed({"a": limited(30), "b": limited(7), "c": limited(9)})
        async with gateway(
            {"OPENAI_API_KEYS": "a,b,c", "OPENAI_API_KEY": ""}, providers={"openai": provider}
        ) as running:
            outcome = await ask(running.port)
            assert (outcome.status, outcome.headers["retry-after"]) == (429, "7")
            assert sorted(keys_used(provider)) == ["a", "b", "c"]

    run(main())


def test_when_all_keys_are_refused_another_target_serves_and_without_one_the_client_gets_401():
    async def main():
        provider = await keyed({"a": REFUSED, "b": REFUSED})
        settings = {"OPENAI_API_KEYS": "a,b", "OPENAI_API_KEY": ""}
        async with gateway(settings, providers={"openai": provider, "mistral": await start("mistral")}) as running:
            outcome = await ask(running.port)
            assert (outcome.verdict, outcome.headers["x-nulpoint-attempts"]) == ("answer", "3")
            assert outcome.headers["x-nulpoint-provider"] == "mistral"
            alone = await ask(running.port, CHAT.replace(b"gpt-4o", b"openai/gpt-4o"))
            assert (alone.status, alone.verdict) == (401, "error")

    run(main())


NOT_THIS_MODEL = {
    "no permission": answer(b'{"error":{"message":"no access to this model","code":"model_not_found"}}', 403),
    "more than the credit": answer(b'{"error":{"message":"requires more credits, or fewer max_tokens"}}', 402),
    "a quota of that model": answer(b'{"error":{"message":"quota","type":"insufficient_quota"}}', 429),
}


@pytest.mark.parametrize("refusal", NOT_THIS_MODEL.values(), ids=NOT_THIS_MODEL)
def test_a_model_that_the_key_may_not_use_does_not_divert_other_models_from_the_provider(refusal):
    """One client requests it twenty times; another client's model is still served by that provider, not by a fallback."""

    async def main():
        provider = await serve(choose=lambda request: [send(refusal if b"o1-pro" in request else GOOD)])
        async with gateway({}, providers={"openai": provider, "mistral": await start("mistral")}) as running:
            for number in range(20):
                body = CHAT.replace(b"gpt-4o", b"openai/o1-pro").replace(b"hi", b"%d" % number)
                assert (await ask(running.port, body)).verdict == "error"
            outcome = await ask(running.port)
            assert (outcome.verdict, outcome.headers["x-nulpoint-attempts"]) == ("answer", "1")
            assert outcome.headers["x-nulpoint-provider"] == "openai"

    run(main())
