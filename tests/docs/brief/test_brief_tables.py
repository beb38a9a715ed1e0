"""The tables, paths and examples of the product brief, each row held against the code."""

import asyncio
import json
import re
import sys

import pytest

from nulpoint.app.wiring import build_router
from nulpoint.config import ConfigError, load
from nulpoint.config.settings import BY_KEY
from nulpoint.errors import Failure
from nulpoint.mock import MockSettings
from nulpoint.providers.catalog import CATALOG
from nulpoint.telemetry.metrics.definitions import FAMILIES
from support.event_loop import run
from support.http_client import CHAT, Caller, post
from support.product_brief import ROOT, TABLES, TEXT, fenced, names
from support.running_gateway import gateway

KEYS = {name: "sk-x" for spec in CATALOG.values() if (name := spec.key_env) and not spec.variables}
PROVIDERS = {"OpenAI": "openai", "Anthropic": "anthropic", "Google Gemini": "gemini", "Mistral": "mistral"}
FOUR = tuple(PROVIDERS.values())
VARIABLES = [row for _, first, rows in TABLES if first == "Variable" for row in rows]


def test_every_table_is_walked():
    assert {first for _, first, _ in TABLES} == {"Feature", "Variable", "Models", "Situation"}
    assert len(VARIABLES) == 20


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", VARIABLES, ids=[row[0] for row in VARIABLES])
def test_variables(row, tmp_path):
    (name,) = names(row[0])
    assert f"`{name}`" in (ROOT / "docs/configuration.md").read_text() + (ROOT / "docs/providers.md").read_text()
    if len(row) == 2:  # a provider's key, and no other provider is in use
        config = load({name: "sk-x"}, tmp_path)
        assert [provider.spec.key_env for provider in config.providers.values()] == [name]
        return
    setting = BY_KEY[name.lower()]
    default, *_ = names(row[1]) or [""]
    assert (setting.default or "") == default
    key = {"OPENAI_API_KEY": "sk-x"}
    (tmp_path / "config.yaml").write_text(f'{name.lower()}: "{default}"\n' if default else "{}")
    for config in (load(key, ROOT / "nowhere"), load({**key, name: default}, ROOT / "nowhere"), load(key, tmp_path)):
        assert getattr(config, name.lower()) == setting.read_default()


@pytest.mark.parametrize(
    ("name", "value"),
    [(names(row[0])[0], word) for row in VARIABLES for word in re.findall(r"(?:`(\w+)`(?= [·/]))|(?<=[·/] )`(\w+)`", row[2] if len(row) > 2 else "") for word in word if word],
)  # fmt: skip
def test_choices(name, value, tmp_path):
    environ = {"OPENAI_API_KEY": "sk-x", "REDIS_URL": "redis://localhost:6379", name: value}
    assert getattr(load(environ, tmp_path), name.lower()) == value


def test_redis_needs_its_url_and_some_provider_a_key(tmp_path):
    for environ, named in (({"OPENAI_API_KEY": "sk-x", "CACHE_MODE": "redis"}, "REDIS_URL"), ({}, "providers")):
        with pytest.raises(ConfigError) as caught:
            load(environ, tmp_path)
        assert [problem.key for problem in caught.value.problems] == [named]


# -- models ------------------------------------------------------------------------------------------------------------


def route_to(model, route, tmp_path):
    config = load(KEYS, tmp_path)
    return build_router(config).plan(model, route).primary.provider.spec.name


MODELS = [(model, row[1]) for _, first, rows in TABLES if first == "Models" for row in rows for model in names(row[0])]


@pytest.mark.parametrize(("model", "provider"), MODELS)
def test_models(model, provider, tmp_path):
    route = "embeddings" if "embed" in model else "chat"
    assert route_to(model, route, tmp_path) == PROVIDERS[provider]


def test_other_models(tmp_path):
    (row,) = [row for _, first, rows in TABLES if first == "Models" for row in rows if not names(row[0])]
    (provider,) = [name for said, name in PROVIDERS.items() if said in row[1]]
    assert route_to("never-heard-of-it", "chat", tmp_path) == provider


def test_claude_has_no_embeddings(tmp_path):
    with pytest.raises(Failure) as caught:
        route_to("claude-3-opus", "embeddings", tmp_path)
    assert caught.value.status == 400


# -- the API -----------------------------------------------------------------------------------------------------------

PATHS = re.findall(r"(?m)^(GET|POST) (/\S+) ", TEXT)


def asked(settings, *requests, fault=None):
    """The answers of one gateway beside the four mock providers: (status, header fields, body) of each request.

    `fault` is OpenAI's: its name, and its argument if it takes one.
    """

    async def main():
        async with gateway(settings, names=FOUR) as running:
            if fault is not None:
                running.mock.set_fault(fault[0], arg=fault[1])
            caller = await Caller.connect(running.port)
            answers = []
            for request in requests:
                caller.send(request)
                answers.append(await caller.answer())
            return answers

    return run(main())


def test_paths():
    assert len(PATHS) == 6
    (embeddings,) = [block for block in fenced("json") if '"input"' in block]
    bodies = {"/v1/chat/completions": CHAT, "/v1/completions": b'{"model":"gpt-4o","prompt":"hi"}', "/v1/embeddings": embeddings.encode()}  # fmt: skip
    requests = [
        post(bodies[path], path) if method == "POST" else f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        for method, path in PATHS
    ]
    answers = asked({}, *requests)
    assert [status for status, _, _ in answers] == [200] * len(PATHS)
    health, metrics = (answers[PATHS.index(("GET", path))] for path in ("/health", "/metrics"))
    assert {"providers", "cache", "uptime_seconds"} <= set(json.loads(health[2]))
    for word in ("gateway_requests_total", "gateway_latency_ms_total", "cache_hits_total", "circuit_breaker_state"):
        assert word in {family.name for family in FAMILIES}
        assert word.encode() in metrics[2]


def test_the_shape_of_embeddings():
    request, answer = (next(block for block in fenced("json") if word in block) for word in ('"input"', '"object"'))
    ((status, _, body),) = asked({}, post(request.encode(), "/v1/embeddings"))
    assert status == 200
    assert set(re.findall(r'"(\w+)":', answer)) <= set(re.findall(r'"(\w+)": ?', body.decode()))
    assert [one["index"] for one in json.loads(body)["data"]] == [0, 1]


def test_the_error_of_the_brief():
    (wanted,) = [json.loads(block)["error"] for block in fenced("json") if '"error"' in block]
    *_, (status, fields, body) = asked({"RPM_LIMIT": "1"}, post(CHAT), post(CHAT))
    error = json.loads(body)["error"]
    assert (status, error["type"], error["code"]) == (429, wanted["type"], wanted["code"])
    assert wanted["message"].lower() in error["message"].lower()
    assert "retry-after" in fields


FAULTS = {
    "429": ("status", 429),
    "5xx": ("status", 500),
    "timeout": ("stall", None),
    "auth": ("status", 401),
    "bad request": ("status", 400),
}
SITUATIONS = [row for _, first, rows in TABLES if first == "Situation" for row in rows]


@pytest.mark.parametrize("row", SITUATIONS, ids=[row[0] for row in SITUATIONS])
def test_statuses(row):
    (fault,) = [fault for word, fault in FAULTS.items() if word in row[0].lower()]
    settings = {"PROVIDER_TIMEOUT": "200ms", "FALLBACKS": "off"}
    ((status, fields, _),) = asked(settings, post(CHAT), fault=fault)
    wanted = names(row[1])
    assert str(status) == wanted[0].split()[0]
    for said in wanted[1:]:
        name, _, value = said.partition(": ")
        assert fields[name.lower()] == value


@pytest.mark.slow
def test_its_program():
    (program,) = fenced("python")

    async def main():
        async with gateway(names=FOUR, mock=MockSettings(stream_words=3)) as running:
            text = program.replace("http://localhost:8080", f"http://127.0.0.1:{running.port}")
            pipe = asyncio.subprocess.PIPE
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", text, stdout=pipe, stderr=pipe)
            out, err = await child.communicate()
            assert child.returncode == 0, err.decode()
            return out.decode()

    assert re.fullmatch(r"\w+.*\ndims: \d+\n", run(main()))
