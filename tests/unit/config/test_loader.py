"""Tests of loading the configuration: all problems are reported at once, and no secret is ever shown."""

import json
from hashlib import sha256

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.app.wiring import build_router
from nulpoint.cli.main import main
from nulpoint.config import Config, ConfigError, load, reference, values
from nulpoint.config.sections.endpoints import template_problems
from nulpoint.config.settings import SETTINGS
from nulpoint.errors import Failure
from nulpoint.providers.auth import credential_headers
from nulpoint.providers.catalog import ALIASES, CATALOG, KNOWN_MODELS
from nulpoint.providers.model_names import OTHER_PROVIDER_NAMES, PREFIX_EXPANSIONS, PROVIDER_BY_PREFIX
from nulpoint.providers.spec import Provider, ProviderSpec, Secret
from nulpoint.providers.wire_formats import WIRE_FORMATS
from nulpoint.routing.chains import FallbackChains
from nulpoint.routing.router import Router
from support.chat_codec import CODECS
from support.paths import ROOT

KEY = {"OPENAI_API_KEY": "sk-x"}


def problems(environ, tmp_path, text=None):
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(environ, tmp_path)
    return {problem.key: problem for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1h", 3600),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("0", 0),
        ("2m3s4ms", 123.004),
        ("7us", 7e-6),
        ("30d", 2_592_000),
    ],
)
def test_durations(text, seconds):
    assert values.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["30", "s", "1h 30m", "-1s", "1w", "", "1s1", "abc", "１s"])
def test_invalid_durations(text):
    with pytest.raises(ValueError, match="30s"):
        values.duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("20MiB", 20 << 20), ("32KiB", 32768), ("7", 7), ("1 kB", 1000), ("2GB", 2 * 10**9)]
)
def test_sizes(text, size):
    assert values.size(text) == size


def test_default_values(tmp_path):
    config = load(KEY, tmp_path)
    assert (config.port, config.log_level, config.allow_client_api_keys) == (8080, "info", False)
    assert (config.cache_mode, config.cache_ttl, config.max_retries, config.provider_timeout) == ("memory", 3600, 3, 30)
    assert (config.cb_error_threshold, config.cb_time_window, config.cb_half_open_timeout) == (5, 60, 30)
    assert (config.rpm_limit, config.cors_origins, config.host) == (0, ("*",), "127.0.0.1")
    assert list(config.providers) == ["openai"]
    assert config.app_base_url is None


def test_every_setting_is_a_field_of_the_config_and_has_a_valid_default():
    assert {setting.key for setting in SETTINGS} <= set(Config.__struct_fields__)
    for setting in SETTINGS:
        setting.read_default()


def test_the_environment_beats_the_file(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "port: 9000\nlog_level: warn\napp_base_url: https://example.com\ncors_origins: [http://a, http://b]\n"
    )
    config = load({**KEY, "PORT": "9001", "LOG_LEVEL": ""}, tmp_path)
    assert (config.port, config.log_level, config.cors_origins) == (9001, "warn", ("http://a", "http://b"))
    assert config.app_base_url == "https://example.com"


def test_all_problems_at_once(tmp_path):
    environ = {
        "PORT": "eighty", "PROVIDER_TIMEOUT": "30", "CACHE_MODE": "disk", "WORKERS": "0", "OPENAI_BASE_URL": "ftp://x",
        "GROQ_API_KEY": "two words", "TLS_CERT": "/nonexistent", "CACHE_EXCLUDE_PATTERNS": "(", "RPM_LIMIT": "-5",
        "DEFAULT_PROVIDER": "opneai", "REDIS_URL": "http://user:hunter2@x",
    }  # fmt: skip
    found = problems(
        environ, tmp_path, "prot: 1\nproviders:\n  - {name: Bad Name, base_url: x, key_env: K}\naliases: {a: nope/x}\n"
    )
    assert {
        "PORT", "PROVIDER_TIMEOUT", "CACHE_MODE", "WORKERS", "OPENAI_BASE_URL", "GROQ_API_KEY", "TLS_KEY", "RPM_LIMIT",
        "CACHE_EXCLUDE_PATTERNS", "DEFAULT_PROVIDER", "REDIS_URL", "prot", "providers[0].name", "providers[0].base_url", "aliases.a",
    } <= set(found)  # fmt: skip
    assert "30s" in found["PROVIDER_TIMEOUT"].remedy
    assert "port" in found["prot"].remedy
    assert "openai" in found["DEFAULT_PROVIDER"].remedy
    shown = "".join(map(str, found.values()))
    assert "two words" not in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("environ", "name", "remedy"),
    [
        ({"CACHE_MODE": "redis"}, "REDIS_URL", "redis://localhost:6379"),
        ({"REDIS_URL": "redis://h?db=x"}, "REDIS_URL", "Invalid value for 'db'"),
        ({"REDIS_URL": "redis://h?colour=red"}, "REDIS_URL", "redis-py does not know"),
        ({"REDIS_URL": "rediss://h?ssl_cert_reqs=maybe"}, "REDIS_URL", "maybe"),
        ({"REDIS_URL": "localhost:6379"}, "REDIS_URL", "redis://localhost:6379"),
        ({"REDIS_URL": "redis://h:port"}, "REDIS_URL", "up to 65535"),
        ({"CACHE_MODE": "disk"}, "CACHE_MODE", "memory, redis, none"),
        ({"CACHE_TTL": "0"}, "CACHE_TTL", "greater than zero"),
        ({"CACHE_TTL": "-1h"}, "CACHE_TTL", "30s"),
        ({"CACHE_MAX_BYTES": "0"}, "CACHE_MAX_BYTES", "greater than zero"),
        ({"CACHE_MAX_BYTES": "-1MiB"}, "CACHE_MAX_BYTES", "greater than zero"),
        ({"RPM_LIMIT": "-1"}, "RPM_LIMIT", "whole number"),
        ({"RPM_LIMIT_PER_KEY": "-1"}, "RPM_LIMIT_PER_KEY", "whole number"),
        ({"TPM_LIMIT": "1e9"}, "TPM_LIMIT", "whole number"),
        ({"TPM_LIMIT_PER_KEY": "1.5"}, "TPM_LIMIT_PER_KEY", "whole number"),
        ({"MAX_PARALLEL_PER_KEY": "-3"}, "MAX_PARALLEL_PER_KEY", "whole number"),
        ({"RATE_LIMIT_ON_ERROR": "maybe"}, "RATE_LIMIT_ON_ERROR", "allow, deny"),
        ({"GATEWAY_API_KEYS": "fine,sha256:12"}, "GATEWAY_API_KEYS", "64 hexadecimal digits"),
        ({"GATEWAY_API_KEYS": "two words"}, "GATEWAY_API_KEYS", "without spaces"),
        ({"GATEWAY_API_KEYS": " , "}, "GATEWAY_API_KEYS", "contains no key"),
        ({"GATEWAY_API_KEYS": "good,change-me"}, "GATEWAY_API_KEYS", "nobody can guess"),
        ({"ADMIN_API_KEY": "your-admin-key"}, "ADMIN_API_KEY", "nobody can guess"),
        ({"ADMIN_API_KEY": "<key>"}, "ADMIN_API_KEY", "nobody can guess"),
        ({"CACHE_EXCLUDE_PATTERNS": "a(?=b)"}, "CACHE_EXCLUDE_PATTERNS", "RE2"),
        ({"CACHE_EXCLUDE_PATTERNS": "gpt-.{1,2}"}, "CACHE_EXCLUDE_PATTERNS", "comma"),
        ({"ADMIN_API_KEY": "one,two"}, "ADMIN_API_KEY", "one key"),
        ({"ADMIN_API_KEY": "sha256:00"}, "ADMIN_API_KEY", "64 hexadecimal digits"),
        ({"ADMIN_API_KEY": "a", "GATEWAY_API_KEYS": "b,a"}, "ADMIN_API_KEY", "GATEWAY_API_KEYS"),
        ({"ADMIN_PORT": "8080"}, "ADMIN_PORT", "is the same as PORT"),
        ({"ADMIN_PORT": "65536"}, "ADMIN_PORT", "whole number"),
        ({"ADMIN_HOST": "127.0.0.1"}, "ADMIN_HOST", "ADMIN_PORT"),
        ({"CORS_ORIGINS": "https://*.example.com"}, "CORS_ORIGINS", "wildcards"),
        ({"WORKERS": "2", "MAX_PARALLEL_PER_KEY": "5"}, "MAX_PARALLEL_PER_KEY", "REDIS_URL"),
    ],
)
def test_problems_with_cache_limits_keys_and_origins(environ, name, remedy, tmp_path):
    ((key, problem),) = problems({**KEY, **environ}, tmp_path).items()
    assert key == name
    assert remedy in problem.remedy


def test_limits_with_several_workers_need_redis(tmp_path):
    limits = {"RPM_LIMIT": "5", "TPM_LIMIT": "5"}
    assert load({**KEY, **limits}, tmp_path).rpm_limit == 5
    assert set(problems({**KEY, **limits, "WORKERS": "2"}, tmp_path)) == {"RPM_LIMIT", "TPM_LIMIT"}
    several = {**KEY, **limits, "WORKERS": "2", "REDIS_URL": "rediss://u:p@h:1/2?ssl_cert_reqs=none"}
    assert load(several, tmp_path).tpm_limit == 5


def test_only_digests_of_gateway_keys_are_kept(tmp_path):
    config = load({**KEY, "GATEWAY_API_KEYS": "one, sha256:" + sha256(b"two").hexdigest()}, tmp_path)
    assert config.gateway_api_keys == (sha256(b"one").digest(), sha256(b"two").digest())


def test_all_problems_with_cache_limits_keys_and_origins_at_once(tmp_path):
    environ = {
        "CACHE_MODE": "redis", "CACHE_TTL": "0", "CACHE_EXCLUDE_PATTERNS": "(", "RPM_LIMIT": "-1", "TPM_LIMIT": "x",
        "WORKERS": "2", "MAX_PARALLEL_PER_KEY": "5", "RATE_LIMIT_ON_ERROR": "maybe", "GATEWAY_API_KEYS": ",",
        "ADMIN_PORT": "8080", "ADMIN_API_KEY": "a,b", "CORS_ORIGINS": "example.com",
    }  # fmt: skip
    assert set(problems({**KEY, **environ}, tmp_path)) == {*environ, "REDIS_URL"} - {"CACHE_MODE", "WORKERS"}


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ("*",)),
        ("https://A.example, http://localhost:3000", ("https://a.example", "http://localhost:3000")),
        ("http://[::1]:5173,chrome-extension://abcdef", ("http://[::1]:5173", "chrome-extension://abcdef")),
        ("https://a:80,http://a:443", ("https://a:80", "http://a:443")),
    ],
)
def test_origins(text, origins):
    assert values.origins(text) == origins


@pytest.mark.parametrize(
    "text",
    [
        "example.com", "https://a/", "https://a/path", "https://a?b", "https://u@a", "null", "https://", "https://a:",
        "https://a:443", "http://a:80", "https://a:0", "https://a:099", "https://a:65536", "https://ü.example",
    ],
)  # fmt: skip
def test_origins_that_no_browser_sends_are_rejected(text):
    with pytest.raises(ValueError):
        values.origins(text)


def test_only_the_digest_of_the_admin_key_is_kept(tmp_path):
    assert load({**KEY, "ADMIN_API_KEY": "one"}, tmp_path).admin_api_key == sha256(b"one").digest()


@pytest.mark.parametrize(
    ("environ", "open_to_others"),
    [
        (KEY, False),
        ({**KEY, "HOST": "localhost"}, False),
        ({**KEY, "HOST": "127.0.0.2"}, False),
        ({**KEY, "HOST": "::1"}, False),
        ({**KEY, "HOST": "0.0.0.0"}, True),
        ({**KEY, "HOST": "::"}, True),
        ({**KEY, "HOST": "gateway.internal"}, True),
        ({**KEY, "HOST": "0.0.0.0", "GATEWAY_API_KEYS": "k"}, False),
        ({"ALLOW_CLIENT_API_KEYS": "true", "HOST": "0.0.0.0"}, False),
        ({"VLLM_BASE_URL": "http://gpu:8000/v1", "HOST": "0.0.0.0"}, True),
    ],
)
def test_a_gateway_open_to_other_machines_without_keys(environ, open_to_others, tmp_path):
    assert load(environ, tmp_path).open_to_others == open_to_others


@pytest.mark.parametrize(
    ("environ", "file"),
    [
        ({"OPENAI_BASE_URL": "https://user:{}@host/v1"}, ""),
        ({"OPENAI_BASE_URL": "https://user:/{}@host/v1"}, ""),
        ({"APP_BASE_URL": "https://{}@host"}, ""),
        ({"REDIS_URL": "redis://:{}/@host:6379"}, ""),
        ({"REDIS_URL": "redis://:x{}@host?db=x"}, ""),
        ({"REDIS_URL": "redis://user:1/{}@host"}, ""),
        ({"REDIS_URL": "redis://user:1#{}@host"}, ""),
        ({"REDIS_URL": "http://:{}@host"}, ""),
        ({"HTTPS_PROXY": "http://user:{}#@host:3128"}, ""),
        ({"HTTPS_PROXY": "https://user:{}@[host"}, ""),
        ({"GATEWAY_API_KEYS": "{} x"}, ""),
        ({"ADMIN_API_KEY": "{},"}, ""),
        ({"OPENAI_API_KEY": "{} x"}, ""),
        ({"OPENAI_API_KEYS": "good,{} x"}, ""),
        ({"OPENAI_BASE_URL": "{}"}, ""),
        ({"PORT": "{}"}, ""),
        ({"OPENAI_BASE_URL": "https://host/v1?key=x{}"}, ""),
        ({"TLS_KEY": "-----BEGIN PRIVATE KEY-----\nx{}", "TLS_CERT": "cert.pem"}, ""),
        ({}, "openai_base_url: https://user:{}@host/v1"),
        ({}, "redis_url: 'redis://:{}/@host'"),
        ({}, "groq_api_key: '{} x'"),
        ({}, "gateway_api_keys: ['{} x']"),
        ({}, "providers: [{{name: own, base_url: 'https://user:{}@host', key_env: OWN_KEY}}]"),
        ({}, "providers: [{{name: own, base_url: 'https://host', key_env: OWN_KEY, headers: {{'x y': '{}'}}}}]"),
        ({}, "providers: [{{name: own, base_url: 'https://host?key=x{}', key_env: OWN_KEY}}]"),
        ({}, "providers: [{{name: own, base_url: 'https://host', key_env: 'x{}'}}]"),
        ({}, "providers: [{{name: own, base_url: 'https://host', key_env: OWN_KEY, headers: {{'a: x{}': b}}}}]"),
        ({}, "providers: [{{name: own, base_url: 'https://host', key_env: OWN_KEY, paths: {{chat: 'v1?key=x{}'}}}}]"),
    ],
)
def test_no_misplaced_secret_is_shown(environ, file, tmp_path):
    secret = "sk-4f9a31c07b52"
    given = {name: text.format(secret) for name, text in environ.items()}
    shown = "\n".join(map(str, problems({**KEY, **given}, tmp_path, file.format(secret) or None).values()))
    assert not any(secret[at : at + 6] in shown for at in range(len(secret) - 5)), shown


@pytest.mark.parametrize("text", ["a: [", "- 1", "just text", "\x00", "1: 2"])
def test_files_that_are_not_a_mapping_of_settings(text, tmp_path):
    assert "config.yaml" in problems(KEY, tmp_path, text)


def test_without_any_key_the_error_names_the_variables_and_the_demo(tmp_path):
    (problem,) = problems({}, tmp_path).values()
    assert "OPENAI_API_KEY" in str(problem)
    assert "make demo" in str(problem)
    assert load({"ALLOW_CLIENT_API_KEYS": "true"}, tmp_path).providers["groq"].credentials == ()
    assert list(load({"VLLM_BASE_URL": "http://gpu:8000/v1"}, tmp_path).providers) == ["vllm"]


def test_users_can_add_providers_and_aliases_and_change_rows(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "providers:\n  - {name: poe, base_url: https://api.poe.com/v1, key_env: POE_KEY, rename: {a: b}}\n"
        "  - {name: groq, stream_usage: inline}\naliases: {fast: poe/some/model}\npoe_key: k\n"
    )
    config = load({"GROQ_API_KEY": "g"}, tmp_path)
    assert config.providers["poe"].spec.rename == {"a": "b"}
    assert config.providers["groq"].spec.base_url == CATALOG["groq"].base_url
    assert config.providers["groq"].spec.stream_usage == "inline"
    assert build_router(config).plan("fast", "chat").primary.model == "some/model"


@pytest.mark.parametrize(
    ("fields", "operations"),
    [
        ("", ("chat",)),
        (", operations: [rerank]", ("rerank",)),
        (", operations: []", ()),
        (", embeddings: true", ("chat", "embeddings")),
        (", completions: true, embeddings: true", ("chat", "completions", "embeddings")),
        (", completions: false, embeddings: true", ("chat", "embeddings")),
        (", operations: [rerank], embeddings: true", ("rerank", "embeddings")),
        (", like: openai, embeddings: false", ("chat", "completions", "moderations")),
        (", like: openai, embeddings: true", ("chat", "completions", "moderations", "embeddings")),
        (", like: openai, operations: [chat]", ("chat",)),
    ],
)
def test_the_operations_of_a_record(tmp_path, fields, operations):
    (tmp_path / "config.yaml").write_text(
        f"providers:\n  - {{name: poe, base_url: https://api.poe.com/v1, key_env: POE_KEY{fields}}}\npoe_key: k\n"
    )
    assert load({}, tmp_path).providers["poe"].spec.operations == operations


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("operations: [chat, reranks]", "providers[0].operations = 'reranks': is not one of chat, completions, "),
        ("operations: [chat, reranks]", "did you mean rerank?"),
        ("operations: chat", "Expected `array`"),
        ("operations: chat, embeddings: true", "providers[0]"),
        ("embeddings: 1", "unknown field `embeddings`"),
        ("paths: {stream: /s, reranks: /r}", "providers[0].paths = 'reranks'"),
        ("rename_response: {data: results}", "providers[0]"),
        ("rename_response: {list: {data: results}}", "providers[0].rename_response = 'list'"),
    ],
)
def test_an_operation_that_does_not_exist_is_a_problem(tmp_path, fields, said):
    text = f"providers:\n  - {{name: poe, base_url: https://api.poe.com/v1, key_env: POE_KEY, {fields}}}\n"
    assert said in " ".join(map(str, problems(KEY, tmp_path, text).values()))


@given(st.uuids())
def test_a_secret_cannot_be_shown(value):
    text = value.hex
    secret = Secret(text)
    assert str(secret) == f"{secret}" == repr(secret) == "***"
    assert text not in repr(Provider(spec=CATALOG["openai"], base_url="u", credentials=(secret,)))
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)


# -- catalogue and routing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", CATALOG.values(), ids=CATALOG)
def test_every_row_is_complete(spec):
    assert template_problems("", spec) == []
    assert not spec.base_url.endswith("/")
    assert spec.key_env or spec.identity or spec.auth == "none"
    assert spec.wire == "openai" or spec.wire in CODECS
    assert spec.wire in WIRE_FORMATS
    assert spec.key_env is None or spec.key_env.isupper()
    assert msgspec.convert(msgspec.to_builtins(spec), ProviderSpec) == spec


def test_tables_only_name_known_providers():
    for target in [
        *(alias.split("/")[0] for alias in ALIASES.values()),
        *PROVIDER_BY_PREFIX.values(),
        *(owner for models in KNOWN_MODELS.values() for owner in models.values()),
        *(target.partition("/")[0] for target in PREFIX_EXPANSIONS.values()),
        *OTHER_PROVIDER_NAMES.values(),
    ]:
        assert target in CATALOG


def router(*names, default="openai"):
    providers = {
        name: Provider(spec=CATALOG[name], base_url="http://x", credentials=(Secret("k"),)) for name in names or CATALOG
    }
    return Router(providers, {}, default, CATALOG, FallbackChains({}, automatic=False), default_is_set=True)


@pytest.mark.parametrize(
    ("model", "provider", "upstream_model"),
    [
        ("gpt-4", "openai", None), ("gpt-4o", "openai", None), ("gpt-4-turbo", "openai", None), ("gpt-3.5-turbo", "openai", None),
        ("claude-3-5-sonnet", "anthropic", "claude-3-5-sonnet-latest"), ("claude-3-opus", "anthropic", "claude-3-opus-latest"),
        ("claude-3-haiku", "anthropic", "claude-3-haiku-20240307"), ("gemini-pro", "gemini", None),
        ("gemini-1.5-pro", "gemini", None), ("gemini-1.5-flash", "gemini", None),
        ("mistral-large", "mistral", "mistral-large-latest"), ("mistral-medium", "mistral", "mistral-medium-latest"),
        ("mixtral-8x7b", "mistral", "open-mixtral-8x7b"), ("who-knows", "openai", None), ("rerank-v3.5", "cohere", None), ("rerank-english-v3.0", "cohere", None),
        ("rerank-2.5-lite", "voyage", None), ("rerank-lite-1", "voyage", None), ("jina-reranker-m0", "jina", None),
        ("omni-moderation-latest", "openai", None), ("o3-mini", "openai", None),
        ("text-embedding-3-small", "openai", None), ("text-embedding-3-large", "openai", None),
        ("text-embedding-ada-002", "openai", None), ("mistral-embed", "mistral", None), ("text-embedding-004", "gemini", None),
        ("embedding-001", "gemini", None), ("grok-4", "xai", None), ("groq/llama-3", "groq", "llama-3"),
        ("azure-gpt-4o", "azure", "gpt-4o"), ("azure/my-own", "azure", "my-own"), ("azure/azure-odd", "azure", "azure-odd"),
        ("vertexai-gemini-2.5-flash", "vertexai", "gemini-2.5-flash"), ("vertexai/gemini-2.5-pro", "vertexai", "gemini-2.5-pro"),
        ("vertexai-claude-opus-4-5", "vertexai-claude", "claude-opus-4-5"), ("vertexai-text-embedding-005", "vertexai", "text-embedding-005"),
        ("vertexai/claude-sonnet-4-5@20250929", "vertexai-claude", "claude-sonnet-4-5@20250929"),
        ("vertexai-claude/claude-opus-4-5", "vertexai-claude", "claude-opus-4-5"), ("azure-x/gpt", "openai", None),
        ("openrouter/meta/llama", "openrouter", "meta/llama"), ("deepseek-ai/DeepSeek-R1", "openai", None),
    ],
)  # fmt: skip
def test_models_find_their_provider(model, provider, upstream_model):
    target = router().plan(model, "chat" if CATALOG[provider].offers("chat") else "rerank").primary
    assert (target.provider.spec.name, target.model) == (provider, upstream_model or model)


@pytest.mark.parametrize(
    ("model", "route", "word"),
    [
        ("claude-3-opus", "chat", "ANTHROPIC_API_KEY"),
        ("groq/x", "chat", "GROQ_API_KEY"),
        ("vllm/x", "chat", "VLLM_BASE_URL"),
    ],
)
def test_a_provider_that_is_not_configured_names_the_variable(model, route, word):
    with pytest.raises(Failure, match=word) as caught:
        router("openai").plan(model, route)
    assert caught.value.status == 400


def test_the_plan_cache_is_bounded():
    one = router()
    for number in range(10_000):
        one.plan(f"m{number}", "chat")
    assert len(one._plan_cache) <= 4096


def test_credential_headers_of_each_kind_of_auth():
    def headers(auth):
        return credential_headers(ProviderSpec(name="x", base_url="u", key_env="K", auth=auth), "k")

    assert headers("bearer") == [(b"authorization", b"Bearer k")]
    assert headers("x-api-key") == [(b"x-api-key", b"k")]
    assert headers("x-goog-api-key") == [(b"x-goog-api-key", b"k")]
    assert headers("none") == []


# -- command line and documentation ------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [*(s.name for s in SETTINGS), *(s.key_env for s in CATALOG.values() if s.key_env)]:
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments, **environ: CliRunner().invoke(main, arguments, env=environ)


def test_check(command):
    good = command("check", OPENAI_API_KEY="sk-secret-1", APP_BASE_URL="https://example.com")
    assert good.exit_code == 0
    assert "openai" in good.output
    assert "APP_BASE_URL" not in good.output
    assert "sk-secret-1" not in good.output
    bad = command("check", OPENAI_API_KEY="sk-x", PORT="x")
    assert bad.exit_code == 2
    assert "PORT = 'x' (environment)" in bad.output
    assert command("serve").exit_code == 2


def test_the_env_file(command, tmp_path):
    (tmp_path / ".env").write_text("OPENAI_API_KEY='sk-x'\nPORT=9\n")
    assert ":9\n" in command("check", "--env-file", ".env").output
    assert ":10\n" in command("check", "--env-file", ".env", PORT="10").output
    assert command("check", "--env-file", "missing").exit_code == 2


@pytest.mark.parametrize("arguments", [("serve",), ("serve", "--request-log", "none"), ("check",), ("explain", "m")])
def test_an_unreadable_env_file_is_reported(command, tmp_path, arguments):
    (tmp_path / ".env").write_bytes(b"\xff\xfe=1\n")
    result = command(*arguments, "--env-file", ".env", OPENAI_API_KEY="sk-x", PORT="1")
    assert result.exit_code == 2
    assert result.output.endswith(".env: cannot be read: not UTF-8\n")


def test_check_reports_who_can_reach_the_gateway(command):
    shown = command("check", OPENAI_API_KEY="sk-x", HOST="0.0.0.0", ADMIN_PORT="9090", ADMIN_HOST="127.0.0.1").output
    assert "/health and /metrics on http://127.0.0.1:9090" in shown
    assert "set GATEWAY_API_KEYS" in shown
    assert "GATEWAY_API_KEYS" not in command("check", OPENAI_API_KEY="sk-x").output


def test_help_version_and_providers(command):
    assert "make demo" in command("--help").output
    assert command("version").exit_code == 0
    assert "GROQ_API_KEY" in command("providers").output


@pytest.mark.parametrize("name", reference.FILES)
def test_generated_documentation_is_up_to_date(name):
    assert (ROOT / name).read_text() == reference.FILES[name](), "run `make docs`"


def test_the_json_schema_contains_every_key():
    schema = json.loads(reference.schema())
    assert {setting.key for setting in SETTINGS} <= set(schema["properties"])
    assert "providers" in schema["properties"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            "dialect: {role: {developer: system}}",
            "providers[0].dialect.role (config.yaml): is not a field of a dialect",
        ),
        ("dialect: {role: {developer: system}}", "did you mean roles?"),
        ("dialect: [roles]", "must be a mapping"),
        ("dialect: {roles: {developr: system}}", "developr"),
        ("dialect: {accepts: {body: [a]}}", "body"),
        ("dialect: {thinking_switch: think}", "dialect.thinking_switch"),
        ("wire: mistral, dialect: {reasoning: reasoning}", "only with wire: openai"),
    ],
)
def test_a_wrong_dialect_is_a_problem(tmp_path, fields, said):
    text = f"providers:\n  - {{name: poe, base_url: https://api.poe.com/v1, key_env: POE_KEY, {fields}}}\n"
    assert said in " ".join(map(str, problems(KEY, tmp_path, text).values()))


def test_a_record_changes_only_the_fields_of_a_dialect_that_it_gives(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "providers:\n  - {name: groq, dialect: {custom_tools: true}}\n"
        "  - {name: poe, like: deepseek, base_url: https://api.poe.com/v1, key_env: POE_KEY, dialect: {extras: []}}\n"
    )
    config = load({"GROQ_API_KEY": "g", "POE_KEY": "k"}, tmp_path)
    groq, poe = config.providers["groq"].spec.dialect, config.providers["poe"].spec.dialect
    assert groq == msgspec.structs.replace(CATALOG["groq"].dialect, custom_tools=True)
    assert poe == CATALOG["deepseek"].dialect
