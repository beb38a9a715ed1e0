"""Defines the parts of messages: text, media, reasoning, tool calls and their results.

All values are immutable. `gc=False` is right for them because they cannot contain themselves.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import msgspec

Members = Mapping[str, Any]
NO_MEMBERS: Members = MappingProxyType({})


class CacheMark(NamedTuple):
    """The client's wish that the provider caches the prompt up to here.

    Fields:
        control: Anthropic's `cache_control`, as the client wrote it.
        breakpoint: OpenAI's `prompt_cache_breakpoint`, as the client wrote it.
    """

    control: Any = msgspec.UNSET
    breakpoint: Any = msgspec.UNSET


class Part(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A part of a message.

    Fields:
        where: the place of the part below its message in the client's request, as errors name it.
        cache: the client's cache mark at this part.
        extra: the members that have no meaning here, by their path below `where`, which is reported if they are lost.
    """

    where: str = "content"
    cache: CacheMark | None = None
    extra: Members = NO_MEMBERS


class Citation(NamedTuple):
    """A web page that supports a text.

    Fields:
        span: where the supported text begins and ends, in characters of all text of the message. None: it is the whole
            part.
    """

    url: str
    title: str
    span: tuple[int, int] | None = None


class Text(Part, frozen=True, gc=False):
    """Holds a piece of text.

    Fields:
        citations: in a response, the web pages that support it.
        provider_data: as in `Reasoning`.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    provider_data: Members = NO_MEMBERS


class Refusal(Part, frozen=True, gc=False):
    """The model's explanation of why it does not answer."""

    text: str


class Image(Part, frozen=True, gc=False):
    """An image, by its URL or as a data URL.

    Fields:
        detail: how closely the model looks at the image, as the client wrote it.
        is_bare: the client wrote the URL without an object.
    """

    url: str
    detail: Any = None
    is_bare: bool = False


class File(Part, frozen=True, gc=False):
    """A file, either by the provider's id for it or as a data URL."""

    url: str | None
    file_id: str | None = None
    name: str | None = None


class Audio(Part, frozen=True, gc=False):
    """A recording, as the client wrote it."""

    audio: Any


class Reasoning(Part, frozen=True, gc=False):
    """Holds what the model thought before it answered.

    Fields:
        provider_data: by provider, the members that it sent beside the text and gets again; empty members say that
            there were none. In those of all providers, `signature` confirms the text, and `redacted` is the encrypted
            form of reasoning without a text. No other provider can use them.
    """

    text: str
    provider_data: Members = NO_MEMBERS


class ToolCall(Part, frozen=True, gc=False):
    """A call of a function or of a custom tool.

    Fields:
        id: the id that the client or the provider gave to the call.
        unique_id: the same, made unique within the conversation.
        name: the name of the tool.
        arguments: the JSON text of a function's arguments (or the arguments as an object), or a custom tool's input;
            None if there are none.
        kind: which of the two it is; `legacy` is a function in the client's older form of calls.
        provider_data: what a provider added to the call and gets again, by provider.
    """

    id: str | None
    unique_id: str | None
    name: str | None
    arguments: str | Members | None
    kind: Literal["function", "custom", "legacy"] = "function"
    provider_data: Members = NO_MEMBERS


class ToolResult(Part, frozen=True, gc=False):
    """The result of a tool call, which may have parts of its own.

    Fields:
        unique_id: the `unique_id` of the call.
        call_id: the id of the call as the client wrote it.
        name: the name of the tool that was called.
        parts: the result.
        is_error: the tool failed.
        legacy: the client used the older form of results, which names the function and no id.
    """

    unique_id: str
    call_id: str | None
    name: str
    parts: tuple[Part, ...]
    is_error: bool | None = None
    legacy: bool = False


class ProviderPart(Part, frozen=True, gc=False):
    """A part in a provider's own format, such as an item of a tool that the provider runs. Only it can read it.

    Fields:
        provider: who made the part. None: the client wrote it for the provider of its request.
    """

    data: Members
    provider: str | None = None

    def is_of(self, provider: str) -> bool:
        """Return whether this provider can read the part, as far as is known."""
        return self.provider is None or self.provider == provider


def own_data(part: Text | Reasoning | ToolCall, provider: str) -> Members | None:
    """Return what this provider added to a part, or None if the part is not known to be from it."""
    data = part.provider_data.get(provider)
    return data if isinstance(data, dict) else None
