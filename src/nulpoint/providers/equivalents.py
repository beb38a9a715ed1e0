"""Equivalent models of several providers, grouped by tier, for automatic fallbacks.

Sources: the providers' model pages and published model tables, read on 2026-11-30. Every model here is available today,
and none is announced to shut down before March 2027. Only names that are listed or match a rule have a tier. A request
for a model without a tier is never moved to another model unless the user configures it.
"""

import re
from types import MappingProxyType

# Each tier's model at each provider, in the order they are tried. Some are not the newest: OpenAI's models after
# gpt-5.4 reject tools on /chat/completions, and claude-sonnet-5-5 and claude-opus-5-5 reject a forced tool choice.
TIERS = MappingProxyType(
    {
        "large": (
            "openai/gpt-5.4",
            "anthropic/claude-sonnet-5",
            "gemini/gemini-3.8-flash",
            "mistral/mistral-large-latest",
        ),
        "small": (
            "openai/gpt-5.4-mini",
            "anthropic/claude-haiku-5-5",
            "gemini/gemini-3.5-flash-lite",
            "mistral/mistral-small-latest",
        ),
        "reasoning": (
            "openai/gpt-5.2",
            "anthropic/claude-opus-5",
            "gemini/gemini-3.8-flash",
            "mistral/magistral-medium-latest",
        ),
    }
)  # fmt: skip

# The tier of a model is that of the first rule of its provider that matches its name.
_NO_TIER = re.compile(
    r"embed|audio|realtime|image|tts|transcribe|whisper|moderation|instruct|search|codex|live|codestral"
)
_RULES = MappingProxyType(
    {
        "openai": ((re.compile(r"o\d|gpt-.*astra|gpt-5\.2"), "reasoning"),
                   (re.compile(r"gpt-.*(mini|nano|luna)|gpt-3\.5"), "small"), (re.compile(r"(chat)?gpt-"), "large")),
        "anthropic": ((re.compile(r"claude-.*(haiku|instant)"), "small"),
                      (re.compile(r"claude-(opus|fable|mythos)-"), "reasoning"), (re.compile(r"claude-"), "large")),
        "gemini": ((re.compile(r"gemini-(4-|3\.[5678]-flash$|.*pro)"), "large"),
                   (re.compile(r"gemini-.*(flash|lite|nano)"), "small")),
        "mistral": ((re.compile(r"magistral-"), "reasoning"),
                    (re.compile(r"mistral-small|ministral-|mistral-tiny|open-mi[sx]tral-"), "small"),
                    (re.compile(r"mistral-(large|medium)|pixtral-large"), "large")),
    }
)  # fmt: skip

# The maximum number of input tokens of the models a request may be moved to.
CONTEXTS = MappingProxyType(
    {
        "openai/gpt-5.4": 922_000,
        "openai/gpt-5.4-mini": 272_000,
        "openai/gpt-5.2": 272_000,
        "anthropic/claude-sonnet-5": 1_000_000,
        "anthropic/claude-haiku-5-5": 1_000_000,
        "anthropic/claude-opus-5": 1_000_000,
        "gemini/gemini-3.8-flash": 1_048_576,
        "gemini/gemini-3.5-flash-lite": 1_048_576,
        "mistral/mistral-large-latest": 262_144,
        "mistral/mistral-small-latest": 262_144,
        "mistral/magistral-medium-latest": 262_144,
    }
)


def tier_of(provider: str, model: str) -> str | None:
    """Return the tier of a model at a provider, or None if it has no known equivalents."""
    if _NO_TIER.search(model):
        return None
    return next((tier for rule, tier in _RULES.get(provider, ()) if rule.match(model)), None)


def equivalents(provider: str, model: str) -> tuple[str, ...]:
    """Return the models of the same tier at the other providers as `provider/model`, in order."""
    tier = tier_of(provider, model)
    return tuple(name for name in TIERS[tier] if name.partition("/")[0] != provider) if tier else ()
