"""MODEL_REFRESH at the socket: the providers' lists become the list of models, and change when models retire."""

import asyncio
import json
import logging
from datetime import date

import pytest

from nulpoint.app import model_refresher
from support.event_loop import run, until
from support.http_client import CHAT, Caller, post
from support.live_gateway import live
from support.metrics_page import samples
from support.running_gateway import gateway
from support.scripted_provider import reset, say, send, serve, wait

HOUR = {"MODEL_REFRESH": "1h"}
TODAY = date(2030, 5, 20)


def response(body, status=200, *headers):
    lines = [
        f"HTTP/1.1 {status} OK",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


def listing(*models):
    return response(json.dumps({"object": "list", "data": list(models)}).encode())


async def get(running, path):
    caller = await Caller.connect(running.port)
    caller.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    status, _, body = await caller.answer()
    await caller.close()
    assert status == 200
    return body


async def listed(running):
    return {model["id"]: model["owned_by"] for model in json.loads(await get(running, "/v1/models"))["data"]}


async def read_lists(running):
    """Wait until the lists have been read once more."""
    await running.app.runtime.model_refresher.refresh()


def heads(provider):
    return [request.split(b"\r\n\r\n")[0].decode() for request in provider.requests]


def test_without_the_setting_no_list_is_asked_for():
    async def main():
        provider = await serve([send(listing({"id": "x"}))])
        async with gateway({"MODEL_REFRESH": "0"}, providers={"openai": provider}) as running:
            assert "gpt-5.4" in await listed(running)
            assert provider.requests == []

    run(main())


PROVIDERS = {
    "openai": ("/v1/models", "authorization: Bearer sk-configured-openai", b'{"data":[{"id":"gpt-new"}]}', "gpt-new"),
    "anthropic": (
        "/v1/models?limit=1000", "x-api-key: sk-configured-anthropic",
        b'{"data":[{"type":"model","id":"claude-new"}],"has_more":false}', "claude-new",
    ),
    "gemini": (
        "/v1beta/models?pageSize=1000", "x-goog-api-key: sk-configured-gemini",
        b'{"models":[{"name":"models/gemini-new"}]}', "gemini-new",
    ),
    "mistral": ("/v1/models", "authorization: Bearer sk-configured-mistral", b'{"data":[{"id":"odd-name"}]}', "mistral/odd-name"),
    "together": ("/v1/models", "authorization: Bearer sk-configured-together", b'[{"id":"org/new"}]', "together/org/new"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_provider_is_asked_in_its_way_at_the_start(name):
    path, key, body, model = PROVIDERS[name]

    async def main():
        asked = asyncio.Event()
        provider = await serve([send(response(body)), say(asked)])
        async with gateway(HOUR, providers={name: provider}) as running:
            await asked.wait()
            await until(lambda: running.app.runtime.models.listings)
            head = heads(provider)[0]
            assert head.startswith(f"GET {path} HTTP/1.1\r\n")
            assert key in head
            models = await listed(running)
            assert models[model] == name
            own = {found for found, owner in models.items() if owner == name}
            assert own - {model} <= set(running.app.runtime.router._aliases)  # nothing else but aliases

    run(main())


def test_the_first_of_several_keys_asks():
    async def main():
        provider = await serve([send(listing({"id": "gpt-new"}))])
        settings = {**HOUR, "OPENAI_API_KEY": "sk-first", "OPENAI_API_KEYS": "sk-second"}
        async with gateway(settings, providers={"openai": provider}) as running:
            await read_lists(running)
            assert all("Bearer sk-first" in head for head in heads(provider))

    run(main())


def test_clouds_and_providers_without_a_key_are_not_asked():
    async def main():
        names = ("azure", "vertexai", "bedrock", "openai")
        settings = {**HOUR, "ALLOW_CLIENT_API_KEYS": "true"}
        async with gateway(settings, names=names) as running:
            endpoints = running.app.runtime.model_refresher._endpoints
            assert [endpoint.name for endpoint in endpoints] == ["openai"]
            await read_lists(running)
            assert "azure" not in running.app.runtime.models.listings

    run(main())


def test_a_day_in_the_list_is_a_warning_a_metric_and_the_end_of_a_target(tmp_path, caplog):
    chains = {"fallbacks": {"my-model": ["openai/gpt-listed", "anthropic/claude-sonnet-5"]}}
    day = "2030-06-01"

    async def main():
        nonlocal day
        openai = await serve(choose=lambda _: [send(listing({"id": "gpt-listed", "shutdown_date": day}))])
        anthropic = await serve([send(listing({"id": "claude-sonnet-5", "retires_at": "2031-05-20T00:00:00Z"}))])
        providers = {"openai": openai, "anthropic": anthropic}
        async with live(tmp_path, HOUR, file=chains, providers=providers, today=lambda: TODAY) as running:
            await read_lists(running)
            page = await get(running, "/metrics")
            left = samples(page, "gateway_model_retires_days")
            assert left["", "openai/gpt-listed"] == 12
            assert left["", "anthropic/claude-sonnet-5"] == 365
            assert "openai/gpt-listed (fallbacks.my-model[0]) retires on 2030-06-01, in 12 days" in caplog.text
            await read_lists(running)
            assert caplog.text.count("gpt-listed") == 1
            day = "2030-05-20"
            await read_lists(running)
            _, explained = await running.get("/admin/explain?model=my-model")
            assert explained["left_out"] == {"openai/gpt-listed": "it retired on 2030-05-20"}
            assert "openai/gpt-listed" not in await listed(running)

    with caplog.at_level(logging.WARNING, "nulpoint"):
        run(main())


FAILING = {
    "a status": (response(b"no sk-configured-openai", 401), "the status is 401"),
    "no list": (response(b'{"error":"sk-configured-openai"}'), "it names no models"),
    "no JSON": (response(b"<html>"), "JSON is malformed"),
    "too long": (response(b"[" + b" " * 200), "the provider's response cannot be used: it is over 100 bytes"),
    "compressed": (
        response(b"x", 200, "Content-Encoding: gzip"),
        "the provider's response cannot be used: its compress",
    ),
    "cut off": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", None),
    "no response": (b"", None),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_failure_is_logged_once_and_changes_nothing(name, caplog, monkeypatch):
    sent, problem = FAILING[name]
    monkeypatch.setattr(model_refresher, "MAX_LIST_BYTES", 100)
    good = listing({"id": "gpt-new"})

    async def main():
        failing = [True]

        def choose(request):
            if b"/chat/completions" in request:
                return [send(response(b'{"id":"1","model":"m","choices":[{"index":0,"message":{"content":"hi"}}]}'))]
            return [send(sent), reset()] if failing else [send(good)]

        provider = await serve(choose=choose)
        async with gateway({**HOUR, "LOG_LEVEL": "info"}, providers={"openai": provider}) as running:
            for _ in range(3):
                await read_lists(running)
            assert "gpt-5.4" in await listed(running)
            caller = await Caller.connect(running.port)
            caller.send(post(CHAT))
            assert (await caller.answer())[0] == 200
            health = json.loads(await get(running, "/health"))
            assert health["providers"]["openai"]["status"] == "ok"
            failing.clear()
            await read_lists(running)
            assert "gpt-new" in await listed(running)
            failing.append(True)
            await read_lists(running)
            assert "gpt-new" in await listed(running)

    with caplog.at_level(logging.INFO, "nulpoint"):
        run(main())
    lines = [record.getMessage() for record in caplog.records if "list of models" in record.getMessage()]
    assert len(lines) == 3, lines  # failed, read again, failed
    assert lines[0].startswith(f"cannot read the list of models of openai: {problem or ''}")
    assert lines[1] == "the list of models of openai can be read again"
    assert "sk-configured" not in caplog.text


def test_a_list_that_does_not_come_ends_with_its_time(monkeypatch, caplog):
    monkeypatch.setattr(model_refresher, "TIMEOUT_SECONDS", 0.2)

    async def main():
        provider = await serve([wait(asyncio.Event())])
        async with gateway(HOUR, providers={"openai": provider}) as running:
            await read_lists(running)
            assert not running.app.runtime.models.listings

    with caplog.at_level(logging.WARNING, "nulpoint"):
        run(main())
    assert "cannot read the list of models of openai" in caplog.text


def test_a_reload_keeps_the_lists_of_unchanged_providers_and_asks_anew(tmp_path):
    async def main():
        go_on = asyncio.Event()
        openai = await serve(
            [send(listing({"id": "gpt-new"}))],
            [send(listing({"id": "gpt-new"}))],
            [wait(go_on), send(listing({"id": "gpt-other"}))],
        )
        async with live(tmp_path, HOUR, file={}, providers={"openai": openai}) as running:
            await until(lambda: running.app.runtime.models.listings)
            first = running.app.runtime.model_refresher
            await running.change(aliases={"fast": "openai/gpt-new"})
            assert first._task.cancelled() or first._task.cancelling()
            assert running.app.runtime.model_refresher is not first
            assert {"gpt-new", "fast"} <= (await listed(running)).keys()
            await until(lambda: len(openai.requests) >= 2)
            await running.change(aliases={"fast": "openai/gpt-new"}, openai_api_keys=["sk-another"])
            assert not running.app.runtime.models.listings  # another key may reach other models
            go_on.set()
            await until(lambda: running.app.runtime.models.listings)
            assert "gpt-other" in await listed(running)

    run(main())


def test_stopping_the_gateway_ends_a_request_for_a_list():
    async def main():
        asked = asyncio.Event()
        provider = await serve([say(asked), wait(asyncio.Event())])
        async with gateway(HOUR, providers={"openai": provider}) as running:
            await asked.wait()
            running.app.runtime.model_refresher.stop()
            await provider.talks[0].ended.wait()

    run(main())
