"""Tests of the admin pages: who may see them, what they show, and that they contain no secret."""

import json

import pytest

from support.event_loop import run
from support.http_client import Caller
from support.live_gateway import live
from support.running_gateway import gateway

PATHS = (("GET", "/admin/config"), ("GET", "/admin/explain?model=gpt-4o"), ("POST", "/admin/reload"))
KEY = "op-5d3f0c9e"


@pytest.mark.parametrize("method_path", PATHS, ids=lambda one: one[1])
def test_only_the_admin_key_opens_the_admin_pages(tmp_path, method_path):
    async def main():
        settings = {"ADMIN_API_KEY": KEY, "GATEWAY_API_KEYS": "caller-key"}
        async with live(tmp_path, settings) as running:
            for fields in (
                (f"Authorization: Bearer {KEY}",),
                (f"x-api-key: {KEY}", "Host: gateway.example", "Via: 1.1 p"),
            ):
                assert (await running.ask(*method_path, *fields))[0] == 200
            for fields in ((), ("Authorization: Bearer caller-key",), (f"Authorization: Bearer {KEY}x",)):
                status, page = await running.ask(*method_path, *fields)
                assert (status, page["error"]["code"]) == (401, "invalid_api_key")

    run(main())


ALLOWED = [
    ("Host: localhost:8080",), ("Host: LOCALHOST",), ("Host: 127.0.0.1",), ("Host: 127.8.8.8:1",), ("Host: [::1]:8080",),
    ("Host: [::ffff:127.0.0.1]",), ("Host: localhost", "Sec-Fetch-Site: none"),
]  # fmt: skip
REFUSED = [
    ("Host: evil.example", "Host header"),  # DNS rebinding
    ("Host: localhost.evil.example", "Host header"),
    ("Host: 127.0.0.1.evil.example", "Host header"),
    ("Host: 10.0.0.1", "Host header"),
    ("Host: 0.0.0.0", "Host header"),
    ("Host: [::1", None),
    ("X-Forwarded-For: 127.0.0.1", "proxy"),
    ("Forwarded: for=127.0.0.1", "proxy"),
    ("Via: 1.1 nginx", "proxy"),
    ("X-Real-IP: 127.0.0.1", "proxy"),
    ("X-Forwarded-Server: a", "proxy"),
    ("CF-Connecting-IP: 127.0.0.1", "proxy"),
    ("Origin: https://evil.example", "browser"),
    ("Origin: null", "browser"),
    ("Sec-Fetch-Site: cross-site", "browser"),
    ("Sec-Fetch-Site: same-site", "browser"),
]  # fmt: skip


@pytest.mark.parametrize("method_path", PATHS, ids=lambda one: one[1])
def test_without_an_admin_key_only_direct_local_requests_are_trusted(tmp_path, method_path):
    async def main():
        async with live(tmp_path) as running:
            for fields in ALLOWED:
                assert (await running.ask(*method_path, *fields))[0] == 200, fields
            for field, why in REFUSED:
                status, page = await running.ask(*method_path, field)
                if why is None:
                    assert status in (400, 403)
                    continue
                assert (status, page["error"]["code"]) == (403, "admin_key_needed"), field
                assert why in page["error"]["message"]
                assert "ADMIN_API_KEY" in page["error"]["message"]

    run(main())


def test_requests_through_a_default_nginx_are_rejected():
    async def main():
        async with gateway() as running:
            caller = await Caller.connect(running.port)
            caller.send(
                f"GET /admin/config HTTP/1.0\r\nHost: 127.0.0.1:{running.port}\r\nConnection: close\r\n\r\n".encode()
            )
            status, _, body = await caller.answer()
            assert status == 403
            assert b"through a proxy" in body

    run(main())


def test_requests_from_other_machines_are_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr("nulpoint.http.server.connection.ServerConnection.peer", "192.0.2.7")

    async def main():
        async with live(tmp_path) as running:
            for method, path in PATHS:
                status, page = await running.ask(method, path)
                assert (status, page["error"]["code"]) == (403, "admin_key_needed")
                assert "another machine" in page["error"]["message"]

    run(main())


def test_admin_pages_are_on_the_admin_port_only(tmp_path):
    async def main():
        async with live(tmp_path, {"ADMIN_PORT": "0"}) as running:
            for method, path in PATHS:
                assert (await running.ask(method, path))[0] == 200
                caller = await Caller.connect(running.port)
                caller.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
                status, _, body = await caller.answer()
                assert (status, "ADMIN_PORT" in json.loads(body)["error"]["message"]) == (404, True)

    run(main())


def test_methods_parameters_and_cross_origin_requests():
    async def main():
        async with gateway() as running:

            async def ask(method, path, *fields):
                caller = await Caller.connect(running.port)
                caller.send("\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode())
                return await caller.answer()

            for method, path, allow in (
                ("GET", "/admin/reload", "POST, OPTIONS"),
                ("POST", "/admin/config", "GET, HEAD, OPTIONS"),
                ("PUT", "/admin/explain", "GET, HEAD, OPTIONS"),
            ):
                status, headers, _ = await ask(method, path, "Content-Length: 0")
                assert (status, headers["allow"]) == (405, allow)
            for path, param in (
                ("/admin/explain", "model"),
                ("/admin/explain?model=", "model"),
                ("/admin/explain?model=x&route=images", "route"),
                ("/admin/explain?modell=x", "modell"),
                ("/admin/config?x=1", "x"),
            ):
                status, _, body = await ask("GET", path)
                assert (status, json.loads(body)["error"]["param"]) == (400, param)
            preflight = ("Origin: https://a.example", "Access-Control-Request-Method: GET")
            for path in ("/admin/config", "/admin/reload", "/health", "/metrics"):
                for method in ("OPTIONS", "GET"):
                    _, headers, _ = await ask(method, path, *preflight)
                    assert not [name for name in headers if name.startswith("access-control")]
            assert (await ask("GET", "/readiness", *preflight))[1]["access-control-allow-origin"] == "*"
            assert (await ask("GET", "/admin/nothing"))[0] == 404

    run(main())


SECRETS = {
    "OPENAI_API_KEYS": "sk-secret-a,sk-secret-b",
    "GATEWAY_API_KEYS": "secret-caller-1,secret-caller-2",
    "ADMIN_API_KEY": "secret-operator",
    "HTTPS_PROXY": "http://user:secret-proxy@proxy.invalid:3128",
    "REDIS_URL": "redis://:secret-redis@127.0.0.1:1",
}
FILE = {
    "groq_api_key": "sk-secret-groq",
    "rpm_limit": 5,
    "aliases": {"fast": "groq/llama"},
    "fallbacks": {"gpt-4o": [{"groq/a": 3, "openai/b": 1}]},
    "providers": [
        {"name": "poe", "base_url": "https://api.poe.example/v1", "key_env": "POE_API_KEY", "headers": {"x-team": "secret-header"}}
    ],
    "poe_api_key": "sk-secret-poe",
}  # fmt: skip


def test_the_config_page_shows_origins_and_no_secrets(tmp_path):
    async def main():
        async with live(tmp_path, {**SECRETS, "RPM_LIMIT_PER_KEY": "7"}, file=FILE) as running:
            status, page = await running.get("/admin/config", "x-api-key: secret-operator")
            assert status == 200
            settings = page["settings"]
            assert settings["RPM_LIMIT"] == {"value": 5, "origin": "config.yaml"}
            assert settings["RPM_LIMIT_PER_KEY"] == {"value": 7, "origin": "environment"}
            assert settings["TPM_LIMIT"] == {"value": 0, "origin": "default"}
            assert settings["GATEWAY_API_KEYS"] == {"value": ["***", "***"], "origin": "environment"}
            assert [settings[name]["value"] for name in ("ADMIN_API_KEY", "HTTPS_PROXY", "REDIS_URL")] == ["***"] * 3
            assert page["providers"]["openai"]["keys"] == ["***"] * 3
            assert page["providers"]["poe"]["headers"] == {"x-team": "***"}
            assert page["providers"]["poe"]["origins"] == {"POE_API_KEY": "config.yaml"}
            assert page["aliases"] == {"fast": "groq/llama"}
            assert page["fallbacks"] == {"gpt-4o": [{"groq/a": 3, "openai/b": 1}]}
            assert page["files"] == ["config.yaml"]
            said = json.dumps(page)
            running.write(
                **{**FILE, "poe_api_key": "sk secret poe", "rpm_limit": "secret-nothing"}, redis_url="secret-url"
            )
            said += json.dumps(await running.reload("x-api-key: secret-operator"))
            said += json.dumps(await running.get("/health", "x-api-key: secret-operator"))
            said += json.dumps(await running.get("/admin/explain?model=fast", "x-api-key: secret-operator"))
            said = said.replace(
                "secret-nothing", ""
            )  # this value is not secret and is reported so that it can be found
            assert "secret" not in said

    run(main())


def test_explain_reports_the_present_state(tmp_path):
    async def main():
        file = {
            "cb_error_threshold": 1, "aliases": {"fast": "openai/gpt-4o-mini"}, "rpm_limit": 100, "cache_mode": "memory",
            "cache_exclude_exact": "openai/secret-model",
            "fallbacks": {"gpt-4*": ["mistral/mistral-large-latest", "groq/llama"]},
        }  # fmt: skip
        async with live(tmp_path, {"CACHE_MODE": ""}, file=file, names=("openai", "mistral")) as running:
            explain = "/admin/explain?model="
            page = (await running.get(explain + "gpt-4o"))[1]
            assert page["chain"] == "fallbacks.gpt-4* of config.yaml"
            assert [(one["target"], one["try"]) for one in page["targets"]] == [
                ("openai/gpt-4o", 1),
                ("mistral/mistral-large-latest", 2),
            ]
            assert page["left_out"] == {"groq/llama": "groq is not configured; set GROQ_API_KEY"}
            assert page["limits"] == {"requests": 100, "counted": "in this process", "remaining": {"requests": 100}}
            running.mock.set_fault("status", count=1, arg=500)
            assert (await running.chat("gpt-4o"))[1]["x-nulpoint-provider"] == "mistral"
            page = (await running.get(explain + "gpt-4o"))[1]
            first, second = page["targets"]
            assert (first["circuit_breaker"], first["try"], second["try"]) == ("open", None, 1)
            assert first["passed_over"].startswith("its circuit breaker is open, for ")
            assert page["outcome"] == "mistral/mistral-large-latest is tried"
            assert page["limits"]["remaining"] == {"requests": 99}
            page = (await running.get(explain + "fast"))[1]
            assert (page["found_by"], page["provider"]) == ("an alias of config.yaml", "openai")
            page = (await running.get(explain + "openai%2Fgpt-4o"))[1]
            assert page["outcome"] == "503: no target can be called now"
            assert (await running.chat("openai/gpt-4o"))[0] == 503
            assert (await running.get(explain + "openai%2Fsecret-model"))[1]["cache"]["asked"] is False
            page = (await running.get(explain + "mistrall-large-latest"))[1]
            assert "does not say which provider has the model" in page["note"]
            assert "mistral-large-latest" in page["similar"]
            page = (await running.get(explain + "groq%2Fx"))[1]
            assert (page["refused"]["status"], page["refused"]["code"]) == (400, "provider_not_configured")
            page = (await running.get(explain + "x-ai%2Fgrok-4.7"))[1]
            refused = page["refused"]
            assert (page["provider"], refused["status"], refused["code"]) == (None, 404, "model_not_found")
            assert "did you mean xai/grok-4.7" in refused["message"]
            page = (await running.get(explain + "mistral-large-latest&route=embeddings"))[1]
            assert page["chain"] == "the built-in equivalents (FALLBACKS=auto)"
            assert set(page["left_out"].values()) >= {
                "its embeddings cannot be compared with those of the primary model"
            }

    run(main())


def test_explain_has_no_side_effects_and_is_accurate(tmp_path):
    """Explaining uses up no turn, probe or rate limit, and the next request goes to the explained target."""

    async def main():
        weights = {
            "fallbacks": {"gpt-x": [{"openai/gpt-x": 2, "mistral/mistral-large-latest": 1, "gemini/gemini-2.5-pro": 1}]}
        }
        async with live(
            tmp_path, file={**weights, "rpm_limit": 1000}, names=("openai", "mistral", "gemini")
        ) as running:
            served = []
            for _ in range(16):
                pages = [(await running.get("/admin/explain?model=gpt-x"))[1] for _ in range(2)]
                assert pages[0] == pages[1]
                said = next(one["target"] for one in pages[0]["targets"] if one["try"] == 1)
                _, headers, _ = await running.chat("gpt-x")
                assert said.partition("/")[0] == headers["x-nulpoint-provider"]
                served.append(headers["x-nulpoint-provider"])
            assert (served.count("openai"), served.count("mistral"), served.count("gemini")) == (8, 4, 4)

    run(main())
