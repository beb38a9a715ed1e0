"""Bedrock end to end: the official SDK, a gateway, and a mock that checks each signature and every rule of Converse."""

import asyncio
import contextlib
import json
import time
from base64 import b64decode
from urllib.parse import quote

import openai
import pytest

from nulpoint.mock import start
from nulpoint.mock.bedrock import server as mock_bedrock
from support import cloud_mocks
from support.cloud_mocks import AWS
from support.event_loop import run
from support.running_gateway import gateway
from support.sdk_conversation import TOOLS, Row, sdk, talk
from support.tool_loop import tool_loop

CLAUDE = Row("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0")
NOVA = Row("bedrock", "amazon.nova-pro-v1:0")
WORDS = "a mock answer made of plain words that mean nothing"
HELLO = [{"role": "user", "content": "hello"}]
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])


def with_bedrock(use, **settings):
    """Run `use(client, running)` with the SDK against a gateway before the mock of Bedrock."""

    async def main():
        async with gateway(settings, names=("bedrock",)) as running, sdk(running.url) as client:
            await use(client, running)

    run(main())


async def ask(client, model=CLAUDE.model, **more):
    return await client.chat.completions.create(model=model, messages=HELLO, **more)


def path_of(running):
    return running.mocks["bedrock"].last["path"]


def headers_of(running):
    return dict(running.mocks["bedrock"].last["headers"])


# -- what is said ------------------------------------------------------------------------------------------------------


@both_ways
def test_reasoning_goes_back_with_its_signature(streamed):
    talk(CLAUDE, streamed, lambda talk: tool_loop(talk, reasoning_effort="low"))


@both_ways
def test_what_is_bedrock_s_own_goes_there_and_comes_back(streamed):
    async def use(talk):
        guard = {"guardrailIdentifier": "abc", "guardrailVersion": "1", "trace": "enabled"}
        extra = {"guardrailConfig": guard, "top_k": 5, "performanceConfig": {"latency": "standard"}}
        message, finish = await talk.ask("please refuse", extra_body=extra)
        assert (message.content, finish) == ("I will not answer that.", "content_filter")
        told = message.model_extra["provider_specific_fields"]["bedrock"]
        assert told["stopReason"] == "guardrail_intervened"
        assert told["trace"] == {"guardrail": {"actionReason": "Guardrail blocked."}}
        assert talk.sent()["guardrailConfig"] == guard
        assert talk.sent()["additionalModelRequestFields"] == {"top_k": 5}
        assert talk.dropped == []

    talk(CLAUDE, streamed, use)


@both_ways
def test_cached_tokens_are_told(streamed):
    async def use(talk):
        long = {"type": "text", "text": "a long text", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
        messages = [{"role": "system", "content": [long]}, *HELLO]
        message, _ = await talk.ask(messages)
        assert talk.sent()["system"][1] == {"cachePoint": {"type": "default", "ttl": "1h"}}
        assert talk.usage.prompt_tokens_details.cached_tokens == 0
        await talk.ask([*messages, message, *HELLO])
        assert talk.usage.prompt_tokens_details.cached_tokens > 0

    talk(CLAUDE, streamed, use)


@pytest.mark.parametrize(
    "model",
    [
        "bedrock/arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3d4e5f6",
        "bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0",
        "anthropic.claude-3-5-sonnet-20241022-v2:0",
        "eu.amazon.nova-lite-v1:0",
        "meta.llama3-1-70b-instruct-v1:0",
    ],
)
def test_names_of_models(model):
    async def use(client, running):
        there = model.removeprefix("bedrock/")
        answer = await ask(client, model)
        assert (answer.model, answer.choices[0].message.content) == (there, WORDS)
        assert answer.id == "chatcmpl-00000000-0000-4000-8000-000000000001"  # AWS's own
        assert path_of(running) == f"/model/{quote(there, safe='')}/converse"
        stream = await ask(client, model, stream=True)
        chunks = [chunk async for chunk in stream]
        assert {chunk.model for chunk in chunks} == {there}
        assert {chunk.id for chunk in chunks} == {"chatcmpl-00000000-0000-4000-8000-000000000002"}
        assert path_of(running) == f"/model/{quote(there, safe='')}/converse-stream"

    with_bedrock(use)


def test_embeddings():
    async def use(client, running):
        titan = "amazon.titan-embed-text-v2:0"
        one = await client.embeddings.create(model=titan, input="a", dimensions=256)
        assert (len(one.data), len(one.data[0].embedding), one.model) == (1, 256, titan)
        assert one.usage.prompt_tokens > 0
        assert path_of(running) == f"/model/{quote(titan, safe='')}/invoke"
        with pytest.raises(openai.BadRequestError, match="one text per request"):
            await client.embeddings.create(model=titan, input=["a", "b"])
        several = await client.embeddings.create(model="cohere.embed-english-v3", input=["a", "b", "c"])
        assert [one.index for one in several.data] == [0, 1, 2]
        assert several.usage.prompt_tokens == several.usage.total_tokens > 0
        alone = await client.embeddings.create(model="cohere.embed-english-v3", input=["b"], encoding_format="float")
        assert several.data[1].embedding == pytest.approx(alone.data[0].embedding)

    with_bedrock(use)


# -- who asks ----------------------------------------------------------------------------------------------------------


def test_a_bearer_key_stands_in_for_a_signature():
    async def use(client, running):
        assert (await ask(client)).choices[0].message.content == WORDS
        headers = headers_of(running)
        assert headers["authorization"] == "Bearer bedrock-api-key-1234567890"
        assert "x-amz-date" not in headers

    with_bedrock(use, AWS_BEARER_TOKEN_BEDROCK="bedrock-api-key-1234567890")


def test_a_session_token_is_signed_and_sent():
    async def use(client, running):
        assert (await ask(client)).choices[0].message.content == WORDS
        assert headers_of(running)["x-amz-security-token"] == "a/session+token=="
        assert "x-amz-security-token" in headers_of(running)["authorization"]

    with_bedrock(use, AWS_SESSION_TOKEN="a/session+token==")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "another-secret-key-0000"}, "signature we calculated does not match"),
        ({"AWS_ACCESS_KEY_ID": "bad-key"}, "security token included in the request is invalid"),
        ({"AWS_SESSION_TOKEN": "until-1000000000"}, "security token included in the request is expired"),
        ({"AWS_BEARER_TOKEN_BEDROCK": "bad-key"}, "Invalid API Key format"),
    ],
)
def test_credentials_that_are_refused(settings, told):
    """Ours, not the caller's: another target may do better. Nothing of them is said."""

    async def use(client, running):
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(client)
        assert caught.value.status_code == (401 if "AWS_BEARER_TOKEN_BEDROCK" in settings else 502)
        assert told in str(caught.value)
        for value in {**AWS, **settings}.values():
            assert value in ("eu-west-1", "bad-key") or value not in caught.value.response.text

    with_bedrock(use, **settings)


REGIONS = cloud_mocks.folder_with(
    "providers:\n"
    "  - {name: west, like: bedrock, base_url: '{WEST_URL}', variables: {WEST_URL: null, WEST_REGION: us-west-2}}\n"
    f"fallbacks: {{'{NOVA.model}': [bedrock/{NOVA.model}, west/{NOVA.model}]}}\n"
)


@both_ways
def test_two_regions_fail_over_to_each_other(streamed):
    """Each is signed for itself: the mocks check that."""

    async def main():
        east, west = await start("bedrock"), await start("bedrock")
        settings = {**cloud_mocks.bedrock(east), "AWS_REGION": "us-east-1", "WEST_URL": west.url, "MAX_RETRIES": "2"}
        async with gateway(settings, providers={"bedrock": east, "other": west}, directory=REGIONS) as running:
            async with sdk(running.url) as client:
                east.set_fault("status", arg=503)
                answer = await ask(client, NOVA.model, stream=streamed)
                if streamed:
                    said = "".join([chunk.choices[0].delta.content or "" async for chunk in answer])
                else:
                    said = answer.choices[0].message.content
                assert said == WORDS
                for mock, region in ((east, "us-east-1"), (west, "us-west-2")):
                    assert f"/{region}/bedrock/aws4_request" in dict(mock.last["headers"])["authorization"]

    run(main())


class Container:
    """The credentials server of a container, as ECS has it: each call gives the next token."""

    def __init__(self, *tokens):
        self.tokens = list(tokens)
        self.calls = 0

    async def answer(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        token = self.tokens[min(self.calls, len(self.tokens) - 1)]
        self.calls += 1
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7200))
        body = json.dumps({"AccessKeyId": "AKIAMOCKMOCKMOCKMOCK", "SecretAccessKey": "mock-secret-access-key",
                           "Token": token, "Expiration": end}).encode()  # fmt: skip
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    @contextlib.asynccontextmanager
    async def serving(self):
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/creds"
        finally:
            server.close()


GOOD = "until-9999999999"


@pytest.mark.parametrize("streamed", [False, True])
def test_credentials_that_expire_in_the_middle(monkeypatch, streamed):
    """By botocore's chain, from a container's server. The caller sees nothing of it."""
    monkeypatch.setattr("nulpoint.credentials.schedule.MIN_SECONDS_BEFORE_REFUSAL", 0.0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")  # put back afterwards
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")

    async def main():
        container = Container("until-1000000000", GOOD)
        async with container.serving() as url:
            settings = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": url}
            async with gateway(settings, names=("bedrock",)) as running, sdk(running.url) as client:
                answer = await ask(client, stream=streamed)
                if streamed:
                    said = "".join([chunk.choices[0].delta.content or "" async for chunk in answer])
                else:
                    said = answer.choices[0].message.content
                assert said == WORDS
                assert container.calls == 2
                assert running.mocks["bedrock"].requests == 2
                assert headers_of(running)["x-amz-security-token"] == GOOD
                health = json.loads(running.app.runtime.status.health()[2])
                assert 7000 < _found(health, "expires_in_seconds") <= 7200

    run(main())


def _found(page, name):
    if isinstance(page, dict):
        return page.get(name) or next((one for inner in page.values() if (one := _found(inner, name))), None)
    return None


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "arg", "status", "code"),
    [
        ("rate_limit", 7, 429, "rate_limit_exceeded"),
        ("status", 400, 400, "ValidationException"),
        ("status", 403, 502, "provider_credential_refused"),
        ("status", 404, 404, "model_not_found"),
        ("status", 408, 504, "provider_timeout"),
        ("status", 424, 502, "ModelErrorException"),
        ("status", 500, 502, "InternalServerException"),
        ("status", 503, 502, "server_is_overloaded"),
        ("malformed_json", None, 502, "provider_malformed"),
        ("error_in_200", None, 502, "provider_malformed"),
        ("html_error", 502, 502, None),
        ("close_before_head", None, 502, None),
        ("gzip", None, 200, None),
        ("close_delimited", None, 200, None),
    ],
)
def test_errors_by_status(fault, arg, status, code):
    async def use(client, running):
        running.mocks["bedrock"].set_fault(fault, arg=arg)
        if status == 200:
            assert (await ask(client)).choices[0].message.content == WORDS
            return
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(client)
        assert caught.value.status_code == status
        assert code in (None, caught.value.code)
        if fault == "rate_limit":
            assert caught.value.response.headers["retry-after"] == "7"

    with_bedrock(use, MAX_RETRIES="1")


@pytest.mark.parametrize(
    "request_", [{"temperature": 1.5}, {"n": 2}, {"messages": [{"role": "robot", "content": "x"}]}]
)
def test_bad_requests_name_the_member(request_):
    async def use(client, running):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(**{"model": NOVA.model, "messages": HELLO, **request_})
        assert caught.value.param.partition("[")[0] in request_
        assert running.mocks["bedrock"].requests == 0

    with_bedrock(use)


@pytest.mark.parametrize("fault", ["cut_mid_stream", "reset_mid_stream", "end_mid_stream", "error_mid_stream"])
@pytest.mark.parametrize("events", [0, 1, 4, 11, 12])
def test_a_stream_that_breaks_is_never_shown_whole(fault, events):
    """Events: the beginning, ten words, the end of the block, of the message, and what it used."""

    async def use(client, running):
        running.mocks["bedrock"].set_fault(fault, arg=events)
        finishes = []
        with pytest.raises(openai.APIError):
            stream = await ask(client, stream=True)
            async for chunk in stream:
                finishes += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
        assert finishes == []

    with_bedrock(use, MAX_RETRIES="1")


def test_an_exception_before_any_word_is_a_status():
    async def use(client, running):
        running.mocks["bedrock"].set_fault("error_first", arg=429)
        with pytest.raises(openai.RateLimitError):
            await ask(client, stream=True)

    with_bedrock(use, MAX_RETRIES="1")


def test_an_identity_that_a_stream_refuses_is_not_the_caller_s_fault(monkeypatch):
    """And no key: none is put to rest."""
    monkeypatch.setitem(mock_bedrock._STREAM_ERRORS, 403, "accessDeniedException")

    async def use(client, running):
        running.mocks["bedrock"].set_fault("error_first", arg=403)
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(client, stream=True)
        assert (caught.value.status_code, caught.value.code) == (502, "provider_credential_refused")
        assert running.app.runtime.provider_health["bedrock"].cooldowns.active(0) == 0

    with_bedrock(use, MAX_RETRIES="1")


def test_a_careless_provider_repeats_no_token():
    async def use(client, running):
        running.mocks["bedrock"].set_fault("repeat", arg=403)
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(client)
        assert "a-very-long-session-token" not in caught.value.response.text

    with_bedrock(use, AWS_SESSION_TOKEN="a-very-long-session-token", MAX_RETRIES="1")


def test_images_and_tools_reach_it_as_converse_has_them():
    async def use(client, running):
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
        parts = [{"type": "text", "text": "what is this"}, picture]
        answer = await client.chat.completions.create(
            model=NOVA.model, messages=[{"role": "user", "content": parts}], tools=TOOLS, tool_choice="none"
        )
        assert answer.choices[0].message.content == "I see image/png of 5 bytes."
        sent = json.loads(b64decode(running.mocks["bedrock"].last["body"]))
        assert sent["messages"][0]["content"][1] == {"image": {"format": "png", "source": {"bytes": "aGVsbG8="}}}

    with_bedrock(use)
