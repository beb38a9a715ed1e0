"""Tests the equivalent models of automatic fallbacks: each lives, takes what it should, and is tried in order."""

from datetime import date, timedelta

import pytest

from nulpoint.models.catalog import Models, built_in_models
from nulpoint.models.rows import ModelRow
from nulpoint.models.tiers import PROVIDERS, TIERS, equivalents, fallback_target, tier_of
from nulpoint.providers.catalog import CATALOG

MODELS = built_in_models()
TODAY = date(2026, 12, 1)
TARGETS = [(tier, provider, fallback_target(provider, tier, MODELS, TODAY)) for tier in TIERS for provider in PROVIDERS]


@pytest.mark.parametrize(("tier", "provider", "model"), TARGETS)
def test_every_tier_has_a_target_at_each_provider_that_lives_until_march(tier, provider, model):
    assert model is not None
    assert provider in CATALOG
    facts = MODELS.of(provider, model)
    assert facts.retires is None or facts.retires >= date(2027, 3, 1)
    assert facts.kind == "chat"
    assert facts.chat
    assert facts.context


@pytest.mark.parametrize(("tier", "provider", "model"), TARGETS)
def test_no_target_is_turned_off_within_a_month(tier, provider, model):
    assert fallback_target(provider, tier, MODELS, TODAY + timedelta(days=30)) == model


@pytest.mark.parametrize(("tier", "provider", "model"), TARGETS)
def test_targets_take_forced_tools(tier, provider, model):
    facts = MODELS.of(provider, model)
    assert {"required", "named"} <= set(facts.tool_choice)
    assert facts.chat_tools != "never"
    assert facts.forced_tools_while_thinking


KNOWN = {
    "openai": {
        "large": ["gpt-4", "gpt-4o", "gpt-4o-2024-11-20", "gpt-4-turbo", "gpt-4.1", "gpt-5", "chatgpt-4o-latest",
                  "gpt-5.4", "gpt-5.5", "gpt-5.6-sol", "gpt-6.1-terra"],
        "small": ["gpt-4o-mini", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-3.5-turbo", "gpt-5-nano", "gpt-5.4-mini", "gpt-6-luna"],
        "reasoning": ["o1", "o3", "o3-mini", "o4-mini", "gpt-5.2", "gpt-6.2-astra"],
        None: ["text-embedding-3-small", "gpt-4o-audio-preview", "gpt-4o-realtime-preview", "gpt-image-1", "tts-1",
               "whisper-1", "gpt-4o-transcribe", "omni-moderation-latest", "gpt-3.5-turbo-instruct", "davinci-002",
               "gpt-4o-search-preview", "gpt-5-codex", "o3-deep-research", "my-fine-tune"],
    },
    "anthropic": {
        "large": ["claude-sonnet-5", "claude-sonnet-5-5", "claude-sonnet-4-5", "claude-3-7-sonnet-20250219", "claude-3-opus-20240229"],
        "reasoning": ["claude-opus-5", "claude-opus-5-5", "claude-fable-5-2", "claude-opus-4-5", "claude-opus-4-1-20250805"],
        "small": ["claude-haiku-5-5", "claude-haiku-4-5", "claude-3-haiku-20240307", "claude-3-5-haiku-latest", "claude-instant-1.2"],
        None: ["opus"],
    },
    "gemini": {
        "large": ["gemini-pro", "gemini-1.5-pro", "gemini-2.5-pro", "gemini-3.1-pro-preview", "gemini-3.8-flash",
                  "gemini-3.6-flash", "gemini-4-argon", "gemini-pro-latest"],
        "small": ["gemini-1.5-flash", "gemini-2.0-flash", "gemini-2.5-flash-lite", "gemini-3.5-flash-lite", "gemini-3-flash-preview"],
        None: ["gemini-embedding-001", "text-embedding-004", "gemini-2.5-flash-image", "gemini-2.0-flash-live-001", "gemma-3",
               "gemini-3.8-flash-tts"],
    },
    "mistral": {
        "large": ["mistral-large-latest", "mistral-medium-latest", "pixtral-large-latest"],
        "small": ["mistral-small-latest", "ministral-8b-latest", "open-mistral-7b", "open-mixtral-8x7b", "mistral-tiny"],
        "reasoning": ["magistral-medium-latest", "magistral-small-latest"],
        None: ["mistral-embed", "codestral-latest", "devstral-medium-latest", "mistral-moderation-latest"],
    },
    "groq": {None: ["llama-3.3-70b-versatile", "gpt-4o"]},
    "azure": {None: ["gpt-4o"]},  # the clouds' models have no equivalents
    "bedrock": {None: ["anthropic.claude-opus-5"]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "model", "tier"),
    [
        (provider, model, tier)
        for provider, tiers in KNOWN.items()
        for tier, models in tiers.items()
        for model in models
    ],
)
def test_tiers_of_known_names(provider, model, tier):
    assert tier_of(provider, model, MODELS) == tier


@pytest.mark.parametrize("spec", CATALOG.values(), ids=CATALOG)
def test_equivalents_are_at_other_providers(spec):
    for model in spec.models:
        names = equivalents(spec.name, model, MODELS, TODAY)
        assert all(name.partition("/")[0] != spec.name for name in names)
        assert bool(names) == (tier_of(spec.name, model, MODELS) is not None)


def test_equivalents_keep_the_order_of_the_providers():
    assert equivalents("gemini", "gemini-2.5-flash", MODELS, TODAY) == (
        "openai/gpt-5.4-mini",
        "anthropic/claude-haiku-5-5",
        "mistral/mistral-small-latest",
    )


def facts_of(name, **facts):
    host, _, model = name.partition("/")
    return ModelRow.read({"hosts": [host], "models": [model], **facts})


def test_a_target_is_not_used_from_the_day_on_which_it_is_turned_off():
    models = Models([facts_of("openai/gpt-5.4", retires="2027-05-01")])
    assert fallback_target("openai", "large", models, date(2027, 4, 30)) == "gpt-5.4"
    assert fallback_target("openai", "large", models, date(2027, 5, 1)) is None
    names = equivalents("mistral", "mistral-large-latest", models, date(2027, 5, 1))
    assert [name.partition("/")[0] for name in names] == ["anthropic", "gemini"]


def test_a_target_of_the_user_comes_before_the_built_in_one_as_long_as_it_lives():
    models = Models([facts_of("openai/gpt-5.5", fallback_for=["large"], retires="2027-05-01")])
    assert fallback_target("openai", "large", models, date(2027, 4, 30)) == "gpt-5.5"
    assert fallback_target("openai", "large", models, date(2027, 5, 1)) == "gpt-5.4"
    models = Models([facts_of("openai/gpt-5.4", fallback_for=[])])
    assert fallback_target("openai", "large", models, TODAY) is None
