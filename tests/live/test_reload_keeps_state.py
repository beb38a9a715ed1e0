"""Tests that a reload preserves unchanged state: breakers, cooldowns, connections and counters."""

import asyncio
import gc
import sys
import weakref

import pytest

from nulpoint.mock import MockSettings
from support.event_loop import run, until
from support.http_client import STREAM, Caller, post
from support.live_gateway import live

BREAKER = {"cb_error_threshold": 2, "max_retries": 1}


async def open_breaker(running):
    running.mock.set_fault("status", arg=500)
    for number in range(2):
        assert (await running.chat(text=str(number)))[0] == 502
    running.mock.clear()
    assert (await running.chat())[0] == 503


def test_an_open_breaker_keeps_its_half_open_time(tmp_path):
    async def main():
        async with live(tmp_path, file={**BREAKER, "cb_half_open_timeout": "600ms"}) as running:
            await open_breaker(running)
            began = asyncio.get_running_loop().time()
            changes = (
                {
                    "aliases": {"a": "openai/x"},
                    "cb_half_open_timeout": "600ms",
                },  # a change that does not concern the provider
                {"openai_api_keys": ["sk-second"], "cb_half_open_timeout": "600ms"},  # another key of the provider
                {"cb_half_open_timeout": "700ms", "cb_time_window": "10s"},  # other breaker settings
            )
            for change in changes:
                await running.change(**{**BREAKER, **change})
                health = (await running.get("/health"))[1]["providers"]["openai"]
                assert health["circuit_breaker"] == "open"
                assert (await running.chat())[0] == 503
            await until(lambda: asyncio.get_running_loop().time() > began + 0.75)
            assert (await running.chat())[0] == 200  # the probe
            assert (await running.chat())[0] == 200

    run(main())


def test_failures_before_and_after_a_change_add_up(tmp_path):
    async def main():
        async with live(tmp_path, file=BREAKER) as running:
            running.mock.set_fault("status", arg=500)
            assert (await running.chat())[0] == 502
            await running.change(**BREAKER, openai_api_keys=["sk-second"])
            assert (await running.chat())[0] == 502
            assert (await running.chat())[0] == 503

    run(main())


def test_a_new_address_resets_the_provider_health(tmp_path):
    async def main():
        async with live(tmp_path, {"OPENAI_BASE_URL": ""}) as running:
            await running.change(**BREAKER, openai_base_url=f"{running.mock.url}/v1")
            await open_breaker(running)
            await running.change(**BREAKER, openai_base_url=running.mock.url.replace("127.0.0.1", "localhost") + "/v1")
            assert (await running.chat())[0] == 200

    run(main())


def test_a_probe_in_flight_does_not_block_the_next_one(tmp_path):
    async def main():
        slow = MockSettings(latency_ms=400.0)
        file = {**BREAKER, "cb_half_open_timeout": "50ms"}
        async with live(tmp_path, file=file, mock=slow) as running:
            running.mock.set_fault("status", arg=500)
            await asyncio.gather(*(running.chat(text=str(number)) for number in range(2)))
            running.mock.clear()
            await asyncio.sleep(0.06)
            probe = asyncio.create_task(running.chat(text="probe"))
            await until(lambda: running.app.process_state.inflight == 1)
            await running.change(**file, openai_api_keys=["sk-second"])
            assert (await running.chat(text="after"))[0] == 200
            assert (await probe)[0] == 200

    run(main())


def test_keys_keep_cooling_down_when_their_position_changes(tmp_path):
    async def main():
        async with live(tmp_path, {"OPENAI_API_KEY": ""}, file={"openai_api_keys": ["sk-one", "sk-two"]}) as running:
            running.mock.set_fault("status", count=1, arg=401)
            assert (await running.chat())[0] == 200  # served with the other key
            assert [key for key, _ in running.app.runtime.provider_health["openai"].cooldowns._ends] == [0]
            await running.change(openai_api_keys=["sk-three", "sk-two", "sk-one"])
            assert [key for key, _ in running.app.runtime.provider_health["openai"].cooldowns._ends] == [2]
            await running.change(openai_api_keys=["sk-three", "sk-two"])
            assert (await running.get("/health"))[1]["providers"]["openai"]["resting_credentials"] == 0

    run(main())


def test_connections_to_providers_that_stay_are_kept(tmp_path):
    async def main():
        async with live(tmp_path, names=("openai", "mistral")) as running:
            for model in ("gpt-4o", "mistral-small-latest"):
                assert (await running.chat(model))[0] == 200
            opened = [set(mock.connections) for mock in running.mocks.values()]
            for number in range(5):
                await running.change(aliases={"a": f"openai/{number}"}, rpm_limit=1000 + number)
                for model in ("gpt-4o", "mistral-small-latest"):
                    assert (await running.chat(model))[0] == 200
            assert [set(mock.connections) for mock in running.mocks.values()] == opened
            await running.change(upstream_idle_timeout="20s")  # new connections would have other settings now
            await until(lambda: not any(mock.connections for mock in running.mocks.values()))
            assert (await running.chat())[0] == 200

    run(main())


def test_calls_in_flight_can_be_shared_after_a_change(tmp_path):
    async def main():
        slow = MockSettings(latency_ms=300.0)
        async with live(tmp_path, {"CACHE_MODE": "memory"}, mock=slow) as running:
            first = asyncio.create_task(running.chat())
            await until(lambda: running.mock.requests == 1)
            await running.change(max_retries=2)
            second = await running.chat()
            assert (await first)[2] == second[2]
            assert running.mock.requests == 1

    run(main())


def test_cache_counters_never_decrease(tmp_path):
    """Prometheus takes a decreasing counter for a restarted one, which would be wrong for the sum of several workers."""

    def counted(running):
        running.app.runtime.status.update_gauges()
        page = running.app.metrics.page().decode().splitlines()
        names = ("gateway_cache_operations_total", "gateway_cache_evictions_total", "gateway_redis_failures_total")
        return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in page if line.startswith(names))}

    async def main():
        nowhere = "redis://127.0.0.1:1"
        files = [
            {"cache_mode": "memory", "cache_max_bytes": "2KiB"}, {"cache_mode": "none"}, {"cache_mode": "memory"},
            {"cache_mode": "redis", "redis_url": nowhere}, {"cache_mode": "redis", "redis_url": f"{nowhere}/1"},
            {"cache_mode": "memory"},
        ]  # fmt: skip
        async with live(tmp_path, {"CACHE_MODE": "", "LOG_LEVEL": "error"}) as running:
            before = counted(running)
            for file in files:
                await running.change(**file)
                for text in ("a", "b", "b"):
                    await running.chat(text=text)
                now = counted(running)
                assert {key: value for key, value in before.items() if now.get(key, 0.0) < value} == {}
                before = now
        assert before['gateway_cache_operations_total{op="get",result="hit"}'] == 3
        assert before["gateway_cache_evictions_total"] >= 1
        assert sum(value for key, value in before.items() if "redis_failures" in key) >= 12

    run(main())


def test_old_runtimes_are_released_after_their_last_request(tmp_path):
    """Old runtimes are freed without the garbage collector."""

    async def main():
        slow = MockSettings(stream_words=20, chunk_ms=20.0)
        async with live(tmp_path, mock=slow) as running:
            old = []
            gc.disable()
            try:
                for number in range(4):
                    runtime = running.app.runtime
                    parts = (runtime, runtime.backends, runtime.status, runtime.service, runtime.service._admin)
                    old += [weakref.ref(part) for part in parts]
                    del runtime, parts
                    caller = await Caller.connect(running.port)
                    caller.send(post(STREAM))
                    await caller.reader.readuntil(b"data: ")
                    await running.change(rpm_limit=1000 + number)
                    assert old[-1]() is not None
                assert len(running.app._runtimes) == 5
                await until(lambda: not running.app.process_state.inflight)
                await until(lambda: len(running.app._runtimes) == 1)
                await asyncio.sleep(0.2)
                assert [one() for one in old] == [None] * len(old)
            finally:
                gc.enable()

    run(main())


@pytest.mark.slow
def test_a_thousand_changes_leak_no_memory(tmp_path):
    async def main():
        async with live(tmp_path, {"CACHE_MODE": "memory"}, file={"rpm_limit": 1}) as running:
            blocks = []
            place, app = running.app.reloading._source, running.app
            for number in range(1100):
                running.write(rpm_limit=10_000 + number, aliases={f"a{number}": "openai/gpt-4o"}, coalesce=number % 2)
                await app.serve(place.load(app.runtime.config))
                if number % 20 == 0:
                    assert (await running.chat(f"a{number}"))[0] == 200
                if number % 100 == 99:
                    gc.collect()
                    blocks.append(sys.getallocatedblocks())
            assert len(app._runtimes) == 1
            assert len(app.deadlines._watched) <= 3
            return blocks

    blocks = run(main())
    assert blocks[-1] - blocks[1] < 2000, blocks
