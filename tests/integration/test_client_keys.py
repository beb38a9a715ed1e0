"""Who may call, over sockets: one answer to every wrong key, and no key in a place where it does not belong."""

import asyncio
import hashlib
import json

import openai
import pytest

from support.event_loop import run
from support.http_client import CHAT, Caller, post
from support.running_gateway import gateway

KEY, DIGESTED = "gk-plain-key", "gk-kept-as-a-digest"
KEYS = {"GATEWAY_API_KEYS": f"{KEY},sha256:{hashlib.sha256(DIGESTED.encode()).hexdigest()}", "LOG_LEVEL": "debug"}
PATH = "/v1/chat/completions"


async def ask(running, *fields, body=CHAT, query=""):
    caller = await Caller.connect(running.port)
    caller.send(post(body, PATH + query, *fields))
    return await caller.answer()


async def fetch(running, path, *fields):
    caller = await Caller.connect(running.port)
    caller.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode())
    return await caller.answer()


def sent(running):
    return dict(running.mock.last["headers"])


WRONG = {
    "none": [],
    "another": ["Authorization: Bearer gk-other"],
    "nearly": [f"Authorization: Bearer {KEY}x"],
    "the digest itself": [f"Authorization: Bearer {KEYS['GATEWAY_API_KEYS'].partition(',')[2]}"],
    "another scheme": [f"Authorization: Basic {KEY}"],
    "empty": ["Authorization: Bearer ", "x-api-key: "],
    "a wrong one in a field of its own": [f"Authorization: Bearer {KEY}", "x-nulpoint-api-key: gk-other"],
    "the provider's": ["Authorization: Bearer sk-configured-openai"],
    "odd": ["x-api-key: ' OR 1=1 --"],
}


def test_every_wrong_key_gets_the_same_401_before_anything_is_looked_at():
    async def main():
        async with gateway(KEYS) as running:
            bodies = set()
            for name, fields in WRONG.items():
                for body in (CHAT, b"{"):
                    status, headers, answer = await ask(running, *fields, body=body)
                    assert status == 401, name
                    assert headers["www-authenticate"] == "Bearer"
                    bodies.add(answer)
                status, _, answer = await fetch(running, "/v1/models", *fields)
                assert (status, answer) == (401, min(bodies))
            assert len(bodies) == 1
            error = json.loads(bodies.pop())["error"]
            assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
            assert running.mock.requests == 0
            assert (await fetch(running, "/health"))[0] == 200

    run(main())


HEADERS = [
    "Authorization: Bearer {}", "x-api-key: {}", "api-key: {}", "x-goog-api-key: {}", "x-nulpoint-api-key: {}",
]  # fmt: skip


@pytest.mark.parametrize("place", [*HEADERS, "?key={}"])
@pytest.mark.parametrize("key", [KEY, DIGESTED])
def test_a_right_key_is_let_in_and_stays_here(place, key):
    def at(path, credential):
        """Return the path and the headers of a request that has the credential in its place."""
        text = place.format(credential)
        return (path + text,) if place.startswith("?") else (path, text)

    async def main():
        async with gateway({**KEYS, "ADMIN_API_KEY": "ak-of-operators", "LOG_BODIES": "all"}) as running:
            path, *header = at(PATH, key)
            assert (await ask(running, *header, query=path.removeprefix(PATH)))[0] == 200
            assert sent(running)["authorization"] == "Bearer sk-configured-openai"
            assert (await fetch(running, *at("/v1/models", key)))[0] == 200
            assert (await fetch(running, *at("/unknown", key)))[0] == 404
            for page in ("/health", "/metrics", "/admin/config"):
                assert (await fetch(running, *at(page, "ak-of-operators")))[0] == 200
                assert (await fetch(running, *at(page, key)))[0] == 401
            assert key not in str(running.mock.last)
            page = running.app.metrics.page()
            assert key.encode() not in page + running.log()

    run(main())


def test_with_both_settings_each_key_goes_its_own_way():
    async def main():
        async with gateway({**KEYS, "ALLOW_CLIENT_API_KEYS": "true"}) as running:
            own, gate = "Authorization: Bearer sk-callers-own", f"x-nulpoint-api-key: {KEY}"
            assert (await ask(running, own, gate))[0] == 200
            assert sent(running)["authorization"] == "Bearer sk-callers-own"
            assert "x-nulpoint-api-key" not in sent(running)
            assert (await ask(running, f"Authorization: Bearer {KEY}"))[0] == 200
            assert sent(running)["authorization"] == "Bearer sk-configured-openai"
            assert (await ask(running, own))[0] == 401
            assert (await ask(running, own, f"x-goog-api-key: {KEY}"))[0] == 200
            assert sent(running)["authorization"] == "Bearer sk-callers-own"
            assert (await ask(running, own, query=f"?key={KEY}"))[0] == 200
            assert sent(running)["authorization"] == "Bearer sk-callers-own"
            assert (await ask(running, f"Authorization: Bearer {KEY}", query="?key=sk-in%2Dthe-query"))[0] == 200
            assert sent(running)["authorization"] == "Bearer sk-in-the-query"
            assert "sk-in" not in running.mock.last["path"] + running.log().decode()

    run(main())


OTHER = f"Bearer {DIGESTED}"
ALL_PLACES = (
    "Authorization", "x-api-key", "api-key", "x-goog-api-key", "x-nulpoint-api-key", "Proxy-Authorization", "Cookie",
    "openai-beta", "anthropic-beta", "idempotency-key", "x-client-request-id", "http-referer", "x-title",
    "openai-organization", "openai-project", "user-agent", "baggage", "traceparent", "x-request-id", "x-stainless-lang",
    "x-forwarded-authorization", "x-amz-security-token", "referer", "x-anything",
)  # fmt: skip
SAID = {
    "alone": "{}", "behind Bearer": "Bearer {}", "in a list": "a, {}, b", "in a query": "https://a.example/?key={}&b=c",
    "as a parameter": "a=1; key={}", "in quotes": '"{}"',
}  # fmt: skip


def reached(running, own_key="sk-configured-openai"):
    """The head that reached the provider: with this key, and no key of the gateway's in any case of letters."""
    head = str(running.mock.last["headers"])
    assert sent(running)["authorization"] == f"Bearer {own_key}"
    assert KEY not in head.lower()
    assert DIGESTED not in head.lower()
    return head


@pytest.mark.parametrize("forward", ["false", "true"])
@pytest.mark.parametrize("said", SAID)
def test_no_gateway_key_reaches_a_provider_in_whichever_field_it_comes(forward, said):
    async def main():
        async with gateway({**KEYS, "ALLOW_CLIENT_API_KEYS": forward}) as running:
            for name in ALL_PLACES:
                for key in (KEY, DIGESTED):
                    if name.lower() == "x-nulpoint-api-key":
                        fields = [f"{name}: {KEY}", f"x-title: {SAID[said].format(key)}"]
                    else:
                        fields = [f"x-nulpoint-api-key: {KEY}", f"{name}: {SAID[said].format(key)}"]
                    assert (await ask(running, *fields))[0] == 200, (name, key)
                    reached(running)
            for value in (f"app-{KEY}-x", KEY.upper(), f"x{KEY}"):  # the caller's own, inside a word
                assert (await ask(running, f"x-nulpoint-api-key: {KEY}", f"x-title: {value}"))[0] == 200
                reached(running)
            path = f"{PATH}?key={KEY}&api_key={DIGESTED}"
            caller = await Caller.connect(running.port)
            caller.send(post(CHAT, path, f"x-nulpoint-api-key: {KEY}"))
            assert (await caller.answer())[0] == 200
            assert KEY not in reached(running) + running.mock.last["path"]

    run(main())


@pytest.mark.parametrize(
    ("fields", "own_key"),
    [
        ((f"Authorization: Bearer {KEY}",), None),
        ((f"Authorization: {OTHER}",), None),
        ((f"Authorization: {OTHER}", "x-api-key: sk-own"), "sk-own"),
        ((f"Authorization: Bearer {KEY}", f"x-api-key: {DIGESTED}"), None),
        ((f"Authorization: Bearer sk-own, {KEY}",), None),
        ((f"Authorization: Bearer {KEY.upper()}",), None),
        ((f"x-api-key: {DIGESTED}, sk-own",), None),
        (("Authorization: Bearer sk-own", f"x-api-key: {KEY}"), "sk-own"),
    ],
)
def test_what_goes_to_the_provider_beside_the_gateway_s_own_key(fields, own_key):
    async def main():
        async with gateway({**KEYS, "ALLOW_CLIENT_API_KEYS": "true"}) as running:
            assert (await ask(running, f"x-nulpoint-api-key: {KEY}", *fields))[0] == 200
            reached(running, own_key or "sk-configured-openai")

    run(main())


def test_nor_does_the_key_of_operators():
    async def main():
        settings = {"ALLOW_CLIENT_API_KEYS": "true", "ADMIN_API_KEY": "admin-key-of-ours"}
        async with gateway(settings) as running:
            assert (await ask(running, "Authorization: Bearer admin-key-of-ours", "x-title: admin-key-of-ours"))[
                0
            ] == 200
            assert sent(running)["authorization"] == "Bearer sk-configured-openai"
            assert "admin-key" not in str(running.mock.last["headers"])

    run(main())


def test_other_fields_pass_as_they_are():
    async def main():
        async with gateway(KEYS) as running:
            fields = {
                "x-title": f"about {KEY[:-1]}",
                "http-referer": "https://a.example/?b=c",
                "idempotency-key": "1-2",
            }
            assert (await ask(running, f"x-api-key: {KEY}", *map(": ".join, fields.items())))[0] == 200
            assert sent(running).items() >= fields.items()

    run(main())


def test_no_body_is_asked_for_before_the_key_is_known():
    async def main():
        async with gateway(KEYS) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(b"", PATH, "Expect: 100-continue").replace(b"Length: 0", b"Length: 9"))
            assert (await caller.answer())[0] == 401
            caller = await Caller.connect(running.port)
            fields = ("Expect: 100-continue", f"Authorization: Bearer {KEY}")
            caller.send(post(b"", PATH, *fields).replace(b"Length: 0", b"Length: %d" % len(CHAT)))
            assert (await caller.answer())[0] == 100
            caller.send(CHAT)
            assert (await caller.answer())[0] == 200

    run(main())


def test_the_official_sdk_tells_what_is_wrong():
    async def main():
        async with gateway(KEYS) as running:
            question = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
            async with openai.AsyncOpenAI(base_url=running.url, api_key="gk-other") as client:
                with pytest.raises(openai.AuthenticationError):
                    await client.chat.completions.create(**question)
            async with openai.AsyncOpenAI(base_url=running.url, api_key=KEY) as client:
                answers = await asyncio.gather(*(client.chat.completions.create(**question) for _ in range(3)))
                assert all(answer.choices for answer in answers)

    run(main())
