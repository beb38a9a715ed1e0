"""Decides whether a fallback model takes a chat request that was written for another model.

This is for targets to which requests are passed on. Requests that are translated are checked by their protocol.
"""

from collections.abc import Mapping
from types import MappingProxyType

from nulpoint.models.facts import ModelFacts

_RENAMED = MappingProxyType({"max_tokens": "max_completion_tokens"})
_NOTHING: Mapping[str, str] = MappingProxyType({})


def renamed_members(facts: ModelFacts) -> Mapping[str, str]:
    """Return the parameters of a chat request that a model only supports under another name."""
    return _RENAMED if facts.limit_member == "max_completion_tokens" else _NOTHING


def refuses(facts: ModelFacts, members: Mapping[str, bytes]) -> bool:
    """Return whether a model is known to reject a chat request with these parameters (JSON text by name)."""
    names = renamed_members(facts)
    if not names:
        return False
    present = {member for member, value in members.items() if value != b"null"}
    if names.keys() | set(names.values()) <= present:  # one of the two would be lost
        return True
    thinks = _thinks(facts, members.get("reasoning_effort") if "reasoning_effort" in present else None)
    refused = {*facts.refused, *(facts.refused_while_thinking if thinks else ())}
    if facts.chat_tools == "never" or (facts.chat_tools == "without_reasoning" and thinks):
        refused |= {"tools", "functions"}
    return not refused.isdisjoint(present)


def _thinks(facts: ModelFacts, effort: bytes | None) -> bool:
    if effort is None:
        return facts.default_effort not in (None, "none")
    return effort != b'"none"' or facts.thinking_off == "impossible"
