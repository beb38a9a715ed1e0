"""Answers of Mistral's chat API in the OpenAI format.

Facts: the request and answer types of the `mistralai` SDK and recorded traffic. An answer whose content is a list
(thinking, references) has its text in `content`, its thinking in `reasoning_content` and the list as it came under
`provider_specific_fields.mistral.content`; handed back, the list is sent again.
"""

from io import StringIO
from typing import Any

import msgspec

from nulpoint.errors import ClientCause, Failure, Kind
from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, malformed_response
from nulpoint.protocols.mistral.call_id import call_id
from nulpoint.protocols.openai.chat import EXTRA, ChunkWriter, index_of, read_answer
from nulpoint.protocols.openai.stream import DONE
from nulpoint.protocols.provider_errors import embedded_failure
from nulpoint.protocols.response_types import MistralAnswer
from nulpoint.protocols.stream_translator import EventStreamTranslator

_check = msgspec.json.Decoder(MistralAnswer).decode
_FINISHES = {
    "stop": "stop", "length": "length", "model_length": "length", "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}  # fmt: skip


def joined_text(parts: list[dict[str, Any]]) -> str:
    return "".join([part.get("text") or "" for part in parts if part.get("type") == "text"])


def decode(body: bytes, created: int) -> bytes:
    """A whole answer in the OpenAI shape; members nobody here knows ride along. Raises Failure (502)."""
    answer = read_answer("mistral", body)
    try:
        _check(body)
        return msgspec.json.encode(_completion(answer, created))
    except MALFORMED:
        raise malformed_response("the provider's answer cannot be used: it is no chat completion") from None


def _completion(answer: dict[str, Any], created: int) -> dict[str, Any]:
    given = {name: value for name, value in answer.items() if value is not None}
    choices = [_choice(choice, number, given.get("id", "")) for number, choice in enumerate(answer["choices"])]
    if not choices:
        raise malformed_response("the provider's answer cannot be used: it has no choices")
    completion = {"id": "", "object": "chat.completion", "created": created, "model": "", **given, "choices": choices}
    if answer.get("usage"):
        completion["usage"] = _usage(answer["usage"])
    return completion


def _choice(choice: dict[str, Any], number: int, answer_id: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None, **choice["message"]}
    content, calls = message["content"], message.pop("tool_calls", None)
    extra: dict[str, Any] = {}
    if isinstance(content, list):
        message["content"], thinking = _split(content)
        extra["content"] = content
        if thinking:
            message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = [_call(call, f"{answer_id}/{number}/{count}") for count, call in enumerate(calls)]
        message["content"] = message["content"] or None
    finish, own = _finish(choice.get("finish_reason"), bool(calls))
    extra |= own
    if extra:
        message[EXTRA] = {"mistral": extra}
    made = {"logprobs": None, **choice, "index": index_of(choice, number)}
    return {**made, "message": message, "finish_reason": finish}


def _finish(reason: Any, called: bool) -> tuple[str, dict[str, Any]]:
    """The reason in OpenAI's words, and Mistral's own where none means it. Raises Failure (502) for `error`."""
    if reason == "error":
        text = "mistral failed while it answered"
        raise Failure(Kind.UPSTREAM, 502, text, code="provider_error", client_cause=ClientCause.NOTHING_MADE)
    if reason is None:
        return ("tool_calls" if called else "stop"), {}
    known = _FINISHES.get(reason)
    return (known, {}) if known else ("stop", {"finish_reason": reason})


def _split(content: list[dict[str, Any]]) -> tuple[str, str]:
    """Text and thinking of content that is a list."""
    thoughts = [part["thinking"] for part in content if part.get("type") == "thinking"]
    return joined_text(content), "".join([one if isinstance(one, str) else _texts(one) for one in thoughts])


def _texts(parts: list[dict[str, Any]] | None) -> str:
    return "".join([part.get("text") or "" for part in parts or ()])


def _call(call: dict[str, Any], place: str) -> dict[str, Any]:
    """A call. Where its id is missing (or the word `null`) it gets one by its place in the answer."""
    function = {**call["function"], "arguments": _arguments(call["function"], "{}")}
    given = call.get("id")
    made = given if given and given != "null" else call_id(f"call/{place}")
    return {**call, "id": made, "type": "function", "function": function}


class _ShownCalls:
    """The calls of one choice so far, numbered in their order."""

    def __init__(self) -> None:
        self._ids: list[str] = []  # as they are shown
        self._newest: dict[Any, int] = {}  # by the index as it came, the number of the newest call that had it

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, index: Any, shown_id: str) -> None:
        self._newest[index] = len(self._ids)
        self._ids.append(shown_id)

    def continued_by(self, call: dict[str, Any]) -> int | None:
        """The number of the call that this is a further piece of: of the same index and id, or, without either, the
        last one."""
        given = call.get("id") if call.get("id") != "null" else None
        place = call.get("index")
        if place is None:
            named = given or call["function"].get("name")
            return None if named or not self._ids else len(self._ids) - 1
        number = self._newest.get(place)
        return number if number is not None and given in (None, "", self._ids[number]) else None


class _GatheredParts:
    """The content parts of one choice; pieces of one text or thought become one part again."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []
        self._text = StringIO()  # what the last part says, where it came in several pieces
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
            self._text.write(_said(last))
            self._in_pieces = True
        self._text.write(_said(part))
        if kind == "thinking":
            last.update({name: value for name, value in part.items() if name != "thinking"})

    def _finish_last(self) -> None:
        if self._in_pieces:
            last, text = self._parts[-1], self._text.getvalue()
            last |= {"thinking": [{"type": "text", "text": text}]} if last["type"] == "thinking" else {"text": text}
            self._in_pieces = False

    def whole(self) -> list[dict[str, Any]]:
        self._finish_last()
        return self._parts


def _said(part: dict[str, Any]) -> str:
    """The text of a part of type text or thinking."""
    if part["type"] == "text":
        return part["text"]  # type: ignore[no-any-return]  # else what it is written to refuses it
    return "".join([inner.get("text", "") for inner in part["thinking"]])


def _arguments(function: dict[str, Any], absent: str) -> str:
    """They may be an object instead of its text."""
    given = function.get("arguments")
    if isinstance(given, str):
        return given
    return absent if given is None else msgspec.json.encode(given).decode()


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    counted = {"prompt_tokens": 0, "completion_tokens": 0, **{k: v for k, v in usage.items() if v is not None}}
    counted.setdefault("total_tokens", counted["prompt_tokens"] + counted["completion_tokens"])
    details = counted.get("prompt_tokens_details") or counted.get("prompt_token_details")
    if details is None and counted.get("num_cached_tokens") is not None:
        details = {"cached_tokens": counted["num_cached_tokens"]}
    return {**counted, "prompt_tokens_details": details} if details else counted


class MistralStream(EventStreamTranslator):
    """A watcher that translates. Usage stands in the finishing chunk there, in a chunk of its own here."""

    format = "Mistral's API"

    def __init__(self, created: int, show_usage: bool) -> None:
        super().__init__(created, show_usage)
        self._created = created
        self._roles: set[int] = set()
        self._ended: set[int] = set()  # choices whose finish reason has come
        self._calls: dict[int, _ShownCalls] = {}  # by choice
        self._lists: dict[int, _GatheredParts] = {}  # likewise, where the content is a list
        self._last_usage: dict[str, Any] | None = None
        self._frame: dict[str, Any] = {}

    def has_finish_reason(self) -> bool:
        return self.failure is None and bool(self._roles) and self._roles <= self._ended

    def _goes_on(self, event: sse.SseEvent) -> bool:
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
        """`[DONE]` without a finish reason before it is not an answer that ended."""
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
            return b""  # only usage, which is shown at the end
        chunk.update(self._frame)
        chunk["choices"] = [self._choice(choice, number) for number, choice in enumerate(chunk["choices"])]
        return sse.encode(msgspec.json.encode(chunk))

    def _choice(self, choice: dict[str, Any], number: int) -> dict[str, Any]:
        index = index_of(choice, number)
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
            reason, extra = _finish(reason, index in self._calls)
            if index in self._lists:
                extra["content"] = self._lists.pop(index).whole()
            if extra:
                delta[EXTRA] = {"mistral": extra}
        return {"logprobs": None, **choice, "index": index, "delta": delta, "finish_reason": reason}

    def _content(self, index: int, delta: dict[str, Any]) -> None:
        if isinstance(delta.get("content"), list):
            parts = delta["content"]
            self._lists.setdefault(index, _GatheredParts()).add(parts)
            delta["content"], thinking = _split(parts)
            if thinking:
                delta["reasoning_content"] = thinking
        elif delta.get("content") and index in self._lists:
            self._lists[index].add([{"type": "text", "text": delta["content"]}])

    def _fragment(self, choice: int, call: dict[str, Any]) -> dict[str, Any]:
        """A call, or a further piece of one: numbered anew, since `index` may be missing or the same for all calls."""
        calls = self._calls.setdefault(choice, _ShownCalls())
        number = calls.continued_by(call)
        if number is not None:
            return {"index": number, "function": {"arguments": _arguments(call["function"], "")}}
        number = len(calls)
        made = _call(call, f"{self._frame['id']}/{choice}/{number}")
        calls.add(call.get("index", number), made["id"])
        return {**made, "index": number}
