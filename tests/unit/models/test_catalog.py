"""The facts of a model come from the last row that has them."""

import datetime

import msgspec
import pytest

from nulpoint.models.catalog import Models, built_in_models, built_in_rows
from nulpoint.models.efforts import nearest_effort
from nulpoint.models.facts import ModelFacts
from nulpoint.models.names import plain_name
from nulpoint.models.rows import ModelRow, pattern_matches


def row(host: str, pattern: str, **facts) -> ModelRow:
    return ModelRow.read({"hosts": [host], "models": [pattern], "source": "https://example.com", **facts})


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("claude-opus-5", "claude-opus-5", True),
        ("claude-opus-5", "claude-opus-5-5", False),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001", True),
        ("claude-haiku-4-5", "claude-haiku-4-5@20251001", True),
        ("anthropic.claude-haiku-4-5", "anthropic.claude-haiku-4-5-20251001-v1:0", True),
        ("anthropic.claude-opus-4-6", "anthropic.claude-opus-4-6-v1", True),
        ("gpt-4o", "gpt-4o-2024-11-20", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("mistral-large", "mistral-large-latest", True),
        ("claude-*-5-5", "claude-sonnet-5-5", True),
        ("minimax-m2", "MiniMax-M2", True),
        ("a.c", "abc", False),
        ("*", "anything/at all", True),
    ],
)
def test_a_pattern_is_about_a_name_with_its_date(pattern, name, matches):
    assert pattern_matches(pattern, name) is matches


@pytest.mark.parametrize(
    ("host", "name", "plain"),
    [
        ("bedrock", "us.anthropic.claude-opus-5-5", "anthropic.claude-opus-5-5"),
        ("bedrock", "us-gov.anthropic.claude-opus-5", "anthropic.claude-opus-5"),
        ("bedrock", "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-2-lite-v1:0", "amazon.nova-2-lite-v1:0"),
        ("bedrock", "usable.model", "usable.model"),
        ("gemini", "models/gemini-3.8-flash", "gemini-3.8-flash"),
        ("openrouter", "anthropic/claude-opus-5", "anthropic/claude-opus-5"),
    ],
)  # fmt: skip
def test_a_name_loses_what_says_how_it_is_reached(host, name, plain):
    assert plain_name(host, name) == plain


def test_a_very_long_name_is_cut_before_it_is_searched():
    assert built_in_models().of("anthropic", "claude-" + "x" * 100_000) == built_in_models().of("anthropic", "claude-x")


def test_each_fact_is_that_of_the_last_row_and_the_users_rows_come_last():
    models = Models([row("openai", "*", context=1), row("openai", "my-*", output=2), row("openai", "*", context=3)])
    facts = models.of("openai", "my-model")
    assert (facts.context, facts.output) == (3, 2)
    origins = models.provenance("openai", "my-model")
    assert origins["context"][1].models == ("*",)
    assert origins["output"][1].models == ("my-*",)


def test_a_providers_own_name_and_the_one_it_resembles_are_both_looked_up():
    models = Models([row("openai", "*", context=1), row("mine", "*", output=2)])
    facts = models.of("openai", "m", "mine")
    assert (facts.context, facts.output) == (1, 2)
    assert models.of("openai", "m").output != 2


def test_a_model_can_be_like_another_one():
    name = "claude-opus-5"
    models = Models([row("azure", "prod", like=f"anthropic/{name}", context=7)])
    expected = built_in_models().of("anthropic", name)
    # What follows from being a fallback target or from retiring is said of the other host.
    assert models.of("azure", "prod") == msgspec.structs.replace(expected, context=7, fallback_for=())


def test_nothing_is_known_of_an_unknown_model():
    assert Models().of("no-host", "no-model") == ModelFacts()


def test_no_number_of_names_fills_the_memory():
    models = Models()
    for number in range(5000):
        models.of("no-host", f"model-{number}")
    assert len(models._known) <= 4096


@pytest.mark.parametrize(
    ("effort", "accepted", "nearest"),
    [
        ("minimal", ("low", "high"), "low"),
        ("xhigh", ("low", "medium", "high", "max"), "max"),
        ("xhigh", ("low", "medium", "high"), "high"),
        ("max", ("low", "medium", "high", "xhigh"), "xhigh"),
        ("medium", ("low", "high", "max"), "high"),
        ("medium", ("low", "medium"), "medium"),
        ("low", (), None),
    ],
)
def test_the_nearest_level_that_a_model_accepts(effort, accepted, nearest):
    assert nearest_effort(effort, ModelFacts(efforts=accepted)) == nearest


def test_a_row_with_an_unknown_fact_is_refused():
    with pytest.raises(msgspec.ValidationError, match="contxt"):
        row("openai", "*", contxt=1)


def test_dates_are_read_as_dates():
    facts = Models([row("openai", "m", retires="2027-01-14")]).of("openai", "m")
    assert facts.retires == datetime.date(2027, 1, 14)


def test_every_built_in_row_says_where_it_is_from():
    for each in built_in_rows():
        assert each.origin.hosts, each
        assert each.origin.models, each
        assert each.origin.source, each
        assert each.origin.as_of, each
