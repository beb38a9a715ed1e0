"""Fuzz targets for config.yaml, the environment and env files: errors are reported as problems, never as a traceback."""

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from target import Target

from nulpoint.config import ConfigError, load
from nulpoint.config.document import UnreadableConfigError, read_document
from nulpoint.config.settings import SETTINGS
from nulpoint.config.source import read_env_file
from support.mutation import garbled, mutated

DOCUMENTS: list[Any] = [
    {"openai_api_key": "sk-test-0123456789abcdef", "port": 8080, "cache_mode": "memory", "fallbacks": {"gpt-4o": ["anthropic/claude-sonnet-4-5"], "*": ["openai/gpt-4o"]},
     "anthropic_api_key": "sk-ant-test-0123456789", "aliases": {"fast": "openai/gpt-4o-mini"}, "gateway_api_keys": ["one-key-for-all", "sha256:" + "0" * 64],
     "prices": {"openai/x": {"input": 1, "output": 2.5, "over": 1000, "beyond": {"input": 2, "output": 5}}}},
    {"providers": [{"name": "own", "base_url": "https://example.com/v1", "key_env": "OWN_KEY", "headers": {"x-a": "b"}, "rename": {"max_tokens": "max_completion_tokens"},
                    "drop": ["user"], "wire": "openai", "auth": "bearer", "models": ["m"], "embeddings": True, "completions": False}],
     "default_provider": "own", "own_key": "x", "rpm_limit": 10, "request_timeout": "30s", "max_body_bytes": "1MiB"},
    {"fallbacks": {"gpt-*": [[{"target": "openai/gpt-4o", "weight": 2}, "mistral/mistral-large-latest"]]}, "mistral_api_key": "m", "openai_api_key": "o",
     "cors_origins": "https://a.example", "log_bodies": "errors", "redis_url": "redis://localhost", "coalesce": True},
]  # fmt: skip
_LINES = st.lists(
    st.sampled_from(
        ("# a", "---", "...", "null", "~", "\ufeff", "a: b", "port: 80", "- x", "a: [b", "a: &x {b: *x}", "<<: *x", "a: !!python/none x", "%YAML 1.2",
         "? [a]\n: b", "'a': \"b", "a: 2026-99-99", "a: 0x_", "a: 1e400", "port: " + "1" * 200, "\t", "key: |\n  x", "a: b: c", "{}", "[]", "\x00", "\ud800")
    ) | st.text(max_size=12),
    max_size=6,
).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))  # fmt: skip


def document(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_bytes(data)
        for expected in (False, True):
            try:
                read = read_document(path, expected=expected)
            except UnreadableConfigError:
                continue
            assert isinstance(read, dict)
            says_nothing = not any(
                line.strip() and not line.strip().startswith(b"#")
                for line in data.replace(b"\xef\xbb\xbf", b"").splitlines()
            )
            assert not (expected and says_nothing), "a file that says nothing was taken for no settings"


def check_report(error: ConfigError) -> None:
    """Check that a problem is reported and that it shows no credential."""
    assert all(str(problem) for problem in error.problems)
    assert error.problems
    assert "sk-test-0123456789abcdef" not in str(error)


def configuration(given: tuple[Any, dict[str, str]]) -> None:
    value, environ = given
    try:
        text = yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, RecursionError, ValueError):
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.yaml").write_bytes(text)
        try:
            load(environ, Path(folder))
        except ConfigError as error:
            check_report(error)


def variables(environ: dict[str, str]) -> None:
    try:
        load(environ, Path("/nonexistent"))
    except ConfigError as error:
        check_report(error)


def env_file(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, ".env")
        path.write_bytes(data)
        try:
            read = read_env_file(path)
        except ConfigError as error:
            check_report(error)
            return
        assert read is None or all(isinstance(name, str) and value for name, value in read.items())


_TEXTS = st.sampled_from(
    ("", " ", "0", "1", "-1", "true", "off", "30s", "1h30m", "1e9s", "20MiB", "x", "a,b", ",", "*", "https://example.com", "http://a:99999", "http://[",
     "redis://localhost", "sha256:0", "é", "\ud800", "9" * 50, "(", "a{1,2}", "/tmp", "sqlite:/tmp/x", "stdout", "nan", "\n", "sk-x", "openai")
) | st.text(st.characters(exclude_characters="\0"), max_size=15)  # fmt: skip
_ENVIRON = st.dictionaries(st.sampled_from([setting.name for setting in SETTINGS]), _TEXTS, max_size=4).map(
    lambda given: {"OPENAI_API_KEY": "sk-test-0123456789abcdef", **given}
)
_ENV_LINES = st.lists(
    st.sampled_from(("A=b", "export A=b", "A='b", 'A="b\\n"', "# x", "=", "A", "A=${B}", "A=${A}", "A==", "\ufeffA=b", "A=\xe9", "A = b # c")) | st.text(max_size=8),
    max_size=6,
).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))  # fmt: skip
TARGETS = (
    Target("config.yaml", _LINES | garbled(_LINES), document),
    Target("settings in config.yaml", st.tuples(mutated(DOCUMENTS), st.just({}) | _ENVIRON), configuration),
    Target("settings in the environment", _ENVIRON, variables),
    Target("env file", _ENV_LINES | garbled(_ENV_LINES), env_file),
)
