"""Splits a complete response into the chunks of a stream, as the provider would have sent them with `stream`.

The chunks of a choice come in this order: role, reasoning and other texts, content, refusal, tool calls, and last a
chunk with the finish reason and everything that is not text.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from nulpoint.protocols.openai.accumulate import CompletionRoute

# Characters of text in an event. Many clients read lines of at most 64 KiB, and a character may take 12 bytes.
PIECE = 2048
_REPEATED_MEMBERS = ("id", "created", "model", "service_tier", "system_fingerprint")
_MAX_REPEATED_LENGTH = 1024  # characters
_LAST_TEXTS = ("content", "refusal")  # these follow the reasoning, whatever their order in the message
_ARGUMENTS = {"function": "arguments", "custom": "input"}  # the member with the arguments, by type of call


def chunks(route: CompletionRoute, body: bytes) -> tuple[list[bytes], bytes]:
    """Return the chunks (JSON texts) of a complete response, and the chunk that contains only usage, or b"".

    `body` is a JSON object with a list of choices.
    """
    response: dict[str, Any] = msgspec.json.decode(body)
    choices = response.pop("choices")
    usage = response.pop("usage", None)
    response["object"] = "chat.completion.chunk" if route == "chat" else "text_completion"
    names = ("object", *_REPEATED_MEMBERS)
    shared = {name: response[name] for name in names if name in response and _is_short(response[name])}
    members = response  # the first chunk has all members of the response, the others only those that are shared
    encoded = []
    for choice in choices:
        pieces = _chat_pieces(choice) if route == "chat" else _text_pieces(choice)
        for piece in pieces:
            encoded.append(msgspec.json.encode({**members, "choices": [piece]}))
            members = shared
    return encoded, msgspec.json.encode({**shared, "choices": [], "usage": usage}) if usage is not None else b""


def _is_short(value: Any) -> bool:
    """Return whether a value is small enough to be repeated in every chunk."""
    return value is None or isinstance(value, int) or (isinstance(value, str) and len(value) <= _MAX_REPEATED_LENGTH)


def _text_pieces(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    text = choice.pop("text", None) or ""
    logprobs = choice.pop("logprobs", None)
    index = choice.get("index", 0)
    for piece in _cut(text):
        yield {"index": index, "text": piece, "logprobs": logprobs, "finish_reason": None}
        logprobs = None
    yield {**choice, "text": "", "logprobs": logprobs}


def _chat_pieces(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    message: dict[str, Any] = choice.pop("message", None) or {}
    logprobs = choice.pop("logprobs", None)

    def chunk(delta: dict[str, Any]) -> dict[str, Any]:
        return {"index": choice.get("index", 0), "delta": delta, "logprobs": None, "finish_reason": None}

    texts = {name: message.pop(name) for name, value in [*message.items()] if isinstance(value, str)}
    nulls = {name: None for name in _LAST_TEXTS if message.get(name, "") is None}
    yield chunk({"role": texts.pop("role", "assistant"), **dict.fromkeys(texts, ""), **nulls})
    for name in sorted(texts, key=_LAST_TEXTS.__contains__):
        for piece in _cut(texts[name]):
            yield chunk({name: piece})
    calls = message.pop("tool_calls") if message.get("tool_calls") else []
    for index, call in enumerate(calls):
        for part in _call_pieces(index, call):
            yield chunk({"tool_calls": [part]})
    others = {name: value for name, value in message.items() if value is not None}
    yield {**choice, "delta": others, "logprobs": logprobs}


def _call_pieces(index: int, call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the call with empty arguments, then the arguments in pieces."""
    kind = call.get("type") or "function"
    name = _ARGUMENTS.get(kind)
    text = (call.get(kind) or {}).get(name)
    if not isinstance(text, str):  # an unknown type of call
        yield {**call, "index": index}
        return
    yield {**call, "index": index, kind: {**call[kind], name: ""}}
    for piece in _cut(text):
        yield {"index": index, kind: {name: piece}}


def _cut(text: str) -> Iterator[str]:
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))
