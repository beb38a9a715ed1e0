"""The command `nulpoint models`."""

import json

import pytest
from click.testing import CliRunner

from nulpoint.cli.log.formatting import width
from nulpoint.cli.main import main
from nulpoint.cli.models import NOT_CONFIGURED
from nulpoint.models.facts import FACT_NAMES
from nulpoint.models.prices import Price
from nulpoint.models.text import price_text, value_text
from nulpoint.providers.catalog import CATALOG

KEY = {"OPENAI_API_KEY": "sk-x"}
CONFIG = """
aliases: {fast: openai/gpt-5.4}
providers:
  - {name: my-vllm, base_url: "http://127.0.0.1:1/v1", key_env: null, auth: none}
models:
  my-vllm/local: {context: 32768, note: as it was started}
  openai/gpt-5.4: {context: 1234}
  openai/forgotten: {retires: 2020-01-01}
"""


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for spec in CATALOG.values():
        for variable in (spec.key_env, spec.keys_env, spec.base_url_env):
            if variable:
                monkeypatch.delenv(variable, raising=False)

    def run(*arguments, config=CONFIG, environ=KEY):
        (tmp_path / "config.yaml").write_text(config)
        return CliRunner().invoke(main, ["models", *arguments], env=environ)

    return run


def test_the_list_fits_80_columns(invoke, monkeypatch):
    monkeypatch.setattr("nulpoint.cli.models.terminal_width", lambda: 80)
    result = invoke()
    assert result.exit_code == 0
    *lines, note = result.stdout.splitlines()
    assert lines[0].split() == ["PROVIDER", "MODEL", "CONTEXT", "OUTPUT", "$IN", "$OUT", "RETIRES"]
    assert max(map(width, lines)) <= 80
    assert "dollars per million tokens" in note
    assert any(line.split()[:3] == ["openai", "gpt-5.4", "1.2k"] for line in lines)
    assert any(line.split()[:3] == ["my-vllm", "local", "32.8k"] for line in lines)


def test_the_list_of_one_provider(invoke):
    for option in ("--provider", "--host"):
        result = invoke(option, "anthropic")
        assert {line.split()[0] for line in result.stdout.splitlines()[1:-1]} == {"anthropic"}
    result = invoke("--provider", "nobody")
    assert result.exit_code == 2
    assert "'nobody' is not a known provider" in result.output


def test_retired_models_are_listed_only_on_demand(invoke):
    assert "forgotten" not in invoke("--provider", "openai").stdout
    assert "forgotten" in invoke("--provider", "openai", "--all").stdout


def test_the_list_as_json(invoke):
    listed = json.loads(invoke("--json").stdout)
    assert {"provider": "my-vllm", "model": "local", "context": 32768} in listed
    assert {model["provider"] for model in listed} >= {"openai", "anthropic", "bedrock"}


def test_every_fact_of_a_model_with_its_source(invoke):
    lines = invoke("fast").stdout.splitlines()
    assert lines[0] == "fast resolves to openai/gpt-5.4: by an alias of config.yaml"
    page = json.loads(invoke("fast", "--json").stdout)
    assert list(page["facts"]) == [fact for fact in FACT_NAMES if fact in page["facts"]]
    assert page["facts"]["context"]["value"] == 1234
    assert page["facts"]["context"]["source"] == "config.yaml"
    assert page["facts"]["output"]["source"].startswith("https://")
    shown = {line.split()[0]: line for line in lines if line.startswith("  ") and not line.startswith("  [")}
    assert page["facts"].keys() <= shown.keys()
    number = shown["context"].split()[-1]
    assert shown["context"].split()[1] == "1,234"
    source = lines.index(f"  {number} config.yaml (stated)")
    assert lines[source + 1] == "      row: gpt-5.4 at openai"


def test_a_retired_model_and_an_unknown_one(invoke):
    assert "It retired on 2020-01-01." in invoke("openai/forgotten").stdout
    assert "      as it was started" in invoke("my-vllm/local").stdout.splitlines()
    assert "Nothing is known of this model" in invoke("my-vllm/other").stdout


def test_without_a_configuration_the_built_in_facts_are_shown(invoke):
    for config in ("", "nonsense: 1"):
        result = invoke("claude-sonnet-5", config=config, environ={})
        assert result.exit_code == 0
        assert NOT_CONFIGURED in result.stderr
        assert result.stdout.startswith("claude-sonnet-5 resolves to anthropic/claude-sonnet-5")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (False, "no"),
        (1_000_000, "1,000,000"),
        (("low", "high"), "low, high"),
        ((), "none"),
        (None, "not known"),
        ("budget", "budget"),
        (Price(input=2.5, output=15, cached=0.25), "$2.5 in, $15 out, $0.25 cached"),
    ],
)
def test_values_as_text(value, text):
    assert value_text(value) == text


def test_a_price_for_long_prompts():
    price = Price(input=1, output=2, over=200_000, beyond=Price(input=0.000001, output=4))
    assert price_text(price) == "$1 in, $2 out; over 200,000 tokens: $0.000001 in, $4 out"
