"""Translates `reasoning_effort` for Claude.

Newer models are given a level of effort (adaptive thinking), older ones a number of tokens, and the oldest do not
think. Which levels a model accepts and how its thinking is turned off is in the facts about it. Sources: Anthropic's
pages on adaptive thinking, effort and preserved thinking, and on what is new in each model (read 2026-11).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from nulpoint.models.efforts import nearest_effort
from nulpoint.models.facts import EFFORTS, ModelFacts
from nulpoint.protocols.openai.chat import RequestFields, invalid, object_of

# The usual numbers of tokens, at Google and elsewhere, for OpenAI's levels of effort. A budget is at most half of the
# response's token limit.
_THINKING_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_000, "max": 32_000}
_MIN_THINKING_BUDGET = 1024
_THINKING_TYPES = ("enabled", "adaptive", "between_tools")
# The highest effort that Claude accepts while it does not think.
_HIGHEST_WITHOUT_THINKING = "high"
# Lets Claude leave out earlier thinking that does not fit the conversation any more, instead of rejecting the request.
BINDING_BETA = "thinking-binding-controls-2026-08-01"
_DROP_BLOCK = {"prefix_mismatch_behavior": "drop_block"}


class Thinking(NamedTuple):
    """How much Claude is to think.

    Fields:
        thinking: the member `thinking` of the request; None: the model decides.
        effort: the level of effort, if one is sent.
        is_on: the model thinks, as far as is known, which fixes its sampling parameters.
    """

    thinking: Mapping[str, Any] | None
    effort: str | None
    is_on: bool


def read_effort(fields: RequestFields) -> str | None:
    """Take `reasoning_effort`. Raises Failure (400) for an unknown level."""
    effort = fields.pop("reasoning_effort")
    if effort is not None and effort not in (*EFFORTS, "none"):
        raise invalid("reasoning_effort", f"must be one of none, {', '.join(EFFORTS)}")
    return effort  # type: ignore[no-any-return]


def keeps_thinking(effort: str | None, own_thinking: Any, facts: ModelFacts) -> bool:
    """Return whether earlier thinking can be sent back.

    A model without thinking cannot read it. While thinking is off, `drop_block` cannot be asked for, so a model that
    binds its thinking could reject the request.
    """
    if facts.reasoning == "none" or facts.reasoning_history == "never":
        return False
    is_off = effort == "none" and own_thinking is None and facts.thinking_off in ("disabled", "between_tools")
    return not (is_off and facts.binds_reasoning)


def thinks_unasked(facts: ModelFacts) -> bool:
    """Return whether the model thinks if the request does not say how much."""
    return facts.default_effort not in (None, "none")


def choose_thinking(
    effort: str, max_tokens: int, *, forced: bool, may_use_budget: bool, facts: ModelFacts, fields: RequestFields
) -> Thinking:
    """Return how much the model is to think for the client's `reasoning_effort`.

    `forced` says whether a tool must be called, and `may_use_budget` whether the conversation allows a budget. A level
    that the model does not accept becomes the nearest one, and is reported as dropped.
    """
    if effort == "none":
        return _without_thinking(facts, fields)
    if facts.reasoning == "effort" and (facts.forced_tools_while_thinking or not forced):
        level = nearest_effort(effort, facts)  # type: ignore[arg-type]
        if level != effort:
            fields.report_dropped("reasoning_effort")
        thinking = {"type": "adaptive"} if facts.shows_reasoning else {"type": "adaptive", "display": "summarized"}
        return Thinking(thinking, level, True)
    budget = min(_THINKING_BUDGETS[effort], max_tokens // 2)
    least = facts.budget_min or _MIN_THINKING_BUDGET
    if facts.reasoning == "budget" and not forced and may_use_budget and budget >= least:
        return Thinking({"type": "enabled", "budget_tokens": budget}, None, True)
    fields.report_dropped("reasoning_effort")
    return Thinking(None, None, thinks_unasked(facts))


def _without_thinking(facts: ModelFacts, fields: RequestFields) -> Thinking:
    if facts.reasoning in (None, "none"):
        if facts.reasoning is None:
            fields.report_dropped("reasoning_effort")
        return Thinking(None, None, False)
    if facts.thinking_off == "impossible":
        fields.report_dropped("reasoning_effort")
        return Thinking(None, facts.efforts[0] if facts.efforts else None, True)
    if facts.thinking_off == "between_tools":
        return Thinking({"type": "between_tools"}, None, True)
    return Thinking({"type": "disabled"}, None, False)


def is_thinking(own_thinking: Any) -> bool:
    """Return whether thinking is on in the client's own member `thinking`."""
    return isinstance(own_thinking, dict) and own_thinking.get("type") in _THINKING_TYPES


def limit_own_effort(config: dict[str, Any], thinking: Any, fields: RequestFields) -> dict[str, Any]:
    """Return the client's own `output_config`, with an effort that is accepted while the model does not think."""
    off = isinstance(thinking, dict) and thinking.get("type") in ("disabled", "between_tools")
    if off and config.get("effort") in ("xhigh", "max"):
        fields.report_dropped("output_config.effort")
        return {**config, "effort": _HIGHEST_WITHOUT_THINKING}
    return config


def with_drop_block(thinking: Any, facts: ModelFacts) -> dict[str, Any] | None:
    """Return the member `thinking` that also asks to leave out what does not fit the conversation any more.

    Translated conversations can change before earlier thinking, because clients of other APIs may trim a conversation
    or change its tools. Returns None if the model does not check that, if its thinking is off, or if the client has
    decided otherwise.
    """
    own = object_of(thinking, "thinking") or {"type": "adaptive"}
    if not facts.binds_reasoning or own.get("type") not in ("adaptive", "enabled") or "block_binding" in own:
        return None
    return {**own, "block_binding": _DROP_BLOCK}
