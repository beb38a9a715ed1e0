"""How much a model behind Bedrock is to think: each maker has its own way, and most have none.

Facts: AWS's pages of inference parameters, and Anthropic's documentation.
"""

from typing import Any

from nulpoint.protocols.anthropic.request import MIN_THINKING_BUDGET, THINKING_BUDGETS
from nulpoint.protocols.bedrock.capabilities import BedrockCapabilities
from nulpoint.protocols.bedrock.messages import BedrockConversation
from nulpoint.protocols.openai.chat import RequestFields, invalid, object_of

_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}

Request = dict[str, Any]


def reasoning(
    request: Request, capabilities: BedrockCapabilities, conversation: BedrockConversation, members: RequestFields
) -> bool:
    """Says whether Claude thinks, which fixes how it samples."""
    name = "additionalModelRequestFields"
    fields = members.get(name)
    own = object_of(fields, name).get("thinking") if fields is not None else None
    own = own or members.get("thinking")
    effort = members.pop("reasoning_effort")
    if effort is not None and effort not in (*THINKING_BUDGETS, "none"):
        raise invalid("reasoning_effort", f"must be none, {', '.join(THINKING_BUDGETS)}")
    if own is not None:
        if effort is not None:
            members.report_dropped("reasoning_effort")
        return isinstance(own, dict) and own.get("type") in ("enabled", "adaptive")
    if effort is None:
        return False
    if capabilities.claude is not None:
        return _claude_effort(request, effort, capabilities, conversation, members)
    _effort(request, effort, capabilities, members)
    return False


def _claude_effort(
    request: Request,
    effort: str,
    capabilities: BedrockCapabilities,
    conversation: BedrockConversation,
    fields: RequestFields,
) -> bool:
    claude = capabilities.claude
    assert claude is not None
    if effort == "none":
        if claude.always_thinks:
            request["outputConfig"] = {"effort": "low"}
            fields.report_dropped("reasoning_effort")
        return claude.always_thinks
    if claude.thinking == "adaptive":
        request["outputConfig"] = {"effort": "low" if effort == "minimal" else effort}
        if effort == "minimal":
            fields.report_dropped("reasoning_effort")
        _add_fields(request, {"thinking": {"type": "adaptive"}})
        return True
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    most = limit if isinstance(limit, int) else claude.max_output_tokens
    budget = min(THINKING_BUDGETS[effort], most // 2)
    forced = "toolChoice" in request.get("toolConfig", {})
    if claude.thinking == "none" or forced or budget < MIN_THINKING_BUDGET or not conversation.may_think():
        fields.report_dropped("reasoning_effort")
        return False
    _add_fields(request, {"thinking": {"type": "enabled", "budget_tokens": budget}})
    return True


def _effort(request: Request, effort: str, capabilities: BedrockCapabilities, fields: RequestFields) -> None:
    if capabilities.effort == "nova" and effort == "none":
        return  # that is what it does unasked
    if capabilities.effort == "none" or effort == "none":
        fields.report_dropped("reasoning_effort")
        return
    nearest = _EFFORTS[effort]
    if capabilities.effort == "nova":
        _add_fields(request, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": nearest}})
    else:
        _add_fields(request, {"reasoning_effort": nearest})
    if nearest != effort:
        fields.report_dropped("reasoning_effort")


def _add_fields(request: Request, fields: dict[str, Any]) -> None:
    request["additionalModelRequestFields"] = {**request.get("additionalModelRequestFields", {}), **fields}
