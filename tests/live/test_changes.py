"""Tests of reloads: every kind of change takes effect with the next request and changes nothing else."""

import asyncio
import json
import logging

import pytest

from nulpoint.mock import MockSettings, start
from support.event_loop import run, until
from support.http_client import STREAM, Caller, post
from support.live_gateway import live


def test_change_of_aliases_chains_and_limits(tmp_path):
    async def main():
        async with live(tmp_path, names=("openai", "mistral")) as running:
            page = await running.change(
                aliases={"fast": "mistral/mistral-small-latest"},
                fallbacks={"gpt-4o": ["mistral/mistral-large-latest"]},
                max_body_bytes=2000,
                request_timeout="5s",
            )
            assert page["result"] == "changed"
            assert page["changed"] == ["MAX_BODY_BYTES", "REQUEST_TIMEOUT", "aliases.fast", "fallbacks.gpt-4o"]
            _, headers, _ = await running.chat("fast")
            assert headers["x-nulpoint-provider"] == "mistral"
            running.mocks["openai"].set_fault("status", arg=500)
            _, headers, _ = await running.chat("gpt-4o")
            assert (headers["x-nulpoint-provider"], headers["x-nulpoint-attempts"]) == ("mistral", "2")
            assert (await running.chat(text="x" * 2000))[0] == 413
            assert (await running.change())["changed"] == page["changed"]
            running.mocks["openai"].clear()
            status, headers, _ = await running.chat("fast")
            assert (status, headers["x-nulpoint-provider"]) == (
                200,
                "openai",
            )  # the default provider, because the mock accepts any name

    run(main())


def test_new_limits_apply_to_open_connections(tmp_path):
    async def main():
        async with live(tmp_path) as running:
            caller = await Caller.connect(running.port)
            body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 3000}]}).encode()
            for _ in range(3):
                caller.send(post(body))
                assert (await caller.answer())[0] == 200
            await running.change(max_body_bytes=2000)
            caller.send(post(body))
            assert (await caller.answer())[0] == 413

    run(main())


def test_adding_moving_and_removing_providers(tmp_path):
    async def main():
        elsewhere = await start("openai")
        async with live(tmp_path, names=("openai",)) as running:
            own = {"name": "poe", "base_url": f"{elsewhere.url}/v1", "key_env": "POE_API_KEY"}
            assert (await running.chat("poe/gpt-4o"))[0] == 404
            await running.change(providers=[own], poe_api_key="sk-poe")
            assert (await running.chat("poe/gpt-4o"))[1]["x-nulpoint-provider"] == "poe"
            assert elsewhere.requests == 1
            own["base_url"] = f"{running.mock.url}/v1"
            before = running.mock.requests
            await running.change(providers=[own], poe_api_key="sk-poe")
            assert (await running.chat("poe/gpt-4o"))[1]["x-nulpoint-provider"] == "poe"
            assert (elsewhere.requests, running.mock.requests) == (1, before + 1)
            await running.change()
            assert (await running.chat("poe/gpt-4o"))[0] == 404
        await elsewhere.close()

    run(main())


def test_change_of_provider_and_gateway_keys(tmp_path):
    """A removed key gives no access, not even to a response that was just sent on the same connection."""

    async def main():
        settings = {"CACHE_MODE": "memory"}
        async with live(tmp_path, settings, file={"gateway_api_keys": ["first-key", "second-key"]}) as running:
            callers = [await Caller.connect(running.port) for _ in range(2)]
            keys = ("first-key", "second-key")
            body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'

            async def ask(number):
                callers[number].send(post(body, "/v1/chat/completions", f"Authorization: Bearer {keys[number]}"))
                return (await callers[number].answer())[0]

            for _ in range(4):  # eventually served from the memory of repeated requests
                assert [await ask(0), await ask(1)] == [200, 200]
            asked = running.mock.requests
            await running.change(gateway_api_keys=["second-key"], groq_api_key="sk-groq")
            assert [await ask(0), await ask(1)] == [401, 200]
            assert running.mock.requests == asked  # cached responses of the remaining key are still valid
            assert "groq" in (await running.get("/health"))[1]["providers"]

    run(main())


def test_change_of_cache_settings(tmp_path):
    async def main():
        async with live(tmp_path, {"CACHE_MODE": ""}, file={"cache_mode": "memory"}) as running:

            async def outcomes():
                return [(await running.chat())[1]["x-cache"] for _ in range(2)]

            assert await outcomes() == ["MISS", "HIT"]
            await running.change(cache_mode="memory", cache_max_bytes="10MiB")
            assert await outcomes() == ["HIT", "HIT"]
            assert (await running.get("/health"))[1]["cache"]["max_bytes"] == 10 * 2**20
            await running.change(cache_mode="memory", cache_exclude_exact="gpt-4o")
            assert await outcomes() == ["BYPASS", "BYPASS"]
            await running.change(cache_mode="none")
            assert await outcomes() == ["BYPASS", "BYPASS"]
            assert (await running.get("/health"))[1]["cache"] == {"mode": "none"}
            await running.change(cache_mode="memory")
            assert await outcomes() == ["MISS", "HIT"]
            await running.change(
                cache_mode="memory", cache_max_bytes="1"
            )  # entries beyond the new limit are evicted at once
            assert (await running.get("/health"))[1]["cache"]["entries"] == 0

    run(main())


def test_no_cached_response_of_a_previous_host(tmp_path):
    async def main():
        elsewhere = await start("openai")
        async with live(tmp_path, {"CACHE_MODE": "memory", "OPENAI_BASE_URL": ""}) as running:
            for url, outcome in ((running.mock.url, "MISS"), (elsewhere.url, "MISS"), (running.mock.url, "HIT")):
                await running.change(openai_base_url=f"{url}/v1")
                assert (await running.chat())[1]["x-cache"] == outcome
            assert (running.mock.requests, elsewhere.requests) == (1, 1)
        await elsewhere.close()

    run(main())


def test_rate_limits_keep_previous_use(tmp_path):
    async def main():
        async with live(tmp_path, file={"rpm_limit": 3}) as running:
            assert [(await running.chat())[0] for _ in range(3)] == [200] * 3
            await running.change(rpm_limit=5, aliases={"a": "openai/b"})
            assert [(await running.chat())[0] for _ in range(3)] == [200, 200, 429]
            await running.change(rpm_limit=4, tpm_limit=100_000)
            assert (await running.chat())[0] == 429
            await running.change(tpm_limit=100_000)
            assert (await running.chat())[0] == 200

    run(main())


def test_admission_limits_and_waiting_requests(tmp_path):
    async def main():
        slow = MockSettings(latency_ms=300.0)
        async with live(tmp_path, file={"max_requests": 1, "queue_timeout": "5s"}, mock=slow) as running:
            asked = [asyncio.create_task(running.chat(text=str(number))) for number in range(4)]
            await until(lambda: sum(map(len, running.app.admission._waiting.values())) == 3)
            await running.change(max_requests=10, queue_timeout="5s")
            assert running.app.admission.requests == 4  # admitted without delay
            assert {status for status, _, _ in await asyncio.gather(*asked)} == {200}

    run(main())


def test_change_of_cors_and_strict_params(tmp_path):
    async def main():
        async with live(tmp_path) as running:
            assert (await running.chat())[1]["access-control-allow-origin"] == "*"
            await running.change(cors_origins=["https://a.example"])
            assert "access-control-allow-origin" not in (await running.chat())[1]
            _, headers, _ = await running.chat("gpt-4o", "hi", "Origin: https://a.example")
            assert headers["access-control-allow-origin"] == "https://a.example"

    run(main())


def test_settings_that_need_a_restart_are_reported_and_keep_their_value(tmp_path):
    async def main():
        async with live(tmp_path) as running:
            page = await running.change(host="0.0.0.0", workers=3, log_queue=5, shutdown_timeout="9s", max_retries=7)
            waiting = ["HOST", "WORKERS", "SHUTDOWN_TIMEOUT", "LOG_QUEUE"]
            assert page == {"result": "changed", "changed": ["MAX_RETRIES"], "after_restart": waiting}
            assert (await running.get("/health"))[1]["config"]["after_restart"] == waiting
            config = (await running.get("/admin/config"))[1]
            assert config["settings"]["WORKERS"]["value"] == 1
            assert config["after_restart"] == waiting
            page = await running.change(max_retries=7)
            assert (page["changed"], page["after_restart"]) == ([], [])

    run(main())


def test_a_stream_finishes_with_its_original_configuration(tmp_path):
    """A stream finishes with the provider, key and limits it began with, although they have been removed."""

    async def main():
        slow = MockSettings(stream_words=30, chunk_ms=20.0)
        async with live(tmp_path, {"OPENAI_API_KEY": ""}, file={"openai_api_key": "sk-old"}, mock=slow) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(STREAM))
            await caller.reader.readuntil(b"data: ")
            await running.change(groq_api_key="sk-new", max_streams=1)
            health = (await running.get("/health"))[1]
            assert (health["inflight_requests"], list(health["providers"])) == (1, ["groq"])
            assert len(running.app._runtimes) == 2
            assert (await caller.reader.readuntil(b"0\r\n\r\n")).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
            await until(lambda: len(running.app._runtimes) == 1)
            # No connection to the removed provider is kept.
            await until(lambda: running.app.process_state.connections == 0)
            status, _, body = await running.chat()
            assert (status, json.loads(body)["error"]["code"]) == (400, "provider_not_configured")

    run(main())


@pytest.mark.parametrize("level", ["debug", "error"])
def test_the_log_level(tmp_path, level, caplog):
    caplog.set_level(logging.INFO, "nulpoint")  # restores the level after the test

    async def main():
        async with live(tmp_path, {"LOG_LEVEL": ""}) as running:
            await running.change(log_level=level)
            await running.chat(text="after")
            assert logging.getLogger("nulpoint").level == getattr(logging, level.upper())
            return running.log().decode()

    lines = [json.loads(line) for line in run(main()).splitlines()]
    assert [line["route"] for line in lines].count("chat") == (1 if level == "debug" else 0)
