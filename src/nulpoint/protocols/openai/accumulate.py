"""Builds a complete response from the chunks of its stream, as the provider would have sent it without `stream`.

The rules are those of the OpenAI SDK's accumulator: texts and lists are concatenated, and list entries with the same
`index` are merged. That accumulator duplicates values that a host repeats in every chunk (a role, an id, a format);
here the last value counts.
"""

from collections.abc import Iterable
from io import StringIO
from typing import Any, Literal

import msgspec

from nulpoint.formats.malformed import MALFORMED
from nulpoint.protocols.client_protocol import IncompleteStreamError

CompletionRoute = Literal["chat", "completions"]
# Members whose text comes in a single chunk. All other texts, including unknown members, come in pieces.
_SINGLE_TEXTS = frozenset({"id", "type", "role", "name", "format", "object", "model"})
_REPEATING_LISTS = frozenset({"executed_tools"})  # lists whose entries contain all of the entry so far (Groq)
_CHOICE_MEMBERS = frozenset({"index", "delta", "message", "text", "finish_reason", "logprobs"})
_CHUNK_MEMBERS = frozenset({"choices", "obfuscation"})


def accumulate(route: CompletionRoute, chunks: Iterable[bytes]) -> bytes:
    """Return the response body for the chunks (JSON texts, without `[DONE]`). Raises IncompleteStreamError."""
    try:
        return _assemble(route, chunks)
    except MALFORMED:
        raise IncompleteStreamError("a chunk is malformed") from None


def _assemble(route: CompletionRoute, chunks: Iterable[bytes]) -> bytes:
    response: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for text in chunks:
        chunk = _decode_chunk(text)
        update_members(response, chunk, _CHUNK_MEMBERS)
        for choice in chunk.get("choices") or ():
            _add_choice(choices, choice)
    if not choices or not all(choice["finish_reason"] for choice in choices.values()):
        raise IncompleteStreamError("a choice has no finish reason")
    kind, finish = ("chat.completion", _finish_chat_choice) if route == "chat" else ("text_completion", _finish_choice)
    ordered = [finish(to_plain(choice)) for _, choice in sorted(choices.items())]
    return msgspec.json.encode({**response, "object": kind, "choices": ordered})


def _decode_chunk(text: bytes) -> dict[str, Any]:
    chunk = msgspec.json.decode(text)
    if not isinstance(chunk, dict) or chunk.get("error") is not None:
        raise IncompleteStreamError("a chunk is an error")
    return chunk


def _add_choice(choices: dict[int, dict[str, Any]], choice: dict[str, Any]) -> None:
    index = choice.get("index", 0)
    total = choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None, "logprobs": None})
    merge(total, {"message": choice.get("delta"), "text": choice.get("text"), "logprobs": choice.get("logprobs")})
    update_members(total, choice, _CHOICE_MEMBERS)
    total["finish_reason"] = choice.get("finish_reason") or total["finish_reason"]


def update_members(total: dict[str, Any], piece: dict[str, Any], excluded: frozenset[str]) -> None:
    """Set members that are not concatenated to their last value. Objects (`x_groq`) are updated member by member."""
    for name, value in piece.items():
        if name not in excluded and value is not None:
            before = total.get(name)
            if isinstance(before, dict) and isinstance(value, dict):
                before.update(value)
            else:
                total[name] = value


class _Text(StringIO):
    """A text that comes in pieces. Adding each piece to a `str` would copy all the text before it every time."""


class _Entries:
    """The entries of a list that comes in pieces. They are looked up by index and type in constant time."""

    def __init__(self, entries: list[Any]) -> None:
        self.all: list[Any] = []
        self._first: dict[Any, Any] = {}  # the first entry by index, and by index and type
        for entry in entries:
            self._append(entry.get("index") if isinstance(entry, dict) else None, entry)

    def add(self, name: str, piece: Any) -> None:
        """Add an entry, or a piece of one, to the list called `name`. Raises IncompleteStreamError."""
        index = piece.get("index") if isinstance(piece, dict) else None
        if index is None and name == "tool_calls":
            raise IncompleteStreamError("a tool call has no index")
        entry = self._entry_of(index, piece) if index is not None else None
        if entry is None:
            self._append(index, piece)
        elif name == "tool_calls" and piece.get("id") not in (None, "", entry.get("id")):
            raise IncompleteStreamError("two tool calls have the same index")
        elif name in _REPEATING_LISTS:
            entry.update(piece)
        else:
            merge(entry, piece)

    def _entry_of(self, index: Any, piece: dict[str, Any]) -> dict[str, Any] | None:
        """Return the first entry that the piece continues.

        OpenRouter gives the summary of the reasoning and its encrypted form the same index, and they differ only in
        their type.
        """
        kind = piece.get("type")
        return self._first.get(index if kind in (None, "") else (index, kind))

    def _append(self, index: Any, entry: Any) -> None:
        self.all.append(entry)
        if index is not None:
            self._first.setdefault(index, entry)
            self._first.setdefault((index, entry.get("type")), entry)


def merge(total: dict[str, Any], piece: dict[str, Any]) -> None:
    """Append the members of a piece to those before. `null` and empty texts do not change anything."""
    for name, value in piece.items():
        before = total.get(name)
        if isinstance(value, list):
            total[name] = _merge_list(name, before, value)
        elif before is None:
            total[name] = value
        elif isinstance(value, str) and isinstance(before, str | _Text) and name not in _SINGLE_TEXTS:
            if isinstance(before, str):
                total[name] = text = _Text()
                text.write(before)
            else:
                text = before
            text.write(value)
        elif isinstance(value, dict) and isinstance(before, dict):
            merge(before, value)
        elif value is not None and value != "":
            total[name] = value


def _merge_list(name: str, before: Any, pieces: list[Any]) -> _Entries:
    if before and not isinstance(before, list | _Entries):
        raise IncompleteStreamError("a list continues a value that is not a list")
    entries = before if isinstance(before, _Entries) else _Entries(before or [])
    for piece in pieces:
        entries.add(name, piece)
    return entries


def to_plain(value: Any) -> Any:
    """Return an accumulated value as plain texts, lists and dicts."""
    if isinstance(value, _Text):
        return value.getvalue()
    if isinstance(value, _Entries):
        return [to_plain(entry) for entry in value.all]
    if isinstance(value, dict):
        return {name: to_plain(member) for name, member in value.items()}
    return value


def _finish_choice(choice: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in choice.items() if name != "message"} | {"text": choice["text"] or ""}


def _finish_chat_choice(choice: dict[str, Any]) -> dict[str, Any]:
    """Return the choice with the members that the API description requires, and its calls without `index`."""
    message = {"role": "assistant", "content": None, "refusal": None, **choice["message"]}
    if "audio" in message:
        raise IncompleteStreamError("the pieces of audio cannot be joined to a file")
    calls = message.get("tool_calls")
    if calls:
        ordered = sorted(calls, key=lambda call: int(call["index"]))
        message["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in ordered]
    return {name: value for name, value in choice.items() if name != "text"} | {"message": message}
