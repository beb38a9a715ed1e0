"""Reads streams of Gemini's streamGenerateContent (v1beta).

Every event is a response of its own with the next piece of each candidate. The stream has no end marker, so it is
complete if every candidate has a finish reason. Sources: the types of the `google-genai` SDK and recorded traffic.
"""

from typing import Any

import msgspec

from nulpoint.conversation.stream import PartKind, StreamWriter
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import Failure
from nulpoint.formats import sse
from nulpoint.formats.malformed import NOT_JSON
from nulpoint.protocols.error_body import has_embedded_error
from nulpoint.protocols.gemini.candidates import (
    PROVIDER,
    block_message,
    broken_failure,
    candidate_extra,
    candidate_parts,
    continuation_token,
    is_output,
    is_provider_part,
    merge_candidate,
    no_output_failure,
    read_citations,
    read_usage,
    response_extra,
    response_id,
    sum_usage,
    to_finish_reason,
    to_logprobs,
    to_tool_call,
)
from nulpoint.protocols.gemini.partial_calls import PartialCall, begins_partial_call
from nulpoint.protocols.gemini.plain import PlainPart, read_plain_event
from nulpoint.protocols.gemini.response import provider_data
from nulpoint.protocols.openai.chat import choice_index
from nulpoint.protocols.provider_errors import embedded_failure
from nulpoint.protocols.provider_stream import StreamParser
from nulpoint.protocols.response_types import GeminiResponse

_check = msgspec.json.Decoder(GeminiResponse).decode
MAX_STRAY_BYTES = 65_536  # kept of the lines outside events, which may be an error
_DATA = b"data: "


class _Candidate:
    """What has arrived of a candidate.

    Fields:
        members: its members other than the content.
        parts: its parts, without calls that are incomplete.
        only_text: no part has more than text.
        held: parts without output, such as a signature alone, that have come before all others.
        kind: the kind of the current part, None before the first one and after a call.
        call_count: the number of calls that the client has seen.
        partial_call: a call that arrives in pieces.
    """

    __slots__ = ("call_count", "held", "index", "kind", "members", "only_text", "partial_call", "parts")

    def __init__(self, index: int) -> None:
        self.index = index
        self.members: dict[str, Any] = {}
        self.parts: list[dict[str, Any] | PlainPart] = []
        self.only_text = True
        self.held: list[dict[str, Any]] = []
        self.kind: PartKind | None = None
        self.call_count = 0
        self.partial_call: PartialCall | None = None

    def add_part(self, part: dict[str, Any]) -> None:
        self.parts.append(part)
        self.only_text = self.only_text and part.keys() <= {"text"}

    def complete_parts(self) -> list[dict[str, Any]]:
        """Return the parts as they would stand in a complete response."""
        return msgspec.to_builtins(self.parts)  # type: ignore[no-any-return]


class GeminiStreamParser(StreamParser[bytes]):
    """Reads a stream. Nothing is written before there is content, because a response without any may be a failure."""

    format = "Gemini's API"

    def __init__(self, writer: StreamWriter) -> None:
        self._splitter = sse.SseSplitter()
        super().__init__(writer, self._splitter.feed)
        self._id = ""
        self._earlier_usage: dict[str, Any] = {}  # of the parts of the response before the current one
        self._reported_usage: dict[str, Any] = {}
        self._response: dict[str, Any] = {}  # the last values of the members other than the candidates
        self._candidates: dict[int, _Candidate] = {}
        self._selected: _Candidate | None = None  # the one that the writer writes; None: the response has not begun
        self._stray = bytearray()  # lines outside events
        self._checked_bytes = 0  # bytes of the stray lines that were checked for an error

    def _translate(self, block: bytes) -> bytes:
        if block.startswith(_DATA) and sse.one_line_end(block) == len(block):
            output = self._plain_event(block[len(_DATA) :])
            if output is not None:
                return output
        return self._block(block)

    def _plain_event(self, data: bytes) -> bytes | None:
        """Read an event with a piece of text of a candidate that has begun. Return None for any other event."""
        try:
            event = read_plain_event(data)
        except NOT_JSON:
            return None
        piece = event.candidates[0]
        part = piece.content.parts[0]
        candidate = self._candidates.get(piece.index)
        if candidate is None or not part.text:
            return None
        if event.usageMetadata is not None:
            self._reported_usage.update(msgspec.to_builtins(event.usageMetadata))
        candidate.parts.append(part)
        if part.thought is msgspec.UNSET and candidate.kind == "text" and candidate is self._selected:
            return self._writer.text(part.text)
        candidate.only_text = candidate.only_text and part.thought is msgspec.UNSET
        return self._text(candidate, part.text, is_thought=part.thought is True)

    def _block(self, block: bytes) -> bytes:
        """Read the lines of an event. An error in a stream comes as plain JSON in several lines without `data:`."""
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
        self._reported_usage.update(event.get("usageMetadata") or {})
        self._response.update(event)
        candidates = enumerate(event.get("candidates") or [])
        return b"".join([self._candidate(candidate, choice_index(candidate, at)) for at, candidate in candidates])

    def _usage(self) -> UsageReport | None:
        usage = self._total_usage()
        return read_usage(usage) if usage else None

    def _total_usage(self) -> dict[str, Any]:
        return sum_usage(self._earlier_usage, self._reported_usage) if self._earlier_usage else self._reported_usage

    def take_continuation(self) -> str | None:
        """Return the token for the next part of the response, which then follows, or None if there is none."""
        if self.over or len(self._candidates) != 1:
            return None
        (candidate,) = self._candidates.values()
        token = continuation_token(candidate.members)
        if token is not None:
            del candidate.members["finishReason"], candidate.members["continuationToken"]
            self._earlier_usage, self._reported_usage = self._total_usage(), {}
        return token

    def _candidate(self, event: dict[str, Any], index: int) -> bytes:
        candidate = self._candidates.get(index) or self._candidates.setdefault(index, _Candidate(index))
        merge_candidate(candidate.members, event)
        return b"".join([self._part(candidate, part) for part in candidate_parts(event)])

    def _part(self, candidate: _Candidate, part: dict[str, Any]) -> bytes:
        text, is_thought = part.get("text"), bool(part.get("thought"))
        output = self._text(candidate, text, is_thought=is_thought) if text else b""
        if "functionCall" in part:
            return output + self._call_piece(candidate, part)
        candidate.add_part(part)
        signature = part.get("thoughtSignature")
        if signature and (text or (is_thought and candidate.kind == "reasoning")):
            return output + self._select(candidate) + self._writer.signature(PROVIDER, signature)
        if not is_provider_part(part):
            return output
        if not is_output(part) and candidate.kind is None and not candidate.call_count:
            candidate.held.append(part)  # a response without any output may be a failure
            return b""
        return output + self._provider_part(candidate, part)

    def _provider_part(self, candidate: _Candidate, part: dict[str, Any]) -> bytes:
        return self._start_part(candidate, "other") + self._writer.provider_part(PROVIDER, part)

    def _text(self, candidate: _Candidate, text: str, *, is_thought: bool) -> bytes:
        output = self._start_part(candidate, "reasoning" if is_thought else "text")
        return output + (self._writer.reasoning(text) if is_thought else self._writer.text(text))

    def _start_part(self, candidate: _Candidate, kind: PartKind) -> bytes:
        """Continue with a candidate and a kind of part. A part of kind `other` is always a new one."""
        output = self._select(candidate)
        if kind == candidate.kind and kind != "other":
            return output
        candidate.kind = kind
        return output + self._writer.start_part(kind)

    def _select(self, candidate: _Candidate) -> bytes:
        """Continue with a candidate. The first one begins the response."""
        selected, self._selected = self._selected, candidate
        if selected is None:
            output = self._writer.begin(self._id, self._model, index=candidate.index)
        else:
            output = b"" if selected is candidate else self._writer.select_choice(candidate.index)
        held, candidate.held = candidate.held, []
        return output + b"".join([self._provider_part(candidate, part) for part in held]) if held else output

    def _call_piece(self, candidate: _Candidate, part: dict[str, Any]) -> bytes:
        """Read a part with a call or a piece of one. A call in pieces is written when it is complete."""
        function = part["functionCall"]
        if candidate.partial_call is None:
            if not begins_partial_call(function):
                return self._call(candidate, part)
            candidate.partial_call = PartialCall(part)
        return self._complete_call(candidate) if candidate.partial_call.add(function) else b""

    def _complete_call(self, candidate: _Candidate) -> bytes:
        """Write a call that has arrived in pieces, as far as it has."""
        partial, candidate.partial_call = candidate.partial_call, None
        return self._call(candidate, partial.to_part()) if partial is not None else b""

    def _call(self, candidate: _Candidate, part: dict[str, Any]) -> bytes:
        candidate.add_part(part)
        if not part["functionCall"]:
            return b""
        number = candidate.call_count
        candidate.call_count += 1
        candidate.kind = None
        call = to_tool_call(part, self._id, candidate.index, number)
        return (
            self._select(candidate)
            + self._writer.start_call(number, call.id, call.name, call.provider_data)
            + self._writer.arguments(number, str(call.arguments))
            + self._writer.end_call(number)
        )

    def _translate_end(self) -> bytes:
        output = self._guarded(self._translate, self._splitter.rest())
        self._check_stray()
        if self.failure is not None or not self._is_complete():
            return output
        failure = self._output_failure() if self._candidates else None
        if failure is not None:
            self._fail(failure)
            return output
        return output + self._end()

    def _output_failure(self) -> Failure | None:
        """Return the failure if no candidate is whole, or if none has output and no finish reason explains it."""
        ends = [
            (candidate.members.get("finishReason"), candidate.call_count > 0) for candidate in self._candidates.values()
        ]
        return no_output_failure([reason for reason, _ in ends]) if self._selected is None else broken_failure(ends)

    def _is_complete(self) -> bool:
        if not self._candidates:
            return block_message(self._response) is not None
        return all(candidate.members.get("finishReason") for candidate in self._candidates.values())

    def _end(self) -> bytes:
        extra = response_extra(self._response, self._total_usage())
        if self._candidates:
            candidates = enumerate(self._candidates.values())
            output = b"".join([self._finish(candidate, {} if number else extra) for number, candidate in candidates])
        else:
            output = self._refuse(extra)
        usage = self._usage()
        if usage is not None:
            output += self._writer.usage(usage)
        self.over = True
        return output

    def _refuse(self, extra: dict[str, Any]) -> bytes:
        return (
            self._writer.begin(self._id, self._model)
            + self._writer.refusal(block_message(self._response) or "")
            + self._writer.finish("content_filter", provider_data(extra))
        )

    def _finish(self, candidate: _Candidate, extra: dict[str, Any]) -> bytes:
        output = self._complete_call(candidate)  # a call that the token limit cut off
        output += self._select(candidate)
        members = candidate.members
        parts: list[dict[str, Any]] = []
        if not candidate.only_text or members.get("groundingMetadata"):
            parts = candidate.complete_parts()
        output += b"".join([self._writer.citation(citation) for citation in read_citations(parts, members)])
        logprobs = to_logprobs(members)
        if logprobs is not None:
            output += self._writer.logprobs(logprobs)
        reason = to_finish_reason(members.get("finishReason"), has_calls=candidate.call_count > 0)
        return output + self._writer.finish(reason, provider_data({**candidate_extra(parts, members), **extra}))
