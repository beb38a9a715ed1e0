"""Answers of Anthropic's Messages API (version 2023-06-01) in the OpenAI chat format.

Facts: the types of the `anthropic` SDK and recorded traffic. What the OpenAI shape cannot hold comes back under
`provider_specific_fields.anthropic`: where an answer has more than text and tool calls (thinking with its signature,
citations, tools the provider ran), all its blocks stand there as they came, and when a caller hands the message back
they are sent again exactly.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from nulpoint.formats.malformed import MALFORMED, malformed_response
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, json_text, read_response
from nulpoint.protocols.response_types import AnthropicMessage

_STOPS = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
    "model_context_window_exceeded": "length", "tool_use": "tool_calls", "refusal": "content_filter",
}  # fmt: skip
_check = msgspec.json.Decoder(AnthropicMessage).decode
_PLAIN_BLOCKS = frozenset({"text", "tool_use"})


def decode(body: bytes, created: int) -> bytes:
    """A whole answer in the OpenAI shape. Raises Failure (502) for what is no answer."""
    answer = read_response("anthropic", body)
    try:
        _check(body)
        return msgspec.json.encode(_completion(answer, created))
    except MALFORMED:
        raise malformed_response("the provider's answer cannot be used: it is no message of Anthropic's API") from None


def _completion(answer: dict[str, Any], created: int) -> dict[str, Any]:
    message = message_of(answer["content"] or [], answer)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_of(answer.get("stop_reason"), "tool_calls" in message),
    }
    return {
        "id": answer.get("id") or "",
        "object": "chat.completion",
        "created": created,
        "model": answer.get("model") or "",
        "choices": [choice],
        "usage": usage_of(answer["usage"]) if answer.get("usage") else None,
    }


def finish_of(reason: Any, called: bool) -> str:
    """A reason nobody knows is an end like another; it stands in the extra fields."""
    if reason is None:
        return "tool_calls" if called else "stop"
    return _STOPS.get(reason, "stop")


def message_of(blocks: list[dict[str, Any]], answer: dict[str, Any]) -> dict[str, Any]:
    """The assistant's message: text, calls, reasoning, and under `provider_specific_fields` all that is more."""
    texts = [block.get("text") or "" for block in blocks if block.get("type") == "text"]
    calls = [
        {
            "id": block.get("id"),
            "type": "function",
            "function": {"name": block.get("name"), "arguments": arguments_text(block.get("input"))},
        }
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    thinking = "".join([block.get("thinking") or "" for block in blocks if block.get("type") == "thinking"])
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
        "refusal": refusal_of(answer),
    }
    if calls:
        message["tool_calls"] = calls
    if thinking:
        message["reasoning_content"] = thinking
    annotations = list(annotations_of(blocks))
    if annotations:
        message["annotations"] = annotations
    extra = extra_of(blocks, answer)
    if extra:
        message[EXTRA_FIELDS] = {"anthropic": extra}
    return message


def arguments_text(given: Any) -> str:
    """A call's input as JSON text; some hosts of this format have it as text already."""
    return given if isinstance(given, str) and given else json_text(given or {})


def refusal_of(answer: dict[str, Any]) -> str | None:
    if answer.get("stop_reason") != "refusal":
        return None
    details = answer.get("stop_details")
    return (details.get("explanation") if isinstance(details, dict) else None) or "the model refused to answer"


def annotations_of(blocks: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Web citations, with their place in the joined text."""
    position = 0
    for block in blocks:
        if block.get("type") != "text":
            continue
        end = position + len(block.get("text") or "")
        for citation in block.get("citations") or ():
            if citation.get("url"):
                place = {"start_index": position, "end_index": end, "title": citation.get("title") or ""}
                yield {"type": "url_citation", "url_citation": {**place, "url": citation["url"]}}
        position = end


_MAPPED = frozenset({"id", "type", "role", "model", "content", "usage", "stop_reason"})


def extra_of(blocks: list[dict[str, Any]], answer: dict[str, Any]) -> dict[str, Any]:
    """What the OpenAI shape has no place for."""
    extra = {name: value for name, value in answer.items() if name not in _MAPPED and value is not None}
    if answer.get("stop_reason") not in (None, "end_turn", "tool_use", "max_tokens"):
        extra["stop_reason"] = answer["stop_reason"]
    if any(set(block) - {"type", "text", "id", "name", "input"} or block.get("type") not in _PLAIN_BLOCKS
           for block in blocks):  # fmt: skip
        extra["content"] = blocks
    usage = answer.get("usage") or {}
    more = {name: value for name, value in usage.items() if name not in _COUNTED and value is not None}
    if more:
        extra["usage"] = more
    return extra


_COUNTED = frozenset({"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"})


def usage_of(usage: dict[str, Any]) -> dict[str, Any]:
    """Anthropic's `input_tokens` are only those that were not cached; OpenAI's prompt counts them all."""
    read, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    prompt = (usage.get("input_tokens") or 0) + read + written
    completion = usage.get("output_tokens") or 0
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    hour = (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    of_hour = {"cache_write_1h_tokens": hour} if hour else {}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written, **of_hour},
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }
