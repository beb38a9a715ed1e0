"""Tests that `.env.example` and `config.example.yaml` match the code and list all promised settings."""

import json
import re

import pytest
import yaml

from nulpoint.config import load
from nulpoint.config.diff import changes
from nulpoint.config.sections.identities import identity_variables
from nulpoint.config.settings import SETTINGS
from nulpoint.providers.catalog import CATALOG
from support.paths import ROOT

ENV_EXAMPLE = dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
PROMISED = {
    "OPENAI_API_KEY": "",
    "ANTHROPIC_API_KEY": "",
    "GOOGLE_API_KEY": "",
    "MISTRAL_API_KEY": "",
    "PORT": "8080",
    "LOG_LEVEL": "info",
    "ALLOW_CLIENT_API_KEYS": "false",
    "CACHE_MODE": "memory",
    "CACHE_TTL": "1h",
    "REDIS_URL": "",
    "CACHE_EXCLUDE_EXACT": "",
    "CACHE_EXCLUDE_PATTERNS": "",
    "CB_ERROR_THRESHOLD": "5",
    "CB_TIME_WINDOW": "60s",
    "CB_HALF_OPEN_TIMEOUT": "30s",
    "MAX_RETRIES": "3",
    "PROVIDER_TIMEOUT": "30s",
    "RPM_LIMIT": "0",
    "CORS_ORIGINS": "*",
    "APP_BASE_URL": "",
}


def test_the_env_example_lists_every_promised_setting_with_its_default():
    assert {name: ENV_EXAMPLE.get(name) for name in PROMISED} == PROMISED


def test_the_env_example_names_every_setting_and_nothing_unknown():
    keys = {spec.key_env for spec in CATALOG.values() if spec.key_env}
    assert {setting.name for setting in SETTINGS} | keys <= set(ENV_EXAMPLE)
    known = {setting.name for setting in SETTINGS} | keys
    known |= {name for spec in CATALOG.values() for name in (*spec.variables, *identity_variables(spec))}
    assert set(ENV_EXAMPLE) <= known


def test_the_env_example_shows_the_defaults(tmp_path):
    said = {name: value for name, value in ENV_EXAMPLE.items() if value}
    with_it, without = load({**said, "OPENAI_API_KEY": "sk-x"}, tmp_path), load({"OPENAI_API_KEY": "sk-x"}, tmp_path)
    assert changes(without, with_it) == ()


def test_the_config_yaml_example_loads(tmp_path):
    text = (ROOT / "config.example.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text)
    config = load({"OPENAI_API_KEY": "sk-x", "ANTHROPIC_API_KEY": "sk-y"}, tmp_path)
    assert config.provider_timeout == 60.0
    assert "team-vllm" in config.providers
    schema = json.loads((ROOT / "docs/config.schema.json").read_text())
    assert set(yaml.safe_load(text)) <= set(schema["properties"])
    jsonschema = pytest.importorskip(
        "jsonschema", reason="jsonschema is not installed: the example was not checked by it"
    )
    jsonschema.validate(yaml.safe_load(text), schema)
