"""Tests that a response which Gemini gives in several parts reaches the client as one."""

import json

import openai
import pytest

from support.event_loop import run
from support.provider_bytes import LAST_CHUNK, STREAM_HEAD, answer, chunk, event
from support.running_gateway import gateway
from support.scripted_provider import send, serve

HI = [{"role": "user", "content": "hi"}]
MODEL = "gemini-4-argon"
ENVIRONMENT = {"GOOGLE_API_KEY": "any-key", "MAX_RETRIES": "1"}
FIRST_TOKEN, SECOND_TOKEN = "dG9rZW4x", "dG9rZW4y"


def part(text, reason="CONTINUATION", token=None, *, thought=False, **candidate):
    content = {"role": "model", "parts": [{"text": text, **({"thought": True} if thought else {})}]}
    if token is not None:
        candidate["continuationToken"] = token
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 4, "totalTokenCount": 14,
             "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}]}  # fmt: skip
    return {
        "candidates": [{"content": content, "index": 0, **({"finishReason": reason} if reason else {}), **candidate}],
        "usageMetadata": usage, "modelVersion": MODEL, "responseId": f"r-{text}",
    }  # fmt: skip


THREE = (
    part("hm", token=FIRST_TOKEN, thought=True),
    part("one ", token=SECOND_TOKEN),
    part("two", "STOP"),
)


def whole(response):
    return [send(answer(json.dumps(response).encode()))]


def streamed(response, *, cut_in_pieces=True):
    """Return the script of a stream: the text, and then an event with only the end."""
    (candidate,) = response["candidates"]
    text = {**response, "candidates": [{"content": candidate["content"], "index": 0}]}
    end = {**response, "candidates": [{name: value for name, value in candidate.items() if name != "content"}]}
    events = event(json.dumps(text).encode()) + event(json.dumps(end).encode())
    events = events.removesuffix(b"\n\n")  # the last event ends with the body
    pieces = [events[at : at + 40] for at in range(0, len(events), 40)] if cut_in_pieces else [events]
    return [send(STREAM_HEAD, *map(chunk, pieces), LAST_CHUNK)]


def body_of(request):
    return json.loads(request.partition(b"\r\n\r\n")[2])


def talk(scripts, test, **settings):
    async def main():
        provider = await serve(*scripts)
        try:
            environment = {**ENVIRONMENT, "GEMINI_BASE_URL": f"{provider.url}/v1beta", **settings}
            async with gateway(environment, providers={}) as running:
                client = openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0)
                await test(client)
                await client.close()
        finally:
            await provider.close()
        return list(map(body_of, provider.requests))

    return run(main())


def check_requests(requests):
    """Check that the same request was sent for every part, with the token of the part before."""
    assert [request.pop("continuationToken", None) for request in requests] == [None, FIRST_TOKEN, SECOND_TOKEN]
    assert requests[0] == requests[1] == requests[2]


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_a_complete_response(cache):
    async def test(client):
        response = await client.chat.completions.create(model=MODEL, messages=HI)
        (choice,) = response.choices
        assert (choice.message.content, choice.message.reasoning_content) == ("one two", "hm")
        assert choice.finish_reason == "stop"
        assert response.id == "chatcmpl-r-hm"
        usage = response.usage
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (30, 12, 42)
        assert usage.prompt_tokens_details.text_tokens == 30

    check_requests(talk([whole(response) for response in THREE], test, CACHE_MODE=cache))


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_a_stream(cache):
    async def test(client):
        asked = {"model": MODEL, "messages": HI, "stream_options": {"include_usage": True}}
        chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        assert "".join(delta.content or "" for delta in deltas) == "one two"
        assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "hm"
        assert [
            chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason
        ] == ["stop"]
        assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (30, 12)
        assert len({chunk.id for chunk in chunks}) == 1

    check_requests(talk([streamed(response) for response in THREE], test, CACHE_MODE=cache))


def test_a_client_may_continue_by_itself():
    async def test(client):
        response = await client.chat.completions.create(
            model=MODEL, messages=HI, extra_body={"continuationToken": "own"}
        )
        assert response.choices[0].message.content == "one two"

    requests = talk([whole(response) for response in THREE[1:]], test)
    assert [request["continuationToken"] for request in requests] == ["own", SECOND_TOKEN]


BROKEN = {
    "no token": [part("one")],
    "the same token again": [part("one", token=FIRST_TOKEN), part("two", token=FIRST_TOKEN)],
    "never the last part": [part(str(number), token=f"t{number}") for number in range(40)],
}


@pytest.mark.parametrize("parts", BROKEN.values(), ids=BROKEN)
def test_a_response_that_is_never_complete_is_a_failure(parts):
    async def complete(client):
        with pytest.raises(openai.InternalServerError) as raised:
            await client.chat.completions.create(model=MODEL, messages=HI)
        assert (raised.value.status_code, raised.value.code) == (502, "provider_error")

    async def stream(client):
        with pytest.raises(openai.APIError) as raised:
            async for _ in await client.chat.completions.create(model=MODEL, messages=HI, stream=True):
                pass
        assert raised.value.code == "provider_error"

    assert len(talk(list(map(whole, parts)), complete)) == min(len(parts), 32)
    assert len(talk(list(map(streamed, parts)), stream)) == min(len(parts), 32)


def test_an_error_in_place_of_a_further_part_is_the_error_of_the_response():
    error = b'{"error":{"code":400,"message":"bad token","status":"INVALID_ARGUMENT"}}'
    refusal = [send(answer(error, 400))]

    async def complete(client):
        with pytest.raises(openai.BadRequestError) as raised:
            await client.chat.completions.create(model=MODEL, messages=HI)
        assert "bad token" in raised.value.message

    async def stream(client):
        shown = ""
        with pytest.raises(openai.APIError) as raised:
            async for piece in await client.chat.completions.create(model=MODEL, messages=HI, stream=True):
                shown += piece.choices[0].delta.content or ""
        assert shown == "one "
        assert "bad token" in raised.value.message

    assert len(talk([whole(THREE[1]), refusal], complete)) == 2
    assert len(talk([streamed(THREE[1]), refusal], stream)) == 2


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
@pytest.mark.parametrize("provider", ["gemini", "vertexai"])
def test_the_mocks_accept_the_request_for_the_second_part(provider, stream):
    """Vertex AI accepts a token only in the version v1beta1 of its API."""

    async def text(client, words):
        asked = {"model": f"{provider}/{MODEL}", "messages": [{"role": "user", "content": words}]}
        if not stream:
            return (await client.chat.completions.create(**asked)).choices[0].message.content
        chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    async def main():
        async with gateway(names=(provider,)) as running:
            async with openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0) as client:
                assert await text(client, "tell it in two parts") == await text(client, "hi")
            if provider == "vertexai":
                versions = {path.split("/")[1]: count for path, count in running.mocks[provider].by_path.items()}
                assert versions == {"v1": 2, "v1beta1": 1}

    run(main())
