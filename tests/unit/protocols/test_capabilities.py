"""What the models of each provider can do, by their names.

The translation itself is tested with one model for each capability (`REPRESENTATIVES`), so these rows are all that is
needed to know that the other models are treated in the same way.
"""

import pytest

from nulpoint.protocols.anthropic.capabilities import AnthropicCapabilities
from nulpoint.protocols.anthropic.capabilities import capabilities_of as anthropic
from nulpoint.protocols.bedrock.capabilities import BedrockCapabilities
from nulpoint.protocols.bedrock.capabilities import capabilities_of as bedrock
from nulpoint.protocols.gemini.capabilities import GeminiCapabilities
from nulpoint.protocols.gemini.capabilities import capabilities_of as gemini
from support.request_table import MODELS, REPRESENTATIVES

# The fields in their order: max_output_tokens, thinking, always_thinks, accepts_sampling,
# accepts_temperature_with_top_p, accepts_prefill, accepts_inline_system, structured_outputs, web_search
ANTHROPIC = {
    "claude-3-5-haiku-latest": (8_192, "none", False, True, True, True, False, False, True),
    "claude-sonnet-4-0": (64_000, "budget", False, True, True, True, False, False, True),
    "claude-sonnet-4-5": (64_000, "budget", False, True, False, True, False, True, True),
    "claude-opus-4-6": (128_000, "adaptive", False, True, False, False, False, True, True),
    "claude-opus-4-8": (128_000, "adaptive", False, False, False, False, True, True, True),
    "claude-sonnet-5": (128_000, "adaptive", False, False, False, False, False, True, True),
    "claude-fable-5": (128_000, "adaptive", True, False, False, False, True, True, True),
}
# version, pro, gemini_3, fetches_urls
GEMINI = {
    "gemini-2.0-flash": ((2, 0), False, False, False),
    "gemini-2.5-flash": ((2, 5), False, False, True),
    "gemini-2.5-pro": ((2, 5), True, False, True),
    "gemini-3-pro-preview": ((3, 0), True, True, True),
    "gemini-3.6-flash": ((3, 6), False, True, True),
}
# the name at Anthropic, forced_tool_choice, effort
BEDROCK = {
    "anthropic.claude-3-5-haiku-20241022-v1:0": ("claude-3-5-haiku-latest", "tool", "none"),
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0": ("claude-sonnet-4-5", "tool", "none"),
    "anthropic.claude-opus-4-6-v1": ("claude-opus-4-6", "tool", "none"),
    "amazon.nova-pro-v1:0": (None, "tool", "none"),
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-1-70b-instruct-v1:0": (
        None,
        "none",
        "none",
    ),
}
CAPABILITIES = {"anthropic": (anthropic, ANTHROPIC), "bedrock": (bedrock, BEDROCK), "gemini": (gemini, GEMINI)}


@pytest.mark.parametrize(("model", "fields"), ANTHROPIC.items())
def test_anthropic(model, fields):
    assert anthropic(model) == AnthropicCapabilities(*fields)


@pytest.mark.parametrize(("model", "fields"), GEMINI.items())
def test_gemini(model, fields):
    assert gemini(model) == GeminiCapabilities(*fields)


@pytest.mark.parametrize(("model", "fields"), BEDROCK.items())
def test_bedrock(model, fields):
    claude = AnthropicCapabilities(*ANTHROPIC[fields[0]]) if fields[0] else None
    assert bedrock(model) == BedrockCapabilities(claude, *fields[1:])


@pytest.mark.parametrize("provider", CAPABILITIES)
def test_every_model_of_the_tables_has_a_row(provider):
    assert set(CAPABILITIES[provider][1]) == set(MODELS[provider])


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_the_representatives_have_every_capability_and_lack_every_one(provider):
    capabilities_of, rows = CAPABILITIES[provider]
    for position, name in enumerate(capabilities_of(MODELS[provider][0])._fields):
        values = {fields[position] for fields in rows.values()}
        if values <= {True, False} or name == "thinking":
            assert {getattr(capabilities_of(model), name) for model in REPRESENTATIVES[provider]} == values, name


def test_the_representatives_of_bedrock_are_of_every_kind():
    kinds = {(capabilities.claude is None, *capabilities[1:]) for capabilities in map(bedrock, MODELS["bedrock"])}
    represented = map(bedrock, REPRESENTATIVES["bedrock"])
    assert {(capabilities.claude is None, *capabilities[1:]) for capabilities in represented} == kinds
