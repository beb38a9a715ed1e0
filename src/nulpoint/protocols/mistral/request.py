"""Translates a chat request to Mistral's chat API, which is similar to OpenAI's.

Mistral rejects unknown members at every level, so every object is built from the members that it knows. Only top-level
members and message parts in Mistral's own format are sent unchanged. Sources: the request types of the `mistralai` SDK
and recorded traffic.
"""

from typing import Any

import msgspec

from nulpoint.protocols.limits import DEFAULT_LIMITS, TranslationLimits
from nulpoint.protocols.mistral.call_id import call_id
from nulpoint.protocols.mistral.response import joined_text
from nulpoint.protocols.openai.chat import (
    EXTRA_FIELDS,
    EncodedRequest,
    RequestFields,
    end_user,
    invalid,
    object_of,
    optional_text,
    original_parts,
    output_limit,
    parts_of,
    reject_deep_nesting,
    stop_sequences,
    write_body,
)
from nulpoint.protocols.openai.chat_request import INVALID_JSON, call_arguments, read_request
from nulpoint.protocols.openai.response_format import read_format
from nulpoint.protocols.openai.tools import ToolSet

# Members that have the same meaning in Mistral's API and are sent unchanged.
_SAME_MEMBERS = (
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "n", "logprobs", "top_logprobs",
    "reasoning_effort", "prompt_cache_key",
)  # fmt: skip
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_MESSAGE_MEMBERS = frozenset({"role", "content"})
_ASSISTANT_MEMBERS = _MESSAGE_MEMBERS | {
    "tool_calls",
    "refusal",
    "reasoning_content",
    "prefix",
    EXTRA_FIELDS,
    "extra_content",
    "annotations",
}
_RESULT_MEMBERS = _MESSAGE_MEMBERS | {"tool_call_id", "name"}
_FUNCTION_MEMBERS = frozenset({"name", "description", "parameters", "strict"})
_PART_MEMBERS = frozenset({"type", "text", "refusal", "image_url", "file", "input_audio"})
_DETAILS = ("low", "auto", "high")


@reject_deep_nesting
def encode(body: bytes, model: str, limits: TranslationLimits = DEFAULT_LIMITS) -> EncodedRequest:
    """Translate a request. Raises Failure (400) that names the member that is wrong or has no equivalent."""
    fields, messages, tools, emulation = read_request(body, limits)
    request: dict[str, Any] = {"model": model, "messages": _messages(messages, fields)}
    limit = output_limit(fields)
    if limit is not None:
        request["max_tokens"] = limit
    if fields.pop("stream"):
        request["stream"] = True
    fields.pop("stream_options")
    stops = stop_sequences(fields)
    if stops:
        request["stop"] = stops
    seed = fields.pop("seed")
    if seed is not None:
        request["random_seed"] = seed
    for name in _SAME_MEMBERS:
        value = fields.pop(name)
        if value is not None:
            request[name] = value
    _tools(request, tools, fields)
    if emulation.legacy_functions and "tools" in request:
        request["parallel_tool_calls"] = False
    _output(request, fields)
    _account(request, fields)
    request.update(fields.leftovers())
    return EncodedRequest(write_body(request), fields.dropped, emulation)


def _messages(messages: list[dict[str, Any]], fields: RequestFields) -> list[dict[str, Any]]:
    translated: list[dict[str, Any]] = []
    # Media in tool results follow in a message of the user, since Mistral's results may only have text.
    media: list[dict[str, Any]] = []
    delayed: list[dict[str, Any]] = []  # messages between a call and its result, which are sent after all results
    pending_calls: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message["role"]
        if role in ("system", "developer", "user"):
            fields.report_other_members(message, _MESSAGE_MEMBERS, "messages")
            content = _content(message.get("content"), where, fields)
            prompt = {"role": "user" if role == "user" else "system", "content": content}
            delayed.append(prompt) if pending_calls else _add_prompt(translated, prompt)
        elif role == "assistant":
            translated += _assistant(message, where, fields)
            pending_calls = {call["id"] for call in message.get("tool_calls") or ()}
        elif role == "tool":
            translated.append(_result(message, where, fields, media))
            pending_calls.discard(message["tool_call_id"])
            if not pending_calls:
                for prompt in [{"role": "user", "content": media}, *delayed] if media else delayed:
                    _add_prompt(translated, prompt)
                media, delayed = [], []
        else:
            raise invalid(f"{where}.role", "must be system, developer, user, assistant or tool")
    _fix_last_message(translated)
    return translated


def _fix_last_message(translated: list[dict[str, Any]]) -> None:
    """Change the last message to what Mistral accepts: the user's, a result, or one that is marked as a prefix."""
    last: dict[str, Any] = translated[-1] if translated else {"role": "user"}
    if last["role"] == "assistant":
        last["prefix"] = True
    elif last["role"] == "system":
        last["role"] = "user"


def _add_prompt(translated: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Add a message of the user or system.

    After a result, Mistral only accepts a message of the assistant, which must not be empty, so one is inserted.
    """
    if translated and translated[-1]["role"] == "tool":
        translated.append({"role": "assistant", "content": " "})
    translated.append(message)


def _result(message: dict[str, Any], where: str, fields: RequestFields, media: list[dict[str, Any]]) -> dict[str, Any]:
    fields.report_other_members(message, _RESULT_MEMBERS, "messages")
    mistral_id = call_id(message["tool_call_id"])
    content = _content(message.get("content"), where, fields)
    if isinstance(content, list):
        others = [part for part in content if part.get("type") != "text"]
        if others:
            media += [{"type": "text", "text": f"From the result of call {mistral_id}:"}, *others]
        content = joined_text(content)
    return {"role": "tool", "name": message["name"], "content": content, "tool_call_id": mistral_id}


def _assistant(message: dict[str, Any], where: str, fields: RequestFields) -> list[dict[str, Any]]:
    """Return a list with the message, or an empty list for an empty message, which Mistral rejects."""
    fields.report_other_members(message, _ASSISTANT_MEMBERS, "messages")
    calls = [
        _call(call, f"{where}.tool_calls[{number}]", fields)
        for number, call in enumerate(message.get("tool_calls") or [])
    ]
    content = _unchanged_content(message, where)
    if content is None:
        text = message.get("content") or optional_text(message.get("refusal"), f"{where}.refusal")
        content = _content(text, where, fields)
        reasoning = optional_text(message.get("reasoning_content"), f"{where}.reasoning_content")
        if reasoning:
            thinking = {"type": "thinking", "thinking": [{"type": "text", "text": reasoning}]}
            content = [thinking, *parts_of(content, where)]
    if not content and not calls:
        return []
    translated: dict[str, Any] = {"role": "assistant", "content": content}
    return [{**translated, "tool_calls": calls}] if calls else [translated]


def _call(call: dict[str, Any], where: str, fields: RequestFields) -> dict[str, Any]:
    function = call["function"]
    arguments = call_arguments(call, where, fields)
    text = function.get("arguments") or "{}"
    if INVALID_JSON in arguments or not isinstance(text, str):
        text = msgspec.json.encode(arguments).decode()
    return {"id": call_id(call["id"]), "type": "function", "function": {"name": function["name"], "arguments": text}}


def _unchanged_content(message: dict[str, Any], where: str) -> list[dict[str, Any]] | None:
    """Return Mistral's original content of a message, or None if the client has changed its text since."""
    content = original_parts(message, "mistral", "content", where)
    if content is None:
        return None
    return content if joined_text(content) == joined_text(parts_of(message.get("content"), where)) else None


def _content(content: Any, where: str, fields: RequestFields) -> Any:
    if isinstance(content, list):
        return [_part(part, where, fields) for part in parts_of(content, where)]
    if content is not None and not isinstance(content, str):
        raise invalid(f"{where}.content", "must be text or a list of parts")
    return content or ""


def _part(part: dict[str, Any], where: str, fields: RequestFields) -> dict[str, Any]:
    """Translate a message part. A part in Mistral's own format is returned as it is."""
    kind = part.get("type")
    if kind in ("text", "refusal"):
        text = part.get("text") if kind == "text" else optional_text(part.get("refusal"), f"{where}.content")
        translated = {"type": "text", "text": text or ""}
    elif kind == "image_url":
        image = _image(part.get("image_url"), f"{where}.content.image_url", fields)
        translated = {"type": "image_url", "image_url": image}
    elif kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        fields.report_other_members(part["input_audio"], {"data", "format"}, "messages.content.input_audio")
        translated = {"type": "input_audio", "input_audio": part["input_audio"].get("data")}
    elif kind == "file" and isinstance(part.get("file"), dict):
        translated = _file(part["file"], f"{where}.content.file", fields)
    else:
        return part
    fields.report_other_members(part, _PART_MEMBERS, "messages.content")
    return translated


def _image(image: Any, where: str, fields: RequestFields) -> Any:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise invalid(where, "must hold a URL")
    detail = image.get("detail") if isinstance(image, dict) else None
    if detail in _DETAILS:
        return {"url": url, "detail": detail}
    if isinstance(image, dict):
        fields.report_other_members(image, {"url"}, "messages.content.image_url")
    return {"url": url}


def _file(file: dict[str, Any], where: str, fields: RequestFields) -> dict[str, Any]:
    if file.get("file_id"):
        fields.report_other_members(file, {"file_id"}, "messages.content.file")
        return {"type": "file", "file_id": file["file_id"]}
    if not isinstance(file.get("file_data"), str):
        raise invalid(where, "must have file_data or file_id")
    fields.report_other_members(file, {"file_data", "filename"}, "messages.content.file")
    document_name = {"document_name": file["filename"]} if file.get("filename") else {}
    return {"type": "document_url", "document_url": file["file_data"], **document_name}


def _tools(request: dict[str, Any], tools: ToolSet, fields: RequestFields) -> None:
    mistral_tools = [_tool(tool, fields) for tool in tools.allowed()] + tools.provider_tools
    parallel = fields.pop("parallel_tool_calls")
    if not mistral_tools:
        return
    request["tools"] = mistral_tools
    if parallel is not None:
        request["parallel_tool_calls"] = parallel
    choice = tools.choice
    if choice is None:
        return
    if choice.mode == "required" and choice.names is not None and len(choice.names) == 1:
        request["tool_choice"] = {"type": "function", "function": {"name": next(iter(choice.names))}}
    else:
        request["tool_choice"] = "any" if choice.mode == "required" else choice.mode


def _tool(tool: dict[str, Any], fields: RequestFields) -> dict[str, Any]:
    function = tool["function"]
    fields.report_other_members(function, _FUNCTION_MEMBERS, "tools.function")
    if tool.get("cache_control"):
        fields.report_dropped("tools.cache_control")
    members = {name: value for name, value in function.items() if name in _FUNCTION_MEMBERS and value is not None}
    return {"type": "function", "function": {"parameters": {}, **members}}


def _output(request: dict[str, Any], fields: RequestFields) -> None:
    prediction = fields.pop("prediction")
    if isinstance(prediction, dict):
        fields.report_other_members(prediction, {"type", "content"}, "prediction")
        text = joined_text(parts_of(prediction.get("content"), "prediction"))
        request["prediction"] = {"type": "content", "content": text}
    response_format = read_format(fields)
    if response_format is not None and response_format.json_schema:
        json_schema = {"schema": {}, **response_format.json_schema}
        request["response_format"] = {"type": "json_schema", "json_schema": json_schema}
    elif response_format is not None:
        request["response_format"] = {"type": "json_object"}


def _account(request: dict[str, Any], fields: RequestFields) -> None:
    metadata = object_of(fields.pop("metadata"), "metadata")
    user = end_user(fields)
    if user:  # Mistral has no member for it
        metadata = {"user": user, **metadata}
    if metadata:
        request["metadata"] = metadata
    tier = fields.pop("service_tier")
    if str(tier) in _TIERS:
        request["service_tier"] = _TIERS[str(tier)]
    elif tier is not None:
        fields.report_dropped("service_tier")
