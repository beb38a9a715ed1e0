"""Translates `reasoning_effort` for Gemini: to a level of thinking, or for older models to a number of tokens.

A request never has both, because Gemini rejects that. What a model accepts is in the facts about it.
Sources: Google's page on thinking (read 2026-11) and recorded traffic.
"""

from typing import Any, cast

from nulpoint.models.efforts import nearest_effort
from nulpoint.models.facts import EFFORTS, Effort, ModelFacts
from nulpoint.protocols.openai.chat import RequestFields, invalid

# The budgets of Google's own OpenAI endpoint for OpenAI's levels. Higher levels get the model's maximum.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}
_MAX_BUDGET = 24_576  # of models whose maximum is not known
# The levels that nearly all models of Google accept, for those of which nothing is known.
_UNKNOWN_MODEL = ModelFacts(reasoning="effort", efforts=("low", "medium", "high"), thinking_off="impossible")


def thinking_config(facts: ModelFacts, fields: RequestFields) -> dict[str, Any] | None:
    """Take `reasoning_effort`, and return the `thinkingConfig` for it. None: nothing is sent.

    An effort that the model does not have becomes the nearest one, and is reported as dropped. Raises Failure (400) for
    an unknown effort.
    """
    effort = fields.pop("reasoning_effort")
    if effort is None:
        return None
    if effort not in (*EFFORTS, "none"):
        raise invalid("reasoning_effort", f"must be one of none, {', '.join(EFFORTS)}")
    known = _UNKNOWN_MODEL if facts.reasoning is None else facts
    if known.reasoning == "none":
        config, exact = None, effort == "none"
    elif known.reasoning == "budget":
        config, exact = _budget(effort, known)
    else:
        config, exact = _level(effort, known)
    if not exact:
        fields.report_dropped("reasoning_effort")
    return config


def _budget(effort: str, facts: ModelFacts) -> tuple[dict[str, Any], bool]:
    """Return the number of tokens for an effort, and whether it has exactly that meaning."""
    lowest = facts.budget_min or 0
    if effort == "none":
        can_be_off = facts.thinking_off != "impossible"
        return {"thinkingBudget": 0 if can_be_off else lowest, "includeThoughts": False}, can_be_off
    highest = facts.budget_max or _MAX_BUDGET
    budget = _BUDGETS.get(effort, highest)
    return {"thinkingBudget": min(max(budget, lowest), highest), "includeThoughts": True}, True


def _level(effort: str, facts: ModelFacts) -> tuple[dict[str, Any] | None, bool]:
    """Return the level of thinking for an effort, and whether it is that level."""
    if effort == "none":  # there is no level for it
        level: Effort | None = facts.efforts[0] if facts.efforts else None
    else:
        level = nearest_effort(cast(Effort, effort), facts)
    if level is None:
        return None, False
    return {"thinkingLevel": level.upper(), "includeThoughts": effort != "none"}, level == effort
