"""Reads a request of the chat completions API as a conversation.

Legacy forms become current ones, and tool calls are paired with their results. Nothing is lost: what has no meaning for
a conversation stays beside the part that it came with. Source: OpenAI's API description, `POST /chat/completions`.
"""

from collections.abc import Callable, Mapping, Set
from types import MappingProxyType
from typing import Any, Literal

from msgspec import UNSET

from nulpoint.conversation.parts import (
    NO_MEMBERS,
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
from nulpoint.conversation.request import ConversationRequest, Message, Role
from nulpoint.errors import rejected
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.media_types import with_lower_scheme
from nulpoint.protocols.openai.chat import (
    EXTRA_FIELDS,
    check_part,
    invalid,
    optional_text,
    read_body,
    too_many,
)
from nulpoint.protocols.openai.chat_client.pending_calls import PendingCalls
from nulpoint.protocols.openai.chat_client.tools import read_choice, read_tools
from nulpoint.protocols.openai.response_format import read_output_format

_ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "system": "system", "developer": "developer", "user": "user", "assistant": "assistant", "tool": "tool",
        "function": "tool",
    }
)  # fmt: skip
_ROLES_OF_PROMPTS = frozenset({"system", "developer", "user"})
# The members that are read at the top level, of messages, of parts and of tool calls.
_OF_REQUEST = frozenset({"model", "messages", "tools", "functions", "tool_choice", "function_call", "response_format"})
_TOOLS = frozenset({"tools", "functions", "tool_choice", "function_call", "response_format"})
_OF_MESSAGE = frozenset({"role", "content"})
_OF_RESULT = frozenset({"role", "content", "tool_call_id", "cache_control", "prompt_cache_breakpoint", "is_error"})
_CACHE_MARKS = frozenset({"cache_control", "prompt_cache_breakpoint"})


def read_chat(body: bytes, limits: TranslationLimits) -> ConversationRequest:
    """Return the request as a conversation. Raises Failure (400) if it is wrong for any provider."""
    request = read_body(body)
    return with_messages(request, _messages(request.get("messages"), limits), limits)


def with_messages(
    request: dict[str, Any], messages: tuple[Message, ...], limits: TranslationLimits
) -> ConversationRequest:
    """Return a conversation of these messages with everything else that the request asks for. Raises Failure (400)."""
    tools = read_tools(request, limits)
    choice = read_choice(request, tools)
    return ConversationRequest(
        messages,
        tools,
        choice,
        read_output_format(request),
        {name: value for name, value in request.items() if name not in _OF_REQUEST or (name in _TOOLS and not value)},
    )


def _messages(messages: Any, limits: TranslationLimits) -> tuple[Message, ...]:
    calls = PendingCalls()
    calls_index = count = 0
    read = []
    for index, message in enumerate(_checked_list(messages, limits.messages)):
        path = f"messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise invalid(path, "must be an object with a `role`")
        role, content = message["role"], message.get("content")
        if len(message) == 2 and role in _ROLES_OF_PROMPTS and isinstance(content, str):  # nearly all messages
            read.append(Message(role, (Text(content),), path, True))
            continue
        if not isinstance(content, str) or "tool_calls" in message:
            count = _checked_count(count, message, limits.parts)
        if role == "assistant":
            calls.check_none_pending(calls_index)
            calls_index = index
            read.append(_assistant(message, path, index, calls))
        elif role in ("tool", "function"):
            read.append(_result(message, path, calls))
        elif role in _ROLES:
            read.append(_ordinary(message, path))
            if role == "user" and not read[-1].is_plain and _has_provider_results(read[-1]):
                calls.clear()
        else:
            raise invalid(f"{path}.role", "must be system, developer, user, assistant or tool")
    calls.check_none_pending(calls_index)
    return tuple(read)


def _checked_list(messages: Any, limit: int) -> list[Any]:
    """Return the messages. Raises Failure (400) if there are none, or too many."""
    if not isinstance(messages, list) or not messages:
        raise rejected("`messages` must be a list with at least one message", param="messages", code="invalid_type")
    if len(messages) > limit:
        raise too_many(len(messages), limit, "messages", "MAX_MESSAGES")
    return messages


def _checked_count(count: int, message: dict[str, Any], limit: int) -> int:
    """Add the parts and calls of a message to the count. Raises Failure (400) if there are too many."""
    for name in ("content", "tool_calls"):
        value = message.get(name)
        count += len(value) if isinstance(value, list) else 0
    if count > limit:
        raise too_many(count, limit, "messages[].content", "MAX_CONTENT_PARTS")
    return count


def _has_provider_results(message: Message) -> bool:
    """Return whether the content has tool results in a provider's own format, whose rules that provider checks."""
    return any(
        isinstance(part, ProviderPart) and (part.data.get("type") == "tool_result" or "functionResponse" in part.data)
        for part in message.parts
    )


def _without(members: Members, known: Set[str]) -> Members:
    """Return the members that are not known."""
    if members.keys() <= known:
        return NO_MEMBERS
    return {name: value for name, value in members.items() if name not in known}


# -- messages ----------------------------------------------------------------------------------------------------------


def _ordinary(message: dict[str, Any], path: str) -> Message:
    """Read a message of the user, or of the system."""
    content = message.get("content")
    extra = NO_MEMBERS if len(message) == 2 else _without(message, _OF_MESSAGE)
    if isinstance(content, str):
        return Message(_ROLES[message["role"]], (Text(content),), path, True, NO_MEMBERS, extra)
    if not content:
        extra = _with_content(extra, message)
    return Message(_ROLES[message["role"]], _parts(content, path), path, extra=extra)


def _with_content(extra: Members, message: dict[str, Any]) -> Members:
    """Keep a content without parts as the client wrote it."""
    return {**extra, "content": message["content"]} if "content" in message else extra


def _assistant(message: dict[str, Any], path: str, index: int, calls: PendingCalls) -> Message:
    content = message.get("content")
    is_plain = isinstance(content, str)
    if isinstance(content, str) and len(message) == 2:
        return Message("assistant", (Text(content),), path, is_plain)
    known = set(_OF_MESSAGE)
    parts: list[Part] = []
    reasoning = message.get("reasoning_content")
    if isinstance(reasoning, str) and reasoning:
        known.add("reasoning_content")
        parts.append(Reasoning(reasoning, where="reasoning_content"))
    if isinstance(content, str):
        parts.append(Text(content))
    else:
        parts += _parts(content, path)
    refusal = optional_text(message.get("refusal"), f"{path}.refusal")
    if refusal:
        known.add("refusal")
        parts.append(Refusal(refusal, where="refusal"))
    called = message.get("tool_calls")
    if called:
        known.add("tool_calls")
        parts += _calls(called, path, calls)
    legacy = message.get("function_call")
    if isinstance(legacy, dict) and not called:
        known.add("function_call")
        parts.append(_legacy_call(legacy, path, index, calls))
    provider_data = message.get(EXTRA_FIELDS)
    if isinstance(provider_data, dict):
        known.add(EXTRA_FIELDS)
    else:
        provider_data = NO_MEMBERS
    extra = _without(message, known)
    if not content and not is_plain:
        extra = _with_content(extra, message)
    return Message("assistant", tuple(parts), path, is_plain, provider_data, extra)


def _result(message: dict[str, Any], path: str, calls: PendingCalls) -> Message:
    call = calls.take(message, path)
    content = message.get("content")
    is_plain = isinstance(content, str)
    parts = (Text(content),) if isinstance(content, str) else _parts(content, path)
    legacy = message["role"] == "function"
    extra = _without(message, _OF_RESULT | {"name"} if legacy else _OF_RESULT)
    if not content and not is_plain:
        extra = _with_content(extra, message)
    result = ToolResult(
        call.unique_id,
        message.get("tool_call_id"),
        call.name,
        parts,
        is_error=message.get("is_error"),
        legacy=legacy,
        cache=_cache_mark(message),
    )
    return Message("tool", (result,), path, is_plain, extra=extra)


# -- parts -------------------------------------------------------------------------------------------------------------


def _parts(content: Any, path: str) -> tuple[Part, ...]:
    if content is None:
        return ()
    if not isinstance(content, list):
        raise invalid(f"{path}.content", "must be text or a list of parts")
    return tuple([_part(part, path) for part in content])


def _part(part: Any, path: str) -> Part:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        check_part(part, f"{path}.content")
        return ProviderPart(part)
    kind = part["type"]
    if kind == "text":
        return _text(part, path)
    read = _READERS.get(kind)
    if read is not None:
        return read(part, path)
    check_part(part, f"{path}.content")
    return ProviderPart(part)


def _text(part: dict[str, Any], path: str) -> Part:
    text = part.get("text")
    if not isinstance(text, str):
        check_part(part, f"{path}.content")
        if text is None and "text" in part:
            raise invalid(f"{path}.content", "must have text in its parts of type text")
        text = ""
    if len(part) == 2:
        return Text(text)
    return Text(text, cache=_cache_mark(part), extra=_without(part, {"type", "text"} | _CACHE_MARKS))


def _refusal(part: dict[str, Any], path: str) -> Part:
    text = optional_text(part.get("refusal"), f"{path}.content")
    return Refusal(text, cache=_cache_mark(part), extra=_without(part, {"type", "refusal"} | _CACHE_MARKS))


def _image(part: dict[str, Any], path: str) -> Part:
    image = part.get("image_url")
    inner = image if isinstance(image, dict) else {"url": image}
    url = inner.get("url")
    if not isinstance(url, str):
        raise invalid(f"{path}.content.image_url", "must hold a URL")
    detail = inner.get("detail")
    extra = _extra(part, "image_url", inner, {"url"} if detail is None else {"url", "detail"})
    return Image(
        with_lower_scheme(url),
        detail,
        isinstance(image, str),
        where="content.image_url",
        cache=_cache_mark(part),
        extra=extra,
    )


def _file(part: dict[str, Any], path: str) -> Part:
    where = f"{path}.content.file"
    file = part.get("file")
    if not isinstance(file, dict):
        return ProviderPart(part)
    known = [name for name in ("file_id", "file_data", "filename") if file.get(name)]
    for name in known:
        optional_text(file[name], f"{where}.{name}")
    return File(
        with_lower_scheme(file["file_data"]) if file.get("file_data") else None,
        file.get("file_id") or None,
        file.get("filename") or None,
        where="content.file",
        cache=_cache_mark(part),
        extra=_extra(part, "file", file, frozenset(known)),
    )


def _audio(part: dict[str, Any], path: str) -> Part:  # noqa: ARG001 - one of the readers below
    return Audio(
        part.get("input_audio"),
        cache=_cache_mark(part),
        extra=_without(part, {"type", "input_audio"} | _CACHE_MARKS),
    )


_READERS: Mapping[str, Callable[[dict[str, Any], str], Part]] = MappingProxyType(
    {"refusal": _refusal, "image_url": _image, "file": _file, "input_audio": _audio}
)


def _extra(part: dict[str, Any], name: str, inner: Members, known: Set[str]) -> Members:
    """Return the other members of a part, and those of its object `name` by their path."""
    extra = _without(part, {"type", name} | _CACHE_MARKS)
    more = _without(inner, known)
    return {**extra, **{f"{name}.{key}": value for key, value in more.items()}} if more else extra


def _cache_mark(members: Members) -> CacheMark | None:
    if "cache_control" in members or "prompt_cache_breakpoint" in members:
        return CacheMark(members.get("cache_control", UNSET), members.get("prompt_cache_breakpoint", UNSET))
    return None


# -- tool calls --------------------------------------------------------------------------------------------------------


def _calls(called: Any, path: str, calls: PendingCalls) -> list[Part]:
    if not isinstance(called, list) or not all(isinstance(call, dict) for call in called):
        raise invalid(f"{path}.tool_calls", "must be a list of calls")
    return [_call(call, path, f"tool_calls[{number}]", calls) for number, call in enumerate(called)]


def _call(call: dict[str, Any], path: str, where: str, calls: PendingCalls) -> ToolCall:
    call_id = call.get("id")
    if not isinstance(call_id, str) or not call_id:
        raise invalid(f"{path}.{where}.id", "must be text")
    is_custom = isinstance(call.get("custom"), dict)
    kind: Literal["function", "custom"] = "custom" if is_custom else "function"
    member, text_member = ("custom", "input") if is_custom else ("function", "arguments")
    function = call.get(member)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid(f"{path}.{where}.function", "must have a `name`")
    name, text = function["name"], function.get(text_member)
    if is_custom:
        optional_text(text, f"{path}.{where}.custom.input")
    provider_data = call.get("extra_content")
    if isinstance(provider_data, dict) and provider_data:
        extra = _without(call, {"id", "type", "extra_content", member})
    else:
        provider_data, extra = NO_MEMBERS, _without(call, {"id", "type", member})
    more = _without(function, {"name", text_member} if isinstance(text, str | dict) else {"name"})
    if more:
        extra = {**extra, **{f"{member}.{key}": value for key, value in more.items()}}
    if call.get("type") != member:
        extra = {**extra, "type": call.get("type", UNSET)}
    unique_id = calls.add(call_id, name)
    arguments = _arguments(text, f"{path}.{where}.function")
    return ToolCall(call_id, unique_id, name, arguments, kind, provider_data, where=where, extra=extra)


def _legacy_call(legacy: dict[str, Any], path: str, index: int, calls: PendingCalls) -> ToolCall:
    """Read a `function_call`. It has an `id` if it came from this gateway."""
    where = f"{path}.function_call"
    if not isinstance(legacy.get("name"), str):
        raise invalid(where, "must have a `name`")
    call_id = optional_text(legacy.get("id"), f"{where}.id")
    unique_id = calls.add(call_id or f"call_{index}", legacy["name"])
    arguments = _arguments(legacy.get("arguments"), where)
    extra = _without(legacy, {"id", "name", "arguments"} if arguments is not None else {"id", "name"})
    return ToolCall(call_id or None, unique_id, legacy["name"], arguments, "legacy", where="function_call", extra=extra)


def _arguments(arguments: Any, where: str) -> str | Members | None:
    if isinstance(arguments, str | dict):
        return arguments
    if arguments:
        raise invalid(f"{where}.arguments", "must be the JSON text of an object")
    return None
