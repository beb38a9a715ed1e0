"""Translates responses of Gemini's generateContent (v1beta) to the OpenAI chat format.

Sources: the types of the `google-genai` SDK and recorded traffic. If a message has parts other than plain text and
calls (thoughts with signatures, code that Google ran, media), its `provider_specific_fields.gemini.parts` has all parts
as Gemini sent them, and they are sent to Gemini again if the client sends the message back unchanged. The signature of
a call is also in `tool_calls[].extra_content.google.thought_signature`, as in Google's own OpenAI endpoint.
"""

from typing import Any

import msgspec

from nulpoint.formats import sse
from nulpoint.formats.malformed import MALFORMED, NOT_JSON, unusable_response
from nulpoint.protocols.gemini.candidates import (
    block_message,
    candidate_extra,
    candidate_parts,
    is_output,
    merge_candidate,
    no_output_failure,
    parts_text,
    response_extra,
    response_id,
    to_annotations,
    to_choice,
    to_finish_reason,
    to_logprobs,
    to_tool_call,
    to_usage,
)
from nulpoint.protocols.gemini.partial_calls import PartialCall, begins_partial_call
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, choice_index, read_response
from nulpoint.protocols.provider_errors import embedded_failure, has_embedded_error
from nulpoint.protocols.response_types import GeminiResponse
from nulpoint.protocols.stream_translator import StreamTranslator

_check = msgspec.json.Decoder(GeminiResponse).decode


def decode(body: bytes, created: int) -> bytes:
    """Translate a complete response. Raises Failure (502) if it is malformed."""
    response = read_response("gemini", body)
    try:
        _check(body)
        return msgspec.json.encode(_completion(response, response_id(response, body), created))
    except MALFORMED:
        raise unusable_response("it is not in the format of Gemini's API") from None


def _completion(response: dict[str, Any], completion_id: str, created: int) -> dict[str, Any]:
    candidates = response.get("candidates") or []
    usage = response.get("usageMetadata") or {}
    extra = response_extra(response, usage)
    if candidates:
        _check_output(candidates)
        choices = [
            to_choice(candidate, number, completion_id, {} if number else extra)
            for number, candidate in enumerate(candidates)
        ]
    else:
        choices = [_blocked_choice(response, extra)]
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": response.get("modelVersion") or "",
        "choices": choices,
        "usage": to_usage(usage) if usage else None,
    }


def _check_output(candidates: list[dict[str, Any]]) -> None:
    """Raise Failure (502) if no candidate has output and no finish reason explains it."""
    if any(is_output(part) for candidate in candidates for part in candidate_parts(candidate)):
        return
    failure = no_output_failure([candidate.get("finishReason") for candidate in candidates])
    if failure is not None:
        raise failure


def _blocked_choice(response: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    refusal = block_message(response)
    if refusal is None:
        raise unusable_response("it has no candidates")
    message = {"role": "assistant", "content": None, "refusal": refusal, EXTRA_FIELDS: {"gemini": extra}}
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": "content_filter"}


MAX_STRAY_BYTES = 65_536  # kept of the lines outside events, which may be an error


class GeminiStream(StreamTranslator[bytes]):
    """Translates a stream. It has no end marker, so it is complete if every candidate has a finish reason."""

    format = "Gemini's API"

    def __init__(self, created: int, show_usage: bool) -> None:
        self._splitter = sse.SseSplitter()
        super().__init__(created, show_usage, self._splitter.feed)
        self._id = ""
        self._usage: dict[str, Any] = {}
        self._response: dict[str, Any] = {}  # the last values of the members other than the candidates
        # The following are by the index of the candidate.
        self._parts: dict[int, list[dict[str, Any]]] = {}
        self._candidates: dict[int, dict[str, Any]] = {}  # the members other than the content
        self._call_counts: dict[int, int] = {}
        self._partial_calls: dict[int, PartialCall] = {}
        self._begun: set[int] = set()  # those whose first chunk was sent
        self._stray = bytearray()  # lines outside events
        self._checked_bytes = 0  # bytes of the stray lines that were checked for an error

    def _translate_end(self) -> bytes:
        output = self._guarded(self._translate, self._splitter.rest())
        self._check_stray()
        if self.failure is None and self._candidates and not self._begun and self._is_complete():
            failure = no_output_failure([candidate.get("finishReason") for candidate in self._candidates.values()])
            if failure is not None:
                raise failure
        return output + self._end() if self.failure is None and self._is_complete() else output

    def _reported_usage(self) -> dict[str, Any] | None:
        return to_usage(self._usage) if self._usage else None

    def _is_complete(self) -> bool:
        if not self._candidates:
            return block_message(self._response) is not None
        return all(candidate.get("finishReason") for candidate in self._candidates.values())

    def _translate(self, block: bytes) -> bytes:
        """Translate an event. An error in a stream comes as plain JSON in several lines without `data:`."""
        event = sse.parse(block)
        if event.name == b"error":
            raise embedded_failure("gemini", event.data)
        if not event.is_empty:
            return self._event(event.data)
        if block.strip() and not block.startswith(b":"):
            self._stray += block[: MAX_STRAY_BYTES - len(self._stray)]
            # Every check reads all stray lines, so they are checked only when they have doubled, and at the end.
            if len(self._stray) >= 2 * self._checked_bytes:
                self._check_stray()
        return b""

    def _check_stray(self) -> None:
        """Raise Failure if the stray lines are an error."""
        if len(self._stray) > self._checked_bytes:
            self._checked_bytes = len(self._stray)
            stray = bytes(self._stray)
            if has_embedded_error(stray):
                raise embedded_failure("gemini", stray)

    def _event(self, data: bytes) -> bytes:
        try:
            event = msgspec.json.decode(data)
            if not (isinstance(event, dict) and event.get("error")):
                _check(data)
        except NOT_JSON:
            if b"\n" not in data:
                raise
            # These are several events without empty lines between them.
            return b"".join([self._guarded(self._event, line) for line in data.split(b"\n")])
        return self._read(event, data)

    def _read(self, event: dict[str, Any], data: bytes) -> bytes:
        if event.get("error"):
            raise embedded_failure("gemini", data)
        if not self._id:
            self._id = response_id(event, data)
            self._model = event.get("modelVersion") or ""
            self._write.begin(self._id, self._model)
        self._usage.update(event.get("usageMetadata") or {})
        self._response.update(event)
        candidates = enumerate(event.get("candidates") or [])
        return b"".join([self._candidate(candidate, choice_index(candidate, at)) for at, candidate in candidates])

    def _candidate(self, candidate: dict[str, Any], index: int) -> bytes:
        merge_candidate(self._candidates.setdefault(index, {}), candidate)
        parts = self._parts.setdefault(index, [])
        chunks = []
        for part in candidate_parts(candidate):
            text = part.get("text")
            if text:
                name = "reasoning_content" if part.get("thought") else "content"
                chunks.append(self._delta({name: text}, index))
            if "functionCall" in part:
                chunks.append(self._call_piece(part, index))
            else:
                parts.append(part)
        return b"".join(chunks)

    def _call_piece(self, part: dict[str, Any], index: int) -> bytes:
        """Translate a part with a call or a piece of one. A call in pieces is sent when it is complete."""
        function = part["functionCall"]
        partial = self._partial_calls.get(index)
        if partial is None and begins_partial_call(function):
            partial = self._partial_calls[index] = PartialCall(part)
        if partial is None:
            return self._call(part, index)
        return self._call(self._partial_calls.pop(index).to_part(), index) if partial.add(function) else b""

    def _call(self, part: dict[str, Any], index: int) -> bytes:
        self._parts[index].append(part)
        if not part["functionCall"]:
            return b""
        number = self._call_counts.get(index, 0)
        self._call_counts[index] = number + 1
        call = {"index": number, **to_tool_call(part, self._id, index, number)}
        return self._delta({"tool_calls": [call]}, index)

    def _delta(self, delta: dict[str, Any], index: int) -> bytes:
        """Return a chunk, after one with the role if it is the candidate's first.

        The role is not sent before there is content, because a candidate without any may turn out to be a failure.
        """
        if index in self._begun:
            return self._write.delta(delta, index=index)
        self._begun.add(index)
        first = {"role": "assistant", "content": "", "refusal": None}
        return self._write.delta(first, index=index) + (self._write.delta(delta, index=index) if delta else b"")

    def _end(self) -> bytes:
        extra = response_extra(self._response, self._usage)
        if self._candidates:
            indexes = enumerate(self._candidates)
            output = b"".join([self._finish(index, {} if number else extra) for number, index in indexes])
        else:
            first = {"role": "assistant", "content": None, "refusal": block_message(self._response)}
            output = self._write.delta(first) + self._write.delta({EXTRA_FIELDS: {"gemini": extra}}, "content_filter")
        usage = self._reported_usage()
        if self._show_usage and usage:
            output += self._write.usage(usage)
        self.over = True
        return output

    def _finish(self, index: int, extra_fields: dict[str, Any]) -> bytes:
        output = b""
        if index in self._partial_calls:  # a call that the token limit cut off
            output = self._call(self._partial_calls.pop(index).to_part(), index)
        parts, candidate = self._parts[index], self._candidates[index]
        delta: dict[str, Any] = to_annotations(parts_text(parts), candidate)
        extra = {**candidate_extra(parts, candidate), **extra_fields}
        if extra:
            delta[EXTRA_FIELDS] = {"gemini": extra}
        output += b"" if index in self._begun else self._delta({}, index)
        finish_reason = to_finish_reason(candidate.get("finishReason"), bool(self._call_counts.get(index)))
        return output + self._write.delta(delta, finish_reason, index, to_logprobs(candidate))
