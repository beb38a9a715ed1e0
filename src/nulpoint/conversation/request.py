"""Defines a request for a model's response as a value.

What a client protocol and a provider protocol both have to understand is typed here. Everything else is kept with its
place in the client's request, so that a provider protocol can report what it does not pass on.
"""

from typing import Literal

import msgspec

from nulpoint.conversation.parts import NO_MEMBERS, Members, Part, Reasoning, Refusal, Text, ToolCall
from nulpoint.conversation.tools import AnyTool, CustomTool, FunctionTool, ProviderTool, ToolChoice

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message of the conversation.

    Fields:
        role: who says it. A `tool` message holds one `ToolResult`.
        parts: what is said, in order.
        path: the place of the message in the client's request, as errors name it.
        is_plain: the client wrote the content as a bare text and not as a list of parts.
        provider_data: what a provider added to its response and gets again, by provider.
        extra: the other members, by name.
    """

    role: Role
    parts: tuple[Part, ...]
    path: str
    is_plain: bool = False
    provider_data: Members = NO_MEMBERS
    extra: Members = NO_MEMBERS

    def content(self) -> list[Part]:
        """Return the parts of the content, without reasoning, calls and a refusal beside it."""
        return [
            part
            for part in self.parts
            if part.where.startswith("content") and not isinstance(part, Reasoning | ToolCall)
        ]

    def refusal(self) -> str:
        """Return the refusal that the client wrote beside the content, or an empty text."""
        refusals = [part.text for part in self.parts if isinstance(part, Refusal) and part.where == "refusal"]
        return "".join(refusals)

    def plain_text(self) -> str | None:
        """Return the text of a message that is nothing but a text, as nearly all are, or None for the others."""
        if self.is_plain and len(self.parts) == 1 and not self.extra and not self.provider_data:
            (part,) = self.parts
            return part.text if isinstance(part, Text) else None
        return None

    def text(self) -> str:
        """Return the texts of the message as one."""
        return "".join([part.text for part in self.parts if isinstance(part, Text)])


class OutputFormat(msgspec.Struct, frozen=True, gc=False):
    """The form of the response: free text, any JSON, or JSON that follows a schema.

    Fields:
        path: the place of the format in the client's request, as errors name it.
        schema_path: the place of the schema.
        extra: the members that have no meaning here, by their path below `path`.
    """

    kind: Literal["text", "json_object", "json_schema"]
    path: str
    schema_path: str
    schema: Members | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    extra: Members = NO_MEMBERS

    def described_schema(self) -> Members | None:
        """Return the schema with its description, which the client may have given beside it."""
        if self.schema is None or not self.description:
            return self.schema
        return {"description": self.description, **self.schema}


class ConversationRequest(msgspec.Struct, frozen=True, gc=False):
    """A request for the next message of a conversation.

    Fields:
        messages: the conversation so far, instructions first.
        tools: the tools that the model may use.
        tool_choice: which of them it may or must call.
        output_format: the form of the response.
        settings: all other members (sampling, limits, reasoning, metadata and those that nobody knows), by name, as the
            client wrote them: the provider checks their values. The names are those of the chat completions API.
        dropped: the names of members that the client's protocol could not express here.
    """

    messages: tuple[Message, ...]
    tools: tuple[AnyTool, ...]
    tool_choice: ToolChoice | None
    output_format: OutputFormat | None
    settings: Members
    dropped: tuple[str, ...] = ()

    def client_tools(self) -> list[FunctionTool | CustomTool]:
        """Return the tools that the client runs."""
        return [tool for tool in self.tools if not isinstance(tool, ProviderTool)]

    def allowed_tools(self) -> list[FunctionTool | CustomTool]:
        """Return the client's tools that may be called, for providers without a way to limit calls to some of them."""
        if self.tool_choice is None or self.tool_choice.names is None:
            return self.client_tools()
        names = frozenset(self.tool_choice.names)
        return [tool for tool in self.client_tools() if tool.name in names]

    def provider_tools(self) -> list[Members]:
        """Return the tools in a provider's own format."""
        return [tool.data for tool in self.tools if isinstance(tool, ProviderTool)]

    def may_get_nothing(self) -> bool:
        """Return whether an empty answer may be right.

        The first token may have been one of the stop sequences, or nothing may be missing before the `suffix`.
        """
        return bool(self.settings.get("stop") or self.settings.get("suffix"))

    def has_legacy_functions(self) -> bool:
        """Return whether the client used the older form of functions."""
        return any(isinstance(tool, FunctionTool) and tool.legacy for tool in self.tools)
