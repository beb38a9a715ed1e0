"""Tests of fallback chains and of several keys for one provider in the configuration."""

import json
import re

import pytest
from click.testing import CliRunner

from nulpoint.cli.main import main
from nulpoint.config import ConfigError, load, reference
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.spec import Secret
from nulpoint.routing.chains import WeightedTarget
from support.paths import ROOT

KEY = {"OPENAI_API_KEY": "sk-x"}


def loaded(tmp_path, text, **environ):
    (tmp_path / "config.yaml").write_text(text)
    return load({**KEY, **environ}, tmp_path)


def problems(tmp_path, text, **environ):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, **environ)
    return caught.value.problems


# -- chains ------------------------------------------------------------------------------------------------------------


def test_a_chain_with_weighted_steps(tmp_path):
    config = loaded(
        tmp_path,
        """
fallbacks:
  gpt-4o: [anthropic/claude-sonnet-4-5, {gemini/gemini-2.5-pro: 3, mistral/mistral-large-latest: 1}]
  "claude-*":
    - openai/gpt-4o
  my-name: [openrouter/meta/llama-3.3-70b]
  42: [groq/llama-3.1-8b-instant]
""",
    )
    assert config.chains == {
        "gpt-4o": (
            (WeightedTarget("anthropic/claude-sonnet-4-5"),),
            (WeightedTarget("gemini/gemini-2.5-pro", 3), WeightedTarget("mistral/mistral-large-latest", 1)),
        ),
        "claude-*": ((WeightedTarget("openai/gpt-4o"),),),
        "my-name": ((WeightedTarget("openrouter/meta/llama-3.3-70b"),),),
        "42": ((WeightedTarget("groq/llama-3.1-8b-instant"),),),
    }
    assert config.fallbacks == "auto"


def test_a_chain_can_name_a_custom_provider(tmp_path):
    rows = "providers:\n  - {name: mine, base_url: http://10.0.0.5/v1, key_env: null, auth: none}\n"
    config = loaded(tmp_path, f"{rows}fallbacks: {{gpt-4o: [mine/llama]}}\n")
    assert config.chains["gpt-4o"] == ((WeightedTarget("mine/llama"),),)


@pytest.mark.parametrize(
    ("text", "environ", "setting"),
    [
        ("fallbacks: off", {}, "off"),
        ("fallbacks: 'off'", {}, "off"),
        ("fallbacks: auto", {}, "auto"),
        ("fallbacks:", {}, "auto"),
        ("fallbacks: {}", {}, "auto"),
        ("port: 1", {"FALLBACKS": "off"}, "off"),
        ("fallbacks: {gpt-4o: [groq/x]}", {"FALLBACKS": "off"}, "off"),
    ],
)
def test_the_setting_and_the_section_share_a_name(tmp_path, text, environ, setting):
    config = loaded(tmp_path, text, **environ)
    assert config.fallbacks == setting
    assert len(config.chains) == ("gpt-4o" in text)


@pytest.mark.parametrize(
    ("section", "key", "given", "remedy"),
    [
        ("{m: []}", "fallbacks.m", "is empty", "must be a list of steps"),
        ("{m: null}", "fallbacks.m", "(config.yaml)", "must be a list of steps"),
        ("{m: openai/gpt-4o}", "fallbacks.m", "(config.yaml)", "must be a list of steps"),
        ("{m: [{}]}", "fallbacks.m[0]", "(config.yaml)", "must be `provider/model`, or a mapping"),
        ("{m: [7]}", "fallbacks.m[0]", "(config.yaml)", "must be `provider/model`, or a mapping"),
        ("{m: [null]}", "fallbacks.m[0]", "(config.yaml)", "must be `provider/model`, or a mapping"),
        ("{m: [[openai/a]]}", "fallbacks.m[0]", "(config.yaml)", "must be `provider/model`, or a mapping"),
        ("{m: [groq/a, opneai/gpt-4o]}", "fallbacks.m[1]", "= 'opneai/gpt-4o'", "did you mean openai/gpt-4o?"),
        ("{m: [zzz/a]}", "fallbacks.m[0]", "= 'zzz/a'", "use provider/model with a known provider"),
        ("{m: [gpt-4o]}", "fallbacks.m[0]", "= 'gpt-4o'", "use provider/model with a known provider"),
        ("{m: [openai/]}", "fallbacks.m[0]", "= 'openai/'", "use provider/model with a known provider"),
        ("{m: [{7: 1}]}", "fallbacks.m[0]", "= 7", "use provider/model with a known provider"),
        ("{m: [{openai/a: 0}]}", "fallbacks.m[0]", "= 0", "whole number from 1 to 1000000"),
        ("{m: [{openai/a: -3}]}", "fallbacks.m[0]", "= -3", "whole number from 1 to 1000000"),
        ("{m: [{openai/a: 1000001}]}", "fallbacks.m[0]", "= 1000001", "whole number from 1 to 1000000"),
        ("{m: [{openai/a: 0.5}]}", "fallbacks.m[0]", "= 0.5", "the weight of openai/a"),
        ("{m: [{openai/a: true}]}", "fallbacks.m[0]", "= True", "the weight of openai/a"),
        ("{m: [{openai/a: null}]}", "fallbacks.m[0]", "= None", "the weight of openai/a"),
        ("{m: [{openai/a: '1'}]}", "fallbacks.m[0]", "= '1'", "the weight of openai/a"),
        ("{m: [openai/a, groq/b, openai/a]}", "fallbacks.m[2]", "= 'openai/a'", "must not return to a target"),
        ("{m: [{openai/a: 1, groq/b: 1}, groq/b]}", "fallbacks.m[1]", "= 'groq/b'", "must not return to a target"),
        ("[openai/a]", "fallbacks", "(config.yaml)", "must be a mapping of model names or patterns to chains"),
        ("sometimes", "fallbacks", "= 'sometimes' (config.yaml)", "use one of: auto, off"),
        ("7", "fallbacks", "= '7' (config.yaml)", "use one of: auto, off"),
    ],
)  # fmt: skip
def test_problems_with_chains(tmp_path, section, key, given, remedy):
    (problem,) = problems(tmp_path, f"fallbacks: {section}")
    assert (problem.key, problem.value) == (key, given)
    assert remedy in problem.remedy


def test_all_problems_with_chains_are_reported_without_a_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(
        "max_retries: -1\nfallbacks:\n  a: []\n  b: [nope/x]\n  c: [{openai/x: -1}, openai/y, openai/y]\n"
    )
    result = CliRunner().invoke(main, ["check"], env=KEY)
    assert result.exit_code == 2
    assert "5 problems" in result.output
    for key in ("max_retries = '-1'", "fallbacks.a is empty", "fallbacks.b[0]", "fallbacks.c[0]", "fallbacks.c[2]"):
        assert key in result.output
    assert "Traceback" not in result.output


def test_check_shows_chains_and_unavailable_targets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(
        "fallbacks:\n  gpt-4o: [groq/x, {openai/a: 2, mistral/b: 1}]\ngroq_api_key: gsk-x\n"
    )
    result = CliRunner().invoke(main, ["check"], env={**KEY, "MISTRAL_API_KEY": None})
    assert result.exit_code == 0
    line = "  fallbacks gpt-4o -> groq/x, then openai/a (2) or mistral/b (1) (not configured: left out)"
    assert line in result.output.splitlines()


def test_long_invalid_values_are_shortened(tmp_path):
    (problem,) = problems(tmp_path, f"fallbacks: {{m: [{'x' * 5000}]}}")
    assert len(str(problem)) < 300


def test_the_schema_accepts_a_word_or_a_mapping():
    schema = json.loads(reference.schema())["properties"]["fallbacks"]
    assert [set(one) for one in schema["oneOf"]] == [{"enum"}, {"type", "additionalProperties"}]


FENCED = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("name", ["docs/failover.md", "docs/configuration.md", "docs/clouds.md", "config.example.yaml"])
def test_examples_in_the_documentation_are_valid(tmp_path, name):
    text = (ROOT / name).read_text()
    shown = FENCED.findall(text) if name.endswith(".md") else [text]
    assert any("fallbacks:" in one for one in shown)
    for one in shown:
        loaded(tmp_path, one)


# -- several keys ------------------------------------------------------------------------------------------------------


def credentials(config):
    return [secret.reveal() for secret in config.providers["openai"].credentials]


@pytest.mark.parametrize(
    ("text", "environ", "keys"),
    [
        ("", {}, ["sk-x"]),
        ("", {"OPENAI_API_KEYS": "a,b"}, ["sk-x", "a", "b"]),
        ("", {"OPENAI_API_KEY": "", "OPENAI_API_KEYS": " a , b ,, a "}, ["a", "b"]),
        ("", {"OPENAI_API_KEYS": "a,sk-x,b"}, ["sk-x", "a", "b"]),
        ("openai_api_keys: [a, b, a]", {"OPENAI_API_KEY": ""}, ["a", "b"]),
        ("openai_api_keys: a,b", {}, ["sk-x", "a", "b"]),
        ("openai_api_keys: [a, b]", {"OPENAI_API_KEYS": "c"}, ["sk-x", "c"]),
        ("openai_api_keys: []", {}, ["sk-x"]),
    ],
)
def test_several_keys_without_duplicates(tmp_path, text, environ, keys):
    assert credentials(loaded(tmp_path, text or "port: 1", **environ)) == keys


def test_every_provider_with_a_key_accepts_several_keys():
    for spec in CATALOG.values():
        assert spec.keys_env == (spec.key_env + "S" if spec.key_env else None)


def test_keys_are_never_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = CliRunner().invoke(
        main, ["check"], env={"OPENAI_API_KEY": None, "OPENAI_API_KEYS": "sk-secret-1,sk-secret-2"}
    )
    assert good.exit_code == 0
    assert "2 keys ***" in good.output
    bad = CliRunner().invoke(main, ["check"], env={"OPENAI_API_KEYS": "sk-secret-1,sk secret-2"})
    assert bad.exit_code == 2
    assert "OPENAI_API_KEYS = ***" in bad.output
    listed = problems(tmp_path, "openai_api_keys: [sk-secret-1, {sk-secret-2: 1}]")
    assert [problem.key for problem in listed] == ["OPENAI_API_KEYS"]
    assert "secret-" not in good.output + bad.output + "".join(map(str, listed))
    config = load({"OPENAI_API_KEYS": "sk-secret-1,sk-secret-2"}, tmp_path / "nowhere")
    assert "secret-" not in repr(config)
    assert config.providers["openai"].credentials == (Secret("sk-secret-1"), Secret("sk-secret-2"))
