"""Fits the choice among the tools to what a model accepts.

The list of tools stays complete where that is possible, because the provider's prompt cache and the thinking that a
model has preserved depend on it. What cannot be enforced is said in words.
"""

from collections.abc import Collection
from typing import Literal, NamedTuple

from nulpoint.conversation.request import ConversationRequest
from nulpoint.conversation.tools import ToolChoice
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.added_texts import may_only_call, must_call
from nulpoint.protocols.openai.chat import RequestFields


class FittedToolChoice(NamedTuple):
    """The choice among the tools that a request makes.

    Fields:
        mode: whether the model must not, may or must call a tool. None: the client did not say.
        name: the only tool that it must call.
        only_tool: the only tool that is sent, which is necessary to force it.
        instruction: what cannot be enforced, in words.
    """

    mode: Literal["none", "auto", "required"] | None = None
    name: str | None = None
    only_tool: str | None = None
    instruction: str | None = None

    def is_forced(self) -> bool:
        return self.mode == "required"


def fit_tool_choice(request: ConversationRequest, facts: ModelFacts, fields: RequestFields) -> FittedToolChoice:
    """Return the choice as the model accepts it. What is only said in words is reported as dropped."""
    choice = request.tool_choice
    if choice is None:
        return FittedToolChoice()
    if choice.mode == "none" or choice.names == ():
        return FittedToolChoice("none")
    names = [tool.name for tool in request.tools if isinstance(tool.name, str)]
    fitted = _fit_forced(choice, names, facts) if choice.is_required() else _fit_optional(choice, names)
    if fitted.instruction is not None:
        fields.report_dropped("function_call" if request.has_legacy_functions() else "tool_choice")
    return fitted


def _fit_optional(choice: ToolChoice, names: Collection[str]) -> FittedToolChoice:
    allowed = _subset(choice, names)
    return FittedToolChoice("auto", instruction=may_only_call(allowed) if allowed else None)


def _fit_forced(choice: ToolChoice, names: Collection[str], facts: ModelFacts) -> FittedToolChoice:
    name, allowed = choice.only_name(), _subset(choice, names)
    if name is not None and "named" in facts.tool_choice:
        return FittedToolChoice("required", name)
    if "required" not in facts.tool_choice:
        return FittedToolChoice("auto", instruction=must_call([name] if name is not None else allowed))
    if name is not None:
        return FittedToolChoice("required", only_tool=name)
    return FittedToolChoice("required", instruction=must_call(allowed) if allowed else None)


def _subset(choice: ToolChoice, names: Collection[str]) -> list[str] | None:
    """Return the names of the tools that may be called, or None if all may."""
    if choice.names is None or set(names) <= set(choice.names):
        return None
    return list(dict.fromkeys(choice.names))
