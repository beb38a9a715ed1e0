"""Tests of many reloads under load: no request fails, no runtime is left over, and memory stays bounded."""

import asyncio
import json
import time

import pytest

from nulpoint.mock import MockSettings
from support.event_loop import run, until
from support.http_client import CHAT, STREAM, Caller, post
from support.live_gateway import live
from support.running_gateway import left_in


def config(number):
    """Return a configuration that differs from the previous one in the settings of every part."""
    return {
        "rpm_limit": 1_000_000 + number,
        "max_requests": 1000 + number,
        "aliases": {"fast": ("openai/gpt-4o-mini", "mistral/mistral-small-latest")[number % 2]},
        "fallbacks": {"gpt-4o": [f"mistral/m{number}"]},
        "openai_api_keys": [f"sk-configured-{name}" for name in ("x", "y", "z")[: number % 3 + 1]],
        "cache_mode": ("memory", "none")[number % 2],
        "stream_idle_timeout": f"{60 + number // 5}s",  # sometimes requires new connections
    }


async def ask_on(port, body, stop, outcomes):
    caller = await Caller.connect(port)
    while not stop.is_set():
        caller.send(post(body))
        status, _, answer = await caller.answer()
        whole = b"[DONE]" in answer if body is STREAM else b'"choices"' in answer
        outcomes.append((status, whole))
    await caller.close()


@pytest.mark.race
def test_60_changes_under_load_and_no_request_fails(tmp_path):
    async def main():
        slow = MockSettings(stream_words=10, chunk_ms=2.0, latency_ms=5.0)
        async with live(
            tmp_path, {"CACHE_MODE": "", "LOG_LEVEL": "error"}, names=("openai", "mistral"), mock=slow
        ) as running:
            outcomes, stop = [], asyncio.Event()
            aliased = CHAT.replace(b"gpt-4o", b"fast")
            callers = [
                asyncio.create_task(ask_on(running.port, body, stop, outcomes))
                for body in (CHAT, STREAM, aliased, CHAT.replace(b"hi", b"ho"), STREAM, STREAM)
            ]
            for number in range(60):
                await running.change(**config(number))
                await asyncio.sleep(0.02)
            stop.set()
            await asyncio.gather(*callers)
            assert len(outcomes) > 300
            assert set(outcomes) == {(200, True)}
            await until(lambda: len(running.app._runtimes) == 1)
            assert not {key: value for key, value in left_in(running.app).items() if key != "connections of clients"}
            kept = sum(pool.free for pool in running.app.runtime.client._pools.values())
            assert running.app.process_state.connections == kept
            await until(lambda: sum(len(mock.connections) for mock in running.mocks.values()) == kept)

    run(main())


def test_a_thousand_concurrent_reload_requests_share_a_few_reloads(tmp_path, caplog):
    """Requests for a reload during another one share the next result; here 1,000 arrive at once, with changes."""

    async def main():
        async with live(tmp_path, {"LOG_LEVEL": "error"}) as running:
            began = time.monotonic()

            async def storm(times):
                caller = await Caller.connect(running.port)
                results = []
                for _ in range(times):
                    caller.send(b"POST /admin/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
                    status, _, body = await caller.answer()
                    results.append((status, json.loads(body)["result"]))
                await caller.close()
                return results

            asked = asyncio.gather(*(storm(20) for _ in range(50)))
            for number in range(20):
                running.write(rpm_limit=100_000 + number)
                assert (await running.chat(text=str(number)))[0] == 200
            results = [one for some in await asked for one in some]
            assert len(results) == 1000
            assert {status for status, _ in results} == {200}
            assert time.monotonic() - began < 100
            page = running.app.metrics.page().decode().splitlines()
            done = sum(float(line.split()[-1]) for line in page if line.startswith("gateway_config_reloads_total{"))
            assert done < 200
            await running.reload()
            assert running.app.runtime.config.rpm_limit == 100_019
            assert len(running.app._runtimes) <= 2

    run(main())


def test_a_request_during_a_reload_gets_the_result_of_the_next_one(tmp_path):
    """A reload that has begun may not have seen the change, so its result is not returned."""

    async def main():
        async with live(tmp_path) as running:
            running.write(rpm_limit=1000)
            first = running.app.reloading.reload()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            running.write(rpm_limit=2000)
            second, third = running.app.reloading.reload(), running.app.reloading.reload()
            assert second is third
            assert second is not first
            await asyncio.wait((first, second))
            assert running.app.runtime.config.rpm_limit == 2000

    run(main())


def test_a_client_that_disconnects_does_not_cancel_the_reload(tmp_path):
    async def main():
        async with live(tmp_path) as running:
            running.write(rpm_limit=1000)
            caller = await Caller.connect(running.port)
            caller.send(b"POST /admin/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            await until(lambda: running.app.reloading._current is not None)
            await caller.close()
            await until(lambda: running.app.runtime.config.rpm_limit == 1000)

    run(main())


def test_a_reload_during_the_drain(tmp_path):
    async def main():
        slow = MockSettings(stream_words=30, chunk_ms=20.0)
        async with live(tmp_path, {"ADMIN_PORT": "0"}, mock=slow) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(STREAM))
            await caller.reader.readuntil(b"data: ")
            drain = asyncio.create_task(running.app.drain())
            await until(lambda: running.app.server.draining)
            for number in range(3):
                assert (await running.change(rpm_limit=1000 + number))["result"] == "changed"
            assert (await running.get("/readiness"))[0] == 503
            with pytest.raises(OSError):
                await Caller.connect(running.port)
            assert (await caller.rest()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
            assert await drain

    run(main())


@pytest.mark.slow
def test_10_000_model_names(tmp_path):
    """Clients can invent any number of model names, so nothing may grow with them."""

    async def main():
        file = {"cache_mode": "memory", "cache_max_bytes": "1MiB", "cache_exclude_patterns": "never"}
        file["fallbacks"] = {"*": ["mistral/mistral-large-latest"]}
        settings = {"CACHE_MODE": "", "LOG_LEVEL": "error"}
        async with live(tmp_path, settings, file=file, names=("openai", "mistral", "gemini")) as running:

            async def ask(numbers):
                caller = await Caller.connect(running.port)
                for number in numbers:
                    name = ("made-up-%d", "gemini/made-up-%d", "mistral/made-up-%d")[number % 3] % number
                    caller.send(post(CHAT.replace(b"gpt-4o", name.encode())))
                    await caller.answer()
                    if number % 10 == 0:
                        await running.get(f"/admin/explain?model={name}")
                await caller.close()

            await asyncio.gather(*(ask(range(first, 10_000, 8)) for first in range(8)))
            runtime = running.app.runtime
            proxy = runtime.service._proxies["/v1/chat/completions"]["POST"]
            router = proxy._services.router
            assert len(router._plan_cache) <= 4096
            for destination in proxy._attempts._endpoints.values():
                assert len(destination.attribution_by_model) <= 1024
                assert len(destination._heads) <= 1024
            assert len(runtime.backends.parts.exclusions._results) <= 1024
            assert runtime.backends.cache.memory.bytes <= 2**20
            page = running.app.metrics.page()
            assert b"made-up" not in page
            assert len(page) < 100_000
            for standing in runtime.provider_health.values():
                assert len(standing.cooldowns._ends) <= 4096
            await running.change(**{**file, "rpm_limit": 1_000_000})
            assert (await running.chat())[0] == 200

    run(main())
