"""Tests limits shared through Redis: exact over processes, returned by cancelled requests, and without Redis."""

import asyncio
import json
import subprocess
import sys

import pytest

from nulpoint.http.coroutine_runner import CoroutineRunner, RequestCancelled
from nulpoint.ratelimit.backend import LocalLimitBackend
from nulpoint.ratelimit.limiter import LimitRefusal, LimitRules
from nulpoint.ratelimit.redis import PREFIX, RedisLimitBackend
from nulpoint.redis_client.connection import MAX_WAITING, RedisConnection, connection_factory
from support.event_loop import run, until
from support.redis_server import needs_redis, redis_server, relay

pytestmark = needs_redis
A, B = b"a" * 32, b"b" * 32


def share(rules, processes=1):
    """Return the limits of one of several processes without Redis."""
    return LocalLimitBackend(rules.shared_by(processes), 0.0)


def with_limits(rules, test, on_error="allow", processes=1):
    async def main():
        with redis_server() as server:
            link = RedisConnection(connection_factory(server.url), timeout=5.0, retry=0.05)
            await link.start()
            limits = RedisLimitBackend(link, rules, share(rules, processes), on_error)
            try:
                await test(server, link, limits)
            finally:
                limits.close()
                await link.close()

    run(main())


async def admitted(limits, count, caller=A, tokens=1):
    verdicts = await asyncio.gather(*(limits.admit(caller, tokens, 0.0) for _ in range(count)))
    return [grant for _, grant in verdicts if grant is not None]


WORKER = """
import asyncio, json, sys, uvloop
from nulpoint.ratelimit.limiter import LimitRules
from nulpoint.ratelimit.backend import LocalLimitBackend
from nulpoint.ratelimit.redis import RedisLimitBackend
from nulpoint.redis_client.connection import RedisConnection, connection_factory

async def main(url, requests, limit):
    link = RedisConnection(connection_factory(url), timeout=5.0)
    await link.start()
    limits = RedisLimitBackend(link, LimitRules(requests=limit), LocalLimitBackend(LimitRules(requests=limit), 0.0), "deny")
    done = []
    for _ in range(requests // 50):
        done += await asyncio.gather(*(limits.admit(bytes(32), 1, 0.0) for _ in range(50)))
    limits.close()
    await link.close()
    print(json.dumps([sum(grant is not None for _, grant in done), limits.fallbacks]))

uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def test_four_processes_admit_exactly_the_limit():
    with redis_server() as server:
        command = [sys.executable, "-c", WORKER, server.url, "2000", "1000"]
        workers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
        results = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(granted for granted, _ in results) == 1000
    assert sum(fallbacks for _, fallbacks in results) == 0


TABLE = [
    (LimitRules(requests=3), [(A, 1), (B, 1), (A, 1), (A, 1, "requests", False)]),
    (LimitRules(requests_per_key=1), [(A, 1), (B, 1), (A, 1, "requests", True)]),
    (LimitRules(tokens=1000), [(A, 900), (B, 90), (B, 500, "tokens", False)]),
    (LimitRules(tokens_per_key=1000), [(A, 900), (B, 900), (B, 500, "tokens", True)]),
    (LimitRules(tokens=1000), [(A, 10**9), (A, 10**9, "tokens", False)]),
    (LimitRules(parallel_per_key=2), [(A, 1), (A, 1), (B, 1), (A, 1, "parallel", True)]),
    (LimitRules(requests=9, tokens_per_key=10), [(A, 10), *[(A, 9, "tokens", True)] * 12, (B, 1)]),
]


def counts(standing):
    return standing and (standing.limit, standing.remaining)


@pytest.mark.parametrize("kind", ["redis", "local"])
@pytest.mark.parametrize(("rules", "steps"), TABLE)
def test_redis_and_memory_decide_alike(rules, steps, kind):
    async def decide(limits):
        for caller, tokens, *refused in steps:
            verdict, grant = await limits.admit(caller, tokens, 0.0)
            if refused:
                assert verdict.refusal[:2] == tuple(refused)
                assert 0 < verdict.refusal.wait <= 60
                assert grant is None
            else:
                assert verdict.refusal is None
                assert grant is not None
        return verdict

    async def test(server, link, limits):
        there = await decide(limits)
        here = await decide(LocalLimitBackend(rules, 0.0))
        assert counts(there.requests) == counts(here.requests)
        assert (there.tokens and there.tokens.limit) == (here.tokens and here.tokens.limit)

    with_limits(rules, test)


def test_times_are_from_the_clock_of_redis():
    async def test(server, link, limits):
        verdict, _ = await limits.admit(A, 600, 1e9)
        assert verdict.requests.limit == 2
        assert verdict.requests.remaining == 1
        assert verdict.requests.reset == pytest.approx(60, abs=0.1)
        assert verdict.tokens.remaining == 400
        assert verdict.tokens.reset == pytest.approx(36, abs=0.1)
        await limits.admit(A, 1, -1e9)
        verdict, _ = await limits.admit(A, 1, 0.0)
        assert verdict.refusal.wait == pytest.approx(60, abs=0.5)
        # Simulate a minute passing: make the recorded times a minute older.
        for key, old in ((b"requests", 60), (b"tokens", 0)):
            if old:
                times = await link.call("LRANGE", PREFIX.encode() + key, 0, -1)
                await link.call("DEL", PREFIX.encode() + key)
                await link.call("RPUSH", PREFIX.encode() + key, *(b"%d" % (int(time) - old * 10**6) for time in times))
        verdict, _ = await limits.admit(A, 1, 0.0)
        assert verdict.refusal is None
        assert verdict.requests.remaining == 1

    with_limits(LimitRules(requests=2, tokens=1000), test)


def test_the_list_of_times_stays_short_and_every_key_expires():
    async def test(server, link, limits):
        await admitted(limits, 500, tokens=1)
        assert await link.call("LLEN", PREFIX + "requests") == 10
        keys = await link.call("KEYS", "*")
        assert len(keys) == 5
        for key in keys:
            assert 0 < await link.call("TTL", key) <= 122

    with_limits(LimitRules(10, 10, 1000, 1000, 20), test)


def test_a_lower_limit_counts_what_was_admitted_under_the_higher_one():
    async def test(server, link, limits):
        assert len(await admitted(limits, 20)) == 20
        lower = RedisLimitBackend(link, LimitRules(requests=5), share(LimitRules()), "deny")
        assert await admitted(lower, 5) == []
        lower.close()

    with_limits(LimitRules(requests=100), test)


def test_token_estimates_are_corrected():
    async def test(server, link, limits):
        (grant,) = await admitted(limits, 1, tokens=1000)
        assert await admitted(limits, 1, tokens=500) == []
        limits.finish(grant, 100, 0.0)
        verdict, second = await limits.admit(A, 500, 0.0)
        assert 400 <= verdict.tokens.remaining <= 402
        limits.finish(second, 1500, 0.0)  # the usage exceeds the estimate, and what was left
        verdict, _ = await limits.admit(A, 1, 0.0)
        assert verdict.refusal.limit == "tokens"
        assert verdict.refusal.wait == pytest.approx(36, abs=0.5)
        (third,) = await admitted(limits, 1, caller=B, tokens=1000)
        limits.finish(third, None, 0.0)
        assert await admitted(limits, 1, caller=B, tokens=500) == []

    with_limits(LimitRules(tokens_per_key=1000), test)


def test_parallel_slots_are_never_exceeded_and_are_returned():
    async def test(server, link, limits):
        under_way, most = set(), 0
        for round_ in range(20):
            grants = await admitted(limits, 30)
            under_way.update(grants)
            most = max(most, len(under_way))
            for grant in list(under_way)[: 10 + round_ % 3]:
                under_way.discard(grant)
                limits.finish(grant, None, 0.0)
        assert most == 50
        for grant in under_way:
            limits.finish(grant, None, 0.0)
        assert await link.call("EXISTS", PREFIX + A.hex() + ":parallel") == 0
        assert len(await admitted(limits, 60)) == 50

    with_limits(LimitRules(parallel_per_key=50), test)


def test_leases_of_a_dead_process_run_out_and_those_of_a_living_one_do_not():
    async def test(server, link, limits):
        key = PREFIX + A.hex() + ":parallel"
        await link.call("ZADD", key, 1, b"of a dead process")
        assert len(await admitted(limits, 3)) == 2
        (early, _), (late, _) = await ends(link, key), await ends(link, key)
        limits._renew_leases()
        assert early <= late < (await ends(link, key))[0]

    async def ends(link, key):
        scores = await link.call("ZRANGE", key, 0, -1, "WITHSCORES")
        return [float(score) for score in scores[1::2]]

    with_limits(LimitRules(parallel_per_key=2), test)


@pytest.mark.race
def test_requests_cancelled_while_redis_decides_return_everything():
    async def main():
        with redis_server() as server:
            async with relay(server.port) as between:
                link = RedisConnection(connection_factory(between.url), timeout=2.0)
                await link.start()
                limits = RedisLimitBackend(
                    link, LimitRules(tokens=10_000, parallel_per_key=100), share(LimitRules()), "deny"
                )
                ended = []

                async def request():
                    try:
                        await limits.admit(A, 100, 0.0)
                    except RequestCancelled:
                        ended.append(1)
                        raise

                _, grant = await limits.admit(A, 100, 0.0)  # now Redis has the script
                limits.finish(grant, 0, 0.0)
                for _ in range(12):
                    between.pause()  # the replies come after the requests were cancelled
                    strands = [CoroutineRunner(request(), lambda crash: None) for _ in range(MAX_WAITING)]
                    for strand in strands:
                        strand.resume()
                    for strand in strands:
                        strand.cancel()
                    between.resume()
                    await until(lambda: not link._sent)
                assert len(ended) == 12 * MAX_WAITING
                await link.call("PING")  # a round trip after the commands caused by the decisions
                assert await link.call("EXISTS", PREFIX + A.hex() + ":parallel") == 0
                verdict, _ = await limits.admit(A, 100, 0.0)
                assert verdict.tokens.remaining >= 9_900
                limits.close()
                await link.close()

    run(main())


def test_an_empty_script_cache():
    async def test(server, link, limits):
        assert len(await admitted(limits, 3)) == 3
        await link.call("SCRIPT FLUSH")
        assert len(await admitted(limits, 20)) == 7
        await link.call("SCRIPT FLUSH")
        limits._send(A, "finish", b"-", 0, 0, 0, 0, 0, 0, 0)
        assert await admitted(limits, 5) == []
        assert link.failures == {}

    with_limits(LimitRules(requests=10), test)


@pytest.mark.parametrize(("on_error", "processes", "share"), [("allow", 1, 10), ("allow", 4, 2), ("deny", 1, 0)])
def test_redis_dies(on_error, processes, share):
    async def test(server, link, limits):
        assert len(await admitted(limits, 4)) == 4
        server.kill()
        await until(lambda: not link.up)
        assert len(await admitted(limits, 20)) == share
        assert limits.fallbacks == 20
        if on_error == "deny":
            verdict, _ = await limits.admit(A, 1, 0.0)
            assert verdict.refusal == LimitRefusal("unavailable", False, 1.0)
        server.start()
        await until(lambda: link.up)
        assert len(await admitted(limits, 20)) == 10  # a Redis without persistence starts empty

    with_limits(LimitRules(requests=10), test, on_error, processes)


def test_a_local_grant_is_finished_locally():
    async def test(server, link, limits):
        server.kill()
        await until(lambda: not link.up)
        grants = await admitted(limits, 5)
        assert len(grants) == 2
        server.start()
        await until(lambda: link.up)
        for grant in grants:
            limits.finish(grant, None, 0.0)
        server.kill()
        await until(lambda: not link.up)
        assert len(await admitted(limits, 5)) == 2

    with_limits(LimitRules(parallel_per_key=2), test)
