"""Tests of reloads that add, move and remove Redis while the gateway runs."""

import asyncio

from support.event_loop import run, until
from support.live_gateway import live
from support.ports import free_port
from support.redis_server import needs_redis, redis_server

pytestmark = needs_redis
FILE = {"cache_mode": "redis"}


def test_redis_is_added_moved_and_removed(tmp_path):
    async def main():
        with redis_server() as one, redis_server() as other:
            async with live(tmp_path, {"CACHE_MODE": ""}, file={"cache_mode": "memory"}) as running:

                async def outcome():
                    return (await running.chat())[1]["x-cache"]

                async def found():
                    for _ in range(50):  # the response is stored in the background
                        if await outcome() == "HIT":
                            return True
                        await asyncio.sleep(0.02)
                    return False

                assert await outcome() == "MISS"
                links = []
                for server in (one, other):
                    await running.change(**FILE, redis_url=server.url, rpm_limit=100_000)
                    links.append(running.app.runtime.backends.redis)
                    assert links[-1].up
                    assert await outcome() == "MISS"
                    assert await found()
                await running.change(**FILE, redis_url=other.url, rpm_limit=200_000, aliases={"a": "openai/b"})
                assert running.app.runtime.backends.redis is links[1]
                assert await outcome() == "HIT"
                await until(lambda: not links[0].up)  # no runtime uses it any more
                await running.change(cache_mode="memory")
                assert await outcome() == "MISS"
                await until(lambda: not links[1].up)
                assert "redis" not in (await running.get("/health"))[1]
                assert b"\ngateway_redis_up " not in running.app.metrics.page()

    run(main())


def test_an_address_without_redis_does_not_delay_requests(tmp_path):
    async def main():
        async with live(tmp_path, {"CACHE_MODE": ""}) as running:
            await running.change(**FILE, redis_url=f"redis://127.0.0.1:{free_port()}")
            assert (await running.chat())[0] == 200
            assert (await running.get("/health"))[1]["status"] == "degraded"

    run(main())


def test_breaker_hints_and_shared_limits_continue(tmp_path):
    async def main():
        with redis_server() as server:
            folders = [tmp_path / name for name in ("one", "other")]
            for folder in folders:
                folder.mkdir()
            file = {"redis_url": server.url, "rpm_limit": 8, "cb_error_threshold": 2, "max_retries": 1}
            async with live(folders[0], file=file) as one, live(folders[1], file=file) as other:
                for running in (one, other):
                    await running.change(**file, aliases={"a": "openai/b"})
                assert [(await running.chat())[0] for running in (one, other, one, other)] == [200] * 4
                for running in (one, other):
                    await running.change(**{**file, "rpm_limit": 6}, aliases={"a": "openai/b"})
                one.mock.set_fault("status", arg=500)
                assert [(await one.chat())[0] for _ in range(2)] == [502, 502]  # the sixth failure opens the breaker
                assert [(await running.chat())[0] for running in (one, other)] == [429, 429]
                breaker = other.app.runtime.provider_health["openai"].breaker
                await until(lambda: breaker.state.label == "open")
                await other.change(**{**file, "rpm_limit": 0, "cb_half_open_timeout": "90s"})
                assert (await other.chat())[0] == 503

    run(main())
