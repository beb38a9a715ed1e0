"""Reads a chat request for the codecs: converts legacy forms to current ones, and pairs tool calls with their results."""

from typing import Any, NamedTuple

import msgspec

from nulpoint.errors import rejected
from nulpoint.protocols.emulation import Emulation
from nulpoint.protocols.limits import TranslationLimits
from nulpoint.protocols.openai.chat import (
    RequestFields,
    check_nested_json,
    invalid,
    json_text,
    optional_text,
    read_body,
    too_many,
)
from nulpoint.protocols.openai.pending_calls import PendingCalls
from nulpoint.protocols.openai.tools import ToolSet, read_tools

# If a call's arguments are not valid JSON (because a token limit cut them off, for example), their text is sent back
# under this name, as Anthropic's guide to fine-grained streaming recommends.
INVALID_JSON = "INVALID_JSON"
_read_arguments = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_FUNCTION_MEMBERS = frozenset({"name", "arguments"})
_CALL_MEMBERS = frozenset({"id", "type", "function", "extra_content", "index"})


class ChatRequest(NamedTuple):
    """A chat request for a codec to translate.

    All `tool_calls` in `messages` are function calls with unique ids, and each has its result in a `tool` message.
    """

    fields: RequestFields
    messages: list[dict[str, Any]]
    tools: ToolSet
    emulation: Emulation


def read_request(body: bytes, limits: TranslationLimits) -> ChatRequest:
    """Return the request with its messages and tools. Raises Failure (400) if it is wrong for any provider."""
    fields = RequestFields(read_body(body), limits)
    messages = fields.pop("messages")
    if not isinstance(messages, list) or not messages:
        raise rejected("`messages` must be a list with at least one message", param="messages", code="invalid_type")
    if len(messages) > limits.messages:
        raise too_many(len(messages), limits.messages, "messages", "MAX_MESSAGES")
    parts = 0
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise invalid(f"messages[{index}]", "must be an object with a `role`")
        _convert_calls(message, index)
        content, calls = message.get("content"), message.get("tool_calls")
        parts += (len(content) if isinstance(content, list) else 0) + (len(calls) if calls else 0)
    if parts > limits.parts:
        raise too_many(parts, limits.parts, "messages[].content", "MAX_CONTENT_PARTS")
    _pair_calls_with_results(messages)
    fields.pop("model")
    tools, emulation = read_tools(fields)
    return ChatRequest(fields, messages, tools, emulation)


def call_arguments(call: dict[str, Any], where: str, fields: RequestFields) -> dict[str, Any]:
    """Return the arguments of a function call as an object whose values are undecoded JSON.

    Raises Failure (400) for arguments that are JSON but no object, which no provider accepts.
    """
    fields.report_other_members(call, _CALL_MEMBERS, "messages.tool_calls")
    fields.report_other_members(call["function"], _FUNCTION_MEMBERS, "messages.tool_calls.function")
    return arguments_object(call["function"].get("arguments"), f"{where}.function.arguments", fields.limits)


def arguments_object(arguments: Any, where: str, limits: TranslationLimits) -> dict[str, Any]:
    """Return arguments, which are JSON text or an object, as an object whose values are undecoded JSON if possible.

    Raises Failure (400) for arguments that are JSON but no object, which no provider accepts.
    """
    text = arguments or "{}"
    if isinstance(text, dict):
        return text
    if not isinstance(text, str):
        raise invalid(where, "must be the JSON text of an object")
    check_nested_json(text, where, limits.json_nodes)
    try:
        return _read_arguments(text)
    except msgspec.ValidationError:
        raise invalid(where, "must be the JSON text of an object") from None
    except (msgspec.DecodeError, RecursionError):
        return {INVALID_JSON: text}


def _convert_calls(message: dict[str, Any], index: int) -> None:
    """Convert a legacy `function_call` and custom tool calls of a message to function calls in `tool_calls`."""
    calls = message.get("tool_calls")
    legacy = message.pop("function_call", None) if "function_call" in message else None
    if isinstance(legacy, dict) and not calls:
        message["tool_calls"] = [_legacy_call(legacy, index)]
    elif calls:
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise invalid(f"messages[{index}].tool_calls", "must be a list of calls")
        message["tool_calls"] = [
            _function_call(call, f"messages[{index}].tool_calls[{at}]") for at, call in enumerate(calls)
        ]


def _legacy_call(legacy: dict[str, Any], index: int) -> dict[str, Any]:
    """Return a `function_call` as a tool call. It has an `id` if it came from this gateway."""
    where = f"messages[{index}].function_call"
    if not isinstance(legacy.get("name"), str):
        raise invalid(where, "must have a `name`")
    call_id = optional_text(legacy.get("id"), f"{where}.id")
    function = {name: value for name, value in legacy.items() if name != "id"}
    return {"id": call_id or f"call_{index}", "type": "function", "function": function}


def _function_call(call: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(call.get("id"), str) or not call["id"]:
        raise invalid(f"{where}.id", "must be text")
    custom = call.get("custom")
    if isinstance(custom, dict):
        arguments = json_text({"input": custom.get("input", "")})
        members = {name: value for name, value in call.items() if name != "custom"}
        call = {**members, "type": "function", "function": {"name": custom.get("name"), "arguments": arguments}}
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid(f"{where}.function", "must have a `name`")
    return call


def _pair_calls_with_results(messages: list[dict[str, Any]]) -> None:
    """Give every call and its result a unique id, and check that each call has exactly one result."""
    calls = PendingCalls()
    calls_index = 0
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "assistant":
            calls.check_none_pending(calls_index)
            calls_index = index
            for call in message.get("tool_calls") or ():
                call["id"] = calls.add(call["id"], call["function"]["name"])
        elif role in ("tool", "function"):
            call = calls.take(message, f"messages[{index}]")
            message.update(role="tool", tool_call_id=call.unique_id, name=call.name)
        elif role == "user" and _has_provider_results(message.get("content")):
            calls.clear()
    calls.check_none_pending(calls_index)


def _has_provider_results(content: Any) -> bool:
    """Return whether the content has tool results in a provider's own format, whose rules that provider checks."""
    return isinstance(content, list) and any(
        isinstance(part, dict) and (part.get("type") == "tool_result" or "functionResponse" in part) for part in content
    )
