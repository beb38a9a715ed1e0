"""Translates `reasoning_effort` for the models behind Bedrock.

Each maker has its own parameter for it, and most have none. Sources: AWS's pages of inference parameters and its model
cards, and Anthropic's documentation.
"""

from typing import Any

from nulpoint.models.efforts import nearest_effort
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.anthropic.reasoning import (
    BINDING_BETA,
    choose_thinking,
    is_thinking,
    thinks_unasked,
    with_drop_block,
)
from nulpoint.protocols.bedrock.messages import BedrockConversation
from nulpoint.protocols.openai.chat import RequestFields, object_of

_MODEL_FIELDS = "additionalModelRequestFields"
_DEFAULT_MAX_TOKENS = 4096  # what a thinking budget is measured by if nobody knows how much the model can produce

Request = dict[str, Any]


def own_thinking_of(fields: RequestFields) -> Any:
    """Return the client's own `thinking`, which it may send beside OpenAI's members or among those of the model.

    Raises Failure (400) if the members of the model are not an object.
    """
    model_fields = fields.get(_MODEL_FIELDS)
    thinking = object_of(model_fields, _MODEL_FIELDS).get("thinking") if model_fields is not None else None
    return thinking or fields.get("thinking")


def claude_reasoning(
    request: Request,
    effort: str | None,
    own_thinking: Any,
    facts: ModelFacts,
    conversation: BedrockConversation,
    fields: RequestFields,
) -> bool:
    """Set how much Claude is to think, and return whether it thinks, which fixes its sampling parameters.

    `own_thinking` is what the client itself says about that, and takes precedence.
    """
    if own_thinking is not None:
        if effort is not None:
            fields.report_dropped("reasoning_effort")
        return is_thinking(own_thinking)
    if effort is None:
        return thinks_unasked(facts)
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    chosen = choose_thinking(
        effort,
        limit if isinstance(limit, int) else facts.output or _DEFAULT_MAX_TOKENS,
        forced="toolChoice" in request.get("toolConfig", {}),
        may_use_budget=facts.reasoning == "budget" and conversation.may_think(),
        facts=facts,
        fields=fields,
    )
    if chosen.effort is not None:
        request["outputConfig"] = {"effort": chosen.effort}
    if chosen.thinking is not None:
        _add_model_fields(request, {"thinking": chosen.thinking})
    return chosen.is_on


def other_reasoning(request: Request, effort: str | None, maker: str, facts: ModelFacts, fields: RequestFields) -> None:
    """Set how much a model of another maker is to reason."""
    if effort is None or (effort == "none" and facts.default_effort == "none"):
        return
    level: str | None = None
    if maker in ("amazon", "openai") and facts.reasoning == "effort" and facts.efforts:
        level = facts.efforts[0] if effort == "none" else nearest_effort(effort, facts)  # type: ignore[arg-type]
    if level != effort:
        fields.report_dropped("reasoning_effort")
    if level is None:
        return
    if maker == "amazon":
        _add_model_fields(request, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}})
    else:
        _add_model_fields(request, {"reasoning_effort": level})


def bind_thinking(request: Request, facts: ModelFacts, conversation: BedrockConversation) -> None:
    """Ask Claude to leave out earlier thinking that does not fit the conversation any more."""
    if "reasoningContent" not in conversation.kinds:
        return
    model_fields = request.get(_MODEL_FIELDS) or {}
    bound = with_drop_block(model_fields.get("thinking"), facts)
    if bound is None:
        return
    betas = model_fields.get("anthropic_beta")
    names = [*(betas if isinstance(betas, list) else []), BINDING_BETA]
    _add_model_fields(request, {"thinking": bound, "anthropic_beta": list(dict.fromkeys(names))})


def _add_model_fields(request: Request, model_fields: dict[str, Any]) -> None:
    request[_MODEL_FIELDS] = {**request.get(_MODEL_FIELDS, {}), **model_fields}
