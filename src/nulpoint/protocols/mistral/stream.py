"""Reads the streams of Mistral's chat API.

A stream is complete if all its choices have a finish reason, and `[DONE]` follows or it ends in good order. Calls may
come whole or in pieces. Sources: recorded streams and the types of the `mistralai` SDK.
"""

from io import StringIO
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from nulpoint.conversation.parts import Members
from nulpoint.conversation.stream import StreamWriter
from nulpoint.conversation.usage import UsageReport
from nulpoint.formats import sse
from nulpoint.formats.malformed import NOT_JSON, malformed_response
from nulpoint.protocols.mistral.plain import read_plain_chunk
from nulpoint.protocols.mistral.response import (
    OF_MESSAGE,
    OF_RESPONSE,
    arguments_text,
    call_data,
    client_id,
    provider_data,
    read_logprobs,
    read_usage,
    thinking_text,
    to_finish_reason,
    unheld_usage,
)
from nulpoint.protocols.openai.chat import choice_index
from nulpoint.protocols.openai.stream import DONE
from nulpoint.protocols.provider_errors import embedded_failure
from nulpoint.protocols.provider_stream import SseStreamParser
from nulpoint.protocols.response_members import other_members
from nulpoint.protocols.response_types import MistralResponse

_check = msgspec.json.Decoder(MistralResponse).decode
_PADDING = frozenset({"p"})  # a member with random letters that hide the length of the event
_OF_CHUNK = OF_RESPONSE | _PADDING
_OF_CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs"}) | _PADDING
_OF_DELTA = OF_MESSAGE | _PADDING
_PIECES = frozenset({"text", "thinking"})  # the members of a part whose text comes in pieces
_TEXT_MEMBERS = frozenset({"type", "text"})
_TEXT_PART: Members = MappingProxyType({"type": "text"})  # the part of a content that is no list
_PieceKind = Literal["text", "reasoning"]


class MistralStreamParser(SseStreamParser):
    """Reads a Mistral stream."""

    format = "Mistral's API"

    def __init__(self, writer: StreamWriter) -> None:
        super().__init__(writer)
        self._id: str | None = None  # None: no chunk has come
        self._created: int | None = None
        self._choices: dict[int, _ChoiceStream] = {}  # those that have begun
        self._choice = _ChoiceStream(0)  # the one that the writer has selected
        self._report: UsageReport | None = None
        # What the conversation does not hold of the response and of its usage: all of it, and what the client lacks.
        self._unheld: dict[str, dict[str, Any]] = {"response": {}, "usage": {}}
        self._rest: dict[str, dict[str, Any]] = {}

    def _have_ended(self) -> bool:
        choices = self._choices.values()
        return self.failure is None and bool(choices) and all([choice.has_ended for choice in choices])

    def _is_continuation(self, event: sse.SseEvent) -> bool:
        return event.data.strip() != DONE

    def _usage(self) -> UsageReport | None:
        return self._report

    def _translate(self, event: sse.SseEvent) -> bytes:
        data = event.data
        if event.name == b"error":
            raise embedded_failure("mistral", data)
        if self._choice.content.kind is not None:
            output = self._continue_part(data)
            if output is not None:
                return output
        return self._end() if data.strip() == DONE else self._read(msgspec.json.decode(data), data)

    def _continue_part(self, data: bytes) -> bytes | None:
        """Read a chunk with nothing but a further piece of the current part. Return None for any other chunk."""
        try:
            (choice,) = read_plain_chunk(data).choices
        except NOT_JSON:
            return None
        content, piece = self._choice.content, choice.delta.content
        if choice.index != self._choice.index or isinstance(piece, str) != (content.kind == "text"):
            return None
        if isinstance(piece, str):
            content.text.write(piece)
            return self._writer.text(piece)
        part = piece[0]
        text = part.thinking[0].text
        content.text.write(text)
        content.update({"closed": part.closed})
        return self._writer.reasoning(text) if text else b""

    def _end(self) -> bytes:
        """End the stream at `[DONE]`, unless a choice has no finish reason, which means that it is incomplete."""
        if not self._have_ended():
            return b""
        last = self._writer.usage(self._report) if self._report is not None else b""
        self.over = True
        return last

    def _translate_end(self) -> bytes:
        """Read a last event without its empty line. The end of the choices is the end, even without `[DONE]`."""
        output = super()._translate_end()
        return output if self.over else output + self._end()

    def _read(self, chunk: dict[str, Any], data: bytes) -> bytes:
        if chunk.get("error") or ("choices" not in chunk and not chunk.get("usage")):
            raise embedded_failure("mistral", data)
        _check(data)
        if self._id is None:
            self._id, self._model = chunk.get("id") or "", chunk.get("model") or ""
            self._created = chunk.get("created") or None
        self._read_rest(chunk)
        choices = enumerate(chunk.get("choices") or ())
        output = b"".join([self._read_choice(choice, choice_index(choice, number)) for number, choice in choices])
        if self._rest and self._have_ended():
            output += self._writer.late_data(provider_data(**self._take_rest()))
        return output

    def _read_rest(self, chunk: dict[str, Any]) -> None:
        """Read the usage, and what the conversation does not hold of the response and of its usage."""
        self._add_rest("response", other_members(chunk, _OF_CHUNK))
        usage = chunk.get("usage")
        if usage:
            self._report = read_usage(usage)
            self._add_rest("usage", unheld_usage(usage))

    def _add_rest(self, place: str, members: Members) -> None:
        """Add those members that are new or have changed."""
        known = self._unheld[place]
        for name, value in members.items():
            if name not in known or known[name] != value:
                known[name] = self._rest.setdefault(place, {})[name] = value

    def _take_rest(self) -> Members:
        """Return what the client lacks, which it gets now."""
        rest, self._rest = self._rest, {}
        return rest

    def _read_choice(self, choice: dict[str, Any], index: int) -> bytes:
        output = self._select(index)
        state = self._choice
        delta, reason = choice.get("delta") or {}, choice.get("finish_reason")
        state.add_rest(choice, delta)
        content, calls = delta.get("content"), delta.get("tool_calls")
        if state.has_ended:
            if content or calls:
                raise malformed_response("the provider continued a choice after its finish reason")
            late = provider_data(**state.take_rest())
            return output + self._writer.late_data(late) if late else output
        if isinstance(content, list):
            state.content.is_list = True
            output += b"".join([self._part(part) for part in content])
        elif content:
            output += self._piece("text", content, _TEXT_PART)
        if calls:
            output += b"".join([self._call(call) for call in calls])
        return output + self._finish(reason) if reason else output

    def _select(self, index: int) -> bytes:
        """Select a choice, with the first of which the response begins."""
        is_first, choice = not self._choices, self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _ChoiceStream(index)
        if choice is self._choice:
            return b""
        self._choice = choice
        if is_first:
            return self._writer.begin(self._id or "", self._model, index=index, created=self._created)
        return self._writer.select_choice(index)

    def _part(self, part: dict[str, Any]) -> bytes:
        """Read a part of a content list, or a further piece of the current part."""
        match part.get("type"):
            case "text":
                return self._piece("text", part.get("text") or "", part)
            case "thinking":
                return self._piece("reasoning", thinking_text(part), part)
        self._choice.content.add_whole(part)
        return self._writer.start_part("other")

    def _piece(self, kind: _PieceKind, text: str, part: Members) -> bytes:
        is_new = self._choice.content.add(kind, text, part)
        output = self._writer.start_part(kind) if is_new else b""
        if not text:
            return output
        return output + (self._writer.text(text) if kind == "text" else self._writer.reasoning(text))

    def _call(self, call: dict[str, Any]) -> bytes:
        """Read a call or a further piece of one.

        Its number is assigned here, because Mistral's index may be missing or the same for all calls.
        """
        calls, function = self._choice.calls, call["function"]
        number, output = calls.continued_by(call), b""
        if number is None:
            number = len(calls)
            call_id = client_id(call, f"{self._id}/{self._choice.index}/{number}")
            calls.add(call.get("index", number), call_id)
            self._choice.content.end_part()
            output = self._writer.start_call(number, call_id, function.get("name"), call_data(call))
        else:
            self._choice.add_call_rest(number, call)
        text = arguments_text(function)
        if not text:
            return output
        calls.with_arguments.add(number)
        return output + self._writer.arguments(number, text)

    def _finish(self, mistral_reason: str) -> bytes:
        """End the choice and its calls. A call without arguments gets an empty object."""
        choice = self._choice
        reason, original_reason = to_finish_reason(mistral_reason, bool(choice.calls))
        output = []
        for number in range(len(choice.calls)):
            if number not in choice.calls.with_arguments:
                output.append(self._writer.arguments(number, "{}"))
            output.append(self._writer.end_call(number))
        logprobs = choice.logprobs.joined()
        if logprobs:
            output.append(self._writer.logprobs(logprobs))
        content = choice.content.complete_list() if choice.content.is_list else None
        rest = {**choice.take_rest(), **self._take_rest()}
        choice.end()
        data = provider_data(content=content, finish_reason=original_reason, **rest)
        output.append(self._writer.finish(reason, data))
        return b"".join(output)


class _ChoiceStream:
    """What has arrived of one choice."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.has_ended = False
        self.content = _Content()
        self.calls = _Calls()
        self.logprobs = _Pieces()
        self._rest: dict[str, Any] = {}  # what the conversation does not hold of the choice
        self._message = _Pieces()  # the same of its message

    def add_rest(self, choice: dict[str, Any], delta: dict[str, Any]) -> None:
        """Add the log probabilities, and what the conversation does not hold."""
        logprobs, more = read_logprobs(choice)
        if logprobs and self.has_ended:
            more = {"logprobs": logprobs}
        elif logprobs:
            self.logprobs.add(logprobs)
        self._rest |= other_members(choice, _OF_CHOICE) | more
        self._message.add(other_members(delta, _OF_DELTA))

    def add_call_rest(self, number: int, call: dict[str, Any]) -> None:
        """Add what the conversation does not hold of a further piece of a call."""
        for rest in call_data(call).values():
            self._message.add({"tool_calls": [{"index": number, **rest}]})

    def take_rest(self) -> Members:
        """Return what the conversation does not hold and was not returned before."""
        rest = {"choice": self._rest, "message": self._message.joined()}
        self._rest, self._message = {}, _Pieces()
        return rest

    def end(self) -> None:
        self.has_ended = True
        self.content.end_part()


class _Content:
    """The content of a choice as a list of parts. Consecutive pieces of text or of thinking make one part.

    `kind` is the kind of the current part, or None if no piece can continue it, and `text` is its text so far.
    """

    def __init__(self) -> None:
        self.is_list = False  # whether Mistral has sent any of it as a list
        self.kind: _PieceKind | None = None
        self.text = StringIO()
        self._parts: list[tuple[dict[str, Any], StringIO | None]] = []  # with None for a part that came whole

    def add(self, kind: _PieceKind, text: str, part: Members) -> bool:
        """Add a piece of text or of thinking, which is all or a part of `part`. Return whether a new part begins."""
        if _has_references(part):
            self.add_whole(part)
            return True
        is_new = kind != self.kind
        if is_new:
            self.kind, self.text = kind, StringIO()
            self._parts.append(({**part}, self.text))
        elif part is not _TEXT_PART:
            self.update({name: value for name, value in part.items() if name not in _PIECES})
        self.text.write(text)
        return is_new

    def add_whole(self, part: Members) -> None:
        """Add a part that has more than text."""
        self._parts.append(({**part}, None))
        self.end_part()

    def update(self, members: Members) -> None:
        """Set members of the current part to their newest values."""
        self._parts[-1][0].update(members)

    def end_part(self) -> None:
        self.kind = None

    def complete_list(self) -> list[dict[str, Any]]:
        """Return the parts as they would stand in a complete response."""
        return [part if text is None else _with_text(part, text.getvalue()) for part, text in self._parts]


def _has_references(part: Members) -> bool:
    """Return whether the thinking of a part has more than texts."""
    thinking = part.get("thinking")
    return isinstance(thinking, list) and not all([_is_text(piece) for piece in thinking])


def _is_text(piece: Members) -> bool:
    return piece.get("type") == "text" and piece.keys() <= _TEXT_MEMBERS


def _with_text(part: dict[str, Any], text: str) -> dict[str, Any]:
    if part["type"] == "text":
        return {**part, "text": text}
    return {**part, "thinking": text if isinstance(part.get("thinking"), str) else [{"type": "text", "text": text}]}


class _Calls:
    """The calls of a choice so far, numbered from 0."""

    def __init__(self) -> None:
        self.with_arguments: set[int] = set()
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


class _Pieces:
    """Members that come in pieces. Texts and lists are joined; any other value replaces the one before."""

    def __init__(self) -> None:
        self._members: dict[str, Any] = {}

    def add(self, members: Members) -> None:
        for name, value in members.items():
            before = self._members.get(name)
            if isinstance(value, str):
                if not isinstance(before, StringIO):
                    before = self._members[name] = StringIO()
                before.write(value)
            elif isinstance(value, list) and isinstance(before, list):
                before.extend(value)
            else:
                self._members[name] = value

    def joined(self) -> dict[str, Any]:
        return {
            name: value.getvalue() if isinstance(value, StringIO) else value for name, value in self._members.items()
        }
