"""Reads streams of the chat completions API.

The rules about errors, the end and what follows it are those of streams that are passed on (`openai/stream.py`). The
finish reason is written at the end of the stream, because usage and other members may follow it.
"""

from io import StringIO
from itertools import chain
from typing import Any

import msgspec

from nulpoint.conversation.parts import Members
from nulpoint.conversation.stream import PartKind, StreamWriter
from nulpoint.conversation.usage import UsageReport
from nulpoint.formats import sse
from nulpoint.formats.malformed import NOT_JSON, malformed_response
from nulpoint.protocols.client_protocol import IncompleteStreamError
from nulpoint.protocols.openai.accumulate import merge, to_plain, update_members
from nulpoint.protocols.openai.answers import no_choices
from nulpoint.protocols.openai.chat import choice_index, json_text
from nulpoint.protocols.openai.chat_provider.response import (
    OF_LEGACY_CALL,
    OF_MESSAGE,
    OF_RESPONSE,
    CallKind,
    created_of,
    data_of_call,
    kind_of_call,
    others_of_call,
    provider_data,
    read_annotations,
    read_reasoning,
    to_finish_reason,
    unknown_finish_reason,
)
from nulpoint.protocols.openai.chat_provider.usage import read_usage, usage_of
from nulpoint.protocols.openai.stream import DONE, event_after_done, is_cut_off, is_done, is_error
from nulpoint.protocols.provider_errors import embedded_failure
from nulpoint.protocols.provider_stream import SseStreamParser
from nulpoint.protocols.response_members import other_members
from nulpoint.protocols.response_types import OpenAIResponse, OpenAITextChunk

_check = msgspec.json.Decoder(OpenAIResponse).decode
_read_text = msgspec.json.Decoder(OpenAITextChunk).decode
# Some hosts send the message so far, or the text, beside the delta.
_OF_CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs", "message", "text"})
_LEGACY = -1  # stands for the index of a call in the older form, which has none


class OpenAIChatStreamParser(SseStreamParser):
    """Reads a stream of chat completion chunks.

    A stream without `[DONE]` is complete if it ends in good order after every choice has a finish reason.
    """

    format = "the chat completions API"

    def __init__(self, writer: StreamWriter) -> None:
        super().__init__(writer)
        self._id = ""
        self._reported_usage: Any = None
        self._others: dict[str, Any] = {}  # the unknown members of the response
        self._choices: dict[int, _Choice] = {}
        self._choice = _Choice(0)  # the selected choice, which has begun if it is among the others

    def _usage(self) -> UsageReport | None:
        return read_usage(self._reported_usage).report

    def _is_continuation(self, event: sse.SseEvent) -> bool:
        if is_error(event):
            raise embedded_failure("the provider", event.data)
        return not is_done(event)

    def _translate(self, event: sse.SseEvent) -> bytes:
        # Nearly all events hold only text, so these take a short way.
        if not event.name:
            try:
                (piece,) = _read_text(event.data).choices
            except NOT_JSON:
                pass
            else:
                choice = self._choice
                if choice.part == "text" and piece.index == choice.index:
                    return self._writer.text(piece.delta.content)
        return self._translate_any(event)

    def _translate_any(self, event: sse.SseEvent) -> bytes:
        data = event.data
        if event.name == b"error" or data[:1] != b"{":
            if is_error(event):
                raise embedded_failure("the provider", data)
            if is_done(event):
                return self._end()
            if data.startswith(DONE):  # some clients would take it for the end
                raise event_after_done()
        chunk = msgspec.json.decode(data)
        if chunk.get("error") or chunk.get("object") == "error":
            raise embedded_failure("the provider", data)
        _check(data)
        try:
            return self._read(chunk)
        except IncompleteStreamError as error:
            raise malformed_response(f"the provider's chunks do not fit together: {error}") from None

    def _translate_end(self) -> bytes:
        """Read a last event that lacks only its empty line. One that is cut off shows that the stream is not complete.

        For a response that has ended, what follows in an incomplete event does not matter.
        """
        events = self._decoder.close()
        if any(map(is_cut_off, events)):
            return b""
        output = b"".join([self._guarded(self._translate, event) for event in events])
        if not self.over and self._have_ended():
            output += self._end()
        return output

    def _have_ended(self) -> bool:
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    def _read(self, chunk: dict[str, Any]) -> bytes:
        self._reported_usage = usage_of(chunk) or self._reported_usage
        if not chunk.keys() <= OF_RESPONSE:
            update_members(self._others, chunk, OF_RESPONSE)
        self._id = self._id or chunk.get("id") or ""
        self._model = self._model or chunk.get("model") or ""
        choices = chunk.get("choices")
        if not choices:
            return b""
        output = [] if self._choices else [self._writer.begin(self._id, self._model, created=created_of(chunk))]
        for choice in choices:
            output.append(self._select(choice_index(choice, 0)))
            output += self._read_choice(choice)
        return b"".join(output)

    def _select(self, index: int) -> bytes:
        """Continue with a choice. 0 is selected from the beginning."""
        if index == self._choice.index:
            self._choices.setdefault(index, self._choice)
            return b""
        self._choice = self._choices.get(index) or self._choices.setdefault(index, _Choice(index))
        return self._writer.select_choice(index)

    def _read_choice(self, choice: dict[str, Any]) -> list[bytes]:
        selected = self._choice
        if not choice.keys() <= _OF_CHOICE:
            update_members(selected.others, choice, _OF_CHOICE)
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            merge(selected.logprobs, logprobs)
        elif logprobs is not None:
            selected.others["logprobs"] = logprobs
        selected.finish_reason = choice.get("finish_reason") or selected.finish_reason
        delta = choice.get("delta")
        return self._read_delta(delta) if delta else []

    def _read_delta(self, delta: dict[str, Any]) -> list[bytes]:
        output: list[bytes] = []
        reasoning, others = read_reasoning(delta)
        if reasoning:
            output += (self._start_part("reasoning"), self._writer.reasoning(reasoning))
        if delta.get("content"):
            output += (self._start_part("text"), self._writer.text(delta["content"]))
        if delta.get("refusal"):
            self._choice.part = None
            output.append(self._writer.refusal(delta["refusal"]))
        for call in delta.get("tool_calls") or ():
            output += self._read_call(call)
        if delta.get("function_call"):
            output += self._read_legacy_call(delta["function_call"])
        if delta.get("annotations"):
            output += self._read_annotations(delta["annotations"])
        if not delta.keys() <= OF_MESSAGE:
            others |= other_members(delta, OF_MESSAGE)
        if others:
            merge(self._choice.message, others)
        if not any(output) and any(value for name, value in delta.items() if name != "role"):
            output.append(self._writer.progress())
        return output

    def _start_part(self, kind: PartKind) -> bytes:
        """Begin a part of this kind, unless the current one is."""
        if self._choice.part == kind:
            return b""
        self._choice.part = kind
        return self._writer.start_part(kind)

    def _read_annotations(self, annotations: list[dict[str, Any]]) -> list[bytes]:
        citations, others = read_annotations(annotations)
        if others:
            merge(self._choice.message, {"annotations": others})
        if not citations:
            return []
        return [self._start_part("text"), *[self._writer.citation(citation) for citation in citations]]

    def _read_legacy_call(self, piece: dict[str, Any]) -> list[bytes]:
        """Read a call in the older form, of which a message has one, or a piece of it."""
        others = other_members(piece, OF_LEGACY_CALL)
        if others:
            merge(self._choice.message, {"function_call": others})
        function = {"name": piece.get("name"), "arguments": piece.get("arguments")}
        return self._read_call({"index": _LEGACY, "id": piece.get("id"), "function": function})

    def _read_call(self, piece: dict[str, Any]) -> list[bytes]:
        """Read a tool call or a piece of one."""
        output: list[bytes] = []
        call = self._choice.call_of(piece)
        begins = call is None
        kind = kind_of_call(piece) if call is None else call.kind
        others = others_of_call(piece, kind)
        if kind is not None and call is None:
            call = self._choice.add_call(piece, kind)
            if kind == "function":
                output.append(self._writer.start_call(call.number, call.id, call.name, data_of_call(piece)))
        if data_of_call(piece) and (kind == "custom" or not begins):  # it cannot be given to the writer
            others["extra_content"] = piece["extra_content"]
        if call is not None:
            output += self._write_arguments(call, piece.get(call.kind) or {})
        if others:
            index = piece.get("index") if call is None else call.number
            entry = others if index is None else {"index": index, **others}
            merge(self._choice.others_of_calls, {"unknown" if call is None else "known": [entry]})
        return output

    def _write_arguments(self, call: "_Call", function: dict[str, Any]) -> list[bytes]:
        if call.kind == "custom":  # written when it is complete
            call.input.write(function.get("input") or "")
            return []
        arguments = function.get("arguments")
        if not arguments:
            return []
        return [self._writer.arguments(call.number, arguments if isinstance(arguments, str) else json_text(arguments))]

    def _end(self) -> bytes:
        """End the response. Raises Failure (502) if none has begun."""
        if not self._choices:
            raise no_choices()
        usage = read_usage(self._reported_usage)
        others: dict[str, Members] = {"response": self._others, "usage": usage.others}
        output = []
        for _, choice in sorted(self._choices.items()):
            output += [self._select(choice.index), *self._finish(choice, others)]
            others = {}
        if usage.report is not None:
            output.append(self._writer.usage(usage.report))
        self.over = True
        return b"".join(output)

    def _finish(self, choice: "_Choice", others: dict[str, Members]) -> list[bytes]:
        """End the selected choice."""
        writer = self._writer
        output = []
        for call in choice.calls:
            if call.kind == "custom":
                output.append(writer.custom_call(call.number, call.id, call.name or "", call.input.getvalue()))
            else:
                output.append(writer.end_call(call.number))
        if choice.logprobs:
            output.append(writer.logprobs(to_plain(choice.logprobs)))
        of_choice = {**choice.others, **unknown_finish_reason(choice.finish_reason)}
        message = to_plain(choice.message)
        if choice.others_of_calls:
            message["tool_calls"] = list(chain(*to_plain(choice.others_of_calls).values()))
        data = provider_data({**others, "choice": of_choice, "message": message})
        output.append(writer.finish(to_finish_reason(choice.finish_reason, bool(choice.calls)), data))
        return output


class _Choice:
    """What has been read of one choice.

    Fields:
        part: the kind of the current part, or None if that is a call, a refusal or nothing yet.
        logprobs: the log probabilities so far.
        message: the unknown members of the message so far.
        others_of_calls: the unknown members of known calls so far, and the unknown calls, both as lists.
        others: the unknown members of the choice itself.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.part: PartKind | None = None
        self.finish_reason: str | None = None
        self.logprobs: dict[str, Any] = {}
        self.message: dict[str, Any] = {}
        self.others_of_calls: dict[str, Any] = {}
        self.others: dict[str, Any] = {}
        self.calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def call_of(self, piece: dict[str, Any]) -> "_Call | None":
        """Return the call that a piece belongs to, or None if a new call begins with it.

        Some hosts give several calls the same index, or none at all, so another id with a name also begins a call.
        """
        index = piece.get("index")
        last = self.calls[-1] if self.calls else None
        call = last if index is None else self._by_index.get(index)
        call_id, kind = piece.get("id"), kind_of_call(piece)
        if call is not None and call_id and call_id != call.id and kind is not None and piece[kind].get("name"):
            return None
        return call

    def add_call(self, piece: dict[str, Any], kind: CallKind) -> "_Call":
        """Begin a call with its first piece."""
        call = _Call(len(self.calls), kind, piece.get("id"), piece[kind].get("name"))
        self.calls.append(call)
        self.part = None
        index = piece.get("index")
        if index is not None:
            self._by_index[index] = call
        return call


class _Call:
    """A tool call whose pieces are still arriving. `input` is that of a custom tool."""

    def __init__(self, number: int, kind: CallKind, call_id: str | None, name: str | None) -> None:
        self.number = number
        self.kind = kind
        self.id = call_id
        self.name = name
        self.input = StringIO()
