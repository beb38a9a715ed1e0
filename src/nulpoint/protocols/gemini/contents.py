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
from nulpoint.models.facts import ModelFacts
from nulpoint.protocols.added_texts import CONTINUE
from nulpoint.protocols.call_arguments import tool_arguments
from nulpoint.protocols.dropped import place_of, report_cache_mark, report_extra, report_part, report_result
from nulpoint.protocols.gemini.candidates import PROVIDER, parts_text
from nulpoint.protocols.gemini.hosts import GeminiHost
from nulpoint.protocols.gemini.media import file_part, google_media_type, media_part
from nulpoint.protocols.openai.chat import (
    EXTRA_FIELDS,
    RequestFields,
    invalid,
    optional_text,
    original_parts,
)

# Calls in a history from another provider have no signature. Google documents this one for that case.
_SKIP_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
_EMPTY_PART = {"text": " "}
# Members that are not reported as dropped: the gateway itself put them into its responses, or they are sent otherwise.
_IGNORED_OF_MESSAGE = frozenset({"content"})
_IGNORED_OF_ASSISTANT = frozenset({"content", "audio", EXTRA_FIELDS, "extra_content", "annotations"})
_IGNORED_OF_RESULT = frozenset({"content", "name"})


class Contents(NamedTuple):
    system: list[dict[str, Any]]
    turns: list[dict[str, Any]]


def write_contents(messages: Iterable[Message], facts: ModelFacts, host: GeminiHost, fields: RequestFields) -> Contents:
    """Write the messages. Raises Failure (400) for messages that Gemini has no equivalent for."""
    return _ContentsWriter(facts, host, fields).write(messages)


class _ContentsWriter:
    """Writes the messages of one request. `ids` has the call ids sent to Gemini, by the ids in the request."""

    def __init__(self, facts: ModelFacts, host: GeminiHost, fields: RequestFields) -> None:
        self._facts = facts
        self._host = host
        self._fields = fields
        self._system: list[dict[str, Any]] = []
        self._turns: list[dict[str, Any]] = []
        self._ids: dict[str | None, str | None] = {}

    def write(self, messages: Iterable[Message]) -> Contents:
        turns, path = self._turns, ""
        for message in messages:
            path = message.path
            if message.role == "assistant":
                self._assistant(message)
            elif message.role == "tool":
                self._result(message)
            else:
                self._prompt(message)
        if not turns:
            turns.append({"role": "user", "parts": [_EMPTY_PART]})
        if turns[-1]["role"] == "model" and not self._facts.prefill:
            self._fields.report_dropped(place_of(path))
            turns.append({"role": "user", "parts": [{"text": CONTINUE}]})
        return Contents(self._system, turns)

    def _prompt(self, message: Message) -> None:
        """Write a message of the user or the system."""
        if message.extra:
            report_extra(self._fields, message.extra, message.path, _IGNORED_OF_MESSAGE)
        parts = self._parts(message.parts, message)
        if message.role == "user" or self._turns:
            _turn(self._turns, "user", parts)
        else:
            self._system += parts

    def _assistant(self, message: Message) -> None:
        parts = self._model_parts(message)
        if parts and not self._turns:  # Gemini rejects a conversation that begins with the model
            self._turns.append({"role": "user", "parts": [_EMPTY_PART]})
        _turn(self._turns, "model", parts)

    def _result(self, message: Message) -> None:
        """Add a tool result to the other results of its turn, even if other messages are between them."""
        (result,) = message.parts
        assert isinstance(result, ToolResult)
        if message.extra:
            report_extra(self._fields, message.extra, message.path, _IGNORED_OF_RESULT)
        report_result(self._fields, result, message)
        parts = self._parts(result.parts, message)
        response: dict[str, Any] = {"name": result.name, "response": _response(parts_text(parts))}
        call_id = self._ids.get(result.unique_id)
        if call_id is not None:
            response["id"] = call_id
        media = [part for part in parts if set(part) != {"text"}]
        if media and self._facts.media_in_results:
            response["parts"] = media
        turns = self._turns
        at = len(turns)
        while turns[at - 1]["role"] != "model":
            at -= 1
        if at < len(turns) and _holds_results(turns[at]):
            turns[at]["parts"].append({"functionResponse": response})
        else:
            turns.insert(at, {"role": "user", "parts": [{"functionResponse": response}]})
        if media and not self._facts.media_in_results:
            _turn(turns, "user", media)

    def _model_parts(self, message: Message) -> list[dict[str, Any]]:
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        unchanged = _unchanged_parts(message, calls)
        if unchanged is not None:
            functions = [part["functionCall"] for part in unchanged if "functionCall" in part]
            ids = {call.unique_id: function.get("id") for call, function in zip(calls, functions, strict=True)}
            self._ids.update(ids)
            accepted = [part for sent in unchanged for part in self._accepted(sent, message)]
            return _with_signature(accepted) if self._facts.call_signatures else accepted
        if message.is_plain and len(message.parts) == 1 and not message.extra:
            return self._parts(message.parts, message)
        report_extra(self._fields, message.extra, message.path, _IGNORED_OF_ASSISTANT)
        parts: list[dict[str, Any]] = []
        for part in message.parts:
            match part:
                case Reasoning():
                    parts += _thought(part, message, self._fields)
                case ToolCall():
                    self._ids[part.unique_id] = part.unique_id
                    needs_signature = self._facts.call_signatures and part is calls[0]
                    parts.append(_function_call(part, message, self._fields, needs_signature=needs_signature))
                case Refusal(where="refusal"):
                    parts = parts or [{"text": part.text}]
                case ProviderPart() if not part.is_of(PROVIDER):
                    report_part(self._fields, part, message)
                case _:
                    parts += self._parts((part,), message)
        return parts

    def _accepted(self, part: dict[str, Any], message: Message) -> list[dict[str, Any]]:
        """Return an original part of Gemini's without what only the other host accepts: one part, or none."""
        refused = self._host.refused_parts & part.keys()
        if not refused:
            return [part]
        for name in refused:
            self._fields.report_dropped(f"{place_of(message.path)}.{EXTRA_FIELDS}.gemini.parts.{name}")
        remaining = {name: value for name, value in part.items() if name not in refused}
        return [remaining] if remaining.keys() - {"thoughtSignature"} else []

    def _parts(self, parts: Iterable[Part], message: Message) -> list[dict[str, Any]]:
        """Write the parts except empty texts."""
        return [self._part(part, message) for part in parts if not isinstance(part, Text) or part.text]

    def _part(self, part: Part, message: Message) -> dict[str, Any]:
        """Write a message part. A part in Gemini's own format is returned as it is."""
        if isinstance(part, Text) and not part.extra and part.cache is None:
            return _text_part(part)
        path, fields = f"{message.path}.{part.where}", self._fields
        match part:
            case Text():
                gemini_part = _text_part(part)
            case Refusal():
                gemini_part = {"text": part.text}
            case Image():
                report_extra(fields, {"detail": part.detail}, path)
                gemini_part = media_part(part.url, path, self._facts)
            case File():
                report_extra(fields, {"filename": part.name}, path)  # Gemini has no file name
                gemini_part = file_part(part, path, self._facts)
            case Audio() if isinstance(part.audio, dict):
                path = f"{path}.input_audio"
                report_extra(fields, part.audio, path, {"data", "format"})
                kind = optional_text(part.audio.get("format"), f"{path}.format") or "wav"
                mime_type = google_media_type(f"audio/{kind}")
                gemini_part = {"inlineData": {"mimeType": mime_type, "data": part.audio.get("data")}}
            case Audio():
                gemini_part = {"type": "input_audio", "input_audio": part.audio}
            case _:
                assert isinstance(part, ProviderPart)
                return dict(part.data)
        report_extra(fields, part.extra, f"{message.path}.content")
        report_cache_mark(fields, part.cache, f"{message.path}.content")
        return gemini_part


def _turn(turns: list[dict[str, Any]], role: str, parts: list[dict[str, Any]]) -> None:
    if not parts:
        return
    if turns and turns[-1]["role"] == role and not _holds_results(turns[-1]):
        turns[-1]["parts"] += parts
    else:
        turns.append({"role": role, "parts": parts})


def _holds_results(turn: dict[str, Any]) -> bool:
    return "functionResponse" in turn["parts"][0]


_read_json = msgspec.json.Decoder(msgspec.Raw).decode


def _response(text: str) -> Any:
    """Return the text of a result as an object, since Gemini accepts nothing else.

    A text that is a JSON object is used as it is. Any other text, or a JSON list, becomes the member `output`. So does
    JSON that has a `$ref`: Gemini looks for what it refers to, and rejects the request.
    """
    first = text.lstrip(" \t\r\n")[:1]
    if first not in ("{", "["):
        return {"output": text}
    try:
        value = _read_json(text)  # is kept undecoded
        if _has_reference(text):
            return {"output": text}
    except (msgspec.DecodeError, RecursionError):
        return {"output": text}
    return value if first == "{" else {"output": value}


def _has_reference(text: str) -> bool:
    """Return whether JSON text has a member `$ref` at any depth."""
    if "$ref" not in text and "\\u00" not in text:  # every letter of it may be written as an escape
        return False
    waiting = [msgspec.json.decode(text)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "$ref" in value:
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


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


def _with_signature(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sign the first call of a turn if it has no signature, as those of models before Gemini 3 have none."""
    for number, part in enumerate(parts):
        if "functionCall" in part:
            return [*parts[:number], {"thoughtSignature": _SKIP_SIGNATURE, **part}, *parts[number + 1 :]]
    return parts


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
