"""Tests a Redis that is down, killed, frozen, slow or replies with errors.

Requests do without it at once, and the connection is used again by itself when Redis is back.
"""

import asyncio
import contextlib
import logging
import os
import random
import time

import pytest

from nulpoint.http.coroutine_runner import CoroutineRunner
from nulpoint.redis_client import connection
from nulpoint.redis_client.connection import (
    LOST,
    MAX_WAITING,
    REFUSED,
    TIMED_OUT,
    RedisConnection,
    RedisUnavailable,
    connection_factory,
)
from support.certificates import self_signed_certificate
from support.event_loop import run, until
from support.ports import free_port
from support.redis_server import RedisServer, needs_redis, redis_server, relay

pytestmark = needs_redis
TIMEOUT = 10 * connection.TIMEOUT  # longer than in production, so that a busy machine changes no outcome
RETRY = 0.1  # for the tests; a second in production


@contextlib.asynccontextmanager
async def link_to(url, timeout=TIMEOUT):
    link = RedisConnection(connection_factory(url), timeout, RETRY)
    await link.start()
    try:
        yield link
    finally:
        await link.close()


async def timed(link, *command):
    """Return how long a call took, in seconds, and its result."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    reply = await link.call(*command)
    return loop.time() - began, reply


async def traffic(link, seconds, rate=20):
    """Make calls at an even rate. Return the duration and the result of each."""
    tasks = []
    for _ in range(int(seconds * rate)):
        tasks.append(asyncio.ensure_future(timed(link, "GET", "key")))
        await asyncio.sleep(1 / rate)
    return await asyncio.gather(*tasks)


def slow(results):
    """Return the calls that waited for a missing reply. The others take milliseconds, even on a busy machine."""
    return [taken for taken, _ in results if taken > TIMEOUT * 0.8]


def test_a_working_redis():
    async def main():
        with redis_server() as server:
            async with link_to(server.url, timeout=5.0) as link:
                assert link.up
                assert await link.call("SET", b"key", b"\x00value\r\n") == b"OK"
                replies = await asyncio.gather(*(link.call("GET", b"key") for _ in range(1000)))
                assert replies == [b"\x00value\r\n"] * 1000
                assert await link.call("GET", "other") is None
                assert await link.call("LPUSH", "key", "x") is REFUSED
                assert await link.call("MGET", "key", "other") == [b"\x00value\r\n", None]
                assert link.failures == {"refused": 1}

    run(main())


def test_calls_of_one_loop_turn_take_one_round_trip():
    async def main():
        with redis_server() as server:
            async with relay(server.port) as between, link_to(between.url, timeout=5.0) as link:
                between.delay = 0.4
                loop = asyncio.get_running_loop()
                began = loop.time()
                await asyncio.gather(*(link.call("INCR", "n") for _ in range(100)))
                assert loop.time() - began < 1.5  # two would take 1.6
                assert between.connections == 1

    run(main())


def test_a_busy_event_loop_is_not_a_silent_redis():
    async def main():
        with redis_server() as server:
            async with link_to(server.url, timeout=0.1) as link:
                for _ in range(5):
                    reply = link.call("PING")
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                    time.sleep(0.2)
                    assert await reply == b"PONG"

    run(main())


def test_down_at_the_start():
    async def main():
        server = RedisServer(port=free_port())
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with link_to(server.url) as link:
            assert loop.time() - began < 10
            assert not link.up
            assert "refused" in link.problem
            taken, reply = await timed(link, "GET", "key")
            assert isinstance(reply, RedisUnavailable)
            assert taken < TIMEOUT / 2
            server.start()
            try:
                await until(lambda: link.up)
                assert await link.call("PING") == b"PONG"
            finally:
                server.close()

    run(main())


def test_killed_under_load():
    async def main():
        server = RedisServer().start()
        async with link_to(server.url) as link:
            before = asyncio.ensure_future(traffic(link, 1.0))
            await asyncio.sleep(0.5)
            server.kill()
            results = [*await before, *await traffic(link, 1.0)]
            assert len(slow(results)) <= MAX_WAITING
            assert max(taken for taken, _ in results) < 3 * TIMEOUT
            assert not link.up
            server.start()
            try:
                await until(lambda: link.up)
                assert await link.call("PING") == b"PONG"
            finally:
                server.close()

    run(main())


@pytest.mark.parametrize("how", ["frozen process", "silent network"])
def test_frozen(how):
    async def main():
        with redis_server() as server:
            async with relay(server.port) as between, link_to(between.url) as link:
                assert not slow(await traffic(link, 0.5))
                (server.freeze if how == "frozen process" else between.pause)()
                results = await traffic(link, 2 * TIMEOUT + 1)
                waited = slow(results)
                assert 1 <= len(waited) <= MAX_WAITING
                assert max(waited) < 3 * TIMEOUT
                assert [reply for _, reply in results].count(TIMED_OUT) <= MAX_WAITING
                assert not link.up
                (server.thaw if how == "frozen process" else between.resume)()
                await until(lambda: link.up)
                assert not slow(await traffic(link, 0.5))

    run(main())


def test_slow():
    async def main():
        with redis_server() as server:
            async with relay(server.port) as between, link_to(between.url) as link:
                between.delay = 4 * TIMEOUT
                results = await traffic(link, 3 * TIMEOUT + 1)
                assert len(slow(results)) <= MAX_WAITING
                assert max(slow(results)) < 3 * TIMEOUT
                between.delay = 0.0
                await until(lambda: link.up)

    run(main())


def test_a_redis_that_is_far_away_is_used():
    async def main():
        with redis_server() as server:
            async with relay(server.port) as between, link_to(between.url) as link:
                between.delay = 0.1
                for _ in range(15):
                    await link.call("GET", "key")  # the connection measures the round trip
                results = await traffic(link, 0.5, rate=100)
                assert all(reply is None for _, reply in results)

    run(main())


def test_a_connection_closed_while_idle_is_reopened_at_once():
    async def main():
        with redis_server() as server:
            async with relay(server.port) as between:
                link = RedisConnection(connection_factory(between.url), TIMEOUT, retry=3600)
                await link.start()
                between.reset()
                await until(lambda: between.connections == 2 and link.up)
                assert await link.call("PING") == b"PONG"
                await link.close()

    run(main())


# -- cancelled requests ------------------------------------------------------------------------------------------------

OPERATIONS = int(os.environ.get("NULPOINT_CANCELLED_REQUESTS", "5000"))


def start_task(coroutine):
    return asyncio.ensure_future(coroutine).cancel


def start_strand(coroutine):
    strand = CoroutineRunner(coroutine, lambda crash: None)
    strand.resume()
    return strand.cancel


@pytest.mark.race
@pytest.mark.parametrize("start", [start_task, start_strand])
def test_cancelled_requests_never_get_another_request_s_value(start):
    """Two tenants read values that name them. Half of the requests are cancelled at any time, and connections break."""

    async def main():
        with redis_server() as server:
            async with relay(server.port) as between, link_to(between.url, timeout=2.0) as link:
                for number in range(50):
                    for tenant in ("a", "b"):
                        await link.call("SET", f"{tenant}:{number}", f"{tenant}:{number}:secret")
                between.delay = 0.002
                return await requests_that_leave(link, between, start)

    replies = run(main())
    answers = [(key, reply) for key, reply in replies if not isinstance(reply, RedisUnavailable)]
    assert all(reply == f"{key}:secret".encode() for key, reply in answers)
    assert OPERATIONS / 8 < len(answers) <= len(replies) < OPERATIONS * 7 / 8
    assert len(answers) < len(replies), "no connection broke"


async def requests_that_leave(link, between, start):
    """Return the replies of the requests that were not cancelled."""
    chance = random.Random(int(os.environ.get("NULPOINT_TEST_SEED", "1")))
    replies = []

    async def request(key):
        replies.append((key, await link.call("GET", key)))

    for number in range(OPERATIONS // 20):
        await until(lambda: link.up)
        for _ in range(20):
            leave = start(request(f"{chance.choice('ab')}:{chance.randrange(50)}"))
            if chance.random() < 0.5:
                asyncio.get_running_loop().call_later(chance.uniform(0, 0.006), leave)
        await asyncio.sleep(chance.uniform(0, 0.004))
        if number % 50 == 25:
            between.reset()
    await asyncio.sleep(0.05)
    return replies


# -- error replies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "command"),
    [
        (("--maxmemory", "1"), ("SET", "key", "value")),  # OOM
        (("--replicaof", "127.0.0.1 1"), ("SET", "key", "value")),  # READONLY
        (("--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no"), ("GET", "key")),  # MASTERDOWN
        (("--cluster-enabled", "yes", "--cluster-port", str(free_port())), ("GET", "key")),  # CLUSTERDOWN
    ],
)
def test_error_replies_pause_the_connection(options, command):
    async def main():
        with redis_server(*options) as server:
            async with link_to(server.url) as link:
                results = [await timed(link, *command) for _ in range(50)]
                assert not slow(results)
                assert [reply for _, reply in results].count(REFUSED) <= MAX_WAITING
                assert sum(link.failures.values()) == 50

    run(main())


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{}", "redis://:wrong@127.0.0.1:{}", "redis://u:wrong@127.0.0.1:{}"])
def test_a_password_that_is_missing_or_wrong(url, caplog):
    async def main():
        with redis_server("--requirepass", "right") as server, caplog.at_level(logging.WARNING):
            async with link_to(url.format(server.port)) as link:
                assert not link.up
                assert not slow(await traffic(link, 0.5))
            async with link_to(f"redis://:right@127.0.0.1:{server.port}") as link:
                assert link.up
        assert len(caplog.records) == 1
        assert "right" not in caplog.text
        assert "wrong@" not in caplog.text

    run(main())


def test_a_server_that_is_not_redis():
    async def answer(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with link_to(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as link:
            assert not link.up
            assert not slow(await traffic(link, 0.5))
        server.close()

    run(main())


def test_a_demoted_primary_is_reconnected():
    async def main():
        with redis_server() as server:
            async with relay(server.port) as between, link_to(between.url) as link:
                server.cli("REPLICAOF", "127.0.0.1", "1")
                assert await link.call("SET", "key", "value") is REFUSED
                assert not link.up
                server.cli("REPLICAOF", "NO", "ONE")
                await until(lambda: link.up)
                assert await link.call("SET", "key", "value") == b"OK"
                assert between.connections >= 2

    run(main())


def test_an_encrypted_connection(tmp_path):
    cert, key = self_signed_certificate(tmp_path, "DNS:localhost,IP:127.0.0.1")
    port = free_port()
    tls = (
        "--tls-port",
        str(port),
        "--tls-cert-file",
        str(cert),
        "--tls-key-file",
        str(key),
        "--tls-auth-clients",
        "no",
    )

    async def main():
        with redis_server(*tls) as server:
            async with link_to(f"rediss://127.0.0.1:{port}?ssl_ca_certs={cert}") as link:
                assert await link.call("PING") == b"PONG"
            async with link_to(f"rediss://127.0.0.1:{port}") as link:
                assert not link.up  # the certificate is not trusted
                assert "certificate" in link.problem
            async with link_to(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none&ssl_check_hostname=false") as link:
                assert await link.call("PING") == b"PONG"
            assert server.port != port

    run(main())


def test_a_socket_in_the_file_system_a_user_and_a_database(tmp_path):
    path = tmp_path / "redis.sock"

    async def main():
        with redis_server("--unixsocket", str(path)) as server:
            server.cli("ACL", "SETUSER", "gateway", "on", ">p@ss", "~*", "&*", "+@all")
            async with link_to(f"unix://gateway:p%40ss@{path}?db=3") as link:
                assert await link.call("SET", "key", "value") == b"OK"
                assert b"user=gateway" in await link.call("CLIENT", "INFO")
            async with link_to(f"redis://gateway:p%40ss@127.0.0.1:{server.port}/3") as link:
                assert await link.call("GET", "key") == b"value"
            async with link_to(server.url) as link:
                assert await link.call("GET", "key") is None

    run(main())


def test_warnings_are_few(caplog):
    async def main():
        with redis_server() as server:
            async with link_to(server.url) as link:
                server.kill()
                await until(lambda: not link.up)
                await asyncio.sleep(5 * RETRY)
        assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1

    run(main())


def test_closing_completes_waiting_calls():
    async def main():
        with redis_server() as server:
            async with relay(server.port) as between, link_to(between.url, timeout=5.0) as link:
                between.pause()
                waiting = link.call("GET", "key")
                await link.close()
                assert await asyncio.wait_for(asyncio.shield(waiting), 1) is LOST
                assert not link.up

    run(main())


@pytest.mark.parametrize(("unknown", "url"), [("AUTH", "redis://user:hunter2-hunter2@127.0.0.1"), ("GET", "")])
def test_arguments_repeated_by_redis_are_not_logged(unknown, url, caplog):
    async def main():
        with redis_server("--rename-command", unknown, "") as server:
            async with link_to(url.replace("127.0.0.1", f"127.0.0.1:{server.port}") or server.url) as link:
                await link.call("GET", "hunter2-hunter2")
                await until(lambda: "unknown command" in caplog.text)
                assert "hunter2" not in caplog.text + link.problem

    with caplog.at_level(logging.DEBUG, "nulpoint"):
        run(main())
