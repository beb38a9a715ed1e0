"""Tests the server through a socket, with raw bytes."""

import asyncio
import json
import socket
import ssl

import pytest

from nulpoint.mock import MockSettings
from support.certificates import self_signed_certificate
from support.event_loop import run, until
from support.http_client import CHAT, STREAM, Caller, post
from support.running_gateway import gateway
from support.smuggling import HEAD, SMUGGLING

GET = b"GET /readiness HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("shape", SMUGGLING.values(), ids=SMUGGLING)
def test_a_misframed_request_is_rejected_and_never_forwarded(shape):
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(shape + post(CHAT))
            status, headers, body = await caller.answer()
            assert status == 400
            assert headers["connection"] == "close"
            assert json.loads(body)["error"]["type"] == "invalid_request_error"
            assert await caller.rest() == b""
            assert running.mock.requests == 0

    run(main())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /" + b"a" * 1_000_000, 414),
        (GET[:-2] + b"X-A: " + b"a" * 33_000 + b"\r\n\r\n", 431),
        (GET[:-2] + b"X-A: " + b"a" * 1_000_000, 431),
        (GET[:-2] + b"X-A: b\r\n" * 101 + b"\r\n", 431),
        (GET.replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
        (HEAD + b"Expect: magic\r\nContent-Length: 2\r\n\r\n{}", 417),
        (HEAD + b"Content-Length: 30000000\r\n\r\n{", 413),
    ],
)
def test_requests_over_a_limit_or_unsupported_get_their_status(request_bytes, status):
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(request_bytes)
            answer = await caller.answer()
            assert answer[0] == status
            assert answer[1]["connection"] == "close"
            assert await caller.rest() == b""

    run(main())


def test_a_chunked_body_over_the_limit_is_rejected_while_it_arrives():
    async def main():
        async with gateway({"MAX_BODY_BYTES": "64KiB"}) as running:
            caller = await Caller.connect(running.port)
            caller.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            for _ in range(6):
                caller.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            status, _, body = await caller.answer()
            assert status == 413
            assert "MAX_BODY_BYTES" in json.loads(body)["error"]["message"]

    run(main())


def test_a_request_may_arrive_in_any_two_pieces():
    whole = post(CHAT, "/v1/chat/completions", "X-Request-ID: split-me")

    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.writer.transport.set_write_buffer_limits(0)
            for cut in range(1, len(whole)):
                caller.send(whole[:cut])
                await caller.writer.drain()
                await asyncio.sleep(0)
                caller.send(whole[cut:])
                status, headers, _ = await caller.answer()
                assert (status, headers["x-nulpoint-request-id"]) == (200, "split-me")
            assert running.mock.requests == len(whole) - 1

    run(main())


def test_a_request_may_arrive_one_byte_at_a_time():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            for byte in post(CHAT):
                caller.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await caller.answer())[0] == 200

    run(main())


def test_chunked_requests_work_and_trailers_are_ignored():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            for byte in CHAT:
                caller.send(b"1;ext=1\r\n%c\r\n" % byte)
            caller.send(b"0\r\nX-Trailer: y\r\n\r\n")
            assert (await caller.answer())[0] == 200

    run(main())


def test_a_body_that_is_nearly_all_framing_is_rejected():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;")
            for _ in range(30):
                caller.send(b"x" * 65_536)
                await asyncio.sleep(0.001)
            assert (await caller.answer())[0] == 400

    run(main())


def test_pipelined_requests_get_responses_in_order():
    async def main():
        async with gateway(mock=MockSettings(latency_ms=1)) as running:
            caller = await Caller.connect(running.port)
            caller.send(b"".join(post(CHAT, "/v1/chat/completions", f"X-Request-ID: r{n}") for n in range(100)))
            ids = [(await caller.answer())[1]["x-nulpoint-request-id"] for _ in range(100)]
            assert ids == [f"r{n}" for n in range(100)]

    run(main())


def test_thousands_of_pipelined_requests_do_not_recurse():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(GET * 3000)
            for _ in range(3000):
                assert (await caller.answer())[0] == 200

    run(main())


def test_a_rejection_is_sent_after_earlier_responses():
    async def main():
        async with gateway(mock=MockSettings(latency_ms=20)) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(CHAT) + b"nonsense\r\n\r\n")
            assert (await caller.answer())[0] == 200
            assert (await caller.answer())[0] == 400
            assert await caller.rest() == b""

    run(main())


def test_http_1_0_and_connection_close():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(b"GET /readiness HTTP/1.0\r\n\r\n")
            assert (await caller.answer())[1]["connection"] == "close"
            assert await caller.rest() == b""
            caller = await Caller.connect(running.port)
            caller.send(b"GET /readiness HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
            assert (await caller.answer())[1]["connection"] == "keep-alive"
            assert (await caller.answer())[0] == 200
            caller = await Caller.connect(running.port)
            caller.send(GET[:-2] + b"Connection: close\r\n\r\n")
            assert (await caller.answer())[1]["connection"] == "close"
            assert await caller.rest() == b""

    run(main())


def test_a_stream_to_http_1_0_has_no_chunks_and_ends_with_the_connection():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(post(STREAM).replace(b"HTTP/1.1", b"HTTP/1.0"))
            _, headers, body = await caller.answer()
            assert "transfer-encoding" not in headers
            assert body.endswith(b"data: [DONE]\n\n")

    run(main())


def test_expect_100_continue():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(post(CHAT, "/v1/chat/completions", "Expect: 100-continue")[: -len(CHAT)])
            assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            caller.send(CHAT)
            assert (await caller.answer())[0] == 200
            assert b"expect" not in str(running.mock.last["headers"]).lower().encode()
            caller.send(post(CHAT, "/v1/nowhere", "Expect: 100-continue")[: -len(CHAT)])
            assert (await caller.answer())[0] == 404

    run(main())


def test_head_and_options():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
            head = (await caller.reader.readuntil(b"\r\n\r\n")).lower()
            assert b"200 ok" in head
            assert b"content-length: 0" not in head
            assert (await caller.answer())[0] == 200  # nothing of a body came in between
            caller.send(b"OPTIONS /v1/embeddings HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n\r\n")
            status, headers, _ = await caller.answer()
            assert (status, headers["allow"]) == (204, "POST, OPTIONS")
            assert headers["access-control-allow-origin"] == "*"

    run(main())


def test_tcp_nodelay_is_set_for_clients_and_providers():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(post(CHAT))
            await caller.answer()
            (connection,) = running.app.server.connections
            pool = next(iter(running.app.runtime.client._pools.values()))
            for transport in (connection._transport, pool._free[0]._transport):
                sock = transport.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(main())


@pytest.mark.parametrize(
    ("first", "status"),
    [(b"", None), (b"POST /v1/chat", 408), (HEAD + b"Content-Length: 100\r\n\r\n{", 408)],
    ids=["silent", "half a head", "half a body"],
)
def test_clients_that_send_too_slowly_are_rejected(first, status):
    async def main():
        async with gateway({"HEAD_TIMEOUT": "200ms", "BODY_TIMEOUT": "200ms"}) as running:
            caller = await Caller.connect(running.port)
            caller.send(first)
            began = asyncio.get_running_loop().time()
            if status:
                assert (await caller.answer())[0] == status
            assert await caller.rest() == b""
            assert 0.15 < asyncio.get_running_loop().time() - began < 3

    run(main())


def test_slow_bytes_do_not_extend_the_deadline_of_a_head():
    async def main():
        async with gateway({"HEAD_TIMEOUT": "300ms"}) as running:
            caller = await Caller.connect(running.port)
            for byte in b"GET /readiness HTT":
                caller.send(bytes([byte]))
                await asyncio.sleep(0.03)
            assert (await caller.answer())[0] == 408

    run(main())


def test_an_idle_connection_is_closed():
    async def main():
        async with gateway({"KEEPALIVE_TIMEOUT": "200ms"}) as running:
            caller = await Caller.connect(running.port)
            caller.send(GET)
            await caller.answer()
            assert await caller.rest() == b""

    run(main())


@pytest.mark.race
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
def test_a_disconnected_client_cancels_the_provider_call_at_once(body):
    async def main():
        async with gateway(mock=MockSettings(latency_ms=5_000)) as running:
            caller = await Caller.connect(running.port)
            caller.send(post(body))
            await until(lambda: running.mock.requests == 1)
            caller.writer.transport.abort()
            await until(lambda: running.mock.aborted == 1)
            await until(lambda: running.app.runtime.recorder.inflight == 0)
            assert running.app.runtime.client.connections() == 0
            assert json.loads(running.log())["status"] == 499

    run(main())


@pytest.mark.race
def test_a_client_disconnects_in_the_middle_of_a_stream():
    async def main():
        async with gateway(mock=MockSettings(chunk_ms=5, stream_words=1000)) as running:
            for _ in range(20):
                caller = await Caller.connect(running.port)
                caller.send(post(STREAM))
                await caller.reader.readuntil(b"data: ")
                caller.writer.transport.abort()
            await until(lambda: running.mock.aborted == 20)
            await until(lambda: not running.app.server.connections)
            assert running.app.runtime.recorder.inflight == 0

    run(main())


def test_little_is_buffered_for_a_slow_client_and_one_that_reads_nothing_is_disconnected():

    async def main():
        settings = {"WRITE_TIMEOUT": "500ms"}
        async with gateway(settings, mock=MockSettings(stream_words=200_000)) as running:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", running.port))
            await loop.sock_sendall(sock, post(STREAM))
            await until(lambda: any(c.paused for c in running.app.server.connections))
            (connection,) = running.app.server.connections
            (upstream,) = next(iter(running.app.runtime.client._pools.values()))._open
            for _ in range(10):
                await asyncio.sleep(0.02)
                held = connection._transport.get_write_buffer_size() + upstream._unread
                assert held <= 128 * 1024
            await until(lambda: running.mock.aborted == 1)
            sock.close()

    run(main())


def test_tls(tmp_path):
    cert, key = self_signed_certificate(tmp_path)

    async def main():
        async with gateway({"TLS_CERT": str(cert), "TLS_KEY": str(key)}) as running:
            context = ssl.create_default_context(cafile=cert)
            opened = await asyncio.open_connection("127.0.0.1", running.port, ssl=context, server_hostname="localhost")
            caller = Caller(*opened)
            caller.send(post(STREAM))
            assert (await caller.answer())[2].endswith(b"[DONE]\n\n")
            caller.send(b"nonsense\r\n\r\n")
            assert (await caller.answer())[0] == 400
            await caller.close()

    run(main())


def test_draining_finishes_requests_in_flight_and_closes_idle_connections():
    async def main():
        async with gateway({"SHUTDOWN_TIMEOUT": "5s"}, mock=MockSettings(chunk_ms=20)) as running:
            idle, busy = await Caller.connect(running.port), await Caller.connect(running.port)
            idle.send(GET)
            await idle.answer()
            busy.send(post(STREAM))
            await until(lambda: running.mock.requests == 1)
            drain = asyncio.create_task(running.app.drain())
            assert await idle.rest() == b""
            assert (await busy.answer())[2].endswith(b"[DONE]\n\n")
            assert await drain
            with pytest.raises(ConnectionRefusedError):
                await Caller.connect(running.port)

    run(main())
