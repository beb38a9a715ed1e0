"""Writes a conversation as a request of the chat completions API.

Every member that the client sent is written again where the client put it. Only what another provider alone can read is
dropped. Source: OpenAI's API
description, `POST /chat/completions`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from nulpoint.conversation.emulation import NO_EMULATION
from nulpoint.conversation.parts import (
    Audio,
    CacheMark,
    File,
    Image,
    Members,
    Part,
    ProviderPart,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from nulpoint.conversation.request import ConversationRequest, Message, OutputFormat
from nulpoint.conversation.tools import AnyTool, CustomTool, FunctionTool, ProviderTool, ToolChoice
from nulpoint.models.facts import NO_FACTS, ModelFacts
from nulpoint.protocols.dropped import report_part
from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, RequestFields, write_body
from nulpoint.protocols.openai.chat_provider.response import PROVIDER
from nulpoint.protocols.provider_protocol import RenderedRequest


def render(
    request: ConversationRequest,
    model: str,
    _facts: ModelFacts = NO_FACTS,
    limits: TranslationLimits = DEFAULT_LIMITS,
) -> RenderedRequest:
    """Return the request for a conversation and a model. Raises Failure (400) if it is nested too deeply."""
    chat: dict[str, Any] = {"model": model, **request.settings}
    fields = RequestFields({}, limits)
    chat["messages"] = [_message(message, fields) for message in request.messages]
    chat |= _tools(request.tools)
    if request.tool_choice is not None:
        chat |= _choice(request.tool_choice, {tool.name: tool for tool in request.tools})
    if request.output_format is not None:
        chat["response_format"] = _format(request.output_format)
    return RenderedRequest(write_body(chat), fields.dropped, NO_EMULATION)


# -- messages ----------------------------------------------------------------------------------------------------------


def _message(message: Message, fields: RequestFields) -> dict[str, Any]:
    chat: dict[str, Any] = {"role": message.role, **message.extra}
    if message.provider_data:
        chat[EXTRA_FIELDS] = message.provider_data
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            chat |= _result(part)
            content += [_part(inner) for inner in part.parts]
        elif isinstance(part, ProviderPart) and not part.is_of(PROVIDER):
            report_part(fields, part, message)
        elif not _add_member(chat, part):
            content.append(_part(part))
    if message.is_plain:
        chat["content"] = content[0]["text"]
    elif content:
        chat["content"] = content
    return chat


def _add_member(chat: dict[str, Any], part: Part) -> bool:
    """Add a part to the message if it stands beside the content. Return whether it does."""
    match part:
        case ToolCall(kind="legacy"):
            chat["function_call"] = _legacy_call(part)
        case ToolCall():
            chat.setdefault("tool_calls", []).append(_call(part))
        case Reasoning(text=""):
            pass  # only the provider that encrypted it can read it
        case Reasoning():
            chat["reasoning_content"] = chat.get("reasoning_content", "") + part.text
        case Refusal(where="refusal"):
            chat["refusal"] = part.text
        case _:
            return False
    return True


def _result(result: ToolResult) -> dict[str, Any]:
    """Return the members of a message that say which call it is the result of."""
    if result.legacy:
        return {"role": "function", "name": result.name}
    failed = {} if result.is_error is None else {"is_error": result.is_error}
    return {"tool_call_id": result.call_id or result.unique_id, **failed, **_cache_mark(result.cache)}


def _part(part: Part) -> dict[str, Any]:
    match part:
        case ProviderPart():
            return dict(part.data)
        case Text():
            chat: dict[str, Any] = {"type": "text", "text": part.text}
        case Refusal():
            chat = {"type": "refusal", "refusal": part.text}
        case Image():
            detail = {} if part.detail is None else {"detail": part.detail}
            chat = {"type": "image_url", "image_url": part.url if part.is_bare else {"url": part.url, **detail}}
        case Audio():
            chat = {"type": "input_audio", "input_audio": part.audio}
        case File():
            members = {"file_data": part.url, "file_id": part.file_id, "filename": part.name}
            chat = {"type": "file", "file": _present(members)}
        case _:
            raise TypeError(f"{type(part).__name__} is not a part of a message's content")
    return _with_extra({**chat, **_cache_mark(part.cache)}, part.extra, ("image_url", "file"))


def _call(call: ToolCall) -> dict[str, Any]:
    member, text = ("custom", "input") if call.kind == "custom" else ("function", "arguments")
    function = {"name": call.name, **_arguments(text, call)}
    chat: dict[str, Any] = {"id": call.id or call.unique_id, "type": member, member: function}
    if call.provider_data:
        chat["extra_content"] = call.provider_data
    return _with_extra(chat, call.extra, (member,))


def _legacy_call(call: ToolCall) -> dict[str, Any]:
    members = {"name": call.name, **_arguments("arguments", call), **call.extra}
    return members if call.id is None else {**members, "id": call.id}


def _arguments(name: str, call: ToolCall) -> dict[str, Any]:
    return {} if call.arguments is None else {name: call.arguments}


def _with_extra(chat: dict[str, Any], extra: Members, inner: Iterable[str]) -> dict[str, Any]:
    """Add the members that have no meaning in a conversation: those of an inner object have a path with its name."""
    for name, value in extra.items():
        outer, _, rest = name.partition(".")
        if rest and outer in inner:
            chat[outer] = {**chat[outer], rest: value}
        elif value is UNSET:
            chat.pop(name, None)
        else:
            chat[name] = value
    return chat


def _cache_mark(mark: CacheMark | None) -> dict[str, Any]:
    members = {} if mark is None else {"cache_control": mark.control, "prompt_cache_breakpoint": mark.breakpoint}
    return {name: value for name, value in members.items() if value is not UNSET}


def _present(members: Members) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


# -- tools and the output format ---------------------------------------------------------------------------------------


def _tools(tools: Iterable[AnyTool]) -> dict[str, Any]:
    """Return the members `tools` and `functions`, unless they are empty."""
    current = [_tool(tool) for tool in tools if not _is_legacy(tool)]
    legacy = [_tool(tool)["function"] for tool in tools if _is_legacy(tool)]
    return {name: value for name, value in (("tools", current), ("functions", legacy)) if value}


def _is_legacy(tool: AnyTool) -> bool:
    return isinstance(tool, FunctionTool) and tool.legacy


def _tool(tool: AnyTool) -> dict[str, Any]:
    inner: dict[str, Any]
    match tool:
        case ProviderTool():
            return dict(tool.data)
        case CustomTool():
            member = "custom"
            inner = {"name": tool.name, "description": tool.description, "format": tool.format}
        case FunctionTool():
            member = "function"
            inner = {
                "name": tool.name, "description": tool.description, "parameters": tool.parameters,
                "strict": tool.strict,
            }  # fmt: skip
    return _with_extra({"type": member, member: _present(inner)}, tool.extra, (member,))


def _choice(choice: ToolChoice, tools: Mapping[Any, AnyTool]) -> dict[str, Any]:
    """Return the member `tool_choice`, or `function_call` if the client used the older form of functions."""
    if choice.names is None:
        return {"function_call" if any(map(_is_legacy, tools.values())) else "tool_choice": choice.mode}
    named = [_named(name, tools[name]) for name in choice.names]
    if choice.mode != "tool":
        return {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}}
    return {"function_call": named[0]["function"]} if _is_legacy(tools[choice.names[0]]) else {"tool_choice": named[0]}


def _named(name: str, tool: AnyTool) -> dict[str, Any]:
    kind = "custom" if isinstance(tool, CustomTool) else "function"
    return {"type": kind, kind: {"name": name}}


def _format(output_format: OutputFormat) -> dict[str, Any]:
    members = {
        "schema": output_format.schema, "name": output_format.name, "description": output_format.description,
        "strict": output_format.strict,
    }  # fmt: skip
    json_schema = _present(members)
    chat: dict[str, Any] = {"type": output_format.kind}
    if json_schema:
        chat["json_schema"] = json_schema
    return _with_extra(chat, output_format.extra, ("json_schema",))
