"""Reads the usage that hosts of the chat completions API report, with all its details."""

from collections.abc import Mapping, Set
from typing import Any, NamedTuple

import msgspec

from nulpoint.conversation.parts import NO_MEMBERS, Members
from nulpoint.conversation.usage import MAX_TOKENS, UsageReport
from nulpoint.protocols.response_types import OpenAICompletionDetails, OpenAIPromptDetails, OpenAIUsage

_COUNTS = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
_PROMPT, _COMPLETION = "prompt_tokens_details", "completion_tokens_details"
_PROMPT_DETAILS = frozenset(OpenAIPromptDetails.__struct_fields__)
_COMPLETION_DETAILS = frozenset(OpenAICompletionDetails.__struct_fields__)


class ReadUsage(NamedTuple):
    """The usage of a response.

    Fields:
        report: the counts, or None if they are malformed or not reported.
        others: what the report does not hold.
    """

    report: UsageReport | None
    others: Members


NO_USAGE = ReadUsage(None, NO_MEMBERS)


def usage_of(response: Mapping[str, Any]) -> Any:
    """Return the usage in a response or a chunk, if it has any. Groq's streams have it in a place of its own."""
    groq = response.get("x_groq")
    return response.get("usage") or (groq.get("usage") if isinstance(groq, dict) else None)


def read_usage(usage: Any) -> ReadUsage:
    """Return the usage as a report. Malformed usage counts as not reported, and does not spoil the response."""
    if not usage:
        return NO_USAGE
    if not isinstance(usage, dict):
        return ReadUsage(None, {"usage": usage})
    try:
        counts = msgspec.convert(usage, OpenAIUsage)
    except msgspec.ValidationError:
        return ReadUsage(None, usage)
    prompt = counts.prompt_tokens_details or OpenAIPromptDetails()
    completion = counts.completion_tokens_details or OpenAICompletionDetails()
    prompt_counts, prompt_others = _details(usage.get(_PROMPT), _PROMPT_DETAILS)
    completion_counts, completion_others = _details(usage.get(_COMPLETION), _COMPLETION_DETAILS)
    known = _COUNTS | {_PROMPT, _COMPLETION}
    others = {name: value for name, value in usage.items() if name not in known and value is not None}
    if prompt_others:
        others[_PROMPT] = prompt_others
    if completion_others:
        others[_COMPLETION] = completion_others
    report = UsageReport(
        counts.prompt_tokens or 0,
        counts.completion_tokens or 0,
        prompt.cached_tokens,
        completion.reasoning_tokens,
        prompt.cache_write_tokens,
        prompt.cache_write_1h_tokens or 0,
        counts.total_tokens,
        prompt_counts,
        completion_counts,
    )
    return ReadUsage(report, others)


def _details(details: Mapping[str, Any] | None, typed: Set[str]) -> tuple[dict[str, int], dict[str, Any]]:
    """Return the counts that a report has no field for, and what is not a count."""
    counts: dict[str, int] = {}
    others: dict[str, Any] = {}
    for name, value in (details or {}).items():
        if name in typed or value is None:
            continue
        if type(value) is int and 0 <= value <= MAX_TOKENS:
            counts[name] = value
        else:
            others[name] = value
    return counts, others
