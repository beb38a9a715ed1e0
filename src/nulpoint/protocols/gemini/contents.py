"""Translates the messages of a chat to Gemini's system instruction and contents.

Sources: the request types of the `google-genai` SDK and recorded traffic. The results of all calls of a turn go into a
single content right after that turn. The user's text goes into a separate content after it.
"""

from typing import Any, NamedTuple

import msgspec

from nulpoint.protocols.gemini.candidates import parts_text
from nulpoint.protocols.gemini.capabilities import GeminiCapabilities
from nulpoint.protocols.openai.chat import (
    EXTRA_FIELDS,
    RequestFields,
    data_url,
    invalid,
    joined_texts,
    optional_text,
    original_parts,
    parts_of,
)
from nulpoint.protocols.openai.chat_request import call_arguments

# Calls in a history from another provider have no signature. Google documents this one for that case.
_SKIP_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
_EMPTY_PART = {"text": " "}
_TYPES = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "pdf": "application/pdf", "txt": "text/plain", "mp3": "audio/mp3",
    "wav": "audio/wav", "mp4": "video/mp4", "webm": "video/webm", "mov": "video/mov",
}  # fmt: skip
_MESSAGE_MEMBERS = frozenset({"role", "content"})
_ASSISTANT_MEMBERS = _MESSAGE_MEMBERS | {"tool_calls", "refusal", "audio", EXTRA_FIELDS, "extra_content", "annotations"}
_RESULT_MEMBERS = _MESSAGE_MEMBERS | {"tool_call_id", "name"}
_PART_MEMBERS = frozenset({"type", "text", "refusal", "image_url", "file", "input_audio"})


class Contents(NamedTuple):
    system: list[dict[str, Any]]
    turns: list[dict[str, Any]]


def read_contents(messages: list[dict[str, Any]], capabilities: GeminiCapabilities, fields: RequestFields) -> Contents:
    """Translate the messages. Raises Failure (400) for messages that Gemini has no equivalent for."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    ids: dict[str, str | None] = {}  # the call ids that are sent to Gemini, by the ids in the request
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message["role"]
        if role == "assistant":
            parts = _model_parts(message, where, capabilities, fields, ids)
            if parts and not turns:  # Gemini rejects a conversation that begins with the model
                turns.append({"role": "user", "parts": [_EMPTY_PART]})
            _turn(turns, "model", parts)
        elif role == "tool":
            _result(turns, message, ids, where, capabilities, fields)
        elif role in ("user", "system", "developer"):
            fields.report_other_members(message, _MESSAGE_MEMBERS, "messages")
            parts = [_part(part, where, capabilities, fields) for part in parts_of(message.get("content"), where)]
            if role == "user" or turns:
                _turn(turns, "user", parts)
            else:
                system += parts
        else:
            raise invalid(f"{where}.role", "must be system, developer, user, assistant or tool")
    if not turns:
        turns.append({"role": "user", "parts": [_EMPTY_PART]})
    if turns[-1]["role"] == "model" and capabilities.gemini_3:
        text = "must not be the assistant's: Gemini 3 and newer cannot continue it; add a message of the user"
        raise invalid(f"messages[{len(messages) - 1}]", text, "unsupported_value")
    return Contents(system, turns)


def _turn(turns: list[dict[str, Any]], role: str, parts: list[dict[str, Any]]) -> None:
    if not parts:
        return
    if turns and turns[-1]["role"] == role and not _holds_results(turns[-1]):
        turns[-1]["parts"] += parts
    else:
        turns.append({"role": role, "parts": parts})


def _holds_results(turn: dict[str, Any]) -> bool:
    return "functionResponse" in turn["parts"][0]


def _result(
    turns: list[dict[str, Any]],
    message: dict[str, Any],
    ids: dict[str, str | None],
    where: str,
    capabilities: GeminiCapabilities,
    fields: RequestFields,
) -> None:
    """Add a tool result to the other results of its turn, even if other messages are between them."""
    fields.report_other_members(message, _RESULT_MEMBERS, "messages")
    parts = [_part(part, where, capabilities, fields) for part in parts_of(message.get("content"), where)]
    response: dict[str, Any] = {"name": message["name"], "response": _response(parts_text(parts))}
    call_id = ids.get(message["tool_call_id"])
    if call_id is not None:
        response["id"] = call_id
    media = [part for part in parts if set(part) != {"text"}]
    if media and capabilities.gemini_3:
        response["parts"] = media
    at = len(turns)
    while turns[at - 1]["role"] != "model":
        at -= 1
    if at < len(turns) and _holds_results(turns[at]):
        turns[at]["parts"].append({"functionResponse": response})
    else:
        turns.insert(at, {"role": "user", "parts": [{"functionResponse": response}]})
    if media and not capabilities.gemini_3:
        _turn(turns, "user", media)


_read_json = msgspec.json.Decoder(msgspec.Raw).decode


def _response(text: str) -> Any:
    """Return the text of a result as an object, since Gemini accepts nothing else.

    A text that is a JSON object is used as it is. Any other text, or a JSON list, becomes the member `output`.
    """
    first = text.lstrip(" \t\r\n")[:1]
    if first not in ("{", "["):
        return {"output": text}
    try:
        value = _read_json(text)  # is kept undecoded
    except (msgspec.DecodeError, RecursionError):
        return {"output": text}
    return value if first == "{" else {"output": value}


def _model_parts(
    message: dict[str, Any],
    where: str,
    capabilities: GeminiCapabilities,
    fields: RequestFields,
    ids: dict[str, str | None],
) -> list[dict[str, Any]]:
    calls = message.get("tool_calls") or []
    unchanged = _unchanged_parts(message, where)
    if unchanged is not None:
        functions = [part["functionCall"] for part in unchanged if "functionCall" in part]
        ids.update({call["id"]: function.get("id") for call, function in zip(calls, functions, strict=True)})
        return [*unchanged]
    fields.report_other_members(message, _ASSISTANT_MEMBERS, "messages")
    content = message.get("content") or optional_text(message.get("refusal"), f"{where}.refusal")
    parts = [_part(part, where, capabilities, fields) for part in parts_of(content, where)]
    for number, call in enumerate(calls):
        arguments = call_arguments(call, f"{where}.tool_calls[{number}]", fields)
        ids[call["id"]] = call["id"]
        part: dict[str, Any] = {"functionCall": {"name": call["function"]["name"], "args": arguments, "id": call["id"]}}
        signature = _signature(call)
        if signature:
            part["thoughtSignature"] = signature
        elif number == 0 and capabilities.gemini_3:
            part["thoughtSignature"] = _SKIP_SIGNATURE
        parts.append(part)
    return parts


def _signature(call: dict[str, Any]) -> Any:
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return google.get("thought_signature") if isinstance(google, dict) else None


def _unchanged_parts(message: dict[str, Any], where: str) -> list[dict[str, Any]] | None:
    """Return Gemini's original parts of a message, or None if the client has changed its text or calls since."""
    parts = original_parts(message, "gemini", "parts", where)
    if not parts:
        return None
    if not all(isinstance(part.get("functionCall", {}), dict) for part in parts):
        raise invalid(f"{where}.{EXTRA_FIELDS}.gemini.parts", "must have objects as `functionCall`")
    text = joined_texts(parts_of(message.get("content"), where))
    names = [call["function"]["name"] for call in message.get("tool_calls") or []]
    original_names = [part["functionCall"].get("name") for part in parts if "functionCall" in part]
    return parts if (text, names) == (parts_text(parts), original_names) else None


def _part(part: dict[str, Any], where: str, capabilities: GeminiCapabilities, fields: RequestFields) -> dict[str, Any]:
    """Translate a message part. A part in Gemini's own format is returned as it is."""
    kind = part.get("type")
    if kind in ("text", "refusal"):
        text = part.get("text") if kind == "text" else optional_text(part.get("refusal"), f"{where}.content")
        gemini_part: dict[str, Any] = {"text": text or ""}
    elif kind == "image_url":
        image = part.get("image_url")
        image = image if isinstance(image, dict) else {"url": image}
        fields.report_other_members(image, {"url"}, "messages.content.image_url")
        gemini_part = _media(image.get("url"), f"{where}.content.image_url", capabilities)
    elif kind == "file" and isinstance(part.get("file"), dict):
        gemini_part = _file(part["file"], f"{where}.content.file", capabilities, fields)
    elif kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        audio = part["input_audio"]
        fields.report_other_members(audio, {"data", "format"}, "messages.content.input_audio")
        kind = optional_text(audio.get("format"), f"{where}.content.input_audio.format") or "wav"
        gemini_part = {"inlineData": {"mimeType": f"audio/{kind}", "data": audio.get("data")}}
    else:
        return part
    fields.report_other_members(part, _PART_MEMBERS, "messages.content")
    return gemini_part


def _file(file: dict[str, Any], where: str, capabilities: GeminiCapabilities, fields: RequestFields) -> dict[str, Any]:
    fields.report_other_members(file, {"file_id", "file_data"}, "messages.content.file")  # Gemini has no file name
    if file.get("file_id"):
        return {"fileData": {"fileUri": file["file_id"]}}
    return _media(file.get("file_data"), f"{where}.file_data", capabilities)


def _media(url: Any, where: str, capabilities: GeminiCapabilities) -> dict[str, Any]:
    if not isinstance(url, str):
        raise invalid(where, "must hold a URL")
    data = data_url(url, where)
    if data:
        return {"inlineData": {"mimeType": data[0], "data": data[1]}}
    if not capabilities.fetches_urls:
        raise invalid(where, "must be a data URL: this model does not fetch URLs", "unsupported_value")
    mime_type = _TYPES.get(url.partition("?")[0].rpartition(".")[2].lower())
    return {"fileData": {"fileUri": url, **({"mimeType": mime_type} if mime_type else {})}}
