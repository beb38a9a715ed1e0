"""Emulates features that a provider's API does not have.

A custom tool is sent as a function with one text parameter, a schema for the response as a function that the model
must call, and a name that the provider does not accept as another one (`names.py`). `ToolEmulation` records what was
replaced in a request, and puts the response back into the form that the client asked for.
"""

from collections.abc import Mapping
from io import StringIO
from typing import Any, NamedTuple

import msgspec

from nulpoint.conversation.names import ReplacedNames
from nulpoint.conversation.parts import NO_MEMBERS, Citation, Members, Part, Text, ToolCall
from nulpoint.conversation.response import Choice, ConversationResponse, FinishReason
from nulpoint.conversation.stream import PartKind, StreamWriter
from nulpoint.conversation.tools import AnyTool, CustomTool, FunctionTool
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import Failure


class ToolEmulation(NamedTuple):
    """The replacements made in one request.

    Fields:
        custom_tools: the names of the custom tools that were sent as functions.
        schema_tool: the name of the function whose arguments are the content of the response.
        names: the names that were replaced; the other fields have the replacements.
    """

    custom_tools: frozenset[str] = frozenset()
    schema_tool: str | None = None
    names: ReplacedNames | None = None

    def any(self) -> bool:
        """Return whether anything was replaced."""
        return bool(self.custom_tools or self.schema_tool or self.names)

    def restore_response(self, response: ConversationResponse) -> ConversationResponse:
        """Return the response in the form that the client asked for."""
        return msgspec.structs.replace(response, choices=tuple([self._restored_choice(c) for c in response.choices]))

    def _restored_choice(self, choice: Choice) -> Choice:
        parts = tuple([self._restored(part) for part in choice.parts])
        reason = self.finish_reason(choice.finish_reason, any(isinstance(part, ToolCall) for part in parts))
        return msgspec.structs.replace(choice, parts=parts, finish_reason=reason)

    def _restored(self, part: Part) -> Part:
        if not isinstance(part, ToolCall):
            return part
        if isinstance(part.arguments, str):
            if part.name == self.schema_tool:
                return Text(part.arguments)
            if part.name in self.custom_tools:
                text = custom_input(part.arguments)
                return msgspec.structs.replace(part, kind="custom", name=self.client_name(part.name), arguments=text)
        return part if self.names is None else self.names.call(part)

    def client_name(self, name: str | None) -> str | None:
        """Return the client's name of a tool that the provider named."""
        return name if self.names is None or name is None else self.names.tools.get(name, name)

    def has_other_parameters(self, name: str | None) -> bool:
        """Return whether names of parameters of this tool were replaced."""
        return self.names is not None and name in self.names.parameters

    def finish_reason(self, reason: FinishReason, calls_remain: bool) -> FinishReason:
        """Return the finish reason; `calls_remain` says whether the client sees any call in the response."""
        return "stop" if reason == "tool_calls" and not calls_remain else reason


NO_EMULATION = ToolEmulation()


def as_function(tool: CustomTool) -> FunctionTool:
    """Return a custom tool as a function with a single text, in whose description a grammar is put."""
    text: dict[str, Any] = {"type": "string"}
    if tool.grammar is not None:
        syntax, definition = tool.grammar
        text["description"] = f"Follows this grammar ({syntax}):\n{definition}"
    parameters = {
        "type": "object", "properties": {"input": text}, "required": ["input"], "additionalProperties": False,
    }  # fmt: skip
    return FunctionTool(tool.name, tool.description, parameters, path=tool.path, cache=tool.cache, extra=tool.extra)


def custom_tools_as_functions(tools: tuple[AnyTool, ...]) -> ToolEmulation:
    """Return the emulation for a provider that gets all custom tools as functions."""
    custom = [tool.name for tool in tools if isinstance(tool, CustomTool)]
    return ToolEmulation(frozenset(custom)) if custom else NO_EMULATION


class _CustomArguments(msgspec.Struct):
    input: str


_decode_arguments = msgspec.json.Decoder(_CustomArguments).decode


def custom_input(arguments: str) -> str:
    """Return the input of a custom tool from the arguments of the function that it was sent as.

    Arguments that do not hold the single text parameter become the input unchanged.
    """
    try:
        return _decode_arguments(arguments).input
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return arguments


class EmulationWriter:
    """A stream writer that restores what a `ToolEmulation` replaced, and calls the client's writer.

    The input of a custom tool, and arguments with replaced names, are sent when they are complete, and everything else
    as it arrives.
    """

    def __init__(self, writer: StreamWriter, emulation: ToolEmulation) -> None:
        self._writer = writer
        self._emulation = emulation
        self._choices: dict[int, _ChoiceCalls] = {}
        self._select(0)

    def _select(self, index: int) -> None:
        self._calls = self._choices.get(index) or self._choices.setdefault(index, _ChoiceCalls())

    def select_choice(self, index: int) -> bytes:
        self._select(index)
        return self._writer.select_choice(index)

    def begin(self, response_id: str, model: str, *, index: int = 0, created: int | None = None) -> bytes:
        self._select(index)
        return self._writer.begin(response_id, model, index=index, created=created)

    def keep_alive(self) -> bytes:
        return self._writer.keep_alive()

    def progress(self) -> bytes:
        return self._writer.progress()

    def start_part(self, kind: PartKind) -> bytes:
        return self._writer.start_part(kind)

    def text(self, text: str) -> bytes:
        return self._writer.text(text)

    def citation(self, citation: Citation) -> bytes:
        return self._writer.citation(citation)

    def reasoning(self, text: str) -> bytes:
        return self._writer.reasoning(text)

    def signature(self, provider: str, data: str, *, redacted: bool = False) -> bytes:
        return self._writer.signature(provider, data, redacted=redacted)

    def provider_part(self, provider: str, data: Members) -> bytes:
        return self._writer.provider_part(provider, data)

    def refusal(self, text: str) -> bytes:
        return self._writer.refusal(text)

    def usage(self, usage: UsageReport) -> bytes:
        return self._writer.usage(usage)

    def end(self) -> bytes:
        return self._writer.end()

    def error(self, failure: Failure) -> bytes:
        return self._writer.error(failure)

    def logprobs(self, logprobs: Members) -> bytes:
        return self._writer.logprobs(logprobs)

    def start_call(
        self, number: int, call_id: str | None, name: str | None, provider_data: Members = NO_MEMBERS
    ) -> bytes:
        if name is not None and name == self._emulation.schema_tool:
            self._calls.schema.add(number)
            return self._writer.start_part("text")
        self._calls.remain = True
        if name is not None and name in self._emulation.custom_tools:
            self._calls.custom[number] = _CustomCall(call_id, name, provider_data)
            return self._writer.progress()
        if name is not None and self._emulation.has_other_parameters(name):
            self._calls.renamed[number] = _RenamedCall(name)
        return self._writer.start_call(number, call_id, self._emulation.client_name(name), provider_data)

    def arguments(self, number: int, text: str) -> bytes:
        if number in self._calls.schema:
            return self._writer.text(text)
        held = self._calls.custom.get(number) or self._calls.renamed.get(number)
        if held is None:
            return self._writer.arguments(number, text)
        held.arguments.write(text)
        return self._writer.progress()

    def end_call(self, number: int) -> bytes:
        if number in self._calls.schema:
            return b""
        custom = self._calls.custom.get(number)
        if custom is None:
            return self._renamed_arguments(number) + self._writer.end_call(number)
        text = custom_input(custom.arguments.getvalue())
        name = self._emulation.client_name(custom.name) or ""
        return self._writer.custom_call(number, custom.id, name, text, custom.provider_data)

    def _renamed_arguments(self, number: int) -> bytes:
        """Write the arguments of a call that were held back because they have replaced names."""
        renamed = self._calls.renamed.get(number)
        names = self._emulation.names
        if renamed is None or names is None:
            return b""
        return self._writer.arguments(number, names.arguments(renamed.name, renamed.arguments.getvalue()))

    def custom_call(
        self, number: int, call_id: str | None, name: str, text: str, provider_data: Members = NO_MEMBERS
    ) -> bytes:
        self._calls.remain = True
        return self._writer.custom_call(number, call_id, self._emulation.client_name(name) or "", text, provider_data)

    def finish(self, reason: FinishReason, provider_data: Mapping[str, Any]) -> bytes:
        return self._writer.finish(self._emulation.finish_reason(reason, self._calls.remain), provider_data)

    def late_data(self, provider_data: Members) -> bytes:
        return self._writer.late_data(provider_data)


class _ChoiceCalls:
    """The calls of one choice by kind, and whether the client sees any: those of the schema's function, those of custom
    tools, and those with replaced names of parameters.
    """

    def __init__(self) -> None:
        self.schema: set[int] = set()
        self.custom: dict[int, _CustomCall] = {}
        self.renamed: dict[int, _RenamedCall] = {}
        self.remain = False


class _CustomCall:
    """A call of a custom tool whose input is still arriving."""

    def __init__(self, call_id: str | None, name: str, provider_data: Members) -> None:
        self.id = call_id
        self.name = name
        self.provider_data = provider_data
        self.arguments = StringIO()


class _RenamedCall:
    """A call whose arguments have replaced names and are still arriving."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.arguments = StringIO()
