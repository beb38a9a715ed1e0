"""Translates responses of Mistral's chat API to the OpenAI format.

Sources: the request and response types of the `mistralai` SDK and recorded traffic. If the content is a list (thinking,
references), its text becomes `content`, its thinking `reasoning_content`, and the list itself is put into
`provider_specific_fields.mistral.content`, from where it is sent to Mistral again if the client sends the message back.
"""

from io import StringIO
from typing import Any

import msgspec

from nulpoint.errors import ClientCause, Failure, Kind
from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, unusable_response
from nulpoint.protocols.mistral.call_id import call_id
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, ChunkWriter, choice_index, read_response
from nulpoint.protocols.openai.stream import DONE
from nulpoint.protocols.provider_errors import embedded_failure
from nulpoint.protocols.response_types import MistralResponse
from nulpoint.protocols.stream_translator import EventStreamTranslator

_check = msgspec.json.Decoder(MistralResponse).decode
_FINISH_REASONS = {
    "stop": "stop", "length": "length", "model_length": "length", "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}  # fmt: skip


def joined_text(parts: list[dict[str, Any]]) -> str:
    return "".join([part.get("text") or "" for part in parts if part.get("type") == "text"])


def decode(body: bytes, created: int) -> bytes:
    """Translate a complete response, including unknown members. Raises Failure (502)."""
    response = read_response("mistral", body)
    try:
        _check(body)
        return msgspec.json.encode(_completion(response, created))
    except MALFORMED:
        raise unusable_response("it is not a chat completion") from None


def _completion(response: dict[str, Any], created: int) -> dict[str, Any]:
    members = {name: value for name, value in response.items() if value is not None}
    choices = [_choice(choice, number, members.get("id", "")) for number, choice in enumerate(response["choices"])]
    if not choices:
        raise unusable_response("it has no choices")
    completion = {"id": "", "object": "chat.completion", "created": created, "model": "", **members, "choices": choices}
    if response.get("usage"):
        completion["usage"] = _usage(response["usage"])
    return completion


def _choice(choice: dict[str, Any], number: int, response_id: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None, **choice["message"]}
    content, calls = message["content"], message.pop("tool_calls", None)
    extra: dict[str, Any] = {}
    if isinstance(content, list):
        message["content"], thinking = _split(content)
        extra["content"] = content
        if thinking:
            message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = [_call(call, f"{response_id}/{number}/{count}") for count, call in enumerate(calls)]
        message["content"] = message["content"] or None
    finish_reason, finish_extra = _finish_reason(choice.get("finish_reason"), bool(calls))
    extra |= finish_extra
    if extra:
        message[EXTRA_FIELDS] = {"mistral": extra}
    members = {"logprobs": None, **choice, "index": choice_index(choice, number)}
    return {**members, "message": message, "finish_reason": finish_reason}


def _finish_reason(reason: Any, has_calls: bool) -> tuple[str, dict[str, Any]]:
    """Return OpenAI's finish reason, and extra fields with Mistral's if OpenAI has no equivalent.

    Raises Failure (502) for the reason `error`.
    """
    if reason == "error":
        text = "mistral failed while it generated the response"
        raise Failure(Kind.UPSTREAM, 502, text, code="provider_error", client_cause=ClientCause.NO_OUTPUT)
    if reason is None:
        return ("tool_calls" if has_calls else "stop"), {}
    known = _FINISH_REASONS.get(reason)
    return (known, {}) if known else ("stop", {"finish_reason": reason})


def _split(content: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the text and the thinking in a content list."""
    thoughts = [part["thinking"] for part in content if part.get("type") == "thinking"]
    return joined_text(content), "".join([text if isinstance(text, str) else _texts(text) for text in thoughts])


def _texts(parts: list[dict[str, Any]] | None) -> str:
    return "".join([part.get("text") or "" for part in parts or ()])


def _call(call: dict[str, Any], place: str) -> dict[str, Any]:
    """Return a tool call. If its id is missing (or the text `null`), an id is derived from its place."""
    function = {**call["function"], "arguments": _arguments(call["function"], "{}")}
    mistral_id = call.get("id")
    unique_id = mistral_id if mistral_id and mistral_id != "null" else call_id(f"call/{place}")
    return {**call, "id": unique_id, "type": "function", "function": function}


class _StreamedCalls:
    """The calls of a choice that were sent to the client so far, numbered from 0."""

    def __init__(self) -> None:
        self._ids: list[str] = []  # the ids as sent to the client
        self._latest: dict[Any, int] = {}  # the number of the latest call with an index, by Mistral's index

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, index: Any, client_id: str) -> None:
        self._latest[index] = len(self._ids)
        self._ids.append(client_id)

    def continued_by(self, call: dict[str, Any]) -> int | None:
        """Return the number of the call that `call` is a further piece of, or None if it is a new call.

        That is the call with the same index and id, or the last call if the piece has neither.
        """
        mistral_id = call.get("id") if call.get("id") != "null" else None
        index = call.get("index")
        if index is None:
            is_new = mistral_id or call["function"].get("name")
            return None if is_new or not self._ids else len(self._ids) - 1
        number = self._latest.get(index)
        return number if number is not None and mistral_id in (None, "", self._ids[number]) else None


class _AccumulatedParts:
    """The content parts of a choice. Consecutive pieces of text or of thinking are joined to one part."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []
        self._text = StringIO()  # the text of the last part, if it came in several pieces
        self._in_pieces = False

    def add(self, parts: list[dict[str, Any]]) -> None:
        for part in parts:
            kind = part.get("type")
            if self._parts and self._parts[-1].get("type") == kind and kind in ("text", "thinking"):
                self._continue(part, kind)
            else:
                self._finish_last()
                self._parts.append({**part})

    def _continue(self, part: dict[str, Any], kind: str) -> None:
        last = self._parts[-1]
        if not self._in_pieces:
            self._text = StringIO()
            self._text.write(_part_text(last))
            self._in_pieces = True
        self._text.write(_part_text(part))
        if kind == "thinking":
            last.update({name: value for name, value in part.items() if name != "thinking"})

    def _finish_last(self) -> None:
        if self._in_pieces:
            last, text = self._parts[-1], self._text.getvalue()
            last |= {"thinking": [{"type": "text", "text": text}]} if last["type"] == "thinking" else {"text": text}
            self._in_pieces = False

    def parts(self) -> list[dict[str, Any]]:
        self._finish_last()
        return self._parts


def _part_text(part: dict[str, Any]) -> str:
    """Return the text of a part of type text or thinking."""
    if part["type"] == "text":
        return part["text"]  # type: ignore[no-any-return]  # writing any other type raises TypeError
    return "".join([inner.get("text", "") for inner in part["thinking"]])


def _arguments(function: dict[str, Any], default: str) -> str:
    """Return the arguments as text, which Mistral may send as an object."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        return arguments
    return default if arguments is None else msgspec.json.encode(arguments).decode()


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    counts = {"prompt_tokens": 0, "completion_tokens": 0, **{k: v for k, v in usage.items() if v is not None}}
    counts.setdefault("total_tokens", counts["prompt_tokens"] + counts["completion_tokens"])
    details = counts.get("prompt_tokens_details") or counts.get("prompt_token_details")
    if details is None and counts.get("num_cached_tokens") is not None:
        details = {"cached_tokens": counts["num_cached_tokens"]}
    return {**counts, "prompt_tokens_details": details} if details else counts


class MistralStream(EventStreamTranslator):
    """Translates a stream. Mistral sends the usage in the chunk with the finish reason, OpenAI in a separate chunk."""

    format = "Mistral's API"

    def __init__(self, created: int, show_usage: bool) -> None:
        super().__init__(created, show_usage)
        self._created = created
        self._roles: set[int] = set()  # choices whose role was sent
        self._ended: set[int] = set()  # choices whose finish reason has come
        self._calls: dict[int, _StreamedCalls] = {}  # by choice
        self._lists: dict[int, _AccumulatedParts] = {}  # by choice, if its content is a list
        self._last_usage: dict[str, Any] | None = None
        self._frame: dict[str, Any] = {}  # the members that are the same in all chunks

    def has_finish_reason(self) -> bool:
        return self.failure is None and bool(self._roles) and self._roles <= self._ended

    def _is_continuation(self, event: sse.SseEvent) -> bool:
        return event.data.strip() != DONE

    def _reported_usage(self) -> dict[str, Any] | None:
        return self._last_usage

    def _translate(self, event: sse.SseEvent) -> bytes:
        data = event.data
        if event.name == b"error":
            raise embedded_failure("mistral", data)
        if data.strip() == DONE:
            return self._end()
        return self._chunk(msgspec.json.decode(data), data)

    def _end(self) -> bytes:
        """End the stream at `[DONE]`, unless a choice has no finish reason, which means that it is incomplete."""
        if not self.has_finish_reason():
            return b""
        last = b""
        if self._show_usage and self._last_usage is not None:
            last = self._write.usage(self._last_usage)
        self.over = True
        return last

    def _chunk(self, chunk: dict[str, Any], data: bytes) -> bytes:
        if chunk.get("error") or ("choices" not in chunk and not chunk.get("usage")):
            raise embedded_failure("mistral", data)
        _check(data)
        chunk.pop("p", None)  # padding
        usage = chunk.pop("usage", None)
        if usage:
            self._last_usage = _usage(usage)
        if not self._frame:
            defaults = {"id": "", "created": self._created, "model": ""}
            self._frame = {name: chunk.get(name) or default for name, default in defaults.items()}
            self._frame["object"] = "chat.completion.chunk"
            self._model = self._frame["model"]
            self._write = ChunkWriter(self._frame["created"])
            self._write.begin(self._frame["id"], self._model)
        if not chunk.get("choices"):
            return b""  # only usage, which is sent at the end
        chunk.update(self._frame)
        chunk["choices"] = [self._choice(choice, number) for number, choice in enumerate(chunk["choices"])]
        return sse.encode(msgspec.json.encode(chunk))

    def _choice(self, choice: dict[str, Any], number: int) -> dict[str, Any]:
        index = choice_index(choice, number)
        delta = dict(choice.get("delta") or {})
        choice.pop("p", None)
        delta.pop("p", None)
        if delta.pop("role", None) is not None or index not in self._roles:
            if index not in self._roles:
                delta = {"role": "assistant", **delta}
            self._roles.add(index)
        self._content(index, delta)
        if delta.get("tool_calls"):
            delta["tool_calls"] = [self._fragment(index, call) for call in delta["tool_calls"]]
        else:
            delta.pop("tool_calls", None)
        reason = choice.pop("finish_reason", None) or None
        if reason is not None:
            self._ended.add(index)
            reason, extra = _finish_reason(reason, index in self._calls)
            if index in self._lists:
                extra["content"] = self._lists.pop(index).parts()
            if extra:
                delta[EXTRA_FIELDS] = {"mistral": extra}
        return {"logprobs": None, **choice, "index": index, "delta": delta, "finish_reason": reason}

    def _content(self, index: int, delta: dict[str, Any]) -> None:
        if isinstance(delta.get("content"), list):
            parts = delta["content"]
            self._lists.setdefault(index, _AccumulatedParts()).add(parts)
            delta["content"], thinking = _split(parts)
            if thinking:
                delta["reasoning_content"] = thinking
        elif delta.get("content") and index in self._lists:
            self._lists[index].add([{"type": "text", "text": delta["content"]}])

    def _fragment(self, choice: int, call: dict[str, Any]) -> dict[str, Any]:
        """Translate a call or a further piece of one.

        Its index is assigned here, because Mistral's may be missing or the same for all calls.
        """
        calls = self._calls.setdefault(choice, _StreamedCalls())
        number = calls.continued_by(call)
        if number is not None:
            return {"index": number, "function": {"arguments": _arguments(call["function"], "")}}
        number = len(calls)
        translated = _call(call, f"{self._frame['id']}/{choice}/{number}")
        calls.add(call.get("index", number), translated["id"])
        return {**translated, "index": number}
