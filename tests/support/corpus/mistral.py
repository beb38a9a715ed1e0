"""Reads Mistral's responses and streams for the judge."""

from typing import Any

from support.corpus.formats import Expected, Format, events, lenient

_FINISHES = {"model_length": "length"}
_COUNTED = {"prompt_tokens", "completion_tokens", "total_tokens"}


def assembled(text: str) -> dict[str, Any]:
    """Return the pieces of a list unchanged."""
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in events(text):
        for piece in chunk.pop("choices"):
            choice = choices.setdefault(piece["index"], {"message": {"content": [], "tool_calls": []}})
            message, content = choice["message"], piece["delta"].get("content")
            message["content"] += content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
            for call in piece["delta"].get("tool_calls") or []:
                if call.get("id"):
                    message["tool_calls"].append(call)
                else:
                    function = next(one for one in message["tool_calls"] if one["index"] == call["index"])["function"]
                    function["arguments"] += call["function"]["arguments"]
            choice["finish_reason"] = piece["finish_reason"]
        answer |= {name: value for name, value in chunk.items() if name not in ("p", "object")}
    return {**answer, "streamed": True, "choices": [choices[index] for index in sorted(choices)]}


def failed(answer: dict[str, Any]) -> bool:
    return not answer["choices"]


def choices(answer: dict[str, Any]) -> list[Expected]:
    return [_choice(choice["message"], choice["finish_reason"]) for choice in answer["choices"]]


def _choice(message: dict[str, Any], finish: str) -> Expected:
    content = message["content"]
    parts: list[dict[str, Any]] = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    return Expected(
        finish=_FINISHES.get(finish, finish),
        text="".join(part["text"] for part in parts if part["type"] == "text"),
        thinking="".join(inner["text"] for part in parts if part["type"] == "thinking" for inner in part["thinking"]),
        calls=[
            (call["id"], call["function"]["name"], lenient(call["function"]["arguments"]))
            for call in message.get("tool_calls") or []
        ],
    )


def usage(answer: dict[str, Any]) -> dict[str, int] | None:
    counts = answer.get("usage")
    if not counts:
        return None
    details = counts.get("prompt_tokens_details") or counts.get("prompt_token_details") or {}
    cached = details.get("cached_tokens", counts.get("num_cached_tokens")) or 0
    return {name: counts[name] for name in _COUNTED} | {"cached_tokens": cached}


def rest(answer: dict[str, Any]) -> Any:
    """Return the rest of a stream's content: pieces that are neither text nor thinking."""
    left = {name: value for name, value in answer.items() if name != "streamed"}
    left["choices"] = [_choice_rest(choice, bool(answer.get("streamed"))) for choice in answer["choices"]]
    return left


def _choice_rest(choice: dict[str, Any], streamed: bool) -> dict[str, Any]:
    message = dict(choice["message"])
    if isinstance(message["content"], list) and streamed:
        message["content"] = [part for part in message["content"] if part["type"] not in ("text", "thinking")]
    message["tool_calls"] = [
        {**call, "function": {**call["function"], "arguments": lenient(call["function"]["arguments"])}}
        for call in message.get("tool_calls") or []
    ]
    left = {**choice, "message": message}
    if choice["finish_reason"] in _FINISHES:
        del left["finish_reason"]
    return left


FORMAT = Format(
    assembled,
    failed,
    choices,
    usage,
    rest,
    {"choices[].message.tool_calls[].index": "calls are numbered anew, from 0"},
)
