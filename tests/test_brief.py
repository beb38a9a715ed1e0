"""The product brief, read and held against the code, wherever it lies beside the project.

Every table, path, command and example of it is walked. Where nulpoint is better or different, `DIFFERENCES` says which
words of the brief that is about, and which sentence of the documentation tells a user.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import CHAT, Caller, gateway, post, run
from nulpoint.config import ConfigError, load
from nulpoint.config.settings import BY_KEY
from nulpoint.errors import Failure
from nulpoint.mock import MockSettings
from nulpoint.providers.catalog import CATALOG
from nulpoint.routing.chains import Chains
from nulpoint.routing.plan import Router
from nulpoint.stores.families import FAMILIES

ROOT = Path(__file__).parent.parent
NAME = "nulpoint-llm-gateway.md"
BRIEF = Path(os.environ.get("NULPOINT_BRIEF", ROOT.parent / "shared" / "brief" / NAME))
if not BRIEF.is_file():
    pytest.skip(f"the product brief ({NAME}) is not beside the project: it was not walked", allow_module_level=True)
TEXT = BRIEF.read_text(encoding="utf-8")
KEYS = {name: "sk-x" for spec in CATALOG.values() if (name := spec.key_env) and not spec.variables}
PROVIDERS = {"OpenAI": "openai", "Anthropic": "anthropic", "Google Gemini": "gemini", "Mistral": "mistral"}
FOUR = tuple(PROVIDERS.values())

# Words of the brief; the page that tells the difference; its words. Spaces and line ends do not count.
DIFFERENCES = (
    ("RPM_LIMIT", "docs/moving-from-go.md", "`RPM_LIMIT` needed Redis; here one worker counts by itself"),
    ("APP_BASE_URL", "docs/moving-from-go.md", "there are no callbacks, so it changes nothing"),
    ("aliases", "docs/moving-from-go.md", "takes `prompt`, as OpenAI's does"),
    ("fasthttp", "docs/moving-from-go.md", "an HTTP server and an upstream client of its own"),
    ("internal/providers", "docs/moving-from-go.md", "a record in `config.yaml`"),
    ("one key", "docs/moving-from-go.md", "or `ALLOW_CLIENT_API_KEYS=true`, or a host without keys"),
    ("SHA-256", "docs/cache.md", "a SHA-256 over all of it"),
    ("retries", "docs/failover.md", "fewer than `MAX_RETRIES`"),
    ("Retry-After", "docs/failover.md", "429 and `Retry-After`: its own value, else 60"),
    ("Liveness", "docs/moving-from-go.md", "`/readiness` is for readiness; ask `/health` for liveness"),
    ("5xx", "docs/failover.md", "fewer than `MAX_RETRIES`"),
    ("requests-per-minute", "docs/limits.md", "of all callers together and of each key"),
)  # fmt: skip
# What the brief says in its prose, by words of it: the tests that hold it.
PROSE = (
    ("without touching", "tests/test_examples.py", "test_python"),
    ("without restarting", "tests/live/test_changes.py", "test_providers_come_move_and_go"),
    ("analysis", "tests/analysis/test_commands.py", ""),
    ("namespaced", "tests/gateway/test_cache.py", "test_k03_two_keys_never_share"),
    ("configured key", "tests/gateway/test_proxy.py", "test_callers_keys_are_forwarded_only_when_allowed"),
    ("share a cache", "tests/gateway/test_shared_redis.py", "test_what_one_replica_has_learnt_the_other_knows"),
    ("regexes", "tests/routing/test_exclusions.py", "test_names_and_patterns"),
    ("within the window", "tests/faults/test_breaker_faults.py", "test_U28_a_storm_of_5xx"),
    ("a probe", "tests/faults/test_breaker_faults.py", "test_U31_a_probe_whose_caller_leaves"),
    ("existing SDK", "tests/gateway/test_sdk.py", "test_errors_are_the_sdk_s_own"),
    ("plain string", "tests/gateway/test_sdk.py", "test_embeddings_of_every_shape"),
    ("hot path", "tests/test_stores.py", "test_a_blocked_pipe_blocks_nobody_and_drops_are_counted"),
    ("Redis is down", "tests/gateway/test_shared_redis.py", "test_d02_killed_under_load"),
    ("breaker per provider", "tests/faults/test_matrix.py", ""),
    ("global state", "tests/test_layers.py", "test_arrows_point_down_and_the_core_is_pure"),
    ("SLA", "bench/run.py", "measure_requests"),
)  # fmt: skip
# What the table of features promises, by a word of its first column: where it is told, and tested.
FEATURES = {
    "compatible": ("docs/quickstart.md", "tests/gateway/test_sdk.py"),
    "routing": ("docs/failover.md", "tests/routing/test_chains.py"),
    "failover": ("docs/failover.md", "tests/faults/test_matrix.py"),
    "cache": ("docs/cache.md", "tests/gateway/test_cache.py"),
    "streaming": ("docs/failover.md", "tests/wire/test_streams.py"),
    "embeddings": ("docs/cache.md", "tests/gateway/test_cached_embeddings.py"),
    "metrics": ("docs/metrics.md", "tests/stores/test_metrics.py"),
    "keys": ("docs/limits.md", "tests/gateway/test_keys.py"),
    "deps": ("docs/quickstart.md", "tests/test_process.py"),
    "logs": ("docs/request-log.md", "tests/gateway/test_request_log.py"),
}


def sections():
    """(heading, its text), in order."""
    parts = re.split(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", _without_headings, TEXT))
    return list(zip(parts[1::2], parts[2::2], strict=True))


def _without_headings(block):
    return re.sub(r"(?m)^#", " #", block[0])


def tables():
    """(heading, first column's title, rows) of every table."""
    for heading, text in sections():
        for table in re.findall(r"(?m)(?:^\|.*\|\n?)+", text):
            head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
            yield heading, head[0], rows


def fenced(language):
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", TEXT)


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def squeezed(text):
    return " ".join(text.split())


TABLES = list(tables())
VARIABLES = [row for _, first, rows in TABLES if first == "Variable" for row in rows]


def test_every_table_is_walked():
    assert {first for _, first, _ in TABLES} == {"Feature", "Variable", "Models", "Situation"}
    assert len(VARIABLES) == 20


@pytest.mark.parametrize(("words", "page", "told"), DIFFERENCES)
def test_what_differs_is_told(words, page, told):
    assert words in TEXT, "the brief no longer says that"
    assert told in squeezed((ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", [row for _, first, rows in TABLES if first == "Feature" for row in rows])
def test_features(row):
    (found,) = {paths for word, paths in FEATURES.items() if re.search(rf"(?i)\b{word}\b", row[0])}
    for path in found:
        assert (ROOT / path).is_file()


@pytest.mark.parametrize(("words", "path", "name"), PROSE)
def test_prose(words, path, name):
    assert words in TEXT, "the brief no longer says that"
    assert f"def {name or 'test_'}" in (ROOT / path).read_text()


def test_the_overhead_that_was_measured_last_is_below_what_is_promised():
    (promised,) = set(re.findall(r"< (\d+) ms overhead", TEXT))
    page = (ROOT / "docs/performance.md").read_text()
    (measured,) = re.findall(r"(?m)^\| P50 added at one connection: nulpoint \| (\d+) us", page)
    assert int(measured) < int(promised) * 1000


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
    router = Router(
        config.providers, config.aliases, config.default_provider, config.known, Chains({}, automatic=False)
    )
    return router.plan(model, route).primary.provider.spec.name


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


# -- commands and files ------------------------------------------------------------------------------------------------


def test_make_targets():
    wanted = set(re.findall(r"\bmake ([a-z-]+)", TEXT))
    assert {"run", "mock", "mock-race", "test-race", "bench", "lint"} <= wanted
    there = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    assert wanted <= there
    done = subprocess.run(["make", "-n", "mock"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pytest" in done.stdout


def test_files_and_profiles():
    for target in re.findall(r"\]\(([^):]+)\)", TEXT):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"^cp (\S+)", TEXT, re.MULTILINE):
        assert (ROOT / name).is_file()
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for profile in re.findall(r"--profile (\w+)", TEXT):
        assert [profile] in [service.get("profiles") for service in services.values()]
    assert "MIT" in (ROOT / "LICENSE").read_text()
