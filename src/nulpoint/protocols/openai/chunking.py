"""The chunks of a stream out of a whole answer, as the provider would have sent them with `stream`.

Order within a choice: role, reasoning and other texts, content, refusal, tool calls, then one chunk with the finish
reason and all that is no text.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from nulpoint.protocols.openai.accumulate import CompletionRoute

# Longer texts go out in several events: many clients read lines of 64 KiB at most, and a character may take 12 bytes.
PIECE = 2048
_EVERY_CHUNK = ("id", "created", "model", "service_tier", "system_fingerprint")
_LONGEST_REPEATED = 1024  # characters
_LAST_TEXTS = ("content", "refusal")  # after reasoning, whatever their place in the message
_ARGUMENTS = {"function": "arguments", "custom": "input"}


def chunks(route: CompletionRoute, body: bytes) -> tuple[list[bytes], bytes]:
    """The chunks (JSON texts) of a whole answer, and the one that holds only usage (empty where it reports none).

    `body` is a JSON object with a list of choices.
    """
    answer: dict[str, Any] = msgspec.json.decode(body)
    choices = answer.pop("choices")
    usage = answer.pop("usage", None)
    answer["object"] = "chat.completion.chunk" if route == "chat" else "text_completion"
    shared = {name: answer[name] for name in ("object", *_EVERY_CHUNK) if name in answer and _is_short(answer[name])}
    head = answer  # what stands once in an answer stands in its first chunk
    made = []
    for choice in choices:
        pieces = _chat_pieces(choice) if route == "chat" else _text_pieces(choice)
        for piece in pieces:
            made.append(msgspec.json.encode({**head, "choices": [piece]}))
            head = shared
    return made, msgspec.json.encode({**shared, "choices": [], "usage": usage}) if usage is not None else b""


def _is_short(value: Any) -> bool:
    """Whether it may be repeated in every chunk; anything else stands in the first one alone."""
    return value is None or isinstance(value, int) or (isinstance(value, str) and len(value) <= _LONGEST_REPEATED)


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
    rest = {name: value for name, value in message.items() if value is not None}
    yield {**choice, "delta": rest, "logprobs": logprobs}


def _call_pieces(index: int, call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The call with an empty argument, then the argument."""
    kind = call.get("type") or "function"
    name = _ARGUMENTS.get(kind)
    text = (call.get(kind) or {}).get(name)
    if not isinstance(text, str):  # a kind of call nobody here has heard of
        yield {**call, "index": index}
        return
    yield {**call, "index": index, kind: {**call[kind], name: ""}}
    for piece in _cut(text):
        yield {"index": index, kind: {name: piece}}


def _cut(text: str) -> Iterator[str]:
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))
