"""Replaces names of tools, and of their parameters, that a provider does not accept, and restores them in responses.

A name is always replaced by the same one, whatever else is in the request, so that the requests of a growing
conversation begin alike. A replacement ends with a digest of the name. Names that already have the form of a
replacement are replaced, too, so no replacement can be equal to a name that is sent as it is.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from nulpoint.conversation.parts import Part, ToolCall, ToolResult
from nulpoint.conversation.request import ConversationRequest, Message
from nulpoint.conversation.tools import AnyTool, CustomTool, FunctionTool, ProviderTool, ToolChoice

_DIGEST_LENGTH = 16
_REPLACEMENT = re.compile(rf".*__[0-9a-f]{{{_DIGEST_LENGTH}}}", re.DOTALL)
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_]")
_CERTAIN_LENGTH = 64  # every provider accepts identifiers of this length
_MAPS_OF_SCHEMAS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_VALUES = frozenset({"const", "default", "enum", "examples", "example"})  # what is in them is not a schema
_LISTS_OF_NAMES = frozenset({"required", "propertyOrdering"})
_KEYS_BY_NAME = frozenset({"dependentRequired", "dependentSchemas"})


class NameRule(NamedTuple):
    """The names that a provider accepts: those that match the pattern, up to a length.

    All providers accept ASCII identifiers.
    """

    pattern: re.Pattern[str]
    max_length: int

    def accepts(self, name: str) -> bool:
        """Return whether the name can be sent as it is."""
        if len(name) <= _CERTAIN_LENGTH and "__" not in name and name.isascii() and name.isidentifier():
            return True
        return (
            len(name) <= self.max_length
            and self.pattern.fullmatch(name) is not None
            and _REPLACEMENT.fullmatch(name) is None
        )

    def replacement(self, name: str) -> str:
        """Return the name that stands for this one."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
        readable = _NOT_PLAIN.sub("_", name)[: self.max_length - _DIGEST_LENGTH - 3]
        prefix = "_" if readable[:1].isdigit() else ""
        return f"{prefix}{readable}__{digest}"


class NameRules(NamedTuple):
    """The rules of a provider for the names of tools, and of their parameters. None: any name is accepted."""

    tools: NameRule | None = None
    parameters: NameRule | None = None


ANY_NAMES = NameRules()


class ReplacedNames(NamedTuple):
    """The names that were replaced in one request.

    Fields:
        tools: the original names of tools, by their replacements.
        parameters: by the name of a tool as it was sent, the original names of its parameters by their replacements.
    """

    tools: Mapping[str, str]
    parameters: Mapping[str, Mapping[str, str]]

    def arguments(self, tool: str | None, text: str) -> str:
        """Return the arguments of a call with the client's names. `tool` is the name that the provider used."""
        names = self.parameters.get(tool) if tool is not None else None
        return _renamed_json(text, names) if names else text

    def call(self, call: ToolCall) -> ToolCall:
        """Return a call by the model with the client's names."""
        name, arguments = call.name, call.arguments
        if isinstance(arguments, str):
            arguments = self.arguments(name, arguments)
        return msgspec.structs.replace(call, name=name and self.tools.get(name, name), arguments=arguments)


def replace_names(request: ConversationRequest, rules: NameRules) -> tuple[ConversationRequest, ReplacedNames | None]:
    """Return the request with names that the provider accepts, and what to restore in the response.

    Nearly all requests have nothing to replace. They are returned unchanged, with None.
    """
    if not request.tools and request.output_format is None and not _has_calls(request):
        return request, None
    tools = _replaced_tools(request, rules.tools)
    parameters = _replaced_parameters(request, rules.parameters)
    if not tools and not parameters:
        return request, None
    replaced = _Replacer(tools, parameters).request(request)
    restored = {tools.get(tool, tool): _inverted(names) for tool, names in parameters.items()}
    return replaced, ReplacedNames(_inverted(tools), restored)


def _has_calls(request: ConversationRequest) -> bool:
    """Return whether a tool may have been called before."""
    for message in request.messages:  # noqa: SIM110  # the generator of `any` would cost every request more
        if message.role in ("assistant", "tool"):
            return True
    return False


def _inverted(names: Mapping[str, str]) -> dict[str, str]:
    return {replacement: name for name, replacement in names.items()}


def _replaced_tools(request: ConversationRequest, rule: NameRule | None) -> dict[str, str]:
    """Return the replacements of the tools' names that are not accepted."""
    if rule is None:
        return {}
    return {name: rule.replacement(name) for name in _tool_names(request) if name and not rule.accepts(name)}


def _tool_names(request: ConversationRequest) -> Iterator[str]:
    """Yield the names of the client's tools, of those that were called before, and of the output format."""
    for tool in request.tools:
        if not isinstance(tool, ProviderTool):
            yield tool.name
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, ToolCall | ToolResult) and part.name is not None:
                yield part.name
    if request.output_format is not None and request.output_format.name is not None:
        yield request.output_format.name


def _replaced_parameters(request: ConversationRequest, rule: NameRule | None) -> dict[str, dict[str, str]]:
    """Return the replacements of the parameters' names that are not accepted, by the names of their tools."""
    if rule is None:
        return {}
    replaced: dict[str, dict[str, str]] = {}
    for tool in request.tools:
        if isinstance(tool, FunctionTool) and tool.parameters:
            names = {
                name: rule.replacement(name) for name in _property_names(tool.parameters) if not rule.accepts(name)
            }
            if names:
                replaced[tool.name] = names
    return replaced


def _property_names(schema: Any) -> Iterator[str]:
    """Yield the names of all properties in a schema."""
    waiting = [schema] if isinstance(schema, dict) else []
    while waiting:
        schema = waiting.pop()
        for keyword, value in schema.items():
            if keyword in _VALUES:
                continue
            if keyword == "properties" and isinstance(value, dict):
                yield from value
            inner = value.values() if keyword in _MAPS_OF_SCHEMAS and isinstance(value, dict) else (value,)
            waiting += [entry for entry in inner if isinstance(entry, dict)]
            if isinstance(value, list):
                waiting += [entry for entry in value if isinstance(entry, dict)]


class _Replacer:
    """Replaces names in the parts of a request."""

    def __init__(self, tools: Mapping[str, str], parameters: Mapping[str, Mapping[str, str]]) -> None:
        self._tools = tools
        self._parameters = parameters

    def request(self, request: ConversationRequest) -> ConversationRequest:
        output_format = request.output_format
        if output_format is not None and output_format.name is not None:
            name = self._tools.get(output_format.name, output_format.name)
            output_format = msgspec.structs.replace(output_format, name=name)
        return msgspec.structs.replace(
            request,
            messages=tuple([self._message(message) for message in request.messages]),
            tools=tuple([self._tool(tool) for tool in request.tools]),
            tool_choice=self._choice(request.tool_choice),
            output_format=output_format,
        )

    def _tool(self, tool: AnyTool) -> AnyTool:
        if isinstance(tool, ProviderTool):
            return tool
        name = self._tools.get(tool.name, tool.name)
        names = self._parameters.get(tool.name)
        if isinstance(tool, CustomTool) or not names:
            return msgspec.structs.replace(tool, name=name)
        return msgspec.structs.replace(tool, name=name, parameters=_renamed_schema(tool.parameters, names))

    def _choice(self, choice: ToolChoice | None) -> ToolChoice | None:
        if choice is None or choice.names is None:
            return choice
        return choice._replace(names=tuple([self._tools.get(name, name) for name in choice.names]))

    def _message(self, message: Message) -> Message:
        if not any(isinstance(part, ToolCall | ToolResult) for part in message.parts):
            return message
        return msgspec.structs.replace(message, parts=tuple([self._part(part) for part in message.parts]))

    def _part(self, part: Part) -> Part:
        if isinstance(part, ToolResult):
            return msgspec.structs.replace(part, name=self._tools.get(part.name, part.name))
        if not isinstance(part, ToolCall) or part.name is None:
            return part
        names, arguments = self._parameters.get(part.name), part.arguments
        if names and part.kind != "custom" and arguments is not None:
            arguments = _renamed_json(arguments, names) if isinstance(arguments, str) else _renamed(arguments, names)
        return msgspec.structs.replace(part, name=self._tools.get(part.name, part.name), arguments=arguments)


def _renamed_schema(schema: Any, names: Mapping[str, str]) -> Any:
    """Return a schema with other names of properties."""
    if not isinstance(schema, dict):
        return [_renamed_schema(entry, names) for entry in schema] if isinstance(schema, list) else schema
    return {keyword: _renamed_keyword(keyword, value, names) for keyword, value in schema.items()}


def _renamed_keyword(keyword: str, value: Any, names: Mapping[str, str]) -> Any:
    if keyword in _VALUES:
        return _renamed(value, names)
    if keyword in _LISTS_OF_NAMES and isinstance(value, list):
        return [names.get(entry, entry) if isinstance(entry, str) else entry for entry in value]
    if keyword == "$ref" and isinstance(value, str):
        return _renamed_pointer(value, names)
    if keyword in _KEYS_BY_NAME and isinstance(value, dict):
        return {names.get(name, name): _renamed_dependency(inner, names) for name, inner in value.items()}
    if keyword in _MAPS_OF_SCHEMAS and isinstance(value, dict):
        new_name: Callable[[str], str] = (lambda name: names.get(name, name)) if keyword == "properties" else str
        return {new_name(name): _renamed_schema(inner, names) for name, inner in value.items()}
    return _renamed_schema(value, names)


def _renamed_dependency(value: Any, names: Mapping[str, str]) -> Any:
    return _renamed_keyword("required", value, names) if isinstance(value, list) else _renamed_schema(value, names)


def _renamed_pointer(reference: str, names: Mapping[str, str]) -> str:
    """Return a reference with other names of the properties in it."""
    steps = reference.split("/")
    for number, step in enumerate(steps):
        name = step.replace("~1", "/").replace("~0", "~")
        if number and steps[number - 1] == "properties" and name in names:
            steps[number] = names[name]
    return "/".join(steps)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a JSON value with other names in all its objects."""
    if isinstance(value, dict):
        return {names.get(name, name): _renamed(inner, names) for name, inner in value.items()}
    return [_renamed(entry, names) for entry in value] if isinstance(value, list) else value


def _renamed_json(text: str, names: Mapping[str, str]) -> str:
    """Return JSON text with other names in all its objects. Text that is not valid JSON is returned unchanged."""
    try:
        return msgspec.json.encode(_renamed(msgspec.json.decode(text), names)).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
