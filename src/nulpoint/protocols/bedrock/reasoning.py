"""How much a model behind Bedrock is to think: each maker has its own way, and most have none.

Facts: AWS's pages of inference parameters, and Anthropic's documentation.
"""

from typing import Any

from nulpoint.protocols.anthropic.request import BUDGETS, SMALLEST_BUDGET
from nulpoint.protocols.bedrock.messages import Conversation
from nulpoint.protocols.bedrock.capabilities import Abilities
from nulpoint.protocols.openai.chat import Members, object_of, wrong

_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}

Request = dict[str, Any]


def reasoning(request: Request, able: Abilities, talk: Conversation, members: Members) -> bool:
    """Says whether Claude thinks, which fixes how it samples."""
    name = "additionalModelRequestFields"
    fields = members.given(name)
    own = object_of(fields, name).get("thinking") if fields is not None else None
    own = own or members.given("thinking")
    effort = members.take("reasoning_effort")
    if effort is not None and effort not in (*BUDGETS, "none"):
        raise wrong("reasoning_effort", f"must be none, {', '.join(BUDGETS)}")
    if own is not None:
        if effort is not None:
            members.drop("reasoning_effort")
        return isinstance(own, dict) and own.get("type") in ("enabled", "adaptive")
    if effort is None:
        return False
    if able.claude is not None:
        return _claude_effort(request, effort, able, talk, members)
    _effort(request, effort, able, members)
    return False


def _claude_effort(request: Request, effort: str, able: Abilities, talk: Conversation, members: Members) -> bool:
    claude = able.claude
    assert claude is not None
    if effort == "none":
        if claude.always_thinks:
            request["outputConfig"] = {"effort": "low"}
            members.drop("reasoning_effort")
        return claude.always_thinks
    if claude.thinking == "adaptive":
        request["outputConfig"] = {"effort": "low" if effort == "minimal" else effort}
        if effort == "minimal":
            members.drop("reasoning_effort")
        _add_fields(request, {"thinking": {"type": "adaptive"}})
        return True
    limit = members.given("max_completion_tokens") or members.given("max_tokens")
    most = limit if isinstance(limit, int) else claude.ceiling
    budget = min(BUDGETS[effort], most // 2)
    forced = "toolChoice" in request.get("toolConfig", {})
    if claude.thinking == "none" or forced or budget < SMALLEST_BUDGET or not talk.may_think():
        members.drop("reasoning_effort")
        return False
    _add_fields(request, {"thinking": {"type": "enabled", "budget_tokens": budget}})
    return True


def _effort(request: Request, effort: str, able: Abilities, members: Members) -> None:
    if able.effort == "nova" and effort == "none":
        return  # that is what it does unasked
    if able.effort == "none" or effort == "none":
        members.drop("reasoning_effort")
        return
    nearest = _EFFORTS[effort]
    if able.effort == "nova":
        _add_fields(request, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": nearest}})
    else:
        _add_fields(request, {"reasoning_effort": nearest})
    if nearest != effort:
        members.drop("reasoning_effort")


def _add_fields(request: Request, fields: dict[str, Any]) -> None:
    request["additionalModelRequestFields"] = {**request.get("additionalModelRequestFields", {}), **fields}
