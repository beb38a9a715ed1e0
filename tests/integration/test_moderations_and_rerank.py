"""Moderations and reranking, at the socket: what each host gets, and what the client gets of its response."""

import base64
import json

import openai
import pytest

from nulpoint.mock import start
from support.event_loop import run
from support.http_client import Caller, post
from support.metrics_page import samples
from support.provider_bytes import answer
from support.running_gateway import gateway
from support.scripted_provider import send, serve

QUERY = {"query": "What is the capital of France?", "documents": ["Rome is big.", {"text": "Paris is the capital."}]}
MODELS = {
    "cohere": "rerank-v3.5",
    "jina": "jina-reranker-m0",
    "voyage": "rerank-2.5",
    "together": "together/a-reranker",
    "vllm": "vllm/a-reranker",
}


async def ask(running, body, path="/v1/rerank", *fields):
    caller = await Caller.connect(running.port)
    caller.send(post(body if isinstance(body, bytes) else json.dumps(body).encode(), path, *fields))
    status, headers, given = await caller.answer()
    await caller.close()
    return status, headers, json.loads(given)


def sent(mock):
    return base64.b64decode(mock.last["body"])


def records(running):
    return [json.loads(line) for line in running.log().splitlines()]


@pytest.fixture
def with_hosts(tmp_path):
    """Return a function that runs `use(running)` with all hosts of rerankers.

    The OpenAI mock serves for Together and vLLM too; it needs a key, which a vLLM server does not.
    """
    (tmp_path / "config.yaml").write_text("providers: [{name: vllm, headers: {authorization: Bearer any}}]")

    def with_hosts(use, **settings):
        async def main():
            mocks = {name: await start(name) for name in ("openai", "cohere", "jina", "voyage")}
            url = f"{mocks['openai'].url}/v1"
            also = {"TOGETHER_API_KEY": "sk-t", "TOGETHER_BASE_URL": url, "VLLM_BASE_URL": url}
            async with gateway({**also, **settings}, providers=mocks, directory=tmp_path) as running:
                await use(running)

        run(main())

    return with_hosts


def prompt_tokens(record):
    return record.get("usage", {}).get("prompt")


# -- reranking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", MODELS)
def test_each_host_ranks(host, with_hosts):
    async def use(running):
        name = MODELS[host].removeprefix(f"{host}/")
        body = json.dumps({"model": MODELS[host], "top_n": 1, **QUERY}, indent=1).encode()
        status, headers, given = await ask(running, body)
        assert (status, headers["x-nulpoint-provider"], headers["x-nulpoint-model"]) == (200, host, name)
        assert [result["index"] for result in given["results"]] == [1]
        assert given["results"][0]["relevance_score"] > 0
        assert "data" not in given
        mock = running.mocks[host if host in running.mocks else "openai"]
        if host == "voyage":
            assert json.loads(sent(mock)) == {"model": name, "top_k": 1, **QUERY}
        else:
            assert sent(mock) == body.replace(MODELS[host].encode(), name.encode())
        assert mock.last["path"] == ("/v2/rerank" if host == "cohere" else "/v1/rerank")
        (record,) = records(running)
        reported = given.get("usage", {}).get("total_tokens")
        assert (record["route"], prompt_tokens(record)) == ("rerank", reported)
        assert (host == "cohere") == (reported is None)

    with_hosts(use)


def test_tokens_that_cohere_bills_are_counted(with_hosts):
    async def use(running):
        _, _, given = await ask(running, {"model": "rerank-v5.0-pro", **QUERY})
        tokens = given["meta"]["billed_units"]["input_tokens"]
        assert (
            samples(await metrics(running), "gateway_tokens_total")["", "cohere", "rerank", "input", "bypass"] == tokens
        )
        (record,) = [record for record in records(running) if record["route"] == "rerank"]
        assert prompt_tokens(record) == tokens
        assert record["cost"] == pytest.approx(tokens * 0.05 / 1e6)

    with_hosts(use)


async def metrics(running):
    caller = await Caller.connect(running.port)
    caller.send(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    return (await caller.answer())[2]


@pytest.mark.parametrize("host", MODELS)
def test_the_same_request_is_cached(host, with_hosts):
    async def use(running):
        body = {"model": MODELS[host], **QUERY}
        first = await ask(running, body)
        again = await ask(running, body)
        other = await ask(running, {**body, "query": "Rome?"})
        assert [one[1]["x-cache"] for one in (first, again, other)] == ["MISS", "HIT", "MISS"]
        assert first[2] == again[2] != other[2]

    with_hosts(use, CACHE_MODE="memory")


@pytest.mark.parametrize("host", MODELS)
@pytest.mark.parametrize("missing", ["query", "documents"])
def test_what_a_host_refuses_is_refused_and_not_cached(host, missing, with_hosts):
    async def use(running):
        body = {"model": MODELS[host], **QUERY}
        del body[missing]
        for _ in range(2):
            status, headers, given = await ask(running, body)
            assert (status, headers["x-cache"]) == (400, "MISS")
            assert missing in given["error"]["message"]

    with_hosts(use, CACHE_MODE="memory")


def test_tokens_count_for_the_limit(with_hosts):
    async def use(running):
        body = {"model": MODELS["jina"], **QUERY}
        _, _, given = await ask(running, body)
        _, later, _ = await ask(running, {**body, "top_n": 2})
        spent = 100_000 - int(later["x-ratelimit-remaining-tokens"])
        assert given["usage"]["total_tokens"] <= spent < 2 * given["usage"]["total_tokens"] + 200

    with_hosts(use, TPM_LIMIT="100000")


EMBEDDED = [
    b'{"error":{"message":"the model crashed","code":500}}',
    b'{"results":[],"error":{"message":"the model crashed"}}',
    b'{"object":"error","message":"the model crashed","code":500}',
    b'{"id":"c","message":"the model crashed"}',
    b'{"detail":"the model crashed"}',
]


@pytest.mark.parametrize("embedded", EMBEDDED)
def test_an_error_with_status_200_fails_over(embedded, tmp_path):
    (tmp_path / "config.yaml").write_text("fallbacks:\n  rerank-v3.5: [jina/jina-reranker-m0]\n")

    async def main():
        cohere, jina = await serve([send(answer(embedded))]), await start("jina")
        settings = {
            "COHERE_API_KEY": "sk-c", "COHERE_BASE_URL": f"{cohere.url}/v2",
            "JINA_API_KEY": "sk-j", "JINA_BASE_URL": f"{jina.url}/v1", "CACHE_MODE": "memory",
        }  # fmt: skip
        async with gateway(settings, providers={}, directory=tmp_path) as running:
            status, headers, _ = await ask(running, {"model": "rerank-v3.5", **QUERY})
            assert (status, headers["x-nulpoint-provider"], headers["x-nulpoint-attempts"]) == (200, "jina", "2")
            status, headers, given = await ask(running, {"model": "cohere/rerank-v3.5", **QUERY})
            assert (status, given["error"]["message"]) == (502, "the model crashed")
        await cohere.close()
        await jina.close()

    run(main())


@pytest.mark.parametrize("body", [b'{"id":"x"}', b'{"results":{}}', b'{"results":null}', b"[]", b'"x"'])
def test_what_is_no_list_of_results_is_an_error(body):
    async def main():
        cohere = await serve([send(answer(body))])
        settings = {"COHERE_API_KEY": "sk-c", "COHERE_BASE_URL": f"{cohere.url}/v2", "CACHE_MODE": "memory"}
        async with gateway(settings, providers={}) as running:
            for _ in range(2):
                status, headers, _ = await ask(running, {"model": "rerank-v3.5", **QUERY})
                assert (status, headers["x-cache"]) == (502, "MISS")
        await cohere.close()

    run(main())


@pytest.mark.parametrize(
    ("model", "path", "code"),
    [
        ("gpt-5.4", "/v1/rerank", "rerank_not_supported"),
        ("rerank-v3.5", "/v1/chat/completions", "chat_not_supported"),
        ("rerank-v3.5", "/v1/completions", "completions_not_supported"),
        ("rerank-2.5", "/v1/embeddings", "embeddings_not_supported"),
        ("together/x", "/v1/moderations", "moderations_not_supported"),
    ],
)
def test_a_host_without_the_operation(model, path, code, with_hosts):
    async def use(running):
        status, _, given = await ask(running, {"model": model, "messages": []}, path)
        assert (status, given["error"]["code"], given["error"]["param"]) == (400, code, "model")
        assert " has no " in given["error"]["message"]
        assert not any(mock.requests for mock in running.mocks.values())

    with_hosts(use)


def test_jina_embeds(with_hosts):
    async def use(running):
        status, headers, given = await ask(running, {"model": "jina-embeddings-v5", "input": "hi"}, "/v1/embeddings")
        assert (status, headers["x-nulpoint-provider"], len(given["data"])) == (200, "jina", 1)

    with_hosts(use)


# -- moderations -------------------------------------------------------------------------------------------------------


def test_the_sdk_moderates():
    async def main():
        async with gateway({"CACHE_MODE": "memory"}) as running:
            async with openai.AsyncOpenAI(base_url=running.url, api_key="any", max_retries=0) as client:
                given = await client.moderations.create(input=["please flag this", "and not this"])
                assert [result.flagged for result in given.results] == [True, False]
                assert given.results[0].categories.violence
                assert given.model == json.loads(sent(running.mock))["model"] == "omni-moderation-latest"
                again = await client.moderations.with_raw_response.create(
                    model="openai/omni-moderation-latest", input=[{"type": "text", "text": "fine"}]
                )
                assert again.headers["x-cache"] == "MISS"
                assert not again.parse().results[0].flagged
                with pytest.raises(openai.BadRequestError, match="Missing required parameter: 'input'"):
                    await client.moderations.create(input=[])
                with pytest.raises(openai.BadRequestError, match="moderation model"):
                    await client.moderations.create(model="gpt-5.4", input="hi")

    run(main())


@pytest.mark.parametrize("body", [b'{"input":"hi"}', b'{"model":null,"input":"hi"}'])
def test_requests_without_a_model_get_the_default_one(body):
    async def main():
        async with gateway({"CACHE_MODE": "memory"}) as running:
            status, headers, _ = await ask(running, body, "/v1/moderations")
            assert (status, headers["x-nulpoint-model"]) == (200, "omni-moderation-latest")
            named = {"input": "hi", "model": "omni-moderation-latest"}
            assert (await ask(running, named, "/v1/moderations"))[1]["x-cache"] == "HIT"

    run(main())


def test_a_member_stream_is_passed_on_and_means_nothing():
    async def main():
        async with gateway() as running:
            body = b'{"input":"hi","model":"omni-moderation-latest","stream":true}'
            assert (await ask(running, body, "/v1/moderations"))[0] == 200
            assert sent(running.mock) == body

    run(main())
