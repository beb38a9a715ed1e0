"""Translates `reasoning_effort` for the models behind Bedrock.

Each maker has its own parameter for it, and most have none. Sources: AWS's pages of inference parameters, and
Anthropic's documentation.
"""

from typing import Any

from nulpoint.protocols.anthropic.capabilities import AnthropicCapabilities
from nulpoint.protocols.anthropic.request import MIN_THINKING_BUDGET, THINKING_BUDGETS
from nulpoint.protocols.bedrock.capabilities import BedrockCapabilities
from nulpoint.protocols.bedrock.messages import BedrockConversation
from nulpoint.protocols.openai.chat import RequestFields, invalid, object_of

_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}

Request = dict[str, Any]


def reasoning(
    request: Request, capabilities: BedrockCapabilities, conversation: BedrockConversation, fields: RequestFields
) -> bool:
    """Set how much the model is to think, and return whether Claude thinks, which fixes its sampling parameters.

    Raises Failure (400) for an unknown effort.
    """
    name = "additionalModelRequestFields"
    model_fields = fields.get(name)
    thinking = object_of(model_fields, name).get("thinking") if model_fields is not None else None
    thinking = thinking or fields.get("thinking")
    effort = fields.pop("reasoning_effort")
    if effort is not None and effort not in (*THINKING_BUDGETS, "none"):
        raise invalid("reasoning_effort", f"must be one of none, {', '.join(THINKING_BUDGETS)}")
    if thinking is not None:
        if effort is not None:
            fields.report_dropped("reasoning_effort")
        return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")
    if effort is None:
        return False
    if capabilities.claude is not None:
        return _claude_effort(request, effort, capabilities.claude, conversation, fields)
    _effort(request, effort, capabilities, fields)
    return False


def _claude_effort(
    request: Request,
    effort: str,
    claude: AnthropicCapabilities,
    conversation: BedrockConversation,
    fields: RequestFields,
) -> bool:
    if effort == "none":
        if claude.always_thinks:
            request["outputConfig"] = {"effort": "low"}
            fields.report_dropped("reasoning_effort")
        return claude.always_thinks
    if claude.thinking == "adaptive":
        request["outputConfig"] = {"effort": "low" if effort == "minimal" else effort}
        if effort == "minimal":
            fields.report_dropped("reasoning_effort")
        _add_model_fields(request, {"thinking": {"type": "adaptive"}})
        return True
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    max_tokens = limit if isinstance(limit, int) else claude.max_output_tokens
    budget = min(THINKING_BUDGETS[effort], max_tokens // 2)
    forced = "toolChoice" in request.get("toolConfig", {})
    if claude.thinking == "none" or forced or budget < MIN_THINKING_BUDGET or not conversation.may_think():
        fields.report_dropped("reasoning_effort")
        return False
    _add_model_fields(request, {"thinking": {"type": "enabled", "budget_tokens": budget}})
    return True


def _effort(request: Request, effort: str, capabilities: BedrockCapabilities, fields: RequestFields) -> None:
    if capabilities.effort == "nova" and effort == "none":
        return  # Nova does not think by default
    if capabilities.effort == "none" or effort == "none":
        fields.report_dropped("reasoning_effort")
        return
    nearest = _EFFORTS[effort]
    if capabilities.effort == "nova":
        _add_model_fields(request, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": nearest}})
    else:
        _add_model_fields(request, {"reasoning_effort": nearest})
    if nearest != effort:
        fields.report_dropped("reasoning_effort")


def _add_model_fields(request: Request, model_fields: dict[str, Any]) -> None:
    request["additionalModelRequestFields"] = {**request.get("additionalModelRequestFields", {}), **model_fields}
