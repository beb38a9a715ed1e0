"""Reads the tools of a chat request for the codecs: the functions, and which of them may be called.

Besides `tools` of type function, OpenAI's API has legacy `functions`, and custom tools that take free text. Both are
read as functions, and `emulation` converts the calls in the response back.
"""

from typing import Any, Literal, NamedTuple

from nulpoint.protocols.emulation import Emulation
from nulpoint.protocols.openai.chat import RequestFields, invalid, object_of, optional_text, too_many

Mode = Literal["none", "auto", "required"]
_MODES: dict[Any, Mode] = {"none": "none", "auto": "auto", "required": "required"}


class ToolChoice(NamedTuple):
    """The mode of calling tools, and the names of those that may be called, or None for all."""

    mode: Mode
    names: frozenset[str] | None = None


class ToolSet(NamedTuple):
    """The tools of a request.

    `functions` are the entries of `tools` that have a `function`, and `provider_tools` are those in the provider's own
    format.
    """

    functions: list[dict[str, Any]]
    provider_tools: list[dict[str, Any]]
    choice: ToolChoice | None

    def allowed(self) -> list[dict[str, Any]]:
        """Return the functions that may be called, for providers without a way to limit calls to some of them."""
        names = self.choice.names if self.choice else None
        return [tool for tool in self.functions if names is None or tool["function"]["name"] in names]


def read_tools(fields: RequestFields) -> tuple[ToolSet, Emulation]:
    """Take `tools`, `tool_choice`, `functions` and `function_call`. Raises Failure (400)."""
    functions: list[dict[str, Any]] = []
    provider_tools: list[dict[str, Any]] = []
    custom: set[str] = set()
    tools, legacy = _list(fields.pop("tools"), "tools"), _list(fields.pop("functions"), "functions")
    count = len(tools) + len(legacy)
    if count > fields.limits.tools:
        raise too_many(count, fields.limits.tools, "tools" if tools else "functions", "MAX_TOOLS")
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if not isinstance(tool, dict):
            raise invalid(where, "must be an object")
        if isinstance(tool.get("custom"), dict):
            tool = _check_tool({**tool, "function": _as_function(tool["custom"], f"{where}.custom", fields)}, where)
            custom.add(tool["function"]["name"])
        if isinstance(tool.get("function"), dict):
            functions.append(_check_tool(tool, where))
            fields.report_other_members(tool, _TOOL_MEMBERS, "tools")
        elif tool.get("type") == "function":
            raise invalid(f"{where}.function", "must be an object")
        else:
            provider_tools.append(tool)
    for index, function in enumerate(legacy):
        functions.append(_check_tool({"type": "function", "function": function}, f"functions[{index}]"))
    names = {tool["function"]["name"] for tool in functions}
    names |= {tool["name"] for tool in provider_tools if isinstance(tool.get("name"), str)}
    choice = _read_choice(fields, names)
    emulation = Emulation(custom_tools=frozenset(custom), legacy_functions=bool(legacy))
    return ToolSet(functions, provider_tools, choice), emulation


_TOOL_MEMBERS = frozenset({"type", "function", "custom", "cache_control"})


def _list(value: Any, name: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise invalid(name, "must be a list")
    return value or []


def _check_tool(tool: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the tool itself. Raises Failure (400) if it is malformed."""
    function = tool["function"]
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid(where, "must have a function with a `name`")
    if not isinstance(function.get("parameters") or {}, dict):
        raise invalid(f"{where}.function.parameters", "must be a JSON Schema")
    optional_text(function.get("description"), f"{where}.function.description")
    return tool


def _as_function(custom: dict[str, Any], where: str, fields: RequestFields) -> dict[str, Any]:
    """Return a custom tool as a function with a single text.

    A function cannot enforce a grammar, so it is put into the description and reported as dropped.
    """
    fields.report_other_members(custom, {"name", "description", "format"}, "tools.custom")
    text: dict[str, Any] = {"type": "string"}
    grammar = object_of(object_of(custom.get("format"), f"{where}.format").get("grammar"), f"{where}.format.grammar")
    if grammar:
        fields.report_dropped("tools.custom.format")
        syntax, definition = (
            optional_text(grammar.get(name), f"{where}.format.grammar.{name}") for name in ("syntax", "definition")
        )
        text["description"] = f"Follows this grammar ({syntax}):\n{definition}"
    parameters = {
        "type": "object", "properties": {"input": text}, "required": ["input"], "additionalProperties": False,
    }  # fmt: skip
    function: dict[str, Any] = {"name": custom.get("name")}
    description = optional_text(custom.get("description"), f"{where}.description")
    if description:
        function["description"] = description
    return {**function, "parameters": parameters}


def _read_choice(fields: RequestFields, tool_names: set[str]) -> ToolChoice | None:
    legacy = fields.pop("function_call")
    where = "tool_choice" if legacy is None else "function_call"
    choice = fields.pop("tool_choice") if legacy is None else legacy
    if choice is None:
        return None
    if isinstance(choice, str) and choice in _MODES:
        tool_choice = ToolChoice(_MODES[choice])
    elif isinstance(choice, dict) and legacy is not None:
        tool_choice = ToolChoice("required", frozenset({_name_in(choice, "function_call")}))
    elif isinstance(choice, dict) and choice.get("type") in ("function", "custom"):
        tool_choice = ToolChoice("required", frozenset({_tool_name(choice)}))
    elif isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = object_of(choice.get("allowed_tools"), "tool_choice.allowed_tools")
        tools = _list(allowed.get("tools"), "tool_choice.allowed_tools.tools")
        names = frozenset(_tool_name(object_of(tool, "tool_choice.allowed_tools.tools")) for tool in tools)
        mode = optional_text(allowed.get("mode"), "tool_choice.allowed_tools.mode")
        tool_choice = ToolChoice(_MODES.get(mode, "auto"), names)
    else:
        raise invalid(where, "must be none, auto, required, a function, a custom tool or allowed_tools")
    has_unknown_name = tool_choice.names is not None and not tool_choice.names <= tool_names
    if has_unknown_name or (tool_choice.mode == "required" and not tool_names):
        raise invalid(where, "must name tools that are in `tools`")
    return tool_choice if tool_names else None


def _tool_name(tool: dict[str, Any]) -> str:
    kind = "custom" if tool.get("type") == "custom" else "function"
    return _name_in(object_of(tool.get(kind), f"tool_choice.{kind}"), f"tool_choice.{kind}")


def _name_in(function: dict[str, Any], where: str) -> str:
    name = function.get("name")
    if not isinstance(name, str):
        raise invalid(f"{where}.name", "must be text")
    return name
