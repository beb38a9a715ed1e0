"""Tests of upstream connections that cannot be made, that break, or that are too slow.

Stale connections are tested in tests/unit/http/client/test_upstream_client.py, cut responses in test_cuts.py.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import statistics
import time

import pytest

from nulpoint.http.deadlines import TICK
from nulpoint.mock import start
from support.certificates import self_signed_certificate
from support.client_outcome import Outcome, ask
from support.event_loop import run, run_in_simulated_time, until
from support.http_client import CHAT, STREAM, Caller, post
from support.provider_bytes import GOOD, ROLE, STREAM_HEAD, WORD, chunk, good_stream
from support.running_gateway import gateway
from support.scripted_provider import BlackHole, Nobody, drip, pause, reset, send, serve, silence

CHAT_AND_STREAM = pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
SLACK = 0.01  # seconds; in simulated time only waiting takes time, in steps of up to a TICK


def good(body):
    return [send(GOOD if body is CHAT else good_stream())]


def numbered(body, number):
    return body.replace(b'"hi"', b'"%d"' % number)


@contextlib.contextmanager
def takes(at_least, at_most):
    """Check that the block takes from `at_least` to `at_most` seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    yield
    seconds = loop.time() - began
    assert at_least - 1e-9 <= seconds <= at_most, f"{seconds:.3f} s"


@contextlib.contextmanager
def resolving(host, result):
    """Let the loop's resolver return these addresses for the host, or raise this error."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def getaddrinfo(name, *args, **kwargs):
        if name != host:
            return await real(name, *args, **kwargs)
        if isinstance(result, Exception):
            raise result
        return result

    loop.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        del loop.getaddrinfo


@CHAT_AND_STREAM
def test_connection_refused(body):
    """The second target serves at once, and each refusal counts against the first."""

    async def main():
        providers = {"openai": Nobody(), "anthropic": await start("anthropic")}
        async with gateway({"CB_ERROR_THRESHOLD": "1000"}, providers=providers) as running:

            async def seconds(model, number):
                loop = asyncio.get_running_loop()
                began, work = loop.time(), time.process_time()
                outcome = await ask(running.port, numbered(body, number).replace(b"gpt-4o", model))
                assert outcome.verdict == "answer"
                assert outcome.headers["x-nulpoint-provider"] == "anthropic"
                return loop.time() - began, time.process_time() - work

            await seconds(b"claude-haiku-4-5", 0)
            failed_over = [await seconds(b"gpt-4o", number) for number in range(1, 41)]
            direct = [await seconds(b"claude-haiku-4-5", number) for number in range(41, 81)]
            # In simulated time only waiting takes time. The extra CPU time is compared by its median, in seconds.
            assert max(waited for waited, _ in failed_over + direct) == 0
            works = [statistics.median(work for _, work in times) for times in (failed_over, direct)]
            assert works[0] - works[1] <= 0.005
            assert len(running.app.runtime.provider_health["openai"].breaker._failures) == 40

    run_in_simulated_time(main())


@CHAT_AND_STREAM
def test_a_black_hole_costs_the_connect_timeout(body):
    async def main():
        providers = {"openai": BlackHole(), "anthropic": await start("anthropic")}
        async with gateway({"CONNECT_TIMEOUT": "300ms"}, providers=providers) as running:
            with takes(0.3, 0.3 + 0.05 + SLACK):
                assert (await ask(running.port, body)).verdict == "answer"

    run_in_simulated_time(main())


def test_a_black_hole_takes_no_longer_than_the_attempt_may():
    """The wait for a connection counts towards PROVIDER_TIMEOUT and the attempt's share of the deadline."""

    async def main():
        providers = {"openai": BlackHole(), "anthropic": await start("anthropic")}
        async with gateway({"CONNECT_TIMEOUT": "4s"}, providers=providers) as running:
            with takes(1.8, 1.8 + TICK + SLACK):
                outcome = await ask(running.port, CHAT, "/v1/chat/completions", "x-nulpoint-timeout: 3")
            assert outcome.headers["x-nulpoint-provider"] == "anthropic"

    run_in_simulated_time(main())


@pytest.mark.parametrize("result", [socket.gaierror(-2, "Name or service not known"), []], ids=["fails", "no records"])
def test_a_name_that_does_not_resolve(result):
    async def main():
        async with gateway({"OPENAI_BASE_URL": "http://api.invalid/v1"}, names=("openai", "anthropic")) as running:
            with resolving("api.invalid", result), takes(0, 0.4):  # the backoff before the retry
                alone = await ask(running.port, CHAT.replace(b"gpt-4o", b"openai/gpt-4o"))
                assert (alone.status, alone.error["code"]) == (502, "connect_failed")
                assert "api.invalid" in alone.error["message"]
                assert (await ask(running.port)).headers["x-nulpoint-provider"] == "anthropic"

    run_in_simulated_time(main())


def test_a_server_with_an_untrusted_certificate_gets_no_byte_of_the_request(tmp_path):
    cert, key = self_signed_certificate(tmp_path, "DNS:localhost,IP:127.0.0.1")

    async def main():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        provider = await serve(tls=context)
        async with gateway({"MAX_RETRIES": "1"}, providers={"openai": provider}) as running:
            outcome = await ask(running.port)
            assert (outcome.status, outcome.verdict) == (502, "error")
            assert "certificate" in outcome.error["message"]
            assert not any(talk.received for talk in provider.talks)
        trusting = {"MAX_RETRIES": "1", "SSL_CERT_FILE": str(cert)}
        trusted = await serve([reset()], tls=context)
        async with gateway(trusting, providers={"openai": trusted}) as running:
            await ask(running.port)
            assert trusted.requests

    run(main())


@CHAT_AND_STREAM
def test_a_reset_of_a_new_connection_is_not_retried_at_the_same_target(body):
    async def main():
        provider = await serve([reset()])
        async with gateway(providers={"openai": provider, "anthropic": await start("anthropic")}) as running:
            outcome = await ask(running.port, body)
            assert (outcome.verdict, outcome.headers["x-nulpoint-provider"]) == ("answer", "anthropic")
            assert len(provider.requests) == 1
            page = running.app.runtime.status.metrics()[2].decode()
            assert 'failover_events_total{from="openai",primary="openai",reason="upstream",to="anthropic"} 1.0' in page

    run(main())


@CHAT_AND_STREAM
def test_bytes_after_the_message_are_dropped_with_their_connection(body):
    async def main():
        message = GOOD if body is CHAT else good_stream()
        provider = await serve([send(message + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother" * 4)])
        async with gateway(providers={"openai": provider}) as running:
            for number in range(5):
                outcome = await ask(running.port, numbered(body, number))
                assert (outcome.verdict, outcome.text.strip()) == ("answer", "word")
            assert len(provider.talks) == 5
            await until(lambda: provider.open == 0)

    run(main())


@CHAT_AND_STREAM
@pytest.mark.parametrize("second", [True, False], ids=["with a second target", "alone"])
def test_a_slow_first_byte(body, second):
    """A response just within PROVIDER_TIMEOUT is served; one just beyond it is not."""

    async def main():
        within, beyond = [pause(0.2), *good(body)], [pause(0.4 + TICK), *good(body)]
        provider = await serve(within, beyond)
        providers = {"openai": provider, **({"anthropic": await start("anthropic")} if second else {})}
        async with gateway({"PROVIDER_TIMEOUT": "300ms"}, providers=providers) as running:
            assert (await ask(running.port, numbered(body, 1))).headers["x-nulpoint-provider"] == "openai"
            with takes(0.3, 0.3 + TICK + SLACK):
                outcome = await ask(running.port, numbered(body, 2))
            if second:
                assert (outcome.verdict, outcome.headers["x-nulpoint-provider"]) == ("answer", "anthropic")
            else:
                assert (outcome.status, outcome.error["code"]) == (504, "provider_timeout")
            assert len(provider.requests) == 2

    run_in_simulated_time(main())


def stream_of(*pieces):
    return [send(STREAM_HEAD, *pieces)]


STALLS = {
    "silence after the third chunk": [*stream_of(chunk(ROLE), chunk(WORD), chunk(WORD)), silence()],
    "a byte now and then within an event": [*stream_of(chunk(ROLE), chunk(WORD)), drip(chunk(WORD)[:40], 0.02), silence()],
    "comments after content": [*stream_of(chunk(ROLE), chunk(WORD)), drip(chunk(b": still here\n\n") * 40, 0.002), silence()],
}  # fmt: skip


@pytest.mark.parametrize("script", STALLS.values(), ids=STALLS)
def test_a_stream_that_stalls(script):
    """Only whole events restart the idle timer; single bytes and comments do not."""

    async def main():
        provider = await serve(script)
        async with gateway({"STREAM_IDLE_TIMEOUT": "400ms"}, providers={"openai": provider}) as running:
            client = await Caller.connect(running.port)
            client.send(post(STREAM, "/v1/chat/completions", "Connection: close"))
            shown = await client.reader.readuntil(b"word ")
            with takes(0.4 - SLACK, 0.4 + TICK + SLACK):
                outcome = Outcome(shown + await client.rest())
            assert (outcome.verdict, outcome.error["code"]) == ("error", "provider_timeout")
            assert "0.4 s" in outcome.error["message"]
            await until(lambda: provider.open == 0)
            assert len(running.app.runtime.provider_health["openai"].breaker._failures) == 1

    run_in_simulated_time(main())


@pytest.mark.parametrize("second", [True, False], ids=["with a second target", "alone"])
def test_comments_instead_of_a_first_event(second):
    """The provider's comments start no response; the client gets the gateway's own comments and then the result."""

    async def main():
        comments = drip(chunk(b": processing\n\n") * 100, 0.001)
        provider = await serve([send(STREAM_HEAD), comments, silence()])
        providers = {"openai": provider, **({"anthropic": await start("anthropic")} if second else {})}
        settings = {"STREAM_IDLE_TIMEOUT": "400ms", "STREAM_KEEPALIVE": "150ms"}
        async with gateway(settings, providers=providers) as running:
            outcome = await ask(running.port, STREAM)
            assert outcome.verdict == ("answer" if second else "error")
            assert outcome.status == 200
            assert outcome.body.startswith(b": waiting\n\n")
            assert b"processing" not in outcome.body

    run(main())


def test_the_deadline_is_shared_by_the_attempts():
    """A first target that stalls leaves the second at least 40 % of the deadline, and the request ends in time."""

    async def main():
        provider, late = await serve([silence()]), await serve([silence()])
        async with gateway(providers={"openai": provider, "anthropic": late}) as running:
            with takes(3, 3 + TICK + 0.1 + SLACK):
                request = asyncio.ensure_future(
                    ask(running.port, CHAT, "/v1/chat/completions", "x-nulpoint-timeout: 3")
                )
                with takes(1.5, 1.8 + TICK + SLACK):
                    await until(lambda: late.requests)
                outcome = await request
            assert (outcome.status, outcome.verdict) == (504, "error")
            assert [attempt["provider"] for attempt in outcome.error["attempts"]] == ["openai", "anthropic"]
            # An attempt that a short deadline ended does not count against the provider.
            assert not any(health.breaker._failures for health in running.app.runtime.provider_health.values())

    run_in_simulated_time(main())


def test_an_upstream_that_never_reads():
    """A request that the provider does not read is given up after UPSTREAM_WRITE_TIMEOUT."""

    async def main():
        deaf = await serve(deaf=True)
        settings = {"UPSTREAM_WRITE_TIMEOUT": "400ms", "MAX_RETRIES": "1", "LOG_LEVEL": "error"}
        async with gateway(settings, providers={"openai": deaf}) as running:
            body = CHAT.replace(b'"hi"', b'"' + b"x" * 19_000_000 + b'"')
            client = await Caller.connect(running.port)
            client.send(post(body, "/v1/chat/completions", "Connection: close"))
            await until(lambda: any(pool._open for pool in running.app.runtime.client._pools.values()))
            (upstream,) = next(iter(running.app.runtime.client._pools.values()))._open
            with takes(0.4 - SLACK, 0.4 + TICK + 2 * SLACK):
                outcome = Outcome(await client.rest())
            assert (outcome.status, outcome.error["code"]) == (504, "provider_timeout")
            assert "read nothing of the request" in outcome.error["message"]
            assert upstream.lost

    run_in_simulated_time(main())


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.mark.slow
@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_a_black_hole_in_one_address_family_costs_little():
    async def main():
        provider = await serve(good(CHAT))
        hole = socket.socket(socket.AF_INET6)
        hole.bind(("::1", 0))
        hole.listen(0)
        fillers = [socket.socket(socket.AF_INET6) for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        addresses = [
            (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", hole.getsockname()),
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", provider.port)),
        ]
        settings = {"OPENAI_BASE_URL": f"http://two.invalid:{provider.port}/v1"}
        async with gateway(settings, providers={"openai": provider}) as running:
            with resolving("two.invalid", addresses), takes(0.2, 0.3 + SLACK):
                assert (await ask(running.port)).verdict == "answer"
        for sock in (hole, *fillers):
            sock.close()

    run_in_simulated_time(main())


def test_a_deadline_that_passes_while_waiting_for_a_connection():
    """It is reported as an exceeded deadline, and no waiter is left in the pool."""

    async def main():
        provider = await serve([silence()])
        settings = {"UPSTREAM_MAX_CONNECTIONS": "1", "UPSTREAM_WAIT_TIMEOUT": "10s"}
        async with gateway(settings, providers={"openai": provider}) as running:
            first = await Caller.connect(running.port)
            first.send(post(numbered(CHAT, 1)))
            await until(lambda: provider.requests)
            with takes(0.3, 0.3 + TICK + SLACK):
                outcome = await ask(running.port, CHAT, "/v1/chat/completions", "x-nulpoint-timeout: 0.3")
            assert (outcome.status, outcome.error["code"]) == (504, "deadline_exceeded")
            pool = next(iter(running.app.runtime.client._pools.values()))
            assert (len(pool._waiters), pool.size) == (0, 1)
            record = json.loads(running.log().splitlines()[-1])
            assert record["error"] == "timeout"

    run_in_simulated_time(main())


def test_the_second_target_gets_the_body_of_the_client():
    async def main():
        providers = {"openai": await serve([reset()]), "mistral": await serve([send(GOOD)])}
        async with gateway(providers=providers) as running:
            outcome = await ask(running.port, CHAT.replace(b'"hi"', b'"h\\u00e9"'))
            assert outcome.text == "word"
            sent = json.loads(providers["mistral"].requests[0].partition(b"\r\n\r\n")[2])
            assert sent["messages"] == [{"role": "user", "content": "h\u00e9"}]
            assert sent["model"] == "mistral-large-latest"

    run(main())
