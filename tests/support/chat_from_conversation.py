"""Writes a conversation as the chat request that it was read from, to show that reading loses nothing."""

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

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
from nulpoint.protocols.openai.chat import EXTRA_FIELDS


def chat_from(request: ConversationRequest) -> dict[str, Any]:
    """Return the chat request without its `model`."""
    chat: dict[str, Any] = {**request.settings, "messages": [_message(message) for message in request.messages]}
    tools = [_tool(tool) for tool in request.tools if not _is_legacy(tool)]
    functions = [_tool(tool)["function"] for tool in request.tools if _is_legacy(tool)]
    if tools:
        chat["tools"] = tools
    if functions:
        chat["functions"] = functions
    if request.tool_choice is not None:
        chat |= _choice(request.tool_choice, {tool.name: tool for tool in request.tools})
    if request.output_format is not None:
        chat["response_format"] = _format(request.output_format)
    return chat


def _is_legacy(tool: object) -> bool:
    return isinstance(tool, FunctionTool) and tool.legacy


def _message(message: Message) -> dict[str, Any]:
    chat: dict[str, Any] = {"role": message.role, **message.extra}
    if message.provider_data:
        chat[EXTRA_FIELDS] = message.provider_data
    content: list[dict[str, Any]] = []
    calls = []
    for part in message.parts:
        if isinstance(part, ToolCall) and part.kind == "legacy":
            members = {"name": part.name, **_arguments("arguments", part), **part.extra}
            chat["function_call"] = members if part.id is None else {**members, "id": part.id}
        elif isinstance(part, ToolCall):
            calls.append(_call(part))
        elif isinstance(part, ToolResult):
            chat |= _result(part)
            content = [_part(inner) for inner in part.parts]
        elif part.where in ("reasoning_content", "refusal"):
            assert isinstance(part, Reasoning | Refusal)
            chat[part.where] = part.text
        else:
            content.append(_part(part))
    if calls:
        chat["tool_calls"] = calls
    if message.is_plain:
        chat["content"] = content[0]["text"]
    elif content:
        chat["content"] = content
    return chat


def _result(result: ToolResult) -> dict[str, Any]:
    if result.legacy:
        return {"role": "function", "name": result.name}
    failed = {} if result.is_error is None else {"is_error": result.is_error}
    return {"tool_call_id": result.call_id, **failed, **_cache(result.cache)}


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
            chat = {"type": "file", "file": {name: value for name, value in members.items() if value is not None}}
        case _:
            raise AssertionError(part)
    return _with_extra({**chat, **_cache(part.cache)}, part.extra, ("image_url", "file"))


def _call(call: ToolCall) -> dict[str, Any]:
    member, text = ("custom", "input") if call.kind == "custom" else ("function", "arguments")
    chat: dict[str, Any] = {"id": call.id, "type": member, member: {"name": call.name, **_arguments(text, call)}}
    if call.provider_data:
        chat["extra_content"] = call.provider_data
    return _with_extra(chat, call.extra, (member,))


def _arguments(name: str, call: ToolCall) -> dict[str, Any]:
    return {} if call.arguments is None else {name: call.arguments}


def _tool(tool: AnyTool) -> dict[str, Any]:
    if isinstance(tool, ProviderTool):
        return dict(tool.data)
    inner: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if isinstance(tool, CustomTool):
        member, inner["format"] = "custom", tool.format
    else:
        member, inner["parameters"] = "function", tool.parameters
        inner["strict"] = tool.strict
    known = {name: value for name, value in inner.items() if value is not None}
    return _with_extra({"type": member, member: known}, tool.extra, (member,))


def _with_extra(chat: dict[str, Any], extra: Members, inner: Iterable[str]) -> dict[str, Any]:
    """Put the other members back: those of an inner object have its name and a dot before their own."""
    for name, value in extra.items():
        outer, _, rest = name.partition(".")
        if rest and outer in inner:
            chat[outer] = {**chat[outer], rest: value}
        else:
            chat[name] = value
    return {name: value for name, value in chat.items() if value is not UNSET}


def _cache(mark: CacheMark | None) -> dict[str, Any]:
    members = {} if mark is None else {"cache_control": mark.control, "prompt_cache_breakpoint": mark.breakpoint}
    return {name: value for name, value in members.items() if value is not UNSET}


def _choice(choice: ToolChoice, tools: dict[Any, Any]) -> dict[str, Any]:
    if choice.names is None:
        return {"function_call" if any(map(_is_legacy, tools.values())) else "tool_choice": choice.mode}
    named = [_named(name, tools[name]) for name in choice.names]
    if choice.mode != "tool":
        allowed = {"mode": choice.mode, "tools": named}
        return {"tool_choice": {"type": "allowed_tools", "allowed_tools": allowed}}
    return {"function_call": named[0]["function"]} if _is_legacy(tools[choice.names[0]]) else {"tool_choice": named[0]}


def _named(name: str, tool: object) -> dict[str, Any]:
    kind = "custom" if isinstance(tool, CustomTool) else "function"
    return {"type": kind, kind: {"name": name}}


def _format(output_format: OutputFormat) -> dict[str, Any]:
    chat: dict[str, Any] = {"type": output_format.kind}
    members = {
        "schema": output_format.schema, "name": output_format.name, "description": output_format.description,
        "strict": output_format.strict,
    }  # fmt: skip
    known = {name: value for name, value in members.items() if value is not None}
    if known:
        chat["json_schema"] = known
    return _with_extra(chat, output_format.extra, ("json_schema",))
