"""Reads Anthropic's messages and streams for the judge."""

import collections
from typing import Any

from support.corpus.formats import Expected, Format, events, lenient

FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_COUNTED = {"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}


def assembled(text: str) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    inputs: dict[int, str] = collections.defaultdict(str)
    for event in events(text):
        kind = event["type"]
        if kind == "message_stop":  # in one fixture the response to the next request follows
            break
        if kind == "message_start":
            answer = event["message"] | {"restarted": bool(answer.get("content"))}
        elif kind == "content_block_start":
            answer["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            _grow(answer["content"][event["index"]], event["delta"], inputs, event["index"])
        elif kind == "message_delta":
            answer |= event["delta"] | {k: v for k, v in event.items() if k not in ("type", "delta", "usage")}
            answer["usage"] |= {k: v for k, v in event["usage"].items() if v is not None}
    for index, partial in inputs.items():
        answer["content"][index]["input"] = lenient(partial)
    return answer


def _grow(block: dict[str, Any], delta: dict[str, Any], inputs: dict[int, str], index: int) -> None:
    kind = delta["type"]
    if kind == "input_json_delta":
        if delta["partial_json"]:
            inputs[index] += delta["partial_json"]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or []), delta["citation"]]
    elif kind == "compaction_delta":
        block["content"] = (block.get("content") or "") + (delta["content"] or "")
    else:
        name = kind.removesuffix("_delta")
        block[name] = block.get(name, "") + delta[name]


def failed(answer: dict[str, Any]) -> bool:
    """Return whether a second response begins after a part of the first one, or there is no content and no reason."""
    shown = [
        block for block in answer["content"] if block.get(block["type"]) or block["type"] not in ("text", "thinking")
    ]
    is_empty = not shown and answer["stop_reason"] in ("end_turn", "tool_use")
    return bool(answer.pop("restarted", False)) or is_empty


def choices(answer: dict[str, Any]) -> list[Expected]:
    blocks = collections.defaultdict(list)
    for block in answer["content"]:
        blocks[block["type"]].append(block)
    return [
        Expected(
            finish=FINISHES.get(answer["stop_reason"], "stop"),
            text="".join(block["text"] for block in blocks["text"]),
            thinking="".join(block["thinking"] for block in blocks["thinking"]),
            calls=[(block["id"], block["name"], block["input"]) for block in blocks["tool_use"]],
            citations=[
                citation["url"]
                for block in blocks["text"]
                for citation in block.get("citations") or []
                if citation.get("url")
            ],
            refusal=_refusal(answer) if answer["stop_reason"] == "refusal" else None,
        )
    ]


def _refusal(answer: dict[str, Any]) -> str:
    return (answer.get("stop_details") or {}).get("explanation") or ""


def pings(text: str) -> int:
    """Return how many the client gets: those that come while there is a response."""
    kinds = [event["type"] for event in events(text)]
    return kinds[kinds.index("message_start") : kinds.index("message_stop")].count("ping")


def usage(answer: dict[str, Any]) -> dict[str, int] | None:
    counts = answer.get("usage")
    if not counts:
        return None
    read, written = counts.get("cache_read_input_tokens") or 0, counts.get("cache_creation_input_tokens") or 0
    prompt = counts["input_tokens"] + read + written
    return {
        "prompt_tokens": prompt,
        "completion_tokens": counts["output_tokens"],
        "total_tokens": prompt + counts["output_tokens"],
        "cached_tokens": read,
        "cache_write_tokens": written,
        "reasoning_tokens": (counts.get("output_tokens_details") or {}).get("thinking_tokens", 0),
    }


def rest(answer: dict[str, Any]) -> Any:
    """Return the rest of text and calls: only members beyond the ones that are compared."""
    plain = {"text": {"type", "text"}, "tool_use": {"type", "input"}}
    blocks = [
        {name: value for name, value in block.items() if name not in plain.get(block["type"], ())}
        for block in answer["content"]
    ]
    counts = {name: value for name, value in (answer.get("usage") or {}).items() if name not in _COUNTED}
    left = {**answer, "content": blocks, "usage": counts}
    if answer["stop_reason"] in ("end_turn", "tool_use", "max_tokens"):
        del left["stop_reason"]
    return left


FORMAT = Format(
    assembled,
    failed,
    choices,
    usage,
    rest,
    {
        "type": "it is always `message`; `object` says so",
        "usage.output_tokens_details.thinking_tokens": "compared as `reasoning_tokens`",
    },
)
