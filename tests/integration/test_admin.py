"""Tests the admin pages on a separate port and with a separate key."""

import json
from hashlib import sha256

import pytest

from support.event_loop import run
from support.http_client import CHAT, Caller, post
from support.running_gateway import gateway

PAGES = ("/health", "/metrics")
KEY = "op-9f1c2b7a"


async def ask(port, path, *fields):
    caller = await Caller.connect(port)
    caller.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode("latin-1"))
    return await caller.answer()


def test_admin_pages_on_a_separate_port():
    async def main():
        async with gateway({"ADMIN_PORT": "0"}) as running:
            admin = running.app.admin_port
            assert admin not in (None, running.port)
            for path in PAGES:
                assert (await ask(admin, path))[0] == 200
                status, _, body = await ask(running.port, path)
                assert status == 404
                assert "ADMIN_PORT" in json.loads(body)["error"]["message"]
            for port in (admin, running.port):
                assert (await ask(port, "/readiness"))[0] == 200
            assert (await ask(running.port, "/v1/models"))[0] == 200
            for path in ("/v1/models", "/v1/models/gpt-4o", "/v1/chat/completions", "/"):
                assert (await ask(admin, path))[0] == 404
            caller = await Caller.connect(admin)
            caller.send(post(CHAT))
            assert (await caller.answer())[0] == 404
            assert running.mock.requests == 0

    run(main())


def test_paths_not_served_on_a_port_are_not_labels():
    async def main():
        async with gateway({"ADMIN_PORT": "0"}) as running:
            await ask(running.port, "/metrics")
            await ask(running.app.admin_port, "/v1/models/x")
            page = (await ask(running.app.admin_port, "/metrics"))[2].decode()
            assert 'gateway_http_requests_total{route="other",status="404"} 2.0' in page

    run(main())


REFUSED = [
    (),
    ("Authorization: Bearer wrong",),
    (f"Authorization: Basic {KEY}",),
    (f"Authorization: Bearer {KEY}x",),
    (f"Authorization: Bearer {KEY[:-1]}",),
    (f"Authorization: Bearer {KEY.upper()}",),
    ("Authorization: Bearer",),
    ("x-api-key: ",),
    ("Authorization: Bearer caller-key",),  # one of GATEWAY_API_KEYS
    (f"Cookie: {KEY}",),
]


@pytest.mark.parametrize("configured", [KEY, "sha256:" + sha256(KEY.encode()).hexdigest()], ids=["plain", "digest"])
@pytest.mark.parametrize("apart", [{}, {"ADMIN_PORT": "0"}], ids=["PORT", "ADMIN_PORT"])
def test_a_separate_admin_key_and_one_refusal_for_all_others(configured, apart):
    async def main():
        settings = {"ADMIN_API_KEY": configured, "GATEWAY_API_KEYS": "caller-key", **apart}
        async with gateway(settings) as running:
            port = running.app.admin_port or running.port
            for path in PAGES:
                for field in (f"Authorization: Bearer {KEY}", f"authorization: bearer  {KEY}", f"X-API-Key: {KEY}"):
                    assert (await ask(port, path, field))[0] == 200
                caller = await Caller.connect(port)
                caller.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert b" 401 " in await caller.reader.readuntil(b"\r\n")
                answers = [await ask(port, path, *fields) for fields in REFUSED]
                assert {status for status, _, _ in answers} == {401}
                assert len({body for _, _, body in answers}) == 1
                assert json.loads(answers[0][2])["error"]["code"] == "invalid_api_key"
                shapes = [{name for name in headers if name not in ("date",)} for _, headers, _ in answers]
                assert all(shape == shapes[0] for shape in shapes)
            assert (await ask(port, "/readiness"))[0] == 200

    run(main())


def test_pages_of_other_origins_cannot_read_the_admin_port():
    async def main():
        async with gateway({"ADMIN_PORT": "0"}) as running:
            _, headers, _ = await ask(running.app.admin_port, "/metrics", "Origin: http://evil.example")
            assert "access-control-allow-origin" not in headers

    run(main())


def test_operators_see_the_progress_of_draining():
    async def main():
        async with gateway({"ADMIN_PORT": "0"}) as running:
            assert await running.app.drain()
            status, _, body = await ask(running.app.admin_port, "/readiness")
            assert (status, json.loads(body)["status"]) == (503, "draining")
            assert (await ask(running.app.admin_port, "/metrics"))[0] == 200
            with pytest.raises(OSError):
                await Caller.connect(running.port)

    run(main())
