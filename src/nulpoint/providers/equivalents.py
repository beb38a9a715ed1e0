"""Models of several providers that stand in for one another, by tier, and what is known of how much they take.

Facts: the providers' own model pages (2026-11). Only names that are listed or match a rule have a tier; whatever has
none is never moved to another model without the user's word. Numbers of `CONTEXTS` are input tokens.
"""

import re
from types import MappingProxyType

# Each tier's model at each provider, in the order they are tried.
TIERS = MappingProxyType(
    {
        "large": (
            "openai/gpt-4o",
            "anthropic/claude-sonnet-4-5",
            "gemini/gemini-2.5-pro",
            "mistral/mistral-large-latest",
        ),
        "small": (
            "openai/gpt-4o-mini",
            "anthropic/claude-haiku-4-5",
            "gemini/gemini-2.5-flash",
            "mistral/mistral-small-latest",
        ),
        "reasoning": (
            "openai/o3",
            "anthropic/claude-opus-4-5",
            "gemini/gemini-2.5-pro",
            "mistral/magistral-medium-latest",
        ),
    }
)  # fmt: skip

# The first rule that matches a model's name at its provider gives its tier.
_NO_TIER = re.compile(
    r"embed|audio|realtime|image|tts|transcribe|whisper|moderation|instruct|search|codex|live|codestral"
)
_RULES = MappingProxyType(
    {
        "openai": ((re.compile(r"o\d"), "reasoning"), (re.compile(r"gpt-.*(mini|nano)|gpt-3\.5"), "small"),
                   (re.compile(r"(chat)?gpt-"), "large")),
        "anthropic": ((re.compile(r"claude-.*(haiku|instant)"), "small"), (re.compile(r"claude-opus-"), "reasoning"),
                      (re.compile(r"claude-"), "large")),
        "gemini": ((re.compile(r"gemini-.*(flash|lite|nano)"), "small"), (re.compile(r"gemini-.*pro"), "large")),
        "mistral": ((re.compile(r"magistral-"), "reasoning"),
                    (re.compile(r"mistral-small|ministral-|mistral-tiny|open-mi[sx]tral-"), "small"),
                    (re.compile(r"mistral-(large|medium)|pixtral-large"), "large")),
    }
)  # fmt: skip

# Of the models a request may be moved to.
CONTEXTS = MappingProxyType(
    {
        "openai/gpt-4o": 128_000,
        "openai/gpt-4o-mini": 128_000,
        "openai/o3": 200_000,
        "anthropic/claude-sonnet-4-5": 200_000,
        "anthropic/claude-haiku-4-5": 200_000,
        "anthropic/claude-opus-4-5": 200_000,
        "gemini/gemini-2.5-pro": 1_048_576,
        "gemini/gemini-2.5-flash": 1_048_576,
        "mistral/mistral-large-latest": 128_000,
        "mistral/mistral-small-latest": 128_000,
        "mistral/magistral-medium-latest": 128_000,
    }
)
# Those of them that may not be shown pictures.
WITHOUT_IMAGES = frozenset({"mistral/mistral-large-latest", "mistral/magistral-medium-latest"})


def tier_of(provider: str, model: str) -> str | None:
    """The tier of a model at a provider; None where nothing is known to stand in for it."""
    if _NO_TIER.search(model):
        return None
    return next((tier for rule, tier in _RULES.get(provider, ()) if rule.match(model)), None)


def equivalents(provider: str, model: str) -> tuple[str, ...]:
    """`provider/model` of the same tier at the other providers, in order."""
    tier = tier_of(provider, model)
    return tuple(name for name in TIERS[tier] if name.partition("/")[0] != provider) if tier else ()
