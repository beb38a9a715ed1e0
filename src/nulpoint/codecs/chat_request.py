"""Reading a chat request: one form for what OpenAI's API can say in two, and calls that pair with their results.

Every codec starts here. OpenAI refuses calls without a result and results without a call, and so do all the providers,
each with its own words; here such a request is a 400 that names the message.
"""

from typing import Any, NamedTuple

import msgspec

from nulpoint.codecs.canonical import Members, json_text, read_body, wrong
from nulpoint.codecs.tools import Tools, read_tools
from nulpoint.codecs.wrapping import Wrapped
from nulpoint.errors import rejected

# Where a model's arguments are no JSON (cut by a token limit, say), the text is handed back under this name, as
# Anthropic's guide to fine-grained streaming has it.
INVALID_JSON = "INVALID_JSON"
_OF_CALLED = frozenset({"name", "arguments"})
_OF_CALL = frozenset({"id", "type", "function", "extra_content", "index"})


class ChatRequest(NamedTuple):
    """`messages` hold `tool_calls` of functions only, with ids of their own, each answered by one `tool` message."""

    members: Members
    messages: list[dict[str, Any]]
    tools: Tools
    wrapped: Wrapped


def read_request(body: bytes) -> ChatRequest:
    """The whole request. Raises Failure (400) where it is wrong for any provider, naming the member."""
    members = Members(read_body(body))
    messages = members.take("messages")
    if not isinstance(messages, list) or not messages:
        raise rejected("`messages` must be a list with at least one message", param="messages", code="invalid_type")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise wrong(f"messages[{index}]", "must be an object with a `role`")
        _modernize(message, index)
    _pair(messages)
    members.take("model")
    tools, wrapped = read_tools(members)
    return ChatRequest(members, messages, tools, wrapped)


def arguments_of(call: dict[str, Any], where: str, members: Members) -> dict[str, Any]:
    """The arguments of a function call as an object. Raises Failure for other JSON: no provider takes it."""
    members.drop_others(call, _OF_CALL, "messages.tool_calls")
    members.drop_others(call["function"], _OF_CALLED, "messages.tool_calls.function")
    text = call["function"].get("arguments") or "{}"
    try:
        arguments = msgspec.json.decode(text) if isinstance(text, str) else text
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return {INVALID_JSON: text}
    if not isinstance(arguments, dict):
        raise wrong(f"{where}.function.arguments", "must be the JSON text of an object")
    return arguments


def _modernize(message: dict[str, Any], index: int) -> None:
    """`function_call` and custom calls as function calls, the `function` role as `tool`."""
    calls = message.get("tool_calls")
    legacy = message.pop("function_call", None) if "function_call" in message else None
    if isinstance(legacy, dict) and not calls:
        if not isinstance(legacy.get("name"), str):
            raise wrong(f"messages[{index}].function_call", "must have a `name`")
        given = legacy.get("id")
        function = {name: value for name, value in legacy.items() if name != "id"}
        message["tool_calls"] = [{"id": given or f"call_{index}", "type": "function", "function": function}]
    elif calls:
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise wrong(f"messages[{index}].tool_calls", "must be a list of calls")
        message["tool_calls"] = [
            _function_call(call, f"messages[{index}].tool_calls[{at}]") for at, call in enumerate(calls)
        ]


def _function_call(call: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(call.get("id"), str) or not call["id"]:
        raise wrong(f"{where}.id", "must be text")
    custom = call.get("custom")
    if isinstance(custom, dict):
        arguments = json_text({"input": custom.get("input", "")})
        rest = {name: value for name, value in call.items() if name != "custom"}
        call = {**rest, "type": "function", "function": {"name": custom.get("name"), "arguments": arguments}}
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise wrong(f"{where}.function", "must have a `name`")
    return call


def _pair(messages: list[dict[str, Any]]) -> None:
    """Give every call an id of its own, the same in its result, and see that each has exactly one result."""
    given: set[str] = set()
    waiting: list[tuple[str, str, str]] = []  # calls without a result: the id given, the id of its own, the name
    asked = 0
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "assistant" and message.get("tool_calls"):
            _all_answered(waiting, asked)
            asked = index
            for number, call in enumerate(message["tool_calls"]):
                own = call["id"]
                if own in given:  # some providers count their calls anew in every answer
                    own = f"{own}-{len(given)}"
                    message["tool_calls"][number] = {**call, "id": own}
                given.add(own)
                waiting.append((call["id"], own, call["function"]["name"]))
        elif role == "assistant":
            _all_answered(waiting, asked)
        elif role in ("tool", "function"):
            _answer(message, waiting, f"messages[{index}]")
        elif role == "user" and _has_own_results(message.get("content")):
            waiting.clear()
    _all_answered(waiting, asked)


def _answer(message: dict[str, Any], waiting: list[tuple[str, str, str]], where: str) -> None:
    legacy = message["role"] == "function"
    for call in waiting:
        if message.get("name" if legacy else "tool_call_id") == call[2 if legacy else 0]:
            waiting.remove(call)
            message.update(role="tool", tool_call_id=call[1], name=call[2])
            return
    member = "name" if legacy else "tool_call_id"
    raise wrong(f"{where}.{member}", "must name a call of the assistant's message before it, and each call once")


def _all_answered(waiting: list[tuple[str, str, str]], asked: int) -> None:
    if waiting:
        ids = ", ".join(call[0][:60] for call in waiting[:5])
        raise wrong(f"messages[{asked}].tool_calls", f"must each have a `tool` message with its result: {ids} has none")


def _has_own_results(content: Any) -> bool:
    """Results in a provider's own shape; who writes them knows its rules."""
    return isinstance(content, list) and any(
        isinstance(part, dict) and (part.get("type") == "tool_result" or "functionResponse" in part) for part in content
    )
