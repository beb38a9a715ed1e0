"""The rules by which OpenAI's API rejects requests, with the text of its errors.

Sources: OpenAI's API description, recorded errors, and error messages that users have reported. Unknown members are
accepted: this mock also stands for every compatible host, and those have additional members. What differs between
models is in `models`, and what differs between hosts in `hosts`.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from nulpoint.mock.openai.models import OpenAiModel, find_model
from nulpoint.mock.request_schema import ListOf, Path, json_type, record, violations

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PART_TYPES = {
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
}
# name -> type, minimum, maximum
_RANGES: dict[str, tuple[type, float, float | None]] = {
    "temperature": (float, 0, 2),
    "top_p": (float, 0, 1),
    "presence_penalty": (float, -2, 2),
    "frequency_penalty": (float, -2, 2),
    "n": (int, 1, 128),
    "top_logprobs": (int, 0, 20),
    "max_tokens": (int, 1, None),
    "max_completion_tokens": (int, 1, None),
}
# name -> the member it requires, and how the error message says so
_REQUIRED_WITH = {
    "tool_choice": ("tools", "'tools' are specified"),
    "parallel_tool_calls": ("tools", "'tools' are specified"),
    "top_logprobs": ("logprobs", "'logprobs' is enabled"),
    "stream_options": ("stream", "'stream' is enabled"),
}
_MAX_INPUTS = 2048


_NAMED_FUNCTION = record("name", name=str)
_CALL = record("id", id=str, type=str, function=dict, custom=dict)
_MESSAGE = record(
    "role",
    role=object,
    content=(str, ListOf(dict)),
    tool_calls=ListOf(_CALL),
    tool_call_id=str,
    refusal=str,
    audio=dict,
    function_call=dict,
)
_TOOL = record(
    "type",
    type=str,
    function=record("", name=str, parameters=dict, strict=bool),
    custom=record("", name=str, description=str, format=dict),
)
_TOOL_CHOICE = record("type", type=str, function=_NAMED_FUNCTION, custom=_NAMED_FUNCTION, allowed_tools=dict)
_RESPONSE_FORMAT = record("type", type=str, json_schema=record("", name=str, schema=dict, strict=bool))
_CHAT = record(
    "",
    model=str,
    messages=ListOf(_MESSAGE),
    tools=ListOf(_TOOL),
    tool_choice=(str, _TOOL_CHOICE),
    response_format=_RESPONSE_FORMAT,
    stop=(str, ListOf(str)),
    stream=bool,
    stream_options=dict,
    logprobs=bool,
    parallel_tool_calls=bool,
    reasoning_effort=str,
    web_search_options=dict,
)


class Rejection(NamedTuple):
    """The content of an error response."""

    message: str
    param: str | None = None
    code: str | None = None
    status: int = 400


def find_problem(body: dict[str, Any]) -> Rejection | None:
    """Return the first problem in a chat request, or None."""
    return next((rejection for rule in _RULES for rejection in rule(body)), None)


def as_parts(content: Any) -> list[dict[str, Any]]:
    """Return content as parts, whether it was written as a string or as a list."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content if isinstance(content, list) else []


def _required(body: dict[str, Any]) -> Iterator[Rejection]:
    if not body.get("model"):
        yield Rejection("you must provide a model parameter")
    elif str(body["model"]).startswith("no-such"):
        text = f"The model `{body['model']}` does not exist or you do not have access to it."
        yield Rejection(text, code="model_not_found", status=404)
    messages = body.get("messages")
    if messages is None:
        yield Rejection("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    elif messages == []:
        text = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        yield Rejection(text, "messages", "empty_array")


def _types(body: dict[str, Any]) -> Iterator[Rejection]:
    """Check the types of known members. Unknown members may be anything."""
    for violation in violations(body, _CHAT):
        path = _violation_path(violation.path)
        if violation.kind == "missing":
            yield Rejection(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")
        elif violation.kind == "type":
            expected = json_type(violation.expected)
            article = "an" if expected[0] in "aeiou" else "a"
            yield Rejection(f"Invalid type for '{path}': expected {article} {expected}.", path, "invalid_type")


def _violation_path(path: Path) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return "".join(steps).removeprefix(".")


def _messages(body: dict[str, Any]) -> Iterator[Rejection]:
    for number, message in enumerate(body["messages"]):
        path = f"messages[{number}]"
        role = message["role"]
        if role not in _ROLES:
            known_roles = ", ".join(f"'{item}'" for item in _ROLES[:-1])
            text = f"Invalid value: '{role}'. Supported values are: {known_roles}, and '{_ROLES[-1]}'."
            yield Rejection(text, f"{path}.role", "invalid_value")
            return
        content = message.get("content")
        has_output = (
            message.get("tool_calls") or message.get("function_call") or message.get("refusal") or message.get("audio")
        )
        if content is None and not (role == "assistant" and has_output):
            yield Rejection("Invalid value for 'content': expected a string, got null.", f"messages.[{number}].content")
        for index, part in enumerate(as_parts(content)):
            part_types = _PART_TYPES.get(role, ("text",))
            if part.get("type") not in part_types:
                names = " and ".join(f"'{item}'" for item in part_types)
                text = f"Invalid value: '{part.get('type')}'. Supported values are: {names}."
                yield Rejection(text, f"{path}.content[{index}].type", "invalid_value")
            if part.get("type") == "image_url" and not _is_image(part):
                text = f"Invalid '{path}.content[{index}].image_url.url'. Expected a valid URL, but got another value."
                yield Rejection(text, f"{path}.content[{index}].image_url.url", "invalid_image_url")


def _is_image(part: dict[str, Any]) -> bool:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return isinstance(url, str) and url.startswith(("http://", "https://", "data:image/"))


def _pairing(body: dict[str, Any]) -> Iterator[Rejection]:
    open_ids: list[str] = []
    for number, message in enumerate(body["messages"]):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_ids:
                text = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                yield Rejection(text, f"messages.[{number}].role")
                return
            open_ids.remove(message["tool_call_id"])
            continue
        if open_ids:
            yield _missing_results(open_ids, number)
            return
        open_ids = [call["id"] for call in message.get("tool_calls") or []]
    if open_ids:
        yield _missing_results(open_ids, len(body["messages"]))


def _missing_results(ids: list[str], number: int) -> Rejection:
    text = (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
        f" The following tool_call_ids did not have response messages: {', '.join(ids)}"
    )
    return Rejection(text, f"messages.[{number}].role")


def _ranges(body: dict[str, Any]) -> Iterator[Rejection]:
    for name, (kind, minimum, maximum) in _RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        type_name = "integer" if kind is int else "decimal"
        if not isinstance(value, (int, float) if kind is float else int) or isinstance(value, bool):
            yield Rejection(f"Invalid type for '{name}': expected {type_name}.", name, "invalid_type")
        elif value < minimum:
            text = f"Invalid '{name}': {type_name} below minimum value. Expected a value >= {minimum}, but got {value} instead."
            yield Rejection(text, name, f"{type_name}_below_min_value")
        elif maximum is not None and value > maximum:
            text = f"Invalid '{name}': {type_name} above maximum value. Expected a value <= {maximum}, but got {value} instead."
            yield Rejection(text, name, f"{type_name}_above_max_value")
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > 4:
        text = f"Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length {len(stop)} instead."
        yield Rejection(text, "stop", "array_above_max_length")


def _combinations(body: dict[str, Any]) -> Iterator[Rejection]:
    for name, (required, condition) in _REQUIRED_WITH.items():
        if body.get(name) is not None and not body.get(required) and not (name == "top_logprobs" and body[name] == 0):
            yield Rejection(f"Invalid value for '{name}': '{name}' is only allowed when {condition}.", name)


def _surface(body: dict[str, Any]) -> Iterator[Rejection]:
    if not find_model(body["model"]).chat:
        text = "This model is only supported in v1/responses and not in v1/chat/completions."
        yield Rejection(text, "model", status=404)


def _refused(body: dict[str, Any]) -> Iterator[Rejection]:
    """Check the members that the model does not accept, or does not accept while it reasons."""
    model = find_model(body["model"])
    for name in model.refused:
        if body.get(name) is not None:
            instead = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
            text = f"Unsupported parameter: '{name}' is not supported with this model.{instead}"
            yield Rejection(text, name, "unsupported_parameter")
    if model.efforts is None or not _reasons(body, model):
        return
    if "top_p" in model.refused_while_reasoning and body.get("temperature") not in (None, 1):
        text = f"Unsupported value: 'temperature' does not support {body['temperature']} with this model. Only the default (1) value is supported."
        yield Rejection(text, "temperature", "unsupported_value")
    for name in model.refused_while_reasoning:
        if body.get(name) not in (None, False, 1 if name == "top_p" else None):
            text = f"Unsupported parameter: '{name}' is not supported with this model."
            yield Rejection(text, name, "unsupported_parameter")


def _reasons(body: dict[str, Any], model: OpenAiModel) -> bool:
    """Return whether a reasoning model reasons about this request."""
    return (body.get("reasoning_effort") or model.default_effort) != "none"


def _reasoning(body: dict[str, Any]) -> Iterator[Rejection]:
    if "reasoning_effort" not in body:
        return
    model, effort = find_model(body["model"]), body["reasoning_effort"]
    if model.efforts is None:
        if effort is not None:
            yield Rejection("Unrecognized request argument supplied: reasoning_effort")
    elif effort not in model.efforts and not (effort is None and model.effort_null):
        names = ", ".join(f"'{level}'" for level in model.efforts[:-1])
        shown = "null" if effort is None else f"'{effort}'"
        text = f"Unsupported value: 'reasoning_effort' does not support {shown} with this model. Supported values are: {names}, and '{model.efforts[-1]}'."
        yield Rejection(text, "reasoning_effort", "unsupported_value")


def _functions(body: dict[str, Any]) -> Iterator[Rejection]:
    """Check the functions of a model that accepts them only while it does not reason, or only on `/v1/responses`."""
    model = find_model(body["model"])
    if not body.get("tools") or model.functions == "always":
        return
    if model.functions == "never" or _reasons(body, model):
        text = (
            f"Function tools with reasoning_effort are not supported for {body['model']} in /v1/chat/completions. To use"
            " function tools, use /v1/responses or set reasoning_effort to 'none'."
        )
        yield Rejection(text, "reasoning_effort")


def _cache_control(body: dict[str, Any]) -> Iterator[Rejection]:
    if find_model(body["model"]).cache_control:
        return
    for path in _cache_marks(body):
        yield Rejection(f"Unknown parameter: '{path}'.", path, "unknown_parameter")


def _cache_marks(body: dict[str, Any]) -> Iterator[str]:
    for number, message in enumerate(body["messages"]):
        if "cache_control" in message:
            yield f"messages[{number}].cache_control"
        for index, part in enumerate(as_parts(message.get("content"))):
            if "cache_control" in part:
                yield f"messages[{number}].content[{index}].cache_control"
    for number, tool in enumerate(body.get("tools") or []):
        if "cache_control" in tool:
            yield f"tools[{number}].cache_control"
    if "cache_control" in body:
        yield "cache_control"


def _tools(body: dict[str, Any]) -> Iterator[Rejection]:
    tools = body.get("tools")
    if tools == []:
        text = "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead."
        yield Rejection(text, "tools", "empty_array")
    for number, tool in enumerate(tools or []):
        function = tool.get("function") if tool.get("type") == "function" else tool.get("custom")
        path = f"tools[{number}]"
        if not isinstance(function, dict):
            yield Rejection(
                f"Missing required parameter: '{path}.function'.", f"{path}.function", "missing_required_parameter"
            )
            continue
        if not _NAME.fullmatch(function.get("name") or ""):
            text = f"Invalid '{path}.function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
            yield Rejection(text, f"{path}.function.name", "invalid_value")
        schema = function.get("parameters")
        if function.get("strict") and schema and schema.get("additionalProperties") is not False:
            yield _open_schema(f"function '{function['name']}'", f"{path}.function.parameters")
    choice = body.get("tool_choice")
    names = [(tool.get("function") or tool.get("custom") or {}).get("name") for tool in tools or []]
    if isinstance(choice, dict) and choice.get("type") == "function" and choice["function"]["name"] not in names:
        yield Rejection(f"Tool choice '{choice['function']['name']}' not found in 'tools' parameter.", "tool_choice")


def _format(body: dict[str, Any]) -> Iterator[Rejection]:
    response_format = body.get("response_format") or {}
    if response_format.get("type") == "json_object" and "json" not in str(body["messages"]).lower():
        text = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        yield Rejection(text, "messages")
    if response_format.get("type") != "json_schema":
        return
    json_schema = response_format.get("json_schema") or {}
    if not json_schema.get("name"):
        path = "response_format.json_schema.name"
        yield Rejection(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")
    schema = json_schema.get("schema") or {}
    if json_schema.get("strict") and schema.get("additionalProperties") is not False:
        yield _open_schema(f"response_format '{json_schema.get('name')}'", "response_format")


def _open_schema(subject: str, param: str) -> Rejection:
    text = f"Invalid schema for {subject}: In context=(), 'additionalProperties' is required to be supplied and to be false."
    return Rejection(text, param, "invalid_function_parameters" if "function" in param else None)


_RULES: tuple[Callable[[dict[str, Any]], Iterator[Rejection]], ...] = (
    _required,
    _types,
    _messages,
    _pairing,
    _ranges,
    _surface,
    _combinations,
    _refused,
    _reasoning,
    _tools,
    _functions,
    _format,
    _cache_control,
)


def find_embedding_problem(body: dict[str, Any]) -> Rejection | None:
    """Return the first problem in an embeddings request, or None."""
    return next(_embedding_problems(body), None)


def _embedding_problems(body: dict[str, Any]) -> Iterator[Rejection]:
    given = body.get("input")
    if given in (None, "", []):
        yield Rejection("'input' cannot be empty", "input", "empty_array")
    if isinstance(given, list) and "" in given:
        yield Rejection(
            "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
            "input",
        )
    if isinstance(given, list) and len(given) > _MAX_INPUTS and not isinstance(given[0], int):
        text = f"Invalid 'input': array too long. Expected an array with maximum length {_MAX_INPUTS}, but got an array with length {len(given)} instead."
        yield Rejection(text, "input", "array_above_max_length")
    if body.get("dimensions") is not None and not find_model(str(body.get("model"))).dimensions:
        yield Rejection("This model does not support specifying dimensions.", "dimensions")
