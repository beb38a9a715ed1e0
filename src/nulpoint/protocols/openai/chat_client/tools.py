"""Reads the tools of a chat request, and the choice among them.

Besides `tools` of type function, OpenAI's API has legacy `functions`, and custom tools that take free text.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from nulpoint.conversation.parts import CacheMark, Members
from nulpoint.conversation.tools import AnyTool, CustomTool, FunctionTool, Mode, ProviderTool, ToolChoice
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import invalid, object_of, optional_text, too_many

_MODES: dict[Any, Mode] = {"none": "none", "auto": "auto", "required": "required"}
# The members that a tool value holds, if they are of this type.
_OF_FUNCTION = {"name": str, "description": str, "parameters": dict, "strict": bool}
_OF_CUSTOM = {"name": str, "description": str, "format": dict}


def read_tools(request: dict[str, Any], limits: TranslationLimits) -> tuple[AnyTool, ...]:
    """Return `tools` and `functions`. Raises Failure (400)."""
    if "tools" not in request and "functions" not in request:
        return ()
    tools, legacy = _list(request.get("tools"), "tools"), _list(request.get("functions"), "functions")
    count = len(tools) + len(legacy)
    if count > limits.tools:
        raise too_many(count, limits.tools, "tools" if tools else "functions", "MAX_TOOLS")
    read = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]
    for index, function in enumerate(legacy):
        path = f"functions[{index}]"
        read.append(_function({"type": "function", "function": function}, path, legacy=True))
    return tuple(read)


def read_choice(request: dict[str, Any], tools: tuple[AnyTool, ...]) -> ToolChoice | None:
    """Return `tool_choice` or the legacy `function_call`. Raises Failure (400) if it names tools that are not there."""
    legacy = request.get("function_call")
    where = "tool_choice" if legacy is None else "function_call"
    choice = request.get("tool_choice") if legacy is None else legacy
    if choice is None:
        return None
    read = _choice(choice, legacy is not None)
    if read is None:
        raise invalid(where, "must be none, auto, required, a function, a custom tool or allowed_tools")
    names = {tool.name for tool in tools if isinstance(tool.name, str)}
    has_unknown_name = read.names is not None and not names.issuperset(read.names)
    if has_unknown_name or (read.mode == "required" and not names):
        raise invalid(where, "must name tools that are in `tools`")
    return read


def _list(value: Any, name: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise invalid(name, "must be a list")
    return value or []


def _tool(tool: Any, path: str) -> AnyTool:
    if not isinstance(tool, dict):
        raise invalid(path, "must be an object")
    if isinstance(tool.get("custom"), dict):
        return _custom(tool, path)
    if isinstance(tool.get("function"), dict):
        return _function(tool, path)
    if tool.get("type") == "function":
        raise invalid(f"{path}.function", "must be an object")
    return ProviderTool(tool)


def _function(tool: dict[str, Any], path: str, *, legacy: bool = False) -> FunctionTool:
    function = tool["function"]
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid(path, "must have a function with a `name`")
    parameters, strict = function.get("parameters"), function.get("strict")
    if not isinstance(parameters or {}, dict):
        raise invalid(f"{path}.function.parameters", "must be a JSON Schema")
    optional_text(function.get("description"), f"{path}.function.description")
    return FunctionTool(
        function["name"],
        function.get("description"),
        parameters if isinstance(parameters, dict) else None,
        strict if isinstance(strict, bool) else None,
        legacy=legacy,
        path=path,
        cache=_cache_mark(function, tool),
        extra=_extra(tool, "function", function, _OF_FUNCTION),
    )


def _custom(tool: dict[str, Any], path: str) -> CustomTool:
    custom, where = tool["custom"], f"{path}.custom"
    text_format = custom.get("format")
    grammar = object_of(object_of(text_format, f"{where}.format").get("grammar"), f"{where}.format.grammar")
    syntax, definition = (
        optional_text(grammar.get(name), f"{where}.format.grammar.{name}") for name in ("syntax", "definition")
    )
    optional_text(custom.get("description"), f"{where}.description")
    if not isinstance(custom.get("name"), str):
        raise invalid(path, "must have a function with a `name`")
    return CustomTool(
        custom["name"],
        custom.get("description"),
        (syntax, definition) if grammar else None,
        text_format,
        path=path,
        cache=_cache_mark(custom, tool),
        extra=_extra(tool, "custom", custom, _OF_CUSTOM),
    )


def _extra(tool: dict[str, Any], member: str, inner: Members, known: Mapping[str, type]) -> dict[str, Any]:
    """Return what a tool value does not hold: unknown members, and known ones of another type."""
    extra = {name: value for name, value in tool.items() if name not in ("type", member)}
    for name, value in inner.items():
        if not isinstance(value, known.get(name, ())):
            extra[f"{member}.{name}"] = value
    if tool.get("type") != member:
        extra["type"] = tool.get("type", UNSET)
    return extra


def _cache_mark(function: Members, tool: Members) -> CacheMark | None:
    control = function.get("cache_control") or tool.get("cache_control")
    return CacheMark(control) if control else None


def _choice(choice: Any, legacy: bool) -> ToolChoice | None:
    if isinstance(choice, str) and choice in _MODES:
        return ToolChoice(_MODES[choice])
    if not isinstance(choice, dict):
        return None
    if legacy:
        return ToolChoice("tool", (_name_in(choice, "function_call"),))
    if choice.get("type") in ("function", "custom"):
        return ToolChoice("tool", (_tool_name(choice),))
    if choice.get("type") != "allowed_tools":
        return None
    allowed = object_of(choice.get("allowed_tools"), "tool_choice.allowed_tools")
    tools = _list(allowed.get("tools"), "tool_choice.allowed_tools.tools")
    names = tuple([_tool_name(object_of(tool, "tool_choice.allowed_tools.tools")) for tool in tools])
    mode = optional_text(allowed.get("mode"), "tool_choice.allowed_tools.mode")
    return ToolChoice(_MODES.get(mode, "auto"), names)


def _tool_name(tool: dict[str, Any]) -> str:
    kind = "custom" if tool.get("type") == "custom" else "function"
    return _name_in(object_of(tool.get(kind), f"tool_choice.{kind}"), f"tool_choice.{kind}")


def _name_in(function: dict[str, Any], where: str) -> str:
    name = function.get("name")
    if not isinstance(name, str):
        raise invalid(f"{where}.name", "must be text")
    return name
