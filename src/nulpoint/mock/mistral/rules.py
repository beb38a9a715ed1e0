"""The rules by which the Mistral API rejects requests, with the text of its errors.

It responds with 422 to unknown members at every level, and with 400 to requests that make no sense. Sources: the
request types of the `mistralai` SDK, recorded traffic, and error messages that users have reported.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from nulpoint.mock.mistral.models import find_model
from nulpoint.mock.request_schema import ListOf, TaggedUnion, Violation, record, violations

_TEXT = record("text", type=str, text=str)
_CHUNKS = {
    "text": _TEXT,
    "image_url": record("image_url", type=str, image_url=(str, record("url", url=str, detail=str))),
    "document_url": record("document_url", type=str, document_url=str, document_name=str),
    "file": record("file_id", type=str, file_id=str),
    "input_audio": record("input_audio", type=str, input_audio=(str, record("data", data=str, format=str))),
    "thinking": record(
        "thinking", type=str, thinking=ListOf(TaggedUnion("type", {"text": _TEXT})), signature=str, closed=bool
    ),
    "reference": record("reference_ids", type=str, reference_ids=list),
}
_CONTENT = (str, ListOf(TaggedUnion("type", _CHUNKS)))
_CALL = record(
    "function", id=str, type=str, index=int, function=record("name arguments", name=str, arguments=(str, dict))
)
_MESSAGES = {
    "system": record("content", role=str, content=_CONTENT),
    "user": record("content", role=str, content=_CONTENT),
    "assistant": record("", role=str, content=_CONTENT, tool_calls=ListOf(_CALL), prefix=bool),
    "tool": record("", role=str, content=_CONTENT, tool_call_id=str, name=str),
}
_TOOL = record(
    "function", type=str, function=record("name parameters", name=str, parameters=dict, description=str, strict=bool)
)
_TOOL_CHOICE = (
    frozenset({"auto", "none", "any", "required"}),
    record("function", type=str, function=record("name", name=str)),
)
_RESPONSE_FORMAT = record(
    "",
    type=frozenset({"text", "json_object", "json_schema"}),
    json_schema=record("name schema", name=str, schema=dict, description=str, strict=bool),
)
CHAT = record(
    "model messages",
    model=str,
    messages=ListOf(TaggedUnion("role", _MESSAGES)),
    temperature=float,
    top_p=float,
    max_tokens=int,
    stream=bool,
    stop=(str, ListOf(str)),
    random_seed=int,
    metadata=dict,
    response_format=_RESPONSE_FORMAT,
    tools=ListOf(_TOOL),
    tool_choice=_TOOL_CHOICE,
    presence_penalty=float,
    frequency_penalty=float,
    min_tokens=int,
    repetition_penalty=float,
    top_k=int,
    logprobs=bool,
    top_logprobs=int,
    prompt_logprobs=bool,
    top_prompt_logprobs=int,
    n=int,
    prediction=record("", type=frozenset({"content"}), content=str),
    parallel_tool_calls=bool,
    reasoning_effort=frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"}),
    prompt_mode=frozenset({"reasoning"}),
    guardrails=list,
    prompt_cache_key=str,
    service_tier=frozenset({"auto", "standard_only"}),
    safe_prompt=bool,
)
EMBEDDINGS = record(
    "model input",
    model=str,
    input=(str, ListOf(str)),
    encoding_format=frozenset({"float", "base64"}),
    output_dimension=int,
    output_dtype=str,
    metadata=dict,
)

_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
# The roles that may follow each role.
_ALLOWED_AFTER = {
    None: {"system", "user", "assistant"},
    "system": {"system", "user", "assistant"},
    "user": {"user", "assistant", "system"},
    "assistant": {"user", "assistant", "tool", "system"},
    "tool": {"tool", "assistant"},
}
_ORDER_ERROR, _ARGUMENTS_ERROR = "invalid_request_message_order", "invalid_request_invalid_args"
# name -> minimum, maximum
_RANGES = {
    "temperature": (0, 1.5),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "n": (1, 16),
    "max_tokens": (0, None),
    "random_seed": (0, None),
}


class Rejection(NamedTuple):
    """The message, type and code of an error with status 400."""

    message: str
    type: str = "invalid_request_error"
    code: str | None = None


def validation_errors(body: Any, schema: Any = CHAT) -> list[dict[str, Any]]:
    """Return the `detail` of a 422 response: an entry for every member that violates the schema."""
    details = [_detail(violation) for violation in violations(body, schema)]
    for name, (minimum, maximum) in _RANGES.items():
        value = body.get(name)
        if isinstance(value, int | float) and not (minimum <= value and (maximum is None or value <= maximum)):
            limit = f"greater than or equal to {minimum}" if value < minimum else f"less than or equal to {maximum}"
            details.append(_detail_entry("value_error", ["body", name], f"Input should be {limit}", value))
    return details


def _detail(violation: Violation) -> dict[str, Any]:
    path = ["body", *violation.path]
    match violation.kind:
        case "unknown":
            return _detail_entry("extra_forbidden", path, "Extra inputs are not permitted", violation.value)
        case "missing":
            return _detail_entry("missing", path, "Field required", violation.value)
        case "value":
            allowed = ", ".join(f"'{value}'" for value in violation.expected)
            return _detail_entry("literal_error", path, f"Input should be {allowed}", violation.value)
    return _detail_entry("type_error", path, "Input should have another type", violation.value)


def _detail_entry(type: str, path: list[Any], text: str, value: Any) -> dict[str, Any]:
    return {"type": type, "loc": path, "msg": text, "input": value}


def find_problem(body: dict[str, Any]) -> Rejection | None:
    """Return the first problem in a request that matches its schema, or None."""
    return next((rejection for rule in _RULES for rejection in rule(body)), None)


# -- rules -------------------------------------------------------------------------------------------------------------


def _roles(body: dict[str, Any]) -> Iterator[Rejection]:
    messages = body["messages"]
    if not messages:
        yield Rejection("Conversation must have at least one message", _ORDER_ERROR, "3230")
        return
    previous_role = None
    for message in messages:
        role = message["role"]
        is_tolerated = role == "user" and previous_role == "tool" and find_model(body["model"]).user_after_tool
        if role not in _ALLOWED_AFTER[previous_role] and not is_tolerated:
            yield Rejection(f"Unexpected role '{role}' after role '{previous_role}'", _ORDER_ERROR, "3230")
        previous_role = role
    last_message = messages[-1]
    if last_message["role"] not in ("user", "tool") and not last_message.get("prefix"):
        yield Rejection(
            f"Expected last role User or Tool (or Assistant with prefix True) for serving but got {last_message['role']}",
            _ORDER_ERROR,
            "3230",
        )


def _assistants(body: dict[str, Any]) -> Iterator[Rejection]:
    for number, message in enumerate(body["messages"]):
        if message["role"] == "assistant" and not message.get("content") and not message.get("tool_calls"):
            yield Rejection("Assistant message must have either content or tool_calls, but not none.", code="3240")
        if message.get("prefix") and number < len(body["messages"]) - 1:
            yield Rejection("Only the last message may have prefix True", _ORDER_ERROR, "3230")


def _call_ids(body: dict[str, Any]) -> Iterator[Rejection]:
    for message in body["messages"]:
        ids = [call.get("id") for call in message.get("tool_calls") or []]
        ids += [message.get("tool_call_id")] if message["role"] == "tool" else []
        for call_id in ids:
            if not _CALL_ID.fullmatch(call_id or ""):
                text = f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9."
                yield Rejection(text, "invalid_function_call", "3280")


def _pairing(body: dict[str, Any]) -> Iterator[Rejection]:
    """Check that the tool results after an assistant message belong to its calls."""
    messages = body["messages"]
    for number, message in enumerate(messages):
        calls = sorted(call["id"] for call in message.get("tool_calls") or [])
        results: list[str] = []
        for following in messages[number + 1 :]:
            if following["role"] != "tool":
                break
            results.append(following["tool_call_id"])
        if message["role"] != "assistant" or (calls and number == len(messages) - 1):
            continue
        if len(calls) != len(results):
            yield Rejection("Not the same number of function calls and responses", _ORDER_ERROR, "3230")
        if calls != sorted(results):
            yield Rejection(f"Unexpected tool call id {results[0]} in tool results", "invalid_function_call", "3280")


def _tools(body: dict[str, Any]) -> Iterator[Rejection]:
    names = [tool["function"]["name"] for tool in body.get("tools") or []]
    for name in names:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
            text = f"Function name was {name} but must be a-z, A-Z, 0-9, or contain underscores and dashes, with a maximum length of 64."
            yield Rejection(text, "invalid_function_call", "3281")
    if len(set(names)) < len(names):
        yield Rejection("Tools must have unique names", "invalid_request_error")
    choice = body.get("tool_choice")
    if choice in ("any", "required") and not names:
        yield Rejection("When using `any` or `required` as tool choice, tools must be given")
    if isinstance(choice, dict) and choice["function"]["name"] not in names:
        yield Rejection(f"Tool {choice['function']['name']} is not one of the given tools")


def _reasoning(body: dict[str, Any]) -> Iterator[Rejection]:
    model, effort = find_model(body["model"]), body.get("reasoning_effort")
    kinds = {
        part["type"]
        for message in body["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
    }
    if "thinking" in kinds and not model.reasons:
        yield Rejection("Reasoning input is not enabled for this model", _ARGUMENTS_ERROR, "3051")
    if effort is not None and not model.efforts:
        yield Rejection("Reasoning effort is not enabled for this model", _ARGUMENTS_ERROR, "3051")
    elif effort is not None and effort not in model.efforts:
        allowed = ", ".join(model.efforts)
        yield Rejection(
            f"Reasoning effort {effort} is not supported for this model: use {allowed}", _ARGUMENTS_ERROR, "3051"
        )
    if body.get("prompt_mode") is not None and not model.prompt_mode:
        yield Rejection("Reasoning prompt mode is not enabled for this model", _ARGUMENTS_ERROR, "3051")


_RULES: tuple[Callable[[dict[str, Any]], Iterator[Rejection]], ...] = (
    _roles,
    _assistants,
    _call_ids,
    _pairing,
    _tools,
    _reasoning,
)
