"""Tests that no planted secret appears in a response, a header, a log, a metric or an error, even at level debug.

A prompt may come back to the client that sent it, if the provider repeats it, but it is in no log.
"""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import zlib

import pytest
import redis
import yaml

from nulpoint.mock.faults import FAULTS
from nulpoint.providers.catalog import CATALOG
from support.event_loop import run
from support.planted_secrets import PART_OF_A_PROMPT, PROMPT, Planted, marker
from support.ports import free_port
from support.redis_server import PROGRAM, RedisServer
from support.secret_sweep import ROUTES, sweeping

PAGES = (
    "/health", "/metrics", "/admin/config", "/admin/explain", "/admin/reload", "/readiness", "/v1/models", "/v1/models/gpt-4o", "/v1/models/none", "/nowhere",
)  # fmt: skip
CHAINED = ("chat", "chat stream")


def assert_nothing_leaked(sweep):
    assert sweep.leaks() == {}
    log = sweep.process.output()
    assert not PART_OF_A_PROMPT.findall(log)
    assert b"Traceback" not in log, log[log.find(b"Traceback") :][:3000].decode()
    assert b"bug" not in log
    assert len(re.findall(rb'"route":"', log)) >= len(sweep.answers)  # every request is in the log


@contextlib.asynccontextmanager
async def careless_proxy():
    """A proxy that refuses every tunnel and repeats the request head, including credentials."""
    answers = [b"HTTP/1.1 407 %b\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n%b", b"%b\r\n\r\n", b"HTTP/1.1 %b\r\n\r\n", b""]
    asked = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        answer = answers[len(asked) % len(answers)]
        asked.append(head)
        credentials = head.partition(b"authorization: ")[2].strip()
        writer.write(answer % credentials if b"%b" in answer else answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


@pytest.mark.slow
def test_configured_keys_never_appear(tmp_path):
    """Request every route, whole and streamed, with every fault of every provider."""
    planted = Planted()

    async def main():
        server = RedisServer("--requirepass", planted("redis password")).start() if PROGRAM else None
        async with careless_proxy() as (proxy, tunnels):
            settings = {
                "OPENAI_API_KEYS": f"{planted('key 2 of openai')},{planted('key 3 of openai')}",
                "GATEWAY_API_KEYS": f"{planted('gateway')},{planted('other gateway')}",
                "ADMIN_API_KEY": planted("admin"),
                "CACHE_MODE": "redis",
                "REDIS_URL": f"redis://:{planted('redis password')}@127.0.0.1:{server.port if server else free_port()}",
                "GROQ_API_KEY": planted("key of groq"),
                "GROQ_BASE_URL": "https://groq.invalid/v1",
                "HTTPS_PROXY": f"http://user:{planted('proxy password')}@127.0.0.1:{proxy}",
                "RPM_LIMIT_PER_KEY": "1000000",
                "TPM_LIMIT": "1000000000",
                "MAX_PARALLEL_PER_KEY": "1000",
                "FALLBACKS": "off",
                "MAX_RETRIES": "2",
            }
            async with sweeping(planted, settings, tmp_path) as sweep:
                client = f"Authorization: Bearer {planted('gateway')}"
                await sweep.with_every_fault(FAULTS, ROUTES, lambda _: (client,))
                for route in ROUTES:  # without a fault
                    for provider in sweep.mocks:
                        await sweep.ask(route, provider, client, f"Cookie: session={planted('cookie')}")
                await send_invalid_requests(sweep, planted, client)
                await read_the_pages(sweep, planted)
                body = b'{"model":"groq/llama","messages":[{"role":"user","content":"x"}]}'
                for _ in range(5):
                    await sweep.send(chat(body, client))
                assert len(tunnels) >= 5
                if server is not None:
                    stored = contents_of(server, planted("redis password"))
                    assert (b"nulpoint:cache:" in stored, b"nulpoint:limit:" in stored) == (True, True)
                    assert planted.found_in(stored) == set()
                    assert not PROMPT.findall(stored)
                await sweep.process.stop()
                assert_nothing_leaked(sweep)
                for provider in sweep.mocks:
                    expected = {name for name in planted.secrets if name.endswith(f" of {provider}")}
                    assert sweep.sent_to(provider) == expected
        if server is not None:
            server.close()

    run(main(), 300)


def contents_of(server, password):
    """Return names and values of everything in Redis, with compressed values also decompressed."""
    with redis.Redis(port=server.port, password=password) as client:
        names = list(client.scan_iter(count=1000))
        dumped = [client.get(name) if client.type(name) == b"string" else client.dump(name) for name in names]
    unpacked = [zlib.decompress(value[36:]) for value in dumped if value.startswith(b"np1") and value[35:36] == b"z"]
    return b"\n".join([*names, *dumped, *unpacked])


@pytest.mark.slow
def test_keys_of_clients_never_appear(tmp_path):
    """They are sent only to the provider of the requested model, with and without failover."""
    planted = Planted()

    async def main():
        settings = {"ALLOW_CLIENT_API_KEYS": "true", "GATEWAY_API_KEYS": planted("gateway"), "MAX_RETRIES": "3"}
        async with sweeping(planted, settings, tmp_path) as sweep:

            def fields(provider):
                return (
                    f"x-nulpoint-api-key: {planted('gateway')}",
                    f"Authorization: Bearer {planted(f'client key of {provider}')}",
                )

            await sweep.with_every_fault(FAULTS, (*CHAINED, "embeddings", "rerank"), fields)
            await sweep.process.stop()
            assert_nothing_leaked(sweep)
            for provider in sweep.mocks:
                assert sweep.sent_to(provider) == {f"client key of {provider}"}

    run(main(), 300)


@pytest.mark.slow
def test_failover_sends_no_key_to_another_provider(tmp_path):
    planted = Planted()

    async def main():
        settings = {"MAX_RETRIES": "4", "FALLBACKS": "auto"}
        async with sweeping(planted, settings, tmp_path, ("openai", "anthropic", "gemini", "mistral")) as sweep:
            any_string = f"Authorization: Bearer {planted('any string')}"
            await sweep.with_every_fault(FAULTS, CHAINED, lambda _: (any_string, "x-nulpoint-trace: 1"))
            assert len([1 for _, answer in sweep.answers if b"x-nulpoint-attempts: 2" in answer]) > 20
            for mock in sweep.mocks.values():
                mock.set_fault("repeat", arg=503)
            for provider in sweep.mocks:  # every provider fails, so the error lists all attempts
                for route in CHAINED:
                    answer = await sweep.ask(route, provider, any_string, "x-nulpoint-trace: 1")
                    assert all(f'{{"provider":"{name}"'.encode() in answer for name in sweep.mocks), answer
            await sweep.process.stop()
            assert_nothing_leaked(sweep)
            for provider in sweep.mocks:
                assert sweep.sent_to(provider) == {f"key of {provider}"}

    run(main(), 300)


def everything(planted):
    """Return every setting that can hold a credential, each with a planted one."""
    keys = {spec.key_env: planted(spec.name) for spec in CATALOG.values() if spec.key_env}
    return keys | {
        "OPENAI_API_KEYS": f"{planted('second')},{planted('third')}",
        "GATEWAY_API_KEYS": f"{planted('gateway')},{planted('other gateway')}",
        "ADMIN_API_KEY": planted("admin"),
        "AZURE_OPENAI_ENDPOINT": "https://azure.invalid",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": planted("aws id"),
        "AWS_SECRET_ACCESS_KEY": planted("aws secret"),
        "AWS_SESSION_TOKEN": planted("aws session"),
        "REDIS_URL": f"rediss://user:{planted('redis')}@redis.invalid:6379?ssl_cert_reqs=none",
        "HTTPS_PROXY": f"http://user:{planted('proxy')}@proxy.invalid:3128",
    }


@pytest.mark.parametrize("wrong", ["", " x", "\u00fc", "@", "#", "/", ":", "?", "[", "%zz@", ",,"])
def test_checks_of_good_and_bad_configurations(wrong, tmp_path):
    """The settings come from the environment and from the file, with an appended text that makes most of them invalid."""
    planted = Planted()
    settings = {name: value.replace("@", f"{wrong}@") + wrong for name, value in everything(planted).items()}
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({name.lower(): value for name, value in settings.items()}))
    codes = set()
    for environ in (settings, {}):
        check = [sys.executable, "-m", "nulpoint", "check"]
        done = subprocess.run(check, env={**keep, **environ}, cwd=tmp_path, capture_output=True, check=False)
        assert planted.found_in(done.stdout + done.stderr) == set()
        codes.add(done.returncode)
    assert codes == ({2} if wrong else {0})


def chat(body, *fields):
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", "Connection: close", "Content-Type: application/json"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", *fields, "", ""]).encode() + body


async def read_the_pages(sweep, planted):
    admin = f"Authorization: Bearer {planted('admin')}"
    for path in PAGES:
        for fields in (
            (),
            (admin,),
            (f"x-api-key: {planted('admin')}",),
            (f"Authorization: Bearer {planted('wrong')}",),
        ):
            await sweep.get(path, *fields)
            await sweep.get(path, *fields, method="OPTIONS")
            await sweep.get(path, *fields, method="DELETE")
        await sweep.get(f"{path}?key={planted('query')}", admin)
    assert b"gateway_http_requests_total{" in await sweep.get("/metrics", admin)
    assert b'"providers":{' in await sweep.get("/health", admin)


async def send_invalid_requests(sweep, planted, client):
    """Send requests that are rejected, with secrets in every place that is read."""
    prompt = marker()
    said = prompt.encode()
    bodies = [
        b'{"model":"gpt-4o","messages":"%b"}' % said,
        b'{"model":"gpt-4o","messages":[{"role":"%b"}]}' % said,
        b'{"model":"claude-haiku-4-5","messages":[{"role":"%b","content":"x"}]}' % said,
        b'{"model":"gemini-2.5-flash","messages":[{"role":"user","content":[{"type":"%b"}]}]}' % said,
        b'{"model":"mistral-large-latest","messages":[{"role":"user","content":"x"}],"temperature":"%b"}' % said,
        b'{"model":"gpt-4o","stream":"%b","messages":[]}' % said,
        b'{"model":"gpt-4o","api_key":"%b","base_url":"http://%b","messages":[{"role":"user","content":"x"}]}' % (said, said),
        b'{"model":"gpt-4o","messages":[{"role":"user","content":"%b' % said,
        b"%b" % said,
        b'["%b"]' % said,
        b"\xff" + said,
    ]  # fmt: skip
    for body in bodies:
        await sweep.send(chat(body, client), prompt)
    fields = [
        f"Authorization: Bearer {planted('header')} {planted('header')}",
        f"Authorization: Basic {planted('header')}",
        f"Authorization: Bearer \x01{planted('header')}",
        f"x-nulpoint-timeout: {planted('header')}",
        f"Content-Length: {planted('header')}",
        f"Transfer-Encoding: {planted('header')}",
        f"Content-Encoding: {planted('header')}",
        f"Expect: {planted('header')}",
        f"Cache-Control: max-age={planted('header')}",
        f"x-nulpoint-cache-ttl: {planted('header')}",
        f"Proxy-Authorization: Basic {planted('header')}",
        f"X-{planted('header')}: " + "x" * 40_000,
    ]
    for field in fields:
        await sweep.send(chat(bodies[0], client, field), prompt)
        await sweep.send(chat(bodies[0], field), prompt)


@pytest.mark.slow
def test_reloads_of_good_and_bad_configurations(tmp_path):
    """Reload good and bad files full of planted credentials, also files that are cut off at many places."""
    planted = Planted()
    settings = {name.lower(): value for name, value in everything(planted).items()}
    settings["providers"] = [
        {
            "name": "own",
            "base_url": "http://own.invalid",
            "key_env": "OWN_API_KEY",
            "headers": {"x-key": planted("header")},
        }
    ]
    settings["own_api_key"] = planted("own")
    admin = f"Authorization: Bearer {planted('admin')}"
    environ = {"CONFIG_WATCH": "false", "ADMIN_API_KEY": planted("admin"), "CONNECT_TIMEOUT": "100ms"}

    def write(text):
        (tmp_path / "config.yaml").write_text(text)

    async def main():
        write("{}")
        async with sweeping(planted, environ, tmp_path) as sweep:
            outcomes = set()

            async def reload():
                head = f"POST /admin/reload HTTP/1.1\r\nHost: x\r\n{admin}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                answer = await sweep.send(head.encode())
                outcomes.add(answer.split()[1])
                for path in ("/health", "/admin/config", "/admin/explain?model=own/x", "/admin/explain?model=gpt-4o"):
                    await sweep.get(path, admin)

            for wrong in ("", " x", "\u00fc", "@", "/", ":", "[", "%zz@", ",,"):
                invalid_settings = {
                    name: value.replace("@", f"{wrong}@") + wrong if isinstance(value, str) else value
                    for name, value in settings.items()
                }
                write(yaml.safe_dump(invalid_settings))
                await reload()
            text = yaml.safe_dump(settings)
            for end in range(7, len(text), 41):
                write(text[:end])
                await reload()
            for sign in "*&!|>@%`{['\"":  # a password may begin with these, and YAML gives them a meaning
                write("\n".join(f"{name}: {sign}{value}" for name, value in settings.items() if isinstance(value, str)))
                await reload()
            assert outcomes == {b"200", b"422"}
            await sweep.process.stop()
            assert sweep.leaks() == {}
            log = sweep.process.output()
            assert b"the new configuration is rejected" in log
            assert b"Traceback" not in log

    run(main(), 120)
