"""Reading a chat request: one form for what OpenAI's API can say in two, and calls that pair with their results.

Every codec starts here. OpenAI refuses calls without a result and results without a call, and so do all the providers,
each with its own words; here such a request is a 400 that names the message.
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

# Where a model's arguments are no JSON (cut by a token limit, say), the text is handed back under this name, as
# Anthropic's guide to fine-grained streaming has it.
INVALID_JSON = "INVALID_JSON"
_read_arguments = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_OF_CALLED = frozenset({"name", "arguments"})
_OF_CALL = frozenset({"id", "type", "function", "extra_content", "index"})


class ChatRequest(NamedTuple):
    """`messages` hold `tool_calls` of functions only, with ids of their own, each answered by one `tool` message."""

    fields: RequestFields
    messages: list[dict[str, Any]]
    tools: ToolSet
    emulation: Emulation


def read_request(body: bytes, limits: TranslationLimits) -> ChatRequest:
    """The whole request. Raises Failure (400) where it is wrong for any provider, naming the member."""
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
        _modernize(message, index)
        content, calls = message.get("content"), message.get("tool_calls")
        parts += (len(content) if isinstance(content, list) else 0) + (len(calls) if calls else 0)
    if parts > limits.parts:
        raise too_many(parts, limits.parts, "messages[].content", "MAX_CONTENT_PARTS")
    _pair(messages)
    fields.pop("model")
    tools, emulation = read_tools(fields)
    return ChatRequest(fields, messages, tools, emulation)


def call_arguments(call: dict[str, Any], where: str, fields: RequestFields) -> dict[str, Any]:
    """The arguments of a function call as an object, whose values stay the JSON they are. Raises Failure for other
    JSON: no provider takes it."""
    fields.report_other_members(call, _OF_CALL, "messages.tool_calls")
    fields.report_other_members(call["function"], _OF_CALLED, "messages.tool_calls.function")
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


def _modernize(message: dict[str, Any], index: int) -> None:
    """`function_call` and custom calls as function calls, the `function` role as `tool`."""
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
    """A `function_call` as a call. The id is ours, where one of our own answers is handed back."""
    where = f"messages[{index}].function_call"
    if not isinstance(legacy.get("name"), str):
        raise invalid(where, "must have a `name`")
    given = optional_text(legacy.get("id"), f"{where}.id")
    function = {name: value for name, value in legacy.items() if name != "id"}
    return {"id": given or f"call_{index}", "type": "function", "function": function}


def _function_call(call: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(call.get("id"), str) or not call["id"]:
        raise invalid(f"{where}.id", "must be text")
    custom = call.get("custom")
    if isinstance(custom, dict):
        arguments = json_text({"input": custom.get("input", "")})
        rest = {name: value for name, value in call.items() if name != "custom"}
        call = {**rest, "type": "function", "function": {"name": custom.get("name"), "arguments": arguments}}
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid(f"{where}.function", "must have a `name`")
    return call


class _Calls:
    """The calls of a conversation: each gets an id of its own, and those without a result are found by id or by name
    in constant time."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._number = 0  # the last that stands behind an id
        self._waiting: dict[str, tuple[str, str]] = {}  # by the id of their own: the id given, and the name
        self._by_id: defaultdict[str, deque[str]] = defaultdict(deque)
        self._by_name: defaultdict[str, deque[str]] = defaultdict(deque)

    def add(self, call: dict[str, Any]) -> None:
        """Some providers count their calls anew in every answer: an id that is taken gets a number behind it.

        The numbers only rise, so that nobody can make this look at the same ones again and again.
        """
        given, name = call["id"], call["function"]["name"]
        own = given
        while own in self._ids:
            self._number = max(self._number + 1, len(self._ids))
            own = f"{given}-{self._number}"
        call["id"] = own
        self._ids.add(own)
        self._waiting[own] = given, name
        self._by_id[given].append(own)
        self._by_name[name].append(own)

    def forget(self) -> None:
        """Wait for no result any more."""
        self._waiting.clear()
        self._by_id.clear()
        self._by_name.clear()

    def answer(self, message: dict[str, Any], where: str) -> None:
        """Make the message the result of the first call it names. Raises Failure where there is none."""
        legacy = message["role"] == "function"
        member = "name" if legacy else "tool_call_id"
        named = message.get(member)
        owns = (self._by_name if legacy else self._by_id).get(named) if isinstance(named, str) else None
        while owns:
            own = owns.popleft()
            if own in self._waiting:  # else it was answered under its other name
                message.update(role="tool", tool_call_id=own, name=self._waiting.pop(own)[1])
                return
        raise invalid(f"{where}.{member}", "must name a call of the assistant's message before it, and each call once")

    def check_all_answered(self, asked: int) -> None:
        """Raise Failure where calls of the message at index `asked` have no result."""
        if self._waiting:
            ids = ", ".join(given[:60] for given, _ in islice(self._waiting.values(), 5))
            text = f"must each have a `tool` message with its result: {ids} has none"
            raise invalid(f"messages[{asked}].tool_calls", text)


def _pair(messages: list[dict[str, Any]]) -> None:
    """Give every call an id of its own, the same in its result, and see that each has exactly one result."""
    calls = _Calls()
    asked = 0
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "assistant":
            calls.check_all_answered(asked)
            asked = index
            for call in message.get("tool_calls") or ():
                calls.add(call)
        elif role in ("tool", "function"):
            calls.answer(message, f"messages[{index}]")
        elif role == "user" and _has_own_results(message.get("content")):
            calls.forget()
    calls.check_all_answered(asked)


def _has_own_results(content: Any) -> bool:
    """Results in a provider's own shape; who writes them knows its rules."""
    return isinstance(content, list) and any(
        isinstance(part, dict) and (part.get("type") == "tool_result" or "functionResponse" in part) for part in content
    )
