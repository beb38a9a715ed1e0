"""Azure OpenAI and Vertex AI through the official SDK: what is theirs alone. The rest is in the matrix of formats."""

import asyncio
import json
from base64 import b64decode
from pathlib import Path

import openai
import pytest

from nulpoint.config import load
from nulpoint.credentials import schedule
from nulpoint.mock import MockSettings, start
from support import cloud_mocks
from support.event_loop import run
from support.http_client import CHAT, Caller, post
from support.running_gateway import gateway
from support.sdk_conversation import sdk

HELLO = [{"role": "user", "content": "hello"}]
WORDS = "a mock answer made of plain words that mean nothing"
ENTRA = {"AZURE_OPENAI_API_KEY": "", "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential"}

FOLDER = cloud_mocks.folder_with("aliases: {mine: vertexai/gemini-2.5-flash}\nfallbacks: {mine: [openai/gpt-4o]}\n")
AZURE_FIRST = cloud_mocks.folder_with("aliases: {mine: azure/gpt-4o}\nfallbacks: {mine: [openai/gpt-4o]}\n")


def using(names, use, settings=None, mock=None, **options):
    """Run `use(running, client)` with these mocks."""

    async def main():
        async with gateway(settings or {}, names=names, mock=mock) as running:
            async with sdk(running.url, **options) as client:
                await use(running, client)

    run(main())


async def ask(client, model, **request):
    raw = await client.chat.completions.with_raw_response.create(model=model, messages=HELLO, **request)
    return raw.parse().choices[0].message.content, raw.headers["x-nulpoint-provider"]


def sent(mock):
    fields = {name.lower(): value for name, value in mock.last["headers"]}
    return mock.last["path"], fields, json.loads(b64decode(mock.last["body"]))


@pytest.fixture
def managed(monkeypatch):
    """The endpoint of a managed identity, as Azure's machines have it; where it is comes with `point`."""
    monkeypatch.setenv("IDENTITY_HEADER", "here")
    return lambda server: monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")


# -- Azure -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "model", "path", "named"),
    [
        ("", "azure-gpt-4o", "/openai/v1/chat/completions", "gpt-4o"),
        ("v1", "azure/My-Deployment.2", "/openai/v1/chat/completions", "My-Deployment.2"),
        ("preview", "azure-gpt-4o", "/openai/v1/chat/completions", "gpt-4o"),
        ("2024-10-21", "azure-gpt-4o", "/openai/deployments/gpt-4o/chat/completions", "gpt-4o"),
    ],
)
def test_azure_s_two_surfaces(version, model, path, named):
    async def use(running, client):
        assert await ask(client, model) == (WORDS, "azure")
        there, fields, body = sent(running.mocks["azure"])
        assert (there, body["model"]) == (path, named)
        assert fields["api-key"] == "sk-configured-azure"
        assert "authorization" not in fields
        stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
        text = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        assert "".join(text) == WORDS

    using(("azure",), use, {"AZURE_OPENAI_API_VERSION": version})


@pytest.mark.parametrize("version", ["v1", "2024-10-21"])
def test_azure_s_embeddings(version):
    async def use(running, client):
        got = await client.embeddings.create(model="azure-text-embedding-3-small", input=["one", "two"], dimensions=8)
        assert [len(one.embedding) for one in got.data] == [8, 8]

    using(("azure",), use, {"AZURE_OPENAI_API_VERSION": version})


def test_azure_s_errors_keep_what_they_tell():
    async def use(running, client):
        with pytest.raises(openai.BadRequestError) as filtered:
            await ask(client, "azure-gpt-4o", extra_body={"messages": [{"role": "user", "content": "please filter"}]})
        error = filtered.value.body
        assert (error["code"], error["param"]) == ("content_filter", "prompt")
        assert error["innererror"]["code"] == "ResponsibleAIPolicyViolation"
        assert error["innererror"]["content_filter_result"]["violence"] == {"filtered": True, "severity": "medium"}
        with pytest.raises(openai.NotFoundError, match="deployment") as missing:
            await ask(client, "azure-no-such")
        assert missing.value.code == "model_not_found"
        running.mocks["azure"].set_fault("rate_limit", arg=7)
        with pytest.raises(openai.RateLimitError) as limited:
            await ask(client, "azure-gpt-4o")
        assert limited.value.response.headers["retry-after"] == "7"
        assert limited.value.code == "rate_limit_exceeded"
        running.mocks["azure"].clear()
        answer = await client.chat.completions.create(model="azure-gpt-4o", messages=HELLO)
        assert answer.prompt_filter_results[0]["content_filter_results"]["hate"]["severity"] == "safe"
        assert answer.choices[0].content_filter_results["violence"]["filtered"] is False

    using(("azure",), use)


def test_a_stream_that_breaks_after_the_filters_verdict_goes_on_elsewhere():
    """The first chunk has no choice: nothing has been said yet."""

    async def use(running, client):
        running.mocks["azure"].set_fault("error_mid_stream", arg=1)
        stream = await client.chat.completions.create(model="mine", messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == WORDS
        assert not any(hasattr(chunk, "prompt_filter_results") for chunk in chunks)

    async def main():
        mocks = {name: await start(name) for name in ("azure", "openai")}
        async with gateway({}, providers=mocks, directory=AZURE_FIRST) as running:
            async with sdk(running.url) as client:
                await use(running, client)

    run(main())


def test_what_the_filters_say_is_cached_too():
    async def use(running, client):
        for streamed in (True, False, True):
            raw = await client.chat.completions.with_raw_response.create(
                model="azure-gpt-4o", messages=HELLO, stream=streamed
            )
            answer = raw.parse()
            if streamed:
                text = [chunk.choices[0].delta.content or "" async for chunk in answer if chunk.choices]
                assert "".join(text) == WORDS
            else:
                assert raw.headers["x-cache"] == "HIT"
                assert answer.choices[0].message.content == WORDS
        assert running.mocks["azure"].requests == 1

    using(("azure",), use, {"CACHE_MODE": "memory"})


def test_several_resources_are_rows(tmp_path):
    async def main():
        east, west = await start("azure"), await start("azure")
        (tmp_path / "config.yaml").write_text(
            f"providers:\n  - {{name: azure-west, like: azure, base_url: '{west.url}', key_env: AZURE_WEST_API_KEY}}\n"
            "fallbacks:\n  azure-gpt-4o: [azure-west/gpt-4o]\n"
        )
        settings = {"AZURE_WEST_API_KEY": "sk-west"}
        async with gateway(settings, providers={"azure": east}, directory=tmp_path) as running:
            async with sdk(running.url) as client:
                assert (await ask(client, "azure-west/gpt-4o"))[1] == "azure-west"
                assert sent(west)[1]["api-key"] == "sk-west"
                assert (await ask(client, "azure-gpt-4o"))[1] == "azure"
                assert sent(east)[1]["api-key"] == "sk-configured-azure"
                east.set_fault("status", arg=500)
                assert await ask(client, "azure-gpt-4o") == (WORDS, "azure-west")
        await west.close()

    run(main())


def test_an_entra_identity_stands_in_for_a_key(managed):
    async def main():
        server = await start("azure")
        managed(server)
        settings = {**ENTRA, "ALLOW_CLIENT_API_KEYS": "true"}
        async with gateway(settings, providers={"azure": server}) as running:
            caller = await Caller.connect(running.port)
            body = CHAT.replace(b"gpt-4o", b"azure-gpt-4o")
            caller.send(post(body))
            status, _, _ = await caller.answer()
            assert status == 200
            fields = sent(server)[1]
            assert fields["authorization"].startswith("Bearer eyJmock.managed-")
            assert "api-key" not in fields
            # a caller's own key goes alone, and what becomes of it is the caller's own business
            caller.send(post(body, "/v1/chat/completions", "Authorization: Bearer bad-key"))
            status, _, answer = await caller.answer()
            assert (status, json.loads(answer)["error"]["code"]) == (401, "invalid_api_key")
            fields = sent(server)[1]
            assert fields["api-key"] == "bad-key"
            assert "authorization" not in fields
            assert server.token_requests == 1

    run(main())


# -- Vertex AI ---------------------------------------------------------------------------------------------------------


def test_vertex_s_paths_and_bodies():
    async def use(running, client):
        mock, base = running.mocks["vertexai"], "/v1/projects/p1/locations/europe-west4/publishers"
        for model, path in (
            ("vertexai-gemini-2.5-flash", f"{base}/google/models/gemini-2.5-flash:generateContent"),
            ("vertexai/claude-haiku-4-5@20251001", f"{base}/anthropic/models/claude-haiku-4-5@20251001:rawPredict"),
        ):
            assert (await ask(client, model))[0] == WORDS
            there, fields, body = sent(mock)
            assert there == path
            assert fields["authorization"].startswith("Bearer ya29.mock-")
            assert "model" not in body
            assert body.get("anthropic_version") == ("vertex-2023-10-16" if "claude" in model else None)
        stream = await client.chat.completions.create(model="vertexai-claude-haiku-4-5", messages=HELLO, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == WORDS
        assert sent(mock)[0] == f"{base}/anthropic/models/claude-haiku-4-5:streamRawPredict"
        assert mock.token_requests == 1  # one identity for both

    using(("vertexai",), use, {"VERTEX_LOCATION": "europe-west4"})


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_vertex_s_embeddings(encoding):
    async def use(running, client):
        create = client.embeddings.create
        got = await create(
            model="vertexai-text-embedding-005", input=["one", "two"], dimensions=8, encoding_format=encoding,
            extra_body={"task_type": "RETRIEVAL_QUERY", "auto_truncate": False},
        )  # fmt: skip
        assert len(got.data) == 2
        assert got.usage.prompt_tokens > 0
        body = sent(running.mocks["vertexai"])[2]
        assert body["instances"] == [{"task_type": "RETRIEVAL_QUERY", "content": text} for text in ("one", "two")]
        assert body["parameters"] == {"outputDimensionality": 8, "autoTruncate": False}
        got = await create(model="vertexai/gemini-embedding-001", input="one")
        assert len(got.data[0].embedding) == 768
        alone = [
            (await create(model="vertexai/gemini-embedding-001", input=text)).data[0].embedding
            for text in ("one", "two")
        ]
        both = await create(model="vertexai/gemini-embedding-001", input=["one", "two"])
        assert [vector.embedding for vector in both.data] == alone
        assert alone[0] != alone[1]
        with pytest.raises(openai.BadRequestError, match="token ids"):
            await create(model="vertexai-text-embedding-005", input=[1, 2])

    using(("vertexai",), use)


def test_vertex_s_errors():
    async def use(running, client):
        mock = running.mocks["vertexai"]
        for model in ("vertexai/nobody-knows", "vertexai/gemini-2.5-flash:x"):
            with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
                await ask(client, model)
        for model in ("vertexai-gemini-2.5-flash", "vertexai-claude-haiku-4-5"):
            mock.set_fault("rate_limit", arg=9)
            with pytest.raises(openai.RateLimitError) as limited:
                await ask(client, model)
            assert limited.value.response.headers["retry-after"] == "9"
            mock.set_fault("error_mid_stream")
            with pytest.raises(openai.APIError):
                async for _ in await client.chat.completions.create(model=model, messages=HELLO, stream=True):
                    pass
            mock.clear()

    using(("vertexai",), use)


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_would_be_another_path_is_refused(name):
    async def use(running, client):
        with pytest.raises(openai.BadRequestError, match="name"):
            await ask(client, f"azure/{name}")
        assert running.mocks["azure"].requests == 0

    using(("azure",), use, {"AZURE_OPENAI_API_VERSION": "2024-10-21"})


def test_what_is_no_name_of_a_project_is_told_by_google():
    async def use(running, client):
        with pytest.raises(openai.APIStatusError) as refused:
            await ask(client, "vertexai-gemini-2.5-flash")
        assert (refused.value.status_code, refused.value.code) == (502, "provider_credential_refused")
        assert "Permission 'aiplatform.endpoints.predict' denied" in refused.value.message

    using(("vertexai",), use, {"VERTEX_PROJECT": "other-project"})


# -- tokens ------------------------------------------------------------------------------------------------------------


def test_tokens_run_out_and_nobody_notices():
    async def use(running, client):
        mock, loop = running.mocks["vertexai"], asyncio.get_running_loop()
        end, seen = loop.time() + 2.6, set()
        while loop.time() < end:
            assert (await ask(client, "vertexai-gemini-2.5-flash"))[0] == WORDS
            seen.add(sent(mock)[1]["authorization"])
            await asyncio.sleep(0.05)
        assert len(seen) >= 2

    using(("vertexai",), use, mock=MockSettings(token_seconds=2))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("cloud", ["azure", "vertexai"])
def test_a_token_that_is_withdrawn_is_replaced_within_the_request(cloud, streamed, monkeypatch, managed):
    monkeypatch.setattr(schedule, "MIN_SECONDS_BEFORE_REFUSAL", 0.0)

    async def main():
        server = await start(cloud)
        managed(server)
        model = {"azure": "azure-gpt-4o", "vertexai": "vertexai-gemini-2.5-flash"}[cloud]
        async with gateway(ENTRA if cloud == "azure" else {}, providers={cloud: server}) as running:
            async with sdk(running.url) as client:
                assert (await ask(client, model))[0] == WORDS
                before = sent(server)[1]["authorization"]
                server.set_fault("expired_token", count=1)
                asked = {"model": model, "messages": HELLO, "stream": streamed}
                answer = await client.chat.completions.create(**asked)
                if streamed:
                    answer = [chunk.choices[0].delta.content or "" async for chunk in answer if chunk.choices]
                    assert "".join(answer) == WORDS
                else:
                    assert answer.choices[0].message.content == WORDS
                assert sent(server)[1]["authorization"] != before
                assert server.token_requests == 2

    run(main())


def test_a_token_that_cannot_be_renewed_is_a_failure_of_the_provider():
    """Never the caller's 401: another target answers, and where there is none the caller is told what it is."""

    async def use(running, client):
        mock = running.mocks["vertexai"]
        mock.set_fault("token_refused")
        with pytest.raises(openai.APIStatusError) as refused:
            for _ in range(60):  # until what is held has run out
                await ask(client, "vertexai-gemini-2.5-flash")
                await asyncio.sleep(0.05)
        assert (refused.value.status_code, refused.value.code) == (502, "provider_credential_unavailable")
        assert await ask(client, "mine") == (WORDS, "openai")
        caller = await Caller.connect(running.port)
        caller.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        health = json.loads((await caller.answer())[2])
        assert health["status"] == "degraded"
        assert health["providers"]["vertexai"]["credential"]["status"] == "missing"
        assert "credential" not in health["providers"]["openai"]

    async def main():
        mocks = {
            "vertexai": await start("vertexai", settings=MockSettings(token_seconds=1)),
            "openai": await start("openai"),
        }
        async with gateway({}, providers=mocks, directory=FOLDER) as running:
            async with sdk(running.url) as client:
                await use(running, client)

    run(main())


def test_another_configuration_goes_on_with_the_tokens_there_are():
    async def main():
        server = await start("vertexai")
        mocks = {"vertexai": server, "openai": await start("openai")}
        async with gateway({}, providers=mocks) as running:
            app, environ = running.app, {**cloud_mocks.addresses(mocks), "OPENAI_API_KEY": "k", "CACHE_MODE": "none"}
            keeper = app.runtime.credentials.by_provider["vertexai"]
            await app.serve(load({**environ, "STRICT_PARAMS": "true"}, Path("/nonexistent")))
            assert app.runtime.credentials.by_provider["vertexai"] is keeper
            async with sdk(running.url) as client:
                assert (await ask(client, "vertexai-gemini-2.5-flash"))[0] == WORDS
            assert server.token_requests == 1
            await app.serve(load({"OPENAI_API_KEY": "k"}, Path("/nonexistent")))
            await asyncio.sleep(0)
            assert app.runtime.credentials.by_provider == {}
            assert keeper._task.cancelled()
            await app.serve(load(environ, Path("/nonexistent")))
            assert app.runtime.credentials.by_provider["vertexai"] is not keeper
            async with sdk(running.url) as client:
                assert (await ask(client, "vertexai-gemini-2.5-flash"))[0] == WORDS
            assert server.token_requests == 2

    run(main())


def test_without_a_first_token_it_starts_says_so_and_recovers(caplog):
    async def main():
        server = await start("vertexai")
        server.set_fault("token_refused", count=1)
        async with gateway({}, providers={"vertexai": server}) as running:
            assert any("started without a credential for vertexai" in one.getMessage() for one in caplog.records)
            async with sdk(running.url) as client:
                with pytest.raises(openai.APIStatusError) as refused:
                    await ask(client, "vertexai-gemini-2.5-flash")
                assert refused.value.code == "provider_credential_unavailable"
                for _ in range(40):
                    if not running.app.runtime.credentials.degraded:
                        break
                    await asyncio.sleep(0.05)
                assert (await ask(client, "vertexai-gemini-2.5-flash"))[0] == WORDS

    run(main())
