"""Writes the messages of a conversation as Gemini's system instruction and contents.

Sources: the request types of the `google-genai` SDK and recorded traffic. The results of all calls of a turn go into a
single content right after that turn. The user's text goes into a separate content after it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from nulpoint.conversation.parts import (
    Audio,
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
    own_data,
)
from nulpoint.conversation.request import Message
from nulpoint.protocols.call_arguments import tool_arguments
from nulpoint.protocols.dropped import report_cache_mark, report_extra, report_part, report_result
from nulpoint.protocols.gemini.candidates import PROVIDER, parts_text
from nulpoint.protocols.gemini.capabilities import GeminiCapabilities
from nulpoint.protocols.openai.chat import (
    EXTRA_FIELDS,
    RequestFields,
    data_url,
    invalid,
    optional_text,
    original_parts,
)

# Calls in a history from another provider have no signature. Google documents this one for that case.
_SKIP_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
_EMPTY_PART = {"text": " "}
_TYPES = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "pdf": "application/pdf", "txt": "text/plain", "mp3": "audio/mp3",
    "wav": "audio/wav", "mp4": "video/mp4", "webm": "video/webm", "mov": "video/mov",
}  # fmt: skip
# Members that are not reported as dropped: the gateway itself put them into its responses, or they are sent otherwise.
_IGNORED_OF_MESSAGE = frozenset({"content"})
_IGNORED_OF_ASSISTANT = frozenset({"content", "audio", EXTRA_FIELDS, "extra_content", "annotations"})
_IGNORED_OF_RESULT = frozenset({"content", "name"})


class Contents(NamedTuple):
    system: list[dict[str, Any]]
    turns: list[dict[str, Any]]


def write_contents(messages: Iterable[Message], capabilities: GeminiCapabilities, fields: RequestFields) -> Contents:
    """Write the messages. Raises Failure (400) for messages that Gemini has no equivalent for."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    ids: dict[str | None, str | None] = {}  # the call ids that are sent to Gemini, by the ids in the request
    for message in messages:
        if message.role == "assistant":
            parts = _model_parts(message, capabilities, fields, ids)
            if parts and not turns:  # Gemini rejects a conversation that begins with the model
                turns.append({"role": "user", "parts": [_EMPTY_PART]})
            _turn(turns, "model", parts)
        elif message.role == "tool":
            _result(turns, message, ids, capabilities, fields)
        else:
            if message.extra:
                report_extra(fields, message.extra, message.path, _IGNORED_OF_MESSAGE)
            parts = _parts(message.parts, message, capabilities, fields)
            if message.role == "user" or turns:
                _turn(turns, "user", parts)
            else:
                system += parts
    if not turns:
        turns.append({"role": "user", "parts": [_EMPTY_PART]})
    if turns[-1]["role"] == "model" and capabilities.gemini_3:
        text = "must not be the assistant's: Gemini 3 and newer cannot continue it; add a message of the user"
        raise invalid(message.path, text, "unsupported_value")
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
    message: Message,
    ids: dict[str | None, str | None],
    capabilities: GeminiCapabilities,
    fields: RequestFields,
) -> None:
    """Add a tool result to the other results of its turn, even if other messages are between them."""
    (result,) = message.parts
    assert isinstance(result, ToolResult)
    if message.extra:
        report_extra(fields, message.extra, message.path, _IGNORED_OF_RESULT)
    report_result(fields, result, message)
    parts = _parts(result.parts, message, capabilities, fields)
    response: dict[str, Any] = {"name": result.name, "response": _response(parts_text(parts))}
    call_id = ids.get(result.unique_id)
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
    message: Message, capabilities: GeminiCapabilities, fields: RequestFields, ids: dict[str | None, str | None]
) -> list[dict[str, Any]]:
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    unchanged = _unchanged_parts(message, calls)
    if unchanged is not None:
        functions = [part["functionCall"] for part in unchanged if "functionCall" in part]
        ids.update({call.unique_id: function.get("id") for call, function in zip(calls, functions, strict=True)})
        return [*unchanged]
    if message.is_plain and len(message.parts) == 1 and not message.extra:
        return _parts(message.parts, message, capabilities, fields)
    report_extra(fields, message.extra, message.path, _IGNORED_OF_ASSISTANT)
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        match part:
            case Reasoning():
                parts += _thought(part, message, fields)
            case ToolCall():
                ids[part.unique_id] = part.unique_id
                needs_signature = capabilities.gemini_3 and part is calls[0]
                parts.append(_function_call(part, message, fields, needs_signature=needs_signature))
            case Refusal(where="refusal"):
                parts = parts or [{"text": part.text}]
            case ProviderPart() if not part.is_of(PROVIDER):
                report_part(fields, part, message)
            case _:
                parts += _parts((part,), message, capabilities, fields)
    return parts


def _thought(reasoning: Reasoning, message: Message, fields: RequestFields) -> list[dict[str, Any]]:
    """Write a thought of Gemini. The reasoning of any other provider is left out."""
    data = own_data(reasoning, PROVIDER)
    if data is None:
        report_part(fields, reasoning, message)
        return []
    return [_signed({"text": reasoning.text, "thought": True}, data)]


def _text_part(text: Text) -> dict[str, Any]:
    data = own_data(text, PROVIDER) if text.provider_data else None
    return _signed({"text": text.text}, data) if data else {"text": text.text}


def _signed(part: dict[str, Any], data: Members) -> dict[str, Any]:
    """Add to a part what Gemini sent beside its text."""
    others = {name: value for name, value in data.items() if name != "signature"}
    signature = {"thoughtSignature": data["signature"]} if "signature" in data else {}
    return {**others, **part, **signature}


def _function_call(call: ToolCall, message: Message, fields: RequestFields, *, needs_signature: bool) -> dict[str, Any]:
    arguments = tool_arguments(call, message, fields)
    part: dict[str, Any] = {"functionCall": {"name": call.name, "args": arguments, "id": call.unique_id}}
    signature = _signature(call) or (_SKIP_SIGNATURE if needs_signature else None)
    return {**part, "thoughtSignature": signature} if signature else part


def _signature(call: ToolCall) -> Any:
    google = call.provider_data.get("google")
    return google.get("thought_signature") if isinstance(google, dict) else None


def _unchanged_parts(message: Message, calls: list[ToolCall]) -> list[dict[str, Any]] | None:
    """Return Gemini's original parts of a message, or None if the client has changed its text or calls since."""
    if not message.provider_data:
        return None
    parts = original_parts(message.provider_data, PROVIDER, "parts", message.path)
    if not parts:
        return None
    if not all(isinstance(part.get("functionCall", {}), dict) for part in parts):
        raise invalid(f"{message.path}.{EXTRA_FIELDS}.gemini.parts", "must have objects as `functionCall`")
    names = [call.name for call in calls]
    original_names = [part["functionCall"].get("name") for part in parts if "functionCall" in part]
    return parts if (message.text(), names) == (parts_text(parts), original_names) else None


def _parts(
    parts: Iterable[Part], message: Message, capabilities: GeminiCapabilities, fields: RequestFields
) -> list[dict[str, Any]]:
    """Write the parts except empty texts."""
    return [_part(part, message, capabilities, fields) for part in parts if not isinstance(part, Text) or part.text]


def _part(part: Part, message: Message, capabilities: GeminiCapabilities, fields: RequestFields) -> dict[str, Any]:
    """Write a message part. A part in Gemini's own format is returned as it is."""
    if isinstance(part, Text) and not part.extra and part.cache is None:
        return _text_part(part)
    path = f"{message.path}.{part.where}"
    match part:
        case Text():
            gemini_part = _text_part(part)
        case Refusal():
            gemini_part = {"text": part.text}
        case Image():
            report_extra(fields, {"detail": part.detail}, path)
            gemini_part = _media(part.url, path, capabilities)
        case File():
            report_extra(fields, {"filename": part.name}, path)  # Gemini has no file name
            gemini_part = _file(part, path, capabilities)
        case Audio() if isinstance(part.audio, dict):
            path = f"{path}.input_audio"
            report_extra(fields, part.audio, path, {"data", "format"})
            kind = optional_text(part.audio.get("format"), f"{path}.format") or "wav"
            gemini_part = {"inlineData": {"mimeType": f"audio/{kind}", "data": part.audio.get("data")}}
        case Audio():
            gemini_part = {"type": "input_audio", "input_audio": part.audio}
        case _:
            assert isinstance(part, ProviderPart)
            return dict(part.data)
    report_extra(fields, part.extra, f"{message.path}.content")
    report_cache_mark(fields, part.cache, f"{message.path}.content")
    return gemini_part


def _file(file: File, path: str, capabilities: GeminiCapabilities) -> dict[str, Any]:
    if file.file_id:
        return {"fileData": {"fileUri": file.file_id}}
    return _media(file.url, f"{path}.file_data", capabilities)


def _media(url: str | None, where: str, capabilities: GeminiCapabilities) -> dict[str, Any]:
    if url is None:
        raise invalid(where, "must hold a URL")
    data = data_url(url, where)
    if data:
        return {"inlineData": {"mimeType": data[0], "data": data[1]}}
    if not capabilities.fetches_urls:
        raise invalid(where, "must be a data URL: this model does not fetch URLs", "unsupported_value")
    mime_type = _TYPES.get(url.partition("?")[0].rpartition(".")[2].lower())
    return {"fileData": {"fileUri": url, **({"mimeType": mime_type} if mime_type else {})}}
