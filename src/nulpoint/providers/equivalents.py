"""Models of several providers that stand in for one another, by tier, and what is known of how much they take.

Facts: the providers' own model pages and published model tables, read on 2026-11-30. Every model here is served today
and has no announced end before March 2027. Only names that are listed or match a rule have a tier; whatever has none
is never moved to another model without the user's word. Numbers of `CONTEXTS` are input tokens.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

# Each tier's model at each provider, in the order they are tried. Not always the newest one: OpenAI's models after
# gpt-5.4 refuse tools on /chat/completions, and claude-sonnet-5-5 and claude-opus-5-5 refuse a tool that is forced.
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

# The first rule that matches a model's name at its provider gives its tier.
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

# Of the models a request may be moved to.
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

# OpenAI's models from gpt-5 on take fewer members of a chat request than gpt-4o did and answer 400 to the others.
_GPT_5 = frozenset({"openai/gpt-5.4", "openai/gpt-5.4-mini", "openai/gpt-5.2"})
_REFUSED = frozenset(
    {"stop", "presence_penalty", "frequency_penalty", "logit_bias", "prediction", "modalities", "audio",
     "web_search_options"}
)  # fmt: skip
_REFUSED_BESIDE_EFFORT = frozenset({"temperature", "top_p", "logprobs", "top_logprobs"})
_REFUSE_TOOLS_BESIDE_EFFORT = frozenset({"openai/gpt-5.4", "openai/gpt-5.4-mini"})
_RENAMED = MappingProxyType({"max_tokens": "max_completion_tokens"})
_NOTHING: Mapping[str, str] = MappingProxyType({})


def renamed_members(name: str) -> Mapping[str, str]:
    """Members of a chat request that `provider/model` takes under another name only."""
    return _RENAMED if name in _GPT_5 else _NOTHING


def refuses(name: str, members: Mapping[str, bytes]) -> bool:
    """Whether `provider/model` is known to refuse a chat request with these members, each given with its JSON text."""
    if name not in _GPT_5:
        return False
    given = {member for member, value in members.items() if value != b"null"}
    refused = _REFUSED
    if "reasoning_effort" in given and members["reasoning_effort"] != b'"none"':
        refused |= _REFUSED_BESIDE_EFFORT
        if name in _REFUSE_TOOLS_BESIDE_EFFORT:
            refused |= {"tools", "functions"}
    if _RENAMED.keys() | set(_RENAMED.values()) <= given:  # one of the two would get lost
        return True
    return not refused.isdisjoint(given)


def tier_of(provider: str, model: str) -> str | None:
    """The tier of a model at a provider; None where nothing is known to stand in for it."""
    if _NO_TIER.search(model):
        return None
    return next((tier for rule, tier in _RULES.get(provider, ()) if rule.match(model)), None)


def equivalents(provider: str, model: str) -> tuple[str, ...]:
    """`provider/model` of the same tier at the other providers, in order."""
    tier = tier_of(provider, model)
    return tuple(name for name in TIERS[tier] if name.partition("/")[0] != provider) if tier else ()
