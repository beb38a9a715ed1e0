"""Tests cached embeddings: only missing inputs are requested from the provider, and the client sees no difference."""

import asyncio
import base64
import json

import openai
import pytest

from support.cache_client import MEMORY, ask
from support.event_loop import run
from support.running_gateway import SLOW, gateway

MODELS = {"openai": "text-embedding-3-small", "mistral": "mistral-embed", "gemini": "gemini-embedding-001"}


async def embed(running, inputs, *fields, model="text-embedding-3-small", **options):
    status, headers, body = await ask(
        running, {"model": model, "input": inputs, **options}, *fields, route="embeddings"
    )
    assert status == 200, body
    return headers, json.loads(body)


def sent_inputs(server):
    """Return the inputs of the last request to the provider, in any format."""
    body = json.loads(base64.b64decode(server.last["body"]))
    if "requests" in body:
        return [one["content"]["parts"][0]["text"] for one in body["requests"]]
    return body["input"]


@pytest.mark.parametrize(("provider", "model"), MODELS.items())
def test_only_missing_inputs_are_requested(provider, model):
    async def main():
        async with gateway(MEMORY, names=(provider,)) as running:
            mock = running.mocks[provider]
            texts = ["zero", "one", "two", "three"]
            _, reference = await embed(running, texts, "Cache-Control: no-store", model=model)
            headers, _ = await embed(running, ["two", "zero"], model=model)
            assert (headers["x-cache"], "x-nulpoint-cached-inputs" in headers) == ("MISS", False)
            headers, joined = await embed(running, texts, model=model)
            assert (headers["x-cache"], headers["x-nulpoint-cached-inputs"]) == ("MISS", "2")
            assert sent_inputs(mock) == ["one", "three"]
            assert joined["data"] == reference["data"]
            assert [item["index"] for item in joined["data"]] == [0, 1, 2, 3]
            asked = mock.requests
            headers, again = await embed(running, texts, model=model)
            assert (headers["x-cache"], headers["age"], mock.requests) == ("HIT", "0", asked)
            assert again["data"] == reference["data"]
            assert again["usage"] == joined["usage"]
            assert again["model"] == reference["model"]
            assert headers["x-nulpoint-provider"] == provider
            assert headers["x-nulpoint-model"] == model

    run(main())


def test_a_repeated_batch_reports_the_same_usage():
    async def main():
        async with gateway(MEMORY) as running:
            _, first = await embed(running, ["a", "bb", "a" * 500])
            _, second = await embed(running, ["a", "bb", "a" * 500])
            assert first == second
            _, single = await embed(running, "bb")
            assert single["data"][0]["embedding"] == first["data"][1]["embedding"]

    run(main())


def test_equal_inputs_are_requested_once():
    async def main():
        async with gateway(MEMORY) as running:
            _, answer = await embed(running, ["x", "y", "x"])
            assert sent_inputs(running.mock) == ["x", "y"]
            vectors = [item["embedding"] for item in answer["data"]]
            assert vectors[0] == vectors[2] != vectors[1]

    run(main())


def test_members_that_change_a_vector_change_its_key():
    async def main():
        async with gateway(MEMORY) as running:
            for options in ({}, {"encoding_format": "base64"}, {"dimensions": 64}, {"user": "u"}, {"unheard_of": 1}):
                headers, answer = await embed(running, ["x"], **options)
                assert headers["x-cache"] == "MISS"
                headers, again = await embed(running, ["x"], **options)
                assert headers["x-cache"] == "HIT"
                assert answer == again
            headers, _ = await embed(running, [[1, 2], [3]])
            headers, _ = await embed(running, [3])
            assert headers["x-cache"] == "HIT"  # a list of token ids is one input

    run(main())


def test_age_and_vectors_that_are_too_old():
    async def main():
        async with gateway(MEMORY) as running:
            await embed(running, ["x"])
            await asyncio.sleep(0.12)
            headers, _ = await embed(running, ["x", "y"], "Cache-Control: max-age=0")
            assert sent_inputs(running.mock) == ["x", "y"]
            headers, _ = await embed(running, ["x"], "Cache-Control: max-age=60")
            assert headers["x-cache"] == "HIT"

    run(main())


def test_many_clients_with_one_batch_share_one_call():
    async def main():
        async with gateway(MEMORY, mock=SLOW) as running:
            await embed(running, ["a", "b"])
            answers = await asyncio.gather(*(embed(running, ["a", "b", "c"]) for _ in range(20)))
            assert running.mock.requests == 2
            assert sent_inputs(running.mock) == ["c"]
            assert len({json.dumps(answer) for _, answer in answers}) == 1
            assert {headers["x-nulpoint-cached-inputs"] for headers, _ in answers} == {"2"}

    run(main())


def test_a_response_without_all_vectors_is_not_joined():
    async def main():
        async with gateway({**MEMORY, "MAX_RETRIES": "1"}) as running:
            await embed(running, ["a"])
            running.mock.set_fault("malformed_json", 1)
            question = {"model": "text-embedding-3-small", "input": ["a", "b"]}
            status, _, _ = await ask(running, question, route="embeddings")
            assert status == 502
            headers, _ = await embed(running, ["a", "b"])
            assert headers["x-nulpoint-cached-inputs"] == "1"

    run(main())


def test_the_official_sdk():
    async def main():
        async with gateway(MEMORY) as running:
            async with openai.AsyncOpenAI(base_url=running.url, api_key="x") as client:
                question = {"model": "text-embedding-3-small"}
                await client.embeddings.create(input=["b", "d"], **question)
                joined = await client.embeddings.create(input=["a", "b", "c", "d"], **question)
                fresh = await client.embeddings.create(
                    input=["a", "b", "c", "d"], extra_headers={"Cache-Control": "no-store"}, **question
                )
                assert joined.data == fresh.data
                assert joined.usage.total_tokens == joined.usage.prompt_tokens > 0

    run(main())
