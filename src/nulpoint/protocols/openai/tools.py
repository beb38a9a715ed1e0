"""Tools as every codec reads them: functions, whichever way they were declared, and which of them may be called.

OpenAI's API knows two older and newer forms beside `tools` of type function: `functions`, and custom tools, which take
free text. Both become functions here, and `wrapping` puts the answer back.
"""

from typing import Any, Literal, NamedTuple

from nulpoint.protocols.emulation import Emulation
from nulpoint.protocols.openai.chat import RequestFields, invalid, object_of, optional_text, too_many

Mode = Literal["none", "auto", "required"]
_MODES: dict[Any, Mode] = {"none": "none", "auto": "auto", "required": "required"}


class ToolChoice(NamedTuple):
    """Whether tools must be called, and the names of the only ones that may, where that is limited."""

    mode: Mode
    names: frozenset[str] | None = None


class ToolSet(NamedTuple):
    """`functions` as in `tools[].function`, each with its tool around it; `own` are in the provider's own shape."""

    functions: list[dict[str, Any]]
    provider_tools: list[dict[str, Any]]
    choice: ToolChoice | None

    def allowed(self) -> list[dict[str, Any]]:
        """The functions a model should know of, where a provider cannot be told which of them are allowed."""
        names = self.choice.names if self.choice else None
        return [tool for tool in self.functions if names is None or tool["function"]["name"] in names]


def read_tools(fields: RequestFields) -> tuple[ToolSet, Emulation]:
    """Takes `tools`, `tool_choice`, `functions` and `function_call`. Raises Failure (400)."""
    functions: list[dict[str, Any]] = []
    own: list[dict[str, Any]] = []
    custom: set[str] = set()
    given, legacy = _list(fields.pop("tools"), "tools"), _list(fields.pop("functions"), "functions")
    count = len(given) + len(legacy)
    if count > fields.limits.tools:
        raise too_many(count, fields.limits.tools, "tools" if given else "functions", "MAX_TOOLS")
    for index, tool in enumerate(given):
        where = f"tools[{index}]"
        if not isinstance(tool, dict):
            raise invalid(where, "must be an object")
        if isinstance(tool.get("custom"), dict):
            tool = _checked({**tool, "function": _as_function(tool["custom"], f"{where}.custom", fields)}, where)
            custom.add(tool["function"]["name"])
        if isinstance(tool.get("function"), dict):
            functions.append(_checked(tool, where))
            fields.report_other_members(tool, _TAKEN_OF_TOOL, "tools")
        elif tool.get("type") == "function":
            raise invalid(f"{where}.function", "must be an object")
        else:
            own.append(tool)
    functions += [
        _checked({"type": "function", "function": one}, f"functions[{index}]") for index, one in enumerate(legacy)
    ]
    known = {tool["function"]["name"] for tool in functions}
    known |= {tool["name"] for tool in own if isinstance(tool.get("name"), str)}
    choice = _choice(fields, known)
    return ToolSet(functions, own, choice), Emulation(custom=frozenset(custom), legacy=bool(legacy))


_TAKEN_OF_TOOL = frozenset({"type", "function", "custom", "cache_control"})


def _list(value: Any, name: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise invalid(name, "must be a list")
    return value or []


def _checked(tool: dict[str, Any], where: str) -> dict[str, Any]:
    function = tool["function"]
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid(where, "must have a function with a `name`")
    if not isinstance(function.get("parameters") or {}, dict):
        raise invalid(f"{where}.function.parameters", "must be a JSON Schema")
    optional_text(function.get("description"), f"{where}.function.description")
    return tool


def _as_function(custom: dict[str, Any], where: str, fields: RequestFields) -> dict[str, Any]:
    """A function of one text. A grammar can only be asked for there, so it is reported as lost."""
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
    description = optional_text(custom.get("description"), f"{where}.description")
    described = {"description": description} if description else {}
    return {"name": custom.get("name"), **described, "parameters": parameters}


def _choice(fields: RequestFields, known: set[str]) -> ToolChoice | None:
    legacy = fields.pop("function_call")
    where = "tool_choice" if legacy is None else "function_call"
    choice = fields.pop("tool_choice") if legacy is None else legacy
    if choice is None:
        return None
    if isinstance(choice, str) and choice in _MODES:
        read = ToolChoice(_MODES[choice])
    elif isinstance(choice, dict) and legacy is not None:
        read = ToolChoice("required", frozenset({_text_name(choice, "function_call")}))
    elif isinstance(choice, dict) and choice.get("type") in ("function", "custom"):
        read = ToolChoice("required", frozenset({_name(choice)}))
    elif isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = object_of(choice.get("allowed_tools"), "tool_choice.allowed_tools")
        named = _list(allowed.get("tools"), "tool_choice.allowed_tools.tools")
        names = frozenset(_name(object_of(tool, "tool_choice.allowed_tools.tools")) for tool in named)
        mode = optional_text(allowed.get("mode"), "tool_choice.allowed_tools.mode")
        read = ToolChoice(_MODES.get(mode, "auto"), names)
    else:
        raise invalid(where, "must be none, auto, required, a function, a custom tool or allowed_tools")
    if (read.names is not None and not read.names <= known) or (read.mode == "required" and not known):
        raise invalid(where, "must name what stands in `tools`")
    return read if known else None


def _name(tool: dict[str, Any]) -> str:
    kind = "custom" if tool.get("type") == "custom" else "function"
    return _text_name(object_of(tool.get(kind), f"tool_choice.{kind}"), f"tool_choice.{kind}")


def _text_name(named: dict[str, Any], where: str) -> str:
    name = named.get("name")
    if not isinstance(name, str):
        raise invalid(f"{where}.name", "must be text")
    return name
