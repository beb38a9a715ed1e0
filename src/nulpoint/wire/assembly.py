"""A whole answer out of the chunks of its stream, as the provider would have sent it without `stream`.

The rules are those of the OpenAI SDK's accumulator: texts grow, lists grow, entries with an `index` grow by it. Where
that accumulator doubles what a host repeats in every chunk (a role, an id, a format), the last one counts here.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from nulpoint.wire.foreign import MISSHAPEN

CompletionRoute = Literal["chat", "completions"]
# Texts that come whole. Everything else that is text, unknown members included, comes in pieces.
_NAMES = frozenset({"id", "type", "role", "name", "format", "object", "model"})
_WHOLE_ENTRIES = frozenset({"executed_tools"})  # of lists whose pieces repeat what came before (Groq)
_OF_A_CHOICE = frozenset({"index", "delta", "message", "text", "finish_reason", "logprobs"})
_OF_A_CHUNK = frozenset({"choices", "obfuscation"})


class NotWhole(Exception):
    """The chunks do not add up to one answer that every reader would agree on."""


def assemble(route: CompletionRoute, chunks: Iterable[bytes]) -> bytes:
    """The JSON body that the chunks (JSON texts, without `[DONE]`) add up to. Raises NotWhole."""
    try:
        return _assemble(route, chunks)
    except MISSHAPEN:
        raise NotWhole("a chunk is not of the shape of one") from None


def _assemble(route: CompletionRoute, chunks: Iterable[bytes]) -> bytes:
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for text in chunks:
        chunk = _decoded(text)
        _take_last(answer, chunk, _OF_A_CHUNK)
        for choice in chunk.get("choices") or ():
            _add_choice(choices, choice)
    if not choices or not all(choice["finish_reason"] for choice in choices.values()):
        raise NotWhole("a choice has no finish reason")
    kind, finished = ("chat.completion", _finished_chat) if route == "chat" else ("text_completion", _finished_text)
    ordered = [finished(choice) for _, choice in sorted(choices.items())]
    return msgspec.json.encode({**answer, "object": kind, "choices": ordered})


def _decoded(text: bytes) -> dict[str, Any]:
    chunk = msgspec.json.decode(text)
    if not isinstance(chunk, dict) or chunk.get("error") is not None:
        raise NotWhole("a chunk is an error")
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
            held[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value


def _grow(held: dict[str, Any], piece: dict[str, Any]) -> None:
    """Add a piece to what has come before; `null` says nothing."""
    for name, value in piece.items():
        before = held.get(name)
        if isinstance(value, list):
            held[name] = _longer(name, before or [], value)
        elif before is None:
            held[name] = value
        elif isinstance(value, str) and isinstance(before, str) and name not in _NAMES:
            held[name] = before + value
        elif isinstance(value, dict) and isinstance(before, dict):
            _grow(before, value)
        elif value is not None and value != "":
            held[name] = value


def _longer(name: str, entries: list[Any], pieces: list[Any]) -> list[Any]:
    for piece in pieces:
        index = piece.get("index") if isinstance(piece, dict) else None
        if index is None and name == "tool_calls":
            raise NotWhole("a tool call has no index")
        same = [entry for entry in entries if index is not None and _continues(piece, entry)]
        if not same:
            entries.append(piece)
        elif name == "tool_calls" and piece.get("id") not in (None, "", same[0].get("id")):
            raise NotWhole("two tool calls have one index")
        elif name in _WHOLE_ENTRIES:
            same[0].update(piece)
        else:
            _grow(same[0], piece)
    return entries


def _continues(piece: dict[str, Any], entry: dict[str, Any]) -> bool:
    """OpenRouter gives a summary of the reasoning and its encrypted form one index: only the type tells them apart."""
    return piece["index"] == entry.get("index") and piece.get("type") in (None, "", entry.get("type"))


def _finished_text(choice: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in choice.items() if name != "message"} | {"text": choice["text"] or ""}


def _finished_chat(choice: dict[str, Any]) -> dict[str, Any]:
    """With the members that the API description requires of a whole answer, and calls without their index."""
    message = {"role": "assistant", "content": None, "refusal": None, **choice["message"]}
    if "audio" in message:
        raise NotWhole("the pieces of audio are not those of one file")
    calls = message.get("tool_calls")
    if calls:
        ordered = sorted(calls, key=lambda call: int(call["index"]))
        message["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in ordered]
    return {name: value for name, value in choice.items() if name != "text"} | {"message": message}
