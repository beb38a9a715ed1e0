"""Answers of Gemini's generateContent (v1beta) in the OpenAI chat format.

Facts: the types of the `google-genai` SDK and recorded traffic. Parts that are more than text and calls (thoughts with
signatures, code that Google ran, media) stand as they came under `provider_specific_fields.gemini.parts` and are sent
again when the message is handed back unchanged. A call's signature also stands in
`tool_calls[].extra_content.google.thought_signature`, where Google's own OpenAI endpoint has it.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from nulpoint.codecs.canonical import EXTRA, ChunkWriter, json_text
from nulpoint.errors import Failure, Kind
from nulpoint.wire import sse
from nulpoint.wire.provider_error import provider_failure
from nulpoint.wire.stream import DONE
from nulpoint.wire.usage import Facts, Usage

_FILTERED = frozenset(
    {
        "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION", "PUP_LIMITED_DISABLED",
    }
)  # fmt: skip


def decode(body: bytes, created: int) -> bytes:
    """A whole answer in the OpenAI shape. Raises Failure (502) for what is no answer."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    blocked = _block_reason(answer) if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not (answer.get("candidates") or blocked):
        text = "the provider's answer cannot be used: it has no candidates"
        raise Failure(Kind.UPSTREAM, 502, text, code="provider_malformed")
    answer_id = f"chatcmpl-{answer.get('responseId', '')}"
    choices = [_choice(candidate, number, answer_id) for number, candidate in enumerate(answer.get("candidates") or [])]
    if not choices:
        message = {"role": "assistant", "content": None, "refusal": blocked}
        choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "content_filter"}]
    extra = {name: answer[name] for name in sorted(set(answer) - _MAPPED) if answer[name] is not None}
    completion = {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": answer.get("modelVersion", ""),
        "choices": choices,
        "usage": usage_of(answer.get("usageMetadata") or {}),
        **({EXTRA: {"gemini": extra}} if extra else {}),
    }
    return msgspec.json.encode(completion)


_MAPPED = frozenset({"candidates", "usageMetadata", "modelVersion", "responseId"})
_CANDIDATE_MAPPED = frozenset({"content", "index"})


def _block_reason(answer: dict[str, Any]) -> str | None:
    reason = (answer.get("promptFeedback") or {}).get("blockReason")
    return f"the prompt was blocked: {reason}" if reason else None


def _choice(candidate: dict[str, Any], number: int, answer_id: str) -> dict[str, Any]:
    parts = (candidate.get("content") or {}).get("parts") or []
    index = candidate.get("index", number)
    calls = [call_of(part, answer_id, index, count) for count, part in enumerate(_calls(parts))]
    text = text_of(parts)
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    thoughts = text_of(parts, thought=True)
    if thoughts:
        message["reasoning_content"] = thoughts
    extra = extra_of(parts, candidate)
    if extra:
        message[EXTRA] = {"gemini": extra}
    finish = finish_of(candidate.get("finishReason"), bool(calls))
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def _calls(parts: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return [part for part in parts if "functionCall" in part]


def text_of(parts: list[dict[str, Any]], *, thought: bool = False) -> str:
    return "".join(part.get("text", "") for part in parts if bool(part.get("thought")) == thought)


def call_of(part: dict[str, Any], answer_id: str, choice: int, number: int) -> dict[str, Any]:
    """A call; older models give none an id, so it gets one that is the same for the same answer."""
    function = part["functionCall"]
    made = hashlib.sha256(f"{answer_id}/{choice}/{number}".encode()).hexdigest()[:24]
    call: dict[str, Any] = {
        "id": function.get("id") or f"call_{made}",
        "type": "function",
        "function": {"name": function.get("name"), "arguments": json_text(function.get("args") or {})},
    }
    if part.get("thoughtSignature"):
        call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return call


def finish_of(reason: str | None, called: bool) -> str:
    if reason in ("MAX_TOKENS", "CONTINUATION"):
        return "length"
    if reason in _FILTERED:
        return "content_filter"
    return "tool_calls" if called else "stop"


def extra_of(parts: list[dict[str, Any]], candidate: dict[str, Any]) -> dict[str, Any]:
    """What the OpenAI shape has no place for."""
    extra = {name: value for name, value in candidate.items() if name not in _CANDIDATE_MAPPED and value is not None}
    if extra.get("finishReason") in ("STOP", "MAX_TOKENS"):
        del extra["finishReason"]
    if any(set(part) - {"text"} for part in parts):
        extra["parts"] = parts
    return extra


def usage_of(usage: dict[str, Any]) -> dict[str, Any]:
    """Gemini counts thoughts beside the candidates; OpenAI's completion counts both."""
    thoughts = usage.get("thoughtsTokenCount") or 0
    prompt = (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0)
    completion = (usage.get("candidatesTokenCount") or 0) + thoughts
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": usage.get("totalTokenCount") or prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.get("cachedContentTokenCount") or 0},
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }


class GeminiStream:
    """A watcher that translates. The stream ends with its connection: what says it was whole is a finish reason."""

    def __init__(self, created: int, show_usage: bool) -> None:
        self._decoder = sse.Decoder()
        self._write = ChunkWriter(created)
        self._show_usage = show_usage
        self._id = self._model = ""
        self._usage: dict[str, Any] = {}
        self._parts: dict[int, list[dict[str, Any]]] = {}  # of every candidate
        self._last: dict[int, dict[str, Any]] = {}  # a candidate's members, the newest
        self._counts: dict[int, int] = {}  # calls so far
        self._blocked: str | None = None
        self._finished = False
        self.failure: Failure | None = None

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._event(event.data) for event in self._decoder.feed(data)])

    def close(self) -> bytes:
        out = b"".join([self._event(event.data) for event in self._decoder.close()])
        whole = self._last and all(one.get("finishReason") for one in self._last.values())
        return out + (self._end() if (whole or self._blocked) and self.failure is None else b"")

    def finished(self) -> bool:
        return self._finished

    def has_finish_reason(self) -> bool:
        return self._finished

    def facts(self) -> Facts:
        if not self._usage:
            return Facts(None, self._model or None)
        seen = usage_of(self._usage)
        cached = seen["prompt_tokens_details"]["cached_tokens"]
        reasoning = seen["completion_tokens_details"]["reasoning_tokens"]
        return Facts(Usage(seen["prompt_tokens"], seen["completion_tokens"], cached, reasoning), self._model)

    def _event(self, data: bytes) -> bytes:
        if self.failure is not None:
            return b""
        try:
            event = msgspec.json.decode(data)
            if "error" in event:
                code = event["error"].get("code")
                raise provider_failure("gemini", code if isinstance(code, int) else 500, data, None)
            return self._read(event)
        except Failure as failure:
            self.failure = failure
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            text = "the provider sent an event that is none of Gemini's API"
            self.failure = Failure(Kind.UPSTREAM, 502, text, code="provider_malformed")
        return b""

    def _read(self, event: dict[str, Any]) -> bytes:
        if not self._id:
            self._id = f"chatcmpl-{event.get('responseId', '')}"
            self._model = event.get("modelVersion", "")
            self._write.begin(self._id, self._model)
        self._usage.update(event.get("usageMetadata") or {})
        self._blocked = self._blocked or _block_reason(event)
        candidates = enumerate(event.get("candidates") or [])
        return b"".join([self._candidate(one, one.get("index", number)) for number, one in candidates])

    def _candidate(self, candidate: dict[str, Any], index: int) -> bytes:
        out = b""
        if index not in self._last:
            self._last[index] = {}
            self._parts[index] = []
            out = self._write.delta({"role": "assistant", "content": "", "refusal": None}, index=index)
        self._last[index].update({name: value for name, value in candidate.items() if name != "content"})
        parts = (candidate.get("content") or {}).get("parts") or []
        self._parts[index] += parts
        for part in parts:
            text = part.get("text")
            if text:
                name = "reasoning_content" if part.get("thought") else "content"
                out += self._write.delta({name: text}, index=index)
            if "functionCall" in part:
                number = self._counts.get(index, 0)
                self._counts[index] = number + 1
                call = {"index": number, **call_of(part, self._id, index, number)}
                out += self._write.delta({"tool_calls": [call]}, index=index)
        return out

    def _end(self) -> bytes:
        self._finished = True
        if not self._last:
            first = {"role": "assistant", "content": None, "refusal": self._blocked}
            out = self._write.delta(first) + self._write.delta({}, "content_filter")
        else:
            out = b"".join([self._finish(index) for index in self._last])
        if self._show_usage:
            out += self._write.usage(usage_of(self._usage))
        return out + sse.encode(DONE)

    def _finish(self, index: int) -> bytes:
        extra = extra_of(self._parts[index], self._last[index])
        delta = {EXTRA: {"gemini": extra}} if extra else {}
        finish = finish_of(self._last[index].get("finishReason"), bool(self._counts.get(index)))
        return self._write.delta(delta, finish, index)
