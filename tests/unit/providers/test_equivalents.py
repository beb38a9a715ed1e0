"""Tests the built-in table of equivalents: every entry can be called, and each name belongs to the right tier."""

import pytest

from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.equivalents import CONTEXTS, TIERS, equivalents, refuses, renamed_members, tier_of

ENTRIES = [(tier, name) for tier, names in TIERS.items() for name in names]


@pytest.mark.parametrize(("tier", "name"), ENTRIES)
def test_every_entry_is_a_model_of_a_known_provider(tier, name):
    provider, slash, model = name.partition("/")
    assert provider in CATALOG
    assert slash
    assert model
    assert name in TIERS[tier_of(provider, model)]  # an equivalent belongs to the same tier
    assert name in CONTEXTS


def test_each_tier_has_one_model_per_provider():
    for names in TIERS.values():
        providers = [name.partition("/")[0] for name in names]
        assert len(providers) == len(set(providers))


def test_contexts_cover_exactly_the_equivalents():
    assert set(CONTEXTS) == {name for _, name in ENTRIES}


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
                  "gemini-3.6-flash", "gemini-4-argon"],
        "small": ["gemini-1.5-flash", "gemini-2.0-flash", "gemini-2.5-flash-lite", "gemini-3.5-flash-lite", "gemini-3-flash-preview"],
        None: ["gemini-embedding-001", "text-embedding-004", "gemini-2.5-flash-image", "gemini-2.0-flash-live-001", "gemma-3"],
    },
    "mistral": {
        "large": ["mistral-large-latest", "mistral-medium-latest", "pixtral-large-latest"],
        "small": ["mistral-small-latest", "ministral-8b-latest", "open-mistral-7b", "open-mixtral-8x7b", "mistral-tiny"],
        "reasoning": ["magistral-medium-latest", "magistral-small-latest"],
        None: ["mistral-embed", "codestral-latest", "devstral-medium-latest", "mistral-moderation-latest"],
    },
    "groq": {None: ["llama-3.3-70b-versatile", "gpt-4o"]},
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
    assert tier_of(provider, model) == tier


@pytest.mark.parametrize("spec", CATALOG.values(), ids=CATALOG)
def test_equivalents_are_at_other_providers(spec):
    for model in spec.models:
        names = equivalents(spec.name, model)
        assert all(name.partition("/")[0] != spec.name for name in names)
        assert bool(names) == (tier_of(spec.name, model) is not None)


def test_equivalents_keep_the_order_of_the_table():
    assert equivalents("gemini", "gemini-2.5-flash") == (
        "openai/gpt-5.4-mini",
        "anthropic/claude-haiku-5-5",
        "mistral/mistral-small-latest",
    )


GPT_5 = [name for name in CONTEXTS if name.startswith("openai/gpt-5")]


@pytest.mark.parametrize("name", CONTEXTS)
def test_only_models_from_gpt_5_on_rename_max_tokens(name):
    assert renamed_members(name) == ({"max_tokens": "max_completion_tokens"} if name in GPT_5 else {})


@pytest.mark.parametrize(
    ("members", "by"),
    [
        ({"model": b'"m"', "messages": b"[]", "max_tokens": b"5", "temperature": b"0", "tools": b"[{}]"}, []),
        ({"stop": b"null", "reasoning_effort": b'"none"', "tools": b"[{}]", "top_p": b"1"}, []),
        ({"stop": b'"END"'}, GPT_5),
        ({"presence_penalty": b"1"}, GPT_5),
        ({"max_tokens": b"5", "max_completion_tokens": b"6"}, GPT_5),
        ({"reasoning_effort": b'"low"', "temperature": b"0"}, GPT_5),
        ({"reasoning_effort": b'"low"'}, []),
        ({"reasoning_effort": b'"low"', "tools": b"[{}]"}, ["openai/gpt-5.4", "openai/gpt-5.4-mini"]),
    ],
)
def test_parameters_that_models_from_gpt_5_on_reject(members, by):
    assert [name for name in CONTEXTS if refuses(name, members)] == by
