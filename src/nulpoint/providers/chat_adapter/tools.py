"""Adapts the tools of a chat request and the choice among them."""

from collections.abc import Collection
from typing import Any

from nulpoint.errors import rejected
from nulpoint.models.facts import ModelFacts, ToolChoiceMode
from nulpoint.providers.chat_adapter import reasoning
from nulpoint.providers.chat_adapter.chat_request import ChatRequest
from nulpoint.providers.chat_adapter.messages import CACHE_MARK
from nulpoint.providers.dialect import Dialect

TOOLS, CHOICE = "tools", "tool_choice"
_KINDS = ("function", "custom")
_FORCED = ("required", "named")


def check_tools(request: ChatRequest, name: str, dialect: Dialect, facts: ModelFacts) -> None:
    """Raise Failure (400) if the model, `provider/model`, cannot have the tools of this request."""
    if not (request.get(TOOLS) or request.get("functions")):
        return
    if facts.chat_tools == "never":
        text = f"{name} takes no tools in chat completions; leave them out, or choose another model"
        raise rejected(text, param=TOOLS, code="unsupported_parameter")
    if facts.chat_tools == "without_reasoning" and reasoning.thinks(request, facts):
        text = (
            f"{name} takes tools in chat completions only without reasoning; set `reasoning_effort` to `none`, or"
            " choose another model"
        )
        raise rejected(text, param=reasoning.EFFORT, code="unsupported_parameter")
    if not dialect.custom_tools:
        _check_types(request, name)


def _check_types(request: ChatRequest, name: str) -> None:
    tools = request.get(TOOLS)
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict) and tool.get("type") == "custom":
            text = f"`{TOOLS}[{number}]` is of the type `custom`, which {name} does not know; make it a function"
            raise rejected(text, param=f"{TOOLS}[{number}].type", code="unsupported_value")


def write_tools(request: ChatRequest, dialect: Dialect, facts: ModelFacts) -> None:
    """Leave out the members of tools that the host or the model does not accept."""
    tools = request.get(TOOLS)
    if not isinstance(tools, list):
        return
    accepted = dialect.accepts.get("tool")
    rejected_members = {*dialect.rejects.get("tool", ()), *(() if facts.strict_tools else ("strict",))}
    if not dialect.cache_marks:
        rejected_members.add(CACHE_MARK)
    changed = [_tool(tool, accepted, rejected_members, request) for tool in tools]
    if changed != tools:
        request.set(TOOLS, changed)


def _tool(tool: Any, accepted: Collection[str] | None, rejected_members: Collection[str], request: ChatRequest) -> Any:
    if not isinstance(tool, dict) or tool.get("type") not in _KINDS:
        return tool
    outer = {
        name: value
        for name, value in tool.items()
        if name in ("type", *_KINDS) or (accepted is None and name not in rejected_members)
    }
    for name in tool.keys() - outer.keys():
        request.report_value(f"{TOOLS}.{name}", tool[name])
    kind = tool["type"]
    inner = outer.get(kind)
    if isinstance(inner, dict):
        kept = {
            name: value
            for name, value in inner.items()
            if (accepted is None or name in accepted) and name not in rejected_members
        }
        for name in inner.keys() - kept.keys():
            request.report_value(f"{TOOLS}.{kind}.{name}", inner[name])
        outer[kind] = kept
    return outer


def write_choice(request: ChatRequest, dialect: Dialect, facts: ModelFacts) -> None:
    """Send the choice among the tools in a form that the model accepts, or name it as dropped."""
    choice = request.get(CHOICE)
    if choice is None:
        return
    if not dialect.allowed_tools and isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        _allow(request, choice)
    _write_mode(request, facts)
    mode = _mode(request.get(CHOICE))
    excluded = mode in _FORCED and not facts.forced_tools_while_thinking and reasoning.thinks(request, facts)
    if excluded and not reasoning.turn_off(request, dialect, facts):
        _let_model_choose(request)


def _write_mode(request: ChatRequest, facts: ModelFacts) -> None:
    mode = _mode(request.get(CHOICE))
    if mode is None or mode in facts.tool_choice:
        return
    if mode == "none":
        request.remove(CHOICE)
        request.remove(TOOLS)
    elif mode == "auto":
        request.remove(CHOICE)
    elif mode == "named" and "required" in facts.tool_choice:
        _keep_only(request, [request.get(CHOICE)])
        request.set(CHOICE, "required")
    else:
        _let_model_choose(request)
        _write_mode(request, facts)


def _let_model_choose(request: ChatRequest) -> None:
    request.report(CHOICE)
    request.set(CHOICE, "auto")


def _mode(choice: Any) -> ToolChoiceMode | None:
    """Return the form of a choice, or None if it is one that only some hosts know."""
    if choice in ("none", "auto", "required"):
        return choice  # type: ignore[no-any-return]
    return "named" if isinstance(choice, dict) and choice.get("type") in _KINDS else None


def _allow(request: ChatRequest, choice: dict[str, Any]) -> None:
    """Leave out all tools but the allowed ones, so that the rest of the choice can be said by a word."""
    allowed = choice.get("allowed_tools")
    if isinstance(allowed, dict) and isinstance(allowed.get(TOOLS), list):
        _keep_only(request, allowed[TOOLS])
        request.set(CHOICE, "required" if allowed.get("mode") == "required" else "auto")


def _keep_only(request: ChatRequest, named: list[Any]) -> None:
    names = [_name(one) for one in named]
    tools = request.get(TOOLS)
    if isinstance(tools, list):
        request.set(TOOLS, [tool for tool in tools if _name(tool) in names])


def _name(tool: Any) -> tuple[Any, Any]:
    """Return the type and the name of a tool, or of a reference to one."""
    if not isinstance(tool, dict):
        return None, None
    kind = tool.get("type")
    inner = tool.get(kind) if isinstance(kind, str) else None
    return kind, inner.get("name") if isinstance(inner, dict) else None
