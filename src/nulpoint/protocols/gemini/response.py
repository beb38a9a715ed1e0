"""Answers of Gemini's generateContent (v1beta) in the OpenAI chat format.

Facts: the types of the `google-genai` SDK and recorded traffic. Parts that are more than text and calls (thoughts with
signatures, code that Google ran, media) stand as they came under `provider_specific_fields.gemini.parts` and are sent
again when the message is handed back unchanged. A call's signature also stands in
`tool_calls[].extra_content.google.thought_signature`, where Google's own OpenAI endpoint has it.
"""

from typing import Any

import msgspec

from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, NOT_JSON, malformed_response
from nulpoint.protocols.gemini.candidates import (
    answer_id,
    blocked_of,
    call_of,
    choice_of,
    extra_of,
    finish_of,
    is_made,
    logprobs_of,
    merge_candidate,
    notes_of,
    nothing_made,
    parts_of_candidate,
    rest_of,
    text_of,
    usage_of,
)
from nulpoint.protocols.gemini.partial_calls import OpenCall, in_pieces
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, choice_index, read_response
from nulpoint.protocols.provider_errors import embedded_error, embedded_failure
from nulpoint.protocols.response_types import GeminiAnswer
from nulpoint.protocols.stream_translator import StreamTranslator

_check = msgspec.json.Decoder(GeminiAnswer).decode


def decode(body: bytes, created: int) -> bytes:
    """A whole answer in the OpenAI shape. Raises Failure (502) for what is no answer."""
    answer = read_response("gemini", body)
    try:
        _check(body)
        return msgspec.json.encode(_completion(answer, answer_id(answer, body), created))
    except MALFORMED:
        raise malformed_response("the provider's answer cannot be used: it is none of Gemini's API") from None


def _completion(answer: dict[str, Any], made_id: str, created: int) -> dict[str, Any]:
    candidates = answer.get("candidates") or []
    usage = answer.get("usageMetadata") or {}
    more = rest_of(answer, usage)
    if candidates:
        _check_made(candidates)
        choices = [choice_of(one, number, made_id, {} if number else more) for number, one in enumerate(candidates)]
    else:
        choices = [_blocked_choice(answer, more)]
    return {
        "id": made_id,
        "object": "chat.completion",
        "created": created,
        "model": answer.get("modelVersion") or "",
        "choices": choices,
        "usage": usage_of(usage) if usage else None,
    }


def _check_made(candidates: list[dict[str, Any]]) -> None:
    """Raises Failure (502) where no candidate holds anything, and not because the model had nothing to say."""
    if any(is_made(part) for candidate in candidates for part in parts_of_candidate(candidate)):
        return
    failure = nothing_made([candidate.get("finishReason") for candidate in candidates])
    if failure is not None:
        raise failure


def _blocked_choice(answer: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    blocked = blocked_of(answer)
    if blocked is None:
        raise malformed_response("the provider's answer cannot be used: it has no candidates")
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": blocked, EXTRA_FIELDS: {"gemini": more}}
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": "content_filter"}


STRAY_BYTES = 65_536  # of what stands between the events


class GeminiStream(StreamTranslator[bytes]):
    """A watcher that translates. The stream ends with its connection: what says it was whole is a finish reason."""

    format = "Gemini's API"

    def __init__(self, created: int, show_usage: bool) -> None:
        self._splitter = sse.SseSplitter()
        super().__init__(created, show_usage, self._splitter.feed)
        self._id = ""
        self._usage: dict[str, Any] = {}
        self._answer: dict[str, Any] = {}  # members beside the candidates, the newest
        self._parts: dict[int, list[dict[str, Any]]] = {}  # of every candidate
        self._last: dict[int, dict[str, Any]] = {}  # a candidate's members
        self._counts: dict[int, int] = {}  # calls so far
        self._open: dict[int, OpenCall] = {}  # calls that come in pieces
        self._begun: set[int] = set()
        self._stray = bytearray()  # lines that are none of an event
        self._judged = 0  # bytes of them that were looked at

    def _at_end(self) -> bytes:
        out = self._guarded(self._translate, self._splitter.rest())
        self._judge_stray()
        if self.failure is None and self._last and not self._begun and self._is_whole():
            failure = nothing_made([one.get("finishReason") for one in self._last.values()])
            if failure is not None:
                raise failure
        return out + self._end() if self.failure is None and self._is_whole() else out

    def _reported_usage(self) -> dict[str, Any] | None:
        return usage_of(self._usage) if self._usage else None

    def _is_whole(self) -> bool:
        if not self._last:
            return blocked_of(self._answer) is not None
        return all(one.get("finishReason") for one in self._last.values())

    def _translate(self, block: bytes) -> bytes:
        """An error inside a stream comes as bare JSON, without `data:`, over several lines."""
        event = sse.parse(block)
        if event.name == b"error":
            raise embedded_failure("gemini", event.data)
        if not event.is_empty:
            return self._event(event.data)
        if block.strip() and not block.startswith(b":"):
            self._stray += block[: STRAY_BYTES - len(self._stray)]
            if len(self._stray) >= 2 * self._judged:  # else at the end: each look is one at all of them
                self._judge_stray()
        return b""

    def _judge_stray(self) -> None:
        """Raises Failure where they are an error."""
        if len(self._stray) > self._judged:
            self._judged = len(self._stray)
            stray = bytes(self._stray)
            if embedded_error(stray):
                raise embedded_failure("gemini", stray)

    def _event(self, data: bytes) -> bytes:
        try:
            told = msgspec.json.decode(data)
            if not (isinstance(told, dict) and told.get("error")):
                _check(data)
        except NOT_JSON:
            if b"\n" not in data:
                raise
            lines = [self._guarded(self._event, line) for line in data.split(b"\n")]  # no empty line parts them
            return b"".join(lines)
        return self._read(told, data)

    def _read(self, event: dict[str, Any], data: bytes) -> bytes:
        if event.get("error"):
            raise embedded_failure("gemini", data)
        if not self._id:
            self._id = answer_id(event, data)
            self._model = event.get("modelVersion") or ""
            self._write.begin(self._id, self._model)
        self._usage.update(event.get("usageMetadata") or {})
        self._answer.update(event)
        candidates = enumerate(event.get("candidates") or [])
        return b"".join([self._candidate(one, choice_index(one, number)) for number, one in candidates])

    def _candidate(self, candidate: dict[str, Any], index: int) -> bytes:
        merge_candidate(self._last.setdefault(index, {}), candidate)
        kept = self._parts.setdefault(index, [])
        made = []
        for part in parts_of_candidate(candidate):
            text = part.get("text")
            if text:
                name = "reasoning_content" if part.get("thought") else "content"
                made.append(self._delta({name: text}, index))
            if "functionCall" in part:
                made.append(self._piece(part, index))
            else:
                kept.append(part)
        return b"".join(made)

    def _piece(self, part: dict[str, Any], index: int) -> bytes:
        """A part with a call, or with a piece of one: such a call is shown when it is whole."""
        function = part["functionCall"]
        opened = self._open.get(index)
        if opened is None and in_pieces(function):
            opened = self._open[index] = OpenCall(part)
        if opened is None:
            return self._call(part, index)
        return self._call(self._open.pop(index).whole(), index) if opened.add(function) else b""

    def _call(self, part: dict[str, Any], index: int) -> bytes:
        self._parts[index].append(part)
        if not part["functionCall"]:
            return b""
        number = self._counts.get(index, 0)
        self._counts[index] = number + 1
        call = {"index": number, **call_of(part, self._id, index, number)}
        return self._delta({"tool_calls": [call]}, index)

    def _delta(self, delta: dict[str, Any], index: int) -> bytes:
        """With the role before it, once. Until then a candidate without content may still be a failure."""
        if index in self._begun:
            return self._write.delta(delta, index=index)
        self._begun.add(index)
        first = {"role": "assistant", "content": "", "refusal": None}
        return self._write.delta(first, index=index) + (self._write.delta(delta, index=index) if delta else b"")

    def _end(self) -> bytes:
        more = rest_of(self._answer, self._usage)
        if self._last:
            out = b"".join([self._finish(index, {} if number else more) for number, index in enumerate(self._last)])
        else:
            first = {"role": "assistant", "content": None, "refusal": blocked_of(self._answer)}
            out = self._write.delta(first) + self._write.delta({EXTRA_FIELDS: {"gemini": more}}, "content_filter")
        usage = self._reported_usage()
        if self._show_usage and usage:
            out += self._write.usage(usage)
        self.over = True
        return out

    def _finish(self, index: int, more: dict[str, Any]) -> bytes:
        begin = (
            self._call(self._open.pop(index).whole(), index) if index in self._open else b""
        )  # the token limit cut it
        parts, candidate = self._parts[index], self._last[index]
        delta: dict[str, Any] = notes_of(text_of(parts), candidate)
        extra = {**extra_of(parts, candidate), **more}
        if extra:
            delta[EXTRA_FIELDS] = {"gemini": extra}
        begin += b"" if index in self._begun else self._delta({}, index)
        finish = finish_of(candidate.get("finishReason"), bool(self._counts.get(index)))
        return begin + self._write.delta(delta, finish, index, logprobs_of(candidate))
