"""A whole answer out of the chunks of its stream, as the provider would have sent it without `stream`.

The rules are those of the OpenAI SDK's accumulator: texts grow, lists grow, entries with an `index` grow by it. Where
that accumulator doubles what a host repeats in every chunk (a role, an id, a format), the last one counts here.
"""

from collections.abc import Iterable
from io import StringIO
from typing import Any, Literal

import msgspec

from nulpoint.formats.malformed import MALFORMED

CompletionRoute = Literal["chat", "completions"]
# Texts that come whole. Everything else that is text, unknown members included, comes in pieces.
_NAMES = frozenset({"id", "type", "role", "name", "format", "object", "model"})
_WHOLE_ENTRIES = frozenset({"executed_tools"})  # of lists whose pieces repeat what came before (Groq)
_OF_A_CHOICE = frozenset({"index", "delta", "message", "text", "finish_reason", "logprobs"})
_OF_A_CHUNK = frozenset({"choices", "obfuscation"})


class IncompleteStreamError(Exception):
    """The chunks do not add up to one answer that every reader would agree on."""


def accumulate(route: CompletionRoute, chunks: Iterable[bytes]) -> bytes:
    """The JSON body that the chunks (JSON texts, without `[DONE]`) add up to. Raises IncompleteStreamError."""
    try:
        return _assemble(route, chunks)
    except MALFORMED:
        raise IncompleteStreamError("a chunk is not of the shape of one") from None


def _assemble(route: CompletionRoute, chunks: Iterable[bytes]) -> bytes:
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for text in chunks:
        chunk = _decoded(text)
        _take_last(answer, chunk, _OF_A_CHUNK)
        for choice in chunk.get("choices") or ():
            _add_choice(choices, choice)
    if not choices or not all(choice["finish_reason"] for choice in choices.values()):
        raise IncompleteStreamError("a choice has no finish reason")
    kind, finished = ("chat.completion", _finished_chat) if route == "chat" else ("text_completion", _finished_text)
    ordered = [finished(_settled(choice)) for _, choice in sorted(choices.items())]
    return msgspec.json.encode({**answer, "object": kind, "choices": ordered})


def _decoded(text: bytes) -> dict[str, Any]:
    chunk = msgspec.json.decode(text)
    if not isinstance(chunk, dict) or chunk.get("error") is not None:
        raise IncompleteStreamError("a chunk is an error")
    return chunk


def _add_choice(choices: dict[int, dict[str, Any]], choice: dict[str, Any]) -> None:
    index = choice.get("index", 0)
    held = choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None, "logprobs": None})
    _grow(held, {"message": choice.get("delta"), "text": choice.get("text"), "logprobs": choice.get("logprobs")})
    _take_last(held, choice, _OF_A_CHOICE)
    held["finish_reason"] = choice.get("finish_reason") or held["finish_reason"]


def _take_last(held: dict[str, Any], piece: dict[str, Any], but: frozenset[str]) -> None:
    """Members that do not grow: the last value counts, and of objects (`x_groq`) that of each member."""
    for name, value in piece.items():
        if name not in but and value is not None:
            before = held.get(name)
            if isinstance(before, dict) and isinstance(value, dict):
                before.update(value)
            else:
                held[name] = value


class _Text(StringIO):
    """A text that came in pieces. Adding each piece to a `str` would copy what has come before, every time."""


class _Entries:
    """The entries of a list that came in pieces, found by their index and type without looking through all of them."""

    def __init__(self, entries: list[Any]) -> None:
        self.all: list[Any] = []
        self._first: dict[Any, Any] = {}  # by index, and by index and type
        for entry in entries:
            self._append(entry.get("index") if isinstance(entry, dict) else None, entry)

    def add(self, name: str, piece: Any) -> None:
        """Add an entry, or a piece of one. `name` is that of the list. Raises IncompleteStreamError."""
        index = piece.get("index") if isinstance(piece, dict) else None
        if index is None and name == "tool_calls":
            raise IncompleteStreamError("a tool call has no index")
        entry = self._entry_of(index, piece) if index is not None else None
        if entry is None:
            self._append(index, piece)
        elif name == "tool_calls" and piece.get("id") not in (None, "", entry.get("id")):
            raise IncompleteStreamError("two tool calls have one index")
        elif name in _WHOLE_ENTRIES:
            entry.update(piece)
        else:
            _grow(entry, piece)

    def _entry_of(self, index: Any, piece: dict[str, Any]) -> dict[str, Any] | None:
        """The first entry that the piece goes on. OpenRouter gives a summary of the reasoning and its encrypted form
        one index: only the type tells them apart."""
        kind = piece.get("type")
        return self._first.get(index if kind in (None, "") else (index, kind))

    def _append(self, index: Any, entry: Any) -> None:
        self.all.append(entry)
        if index is not None:
            self._first.setdefault(index, entry)
            self._first.setdefault((index, entry.get("type")), entry)


def _grow(held: dict[str, Any], piece: dict[str, Any]) -> None:
    """Add a piece to what has come before; `null` says nothing."""
    for name, value in piece.items():
        before = held.get(name)
        if isinstance(value, list):
            held[name] = _longer(name, before, value)
        elif before is None:
            held[name] = value
        elif isinstance(value, str) and isinstance(before, str | _Text) and name not in _NAMES:
            if isinstance(before, str):
                held[name] = text = _Text()
                text.write(before)
            else:
                text = before
            text.write(value)
        elif isinstance(value, dict) and isinstance(before, dict):
            _grow(before, value)
        elif value is not None and value != "":
            held[name] = value


def _longer(name: str, before: Any, pieces: list[Any]) -> _Entries:
    if before and not isinstance(before, list | _Entries):
        raise IncompleteStreamError("a list goes on something else")
    entries = before if isinstance(before, _Entries) else _Entries(before or [])
    for piece in pieces:
        entries.add(name, piece)
    return entries


def _settled(value: Any) -> Any:
    """What has grown as the plain values it has become."""
    if isinstance(value, _Text):
        return value.getvalue()
    if isinstance(value, _Entries):
        return [_settled(entry) for entry in value.all]
    if isinstance(value, dict):
        return {name: _settled(one) for name, one in value.items()}
    return value


def _finished_text(choice: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in choice.items() if name != "message"} | {"text": choice["text"] or ""}


def _finished_chat(choice: dict[str, Any]) -> dict[str, Any]:
    """With the members that the API description requires of a whole answer, and calls without their index."""
    message = {"role": "assistant", "content": None, "refusal": None, **choice["message"]}
    if "audio" in message:
        raise IncompleteStreamError("the pieces of audio are not those of one file")
    calls = message.get("tool_calls")
    if calls:
        ordered = sorted(calls, key=lambda call: int(call["index"]))
        message["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in ordered]
    return {name: value for name, value in choice.items() if name != "text"} | {"message": message}
