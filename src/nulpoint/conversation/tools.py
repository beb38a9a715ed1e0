"""Defines the tools of a request, and the choice among them."""

from typing import Any, Literal, NamedTuple

import msgspec

from nulpoint.conversation.parts import NO_MEMBERS, CacheMark, Members

# `tool` means that one particular tool must be called.
Mode = Literal["none", "auto", "required", "tool"]


class Tool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A tool.

    Fields:
        path: the place of the tool in the client's request, as errors name it.
        cache: the client's cache mark at this tool.
        extra: the members that have no meaning here, by their path below `path`, which is reported if they are lost.
    """

    path: str
    cache: CacheMark | None = None
    extra: Members = NO_MEMBERS


class FunctionTool(Tool, frozen=True, gc=False):
    """A function that the client runs.

    Fields:
        parameters: the JSON Schema of the arguments.
        strict: the arguments must follow the schema exactly.
        legacy: the client used the older form of functions.
        schema_path: the place of the parameters in the client's request, without the tool's number.
    """

    name: str
    description: str | None = None
    parameters: Members | None = None
    strict: bool | None = None
    legacy: bool = False
    schema_path: str = "tools.function.parameters"


class CustomTool(Tool, frozen=True, gc=False):
    """A tool of the client that takes free text.

    Fields:
        grammar: the syntax and the definition of a grammar that the text must follow.
        format: the format of the text as the client wrote it, with the grammar if there is one.
        format_path: the place of the format in the client's request, without the tool's number.
    """

    name: str
    description: str | None = None
    grammar: tuple[str, str] | None = None
    format: Members | None = None
    format_path: str = "tools.custom.format"


class ProviderTool(msgspec.Struct, frozen=True, gc=False):
    """A tool in a provider's own format, which the provider usually runs itself. Only it can read the tool."""

    data: Members

    @property
    def name(self) -> Any:
        return self.data.get("name")


AnyTool = FunctionTool | CustomTool | ProviderTool


class ToolChoice(NamedTuple):
    """The mode of calling tools, and the names of those that may be called, or None for all."""

    mode: Mode
    names: tuple[str, ...] | None = None

    def is_required(self) -> bool:
        """Return whether the model must call a tool."""
        return self.mode in ("required", "tool")

    def only_name(self) -> str | None:
        """Return the name of the only tool that may be called, if one must be called."""
        names = set(self.names or ()) if self.is_required() else set()
        return next(iter(names)) if len(names) == 1 else None
