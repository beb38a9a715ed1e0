"""Tests the client for providers with servers that misbehave."""

import asyncio
import contextlib
import os
import random
import ssl

import pytest

from nulpoint.errors import Failure, Kind
from nulpoint.http.client.connection import MAX_UNREAD_BYTES
from nulpoint.http.client.connector import Connector, Origin, origin_of
from nulpoint.http.client.pool import UpstreamClient
from nulpoint.http.coroutine_runner import CoroutineRunner
from nulpoint.http.deadlines import DeadlineSweeper
from nulpoint.http.limits import ClientLimits
from support.certificates import self_signed_certificate
from support.event_loop import run, until

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SEED = int(os.environ.get("NULPOINT_TEST_SEED", "1"))


@contextlib.asynccontextmanager
async def upstream(script, **limits):
    """Start a raw server that runs `script(reader, writer)`, and yield a client and its pool."""
    server = await asyncio.start_server(script, "127.0.0.1", 0, backlog=1000)
    ticker = DeadlineSweeper(asyncio.get_running_loop())
    client = UpstreamClient(Connector(connect_timeout=20, dns_ttl=60), ClientLimits(**limits), ticker)
    pool = client.pool(Origin("http", "127.0.0.1", server.sockets[0].getsockname()[1]))
    try:
        yield client, pool
    finally:
        client.close()
        ticker.stop()
        server.close()
        await asyncio.sleep(0.01)


def saying(*pieces, then_close=True):
    """Return a script that responds to every request with these bytes, one piece a write."""

    async def script(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"{}")
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if then_close:
                    break
        writer.close()

    return script


async def run_coroutine(coroutine):
    """Run a coroutine with a CoroutineRunner, as the gateway does, and return its result."""
    done = asyncio.get_running_loop().create_future()

    async def body():
        try:
            done.set_result(await coroutine)
        except Exception as error:
            done.set_exception(error)

    CoroutineRunner(body(), lambda crash: None).resume()
    return await done


async def exchange(client, pool):
    async def one():
        connection = await client.send(pool, REQUEST)
        try:
            return connection.status, await connection.body()
        finally:
            connection.release()

    return await run_coroutine(one())


def test_a_response_is_read_alike_however_it_is_cut():
    answer = b"HTTP/1.1 200 OK\r\nX-A: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n"

    async def main():
        for cut in range(1, len(answer)):
            async with upstream(saying(answer[:cut], answer[cut:])) as (client, pool):
                assert await exchange(client, pool) == (200, b"abcdefg")

    run(main())


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (GOOD, b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + GOOD, b"ok"),
        (GOOD + b"more than was said", b"ok"),
    ],
)
def test_good_responses(answer, body):
    async def main():
        async with upstream(saying(answer)) as (client, pool):
            assert (await exchange(client, pool))[1] == body
            await until(lambda: client.connections() == 0)

    run(main())


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "provider_disconnected"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "provider_disconnected"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", "provider_disconnected"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", "provider_disconnected"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n", "provider_malformed"),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "provider_malformed"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + GOOD, "provider_malformed"),
        (b"SSH-2.0-OpenSSH\r\n", "provider_malformed"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000, "provider_malformed"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "provider_malformed"),
    ],
)
def test_a_bad_response_is_one_failure_and_leaves_no_connection(answer, code):
    async def main():
        async with upstream(saying(answer)) as (client, pool):
            with pytest.raises(Failure) as caught:
                await exchange(client, pool)
            assert (caught.value.status, caught.value.code) == (502, code)
            await until(lambda: client.connections() == 0)

    run(main())


def test_a_response_over_the_limit():
    async def main():
        async with upstream(saying(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 5000), upstream_max_body_bytes=4000) as (
            client,
            pool,
        ):
            with pytest.raises(Failure, match="over 4000 bytes"):
                await exchange(client, pool)

    run(main())


def test_connections_are_reused():
    async def main():
        async with upstream(saying(GOOD, then_close=False)) as (client, pool):
            for _ in range(50):
                assert (await exchange(client, pool))[1] == b"ok"
            assert client.connections() == pool.free == 1

    run(main())


def test_a_large_response_that_arrives_at_once_leaves_the_connection_readable():
    large = b"x" * (MAX_UNREAD_BYTES + 1)

    async def whole(client, pool):
        connection = await client.send(pool, REQUEST)
        try:
            return connection.whole or await connection.body()
        finally:
            connection.release()

    async def main():
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(large), large)
        async with upstream(saying(answer, then_close=False), provider_timeout=2) as (client, pool):
            for _ in range(3):
                assert await run_coroutine(whole(client, pool)) == large

    run(main())


def test_an_idle_connection_expires():
    async def main():
        async with upstream(saying(GOOD, then_close=False), upstream_idle_timeout=0.2) as (client, pool):
            await exchange(client, pool)
            await until(lambda: client.connections() == 0)

    run(main())


def test_an_idle_connection_that_sends_bytes_is_closed():
    async def main():
        async with upstream(saying(GOOD, b"HTTP/1.1 408 Timeout\r\n\r\n", then_close=False)) as (client, pool):
            assert (await exchange(client, pool))[1] == b"ok"
            await until(lambda: client.connections() == 0)
            assert (await exchange(client, pool))[1] == b"ok"

    run(main())


@pytest.mark.race
@pytest.mark.slow
def test_the_stale_connection_race():
    """A server closes idle connections at about the time when requests arrive. None fails, none is sent twice."""
    whole = 10_000
    idle = 0.002
    chance = random.Random(SEED)

    async def main():
        served: dict[bytes, int] = {}

        async def script(reader, writer):
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                patience = 5.0  # only a kept connection goes stale
                while True:
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), patience)
                    patience = idle
                    served[head] = served.get(head, 0) + 1
                    writer.write(GOOD)
            writer.close()

        async with upstream(script) as (client, pool):

            async def one(number):
                connection = await client.send(pool, b"POST /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number)
                try:
                    return await connection.body()
                finally:
                    connection.release()

            async def worker(numbers):
                for number in numbers:
                    assert await run_coroutine(one(number)) == b"ok"
                    await asyncio.sleep(idle * chance.uniform(0.7, 1.5))

            await asyncio.gather(*(worker(range(start, whole, 50)) for start in range(50)))
            assert len(served) == whole
            assert set(served.values()) == {1}

    run(main())


def test_a_stale_connection_is_replayed_once_and_never_from_the_pool():
    """A whole pool of stale connections costs one replay, and no client gets an error."""
    whole_pool = 100

    async def main():
        answers = 0
        all_here = asyncio.Event()  # the first are in flight together, so each has a connection of its own

        async def script(reader, writer):
            nonlocal answers
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"{}")
                answers += 1
                if answers == whole_pool:
                    all_here.set()
                await all_here.wait()
                writer.write(GOOD)
                await reader.readuntil(b"{}")  # the second request on a connection kills it unanswered
                writer.transport.abort()
            writer.close()

        async with upstream(script) as (client, pool):
            await asyncio.gather(*(exchange(client, pool) for _ in range(whole_pool)))
            assert pool.free == whole_pool
            assert (await exchange(client, pool))[1] == b"ok"
            assert pool.free == 1  # the others were dropped unused
            assert answers == whole_pool + 1

    run(main())


def test_a_request_on_a_new_connection_is_not_replayed():
    """The provider closes a new connection without a response."""

    async def main():
        requests = 0

        async def script(reader, writer):
            nonlocal requests
            await reader.readuntil(b"{}")
            requests += 1
            writer.transport.abort()

        async with upstream(script) as (client, pool):
            with pytest.raises(Failure):
                await exchange(client, pool)
            assert requests == 1

    run(main())


def test_the_number_of_connections_is_bounded_and_so_is_the_wait():
    async def main():
        async def script(reader, writer):
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    await reader.readuntil(b"{}")
                    await asyncio.sleep(0.05)
                    writer.write(GOOD)
            writer.close()

        async with upstream(script, upstream_max_connections=4, upstream_wait_timeout=5) as (client, pool):
            calls = [asyncio.ensure_future(exchange(client, pool)) for _ in range(20)]
            while not all(call.done() for call in calls):
                assert client.connections() <= 4
                await asyncio.sleep(0.005)
            assert all(call.result()[1] == b"ok" for call in calls)
        async with upstream(script, upstream_max_connections=1, upstream_wait_timeout=0.01) as (client, pool):
            slow = asyncio.ensure_future(exchange(client, pool))
            await until(lambda: client.connections() == 1)
            results = await asyncio.gather(*(exchange(client, pool) for _ in range(10)), return_exceptions=True)
            assert any(isinstance(one, Failure) and one.kind is Kind.OVERLOADED for one in results)
            await slow

    run(main())


@pytest.mark.race
def test_many_cancellations_leave_the_pool_usable():
    """Clients disconnect at random times."""

    chance = random.Random(SEED)

    async def main():
        async def script(reader, writer):
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    await reader.readuntil(b"{}")
                    await asyncio.sleep(0.001)
                    writer.write(GOOD)
            writer.close()

        async with upstream(script, upstream_max_connections=10) as (client, pool):

            async def one():
                connection = await client.send(pool, REQUEST)
                try:
                    await connection.body()
                finally:
                    connection.release()

            for _ in range(300):
                runners = [CoroutineRunner(one(), lambda crash: None) for _ in range(20)]
                for runner in runners:
                    runner.resume()
                await asyncio.sleep(chance.choice((0, 0.0005, 0.001, 0.002)))
                for runner in runners:
                    runner.cancel()
            results = await asyncio.gather(*(exchange(client, pool) for _ in range(100)))
            assert all(body == b"ok" for _, body in results)
            assert client.connections() <= 10
            assert not pool._waiters

    run(main())


@pytest.mark.parametrize("phase", ["first byte", "between reads"])
def test_timeouts(phase):
    async def main():
        async def script(reader, writer):
            await reader.readuntil(b"{}")
            if phase != "first byte":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        async with upstream(script, provider_timeout=0.2, stream_idle_timeout=0.2) as (client, pool):
            with pytest.raises(Failure) as caught:
                await exchange(client, pool)
            assert (caught.value.kind, caught.value.status) == (Kind.TIMEOUT, 504)
            await until(lambda: client.connections() == 0)

    run(main())


def test_refused_and_unknown_hosts():
    async def main():
        ticker = DeadlineSweeper(asyncio.get_running_loop())
        client = UpstreamClient(Connector(connect_timeout=2, dns_ttl=60), ClientLimits(), ticker)
        for origin in (Origin("http", "127.0.0.1", 1), Origin("http", "nowhere.invalid", 80)):
            with pytest.raises(Failure) as caught:
                await exchange(client, client.pool(origin))
            assert (caught.value.kind, caught.value.status) == (Kind.CONNECT, 502)
        ticker.stop()

    run(main())


def test_tls_is_verified_and_a_proxy_opens_a_tunnel(tmp_path):
    cert, key = self_signed_certificate(tmp_path)

    async def main():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server = await asyncio.start_server(saying(GOOD, then_close=False), "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        asked = []

        async def proxy(reader, writer):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            there = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

            async def pump(source, sink):
                with contextlib.suppress(ConnectionError):
                    while data := await source.read(65_536):
                        sink.write(data)
                sink.close()

            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

        proxying = await asyncio.start_server(proxy, "127.0.0.1", 0)
        proxy_url = f"http://user:pa%20ss@127.0.0.1:{proxying.sockets[0].getsockname()[1]}"
        ticker = DeadlineSweeper(asyncio.get_running_loop())

        async def ask(**options):
            connector = Connector(connect_timeout=2, dns_ttl=60, **options)
            client = UpstreamClient(connector, ClientLimits(), ticker)
            try:
                return await exchange(client, client.pool(Origin("https", "localhost", port)))
            finally:
                client.close()
                await asyncio.sleep(0.02)

        def trusting():
            return ssl.create_default_context(cafile=cert)

        with pytest.raises(Failure, match="certificate"):
            await ask()
        assert (await ask(tls=trusting))[1] == b"ok"
        assert (await ask(tls=trusting, https_proxy=proxy_url))[1] == b"ok"
        assert asked[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % port)
        assert b"proxy-authorization: Basic dXNlcjpwYSBzcw==" in asked[0]
        assert (await ask(tls=trusting, https_proxy=proxy_url, no_proxy="localhost"))[1] == b"ok"
        assert len(asked) == 1
        ticker.stop()
        server.close()
        proxying.close()

    run(main())


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.openai.com/v1", ("https", "api.openai.com", 443)),
        ("http://localhost:8000/v1", ("http", "localhost", 8000)),
        ("http://[::1]:80", ("http", "::1", 80)),
    ],
)
def test_origins(url, origin):
    assert origin_of(url) == origin
