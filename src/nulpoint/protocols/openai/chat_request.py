"""Reads a chat request for the codecs: converts legacy forms to current ones, and pairs tool calls with their results.

OpenAI and all other providers reject calls without a result and results without a call, each with a different error.
The gateway rejects such requests itself, with a 400 that names the message.
"""

from collections import defaultdict, deque
from itertools import islice
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
    text = call["function"].get("arguments") or "{}"
    where = f"{where}.function.arguments"
    if isinstance(text, dict):
        return text
    if not isinstance(text, str):
        raise invalid(where, "must be the JSON text of an object")
    check_nested_json(text, where, fields.limits.json_nodes)
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


class _PendingCalls:
    """The calls of a conversation that have no result yet.

    Each call gets a unique id. Calls are looked up by the client's id or by function name in constant time.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._number = 0  # the last number that was appended to an id
        self._pending: dict[str, tuple[str, str]] = {}  # the client's id and the function name, by unique id
        self._by_id: defaultdict[str, deque[str]] = defaultdict(deque)  # unique ids by the client's id
        self._by_name: defaultdict[str, deque[str]] = defaultdict(deque)  # unique ids by function name

    def add(self, call: dict[str, Any]) -> None:
        """Add a call, and append a number to its id if another call has the same id.

        This is needed because some providers number their calls from the start in every response. The numbers only
        rise, so no request can make this loop try the same ones again and again.
        """
        client_id, name = call["id"], call["function"]["name"]
        unique_id = client_id
        while unique_id in self._ids:
            self._number = max(self._number + 1, len(self._ids))
            unique_id = f"{client_id}-{self._number}"
        call["id"] = unique_id
        self._ids.add(unique_id)
        self._pending[unique_id] = client_id, name
        self._by_id[client_id].append(unique_id)
        self._by_name[name].append(unique_id)

    def clear(self) -> None:
        """Drop all calls, so that none needs a result."""
        self._pending.clear()
        self._by_id.clear()
        self._by_name.clear()

    def assign_result(self, message: dict[str, Any], where: str) -> None:
        """Make the message the result of the first call that it names. Raises Failure (400) if there is none."""
        legacy = message["role"] == "function"
        member = "name" if legacy else "tool_call_id"
        key = message.get(member)
        unique_ids = (self._by_name if legacy else self._by_id).get(key) if isinstance(key, str) else None
        while unique_ids:
            unique_id = unique_ids.popleft()
            if unique_id in self._pending:  # otherwise it already has a result, found through the other table
                message.update(role="tool", tool_call_id=unique_id, name=self._pending.pop(unique_id)[1])
                return
        raise invalid(f"{where}.{member}", "must name a call of the assistant's message before it, and each call once")

    def check_none_pending(self, index: int) -> None:
        """Raise Failure (400) if a call of the message at `index` has no result."""
        if self._pending:
            ids = ", ".join(client_id[:60] for client_id, _ in islice(self._pending.values(), 5))
            text = f"must each have a `tool` message with its result: {ids} has none"
            raise invalid(f"messages[{index}].tool_calls", text)


def _pair_calls_with_results(messages: list[dict[str, Any]]) -> None:
    """Give every call and its result a unique id, and check that each call has exactly one result."""
    calls = _PendingCalls()
    calls_index = 0
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "assistant":
            calls.check_none_pending(calls_index)
            calls_index = index
            for call in message.get("tool_calls") or ():
                calls.add(call)
        elif role in ("tool", "function"):
            calls.assign_result(message, f"messages[{index}]")
        elif role == "user" and _has_provider_results(message.get("content")):
            calls.clear()
    calls.check_none_pending(calls_index)


def _has_provider_results(content: Any) -> bool:
    """Return whether the content has tool results in a provider's own format, whose rules that provider checks."""
    return isinstance(content, list) and any(
        isinstance(part, dict) and (part.get("type") == "tool_result" or "functionResponse" in part) for part in content
    )
