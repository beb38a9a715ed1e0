"""Translates responses of Anthropic's Messages API (version 2023-06-01) to the OpenAI chat format.

What the OpenAI format cannot hold goes into `provider_specific_fields.anthropic`. If a response has more than text and
tool calls (thinking with its signature, citations, tools that the provider ran), all its blocks are there unchanged,
and when the client sends the message back, Anthropic receives exactly these blocks again. Sources: the types of the
`anthropic` SDK and recorded traffic.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from nulpoint.formats.malformed import MALFORMED, unusable_response
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, json_text, read_response
from nulpoint.protocols.response_types import AnthropicMessage

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_check = msgspec.json.Decoder(AnthropicMessage).decode
_PLAIN_BLOCKS = frozenset({"text", "tool_use"})
_PLAIN_MEMBERS = frozenset({"type", "text", "id", "name", "input"})


def decode(body: bytes, created: int) -> bytes:
    """Return a complete response in OpenAI's format. Raises Failure (502) if it is an error or malformed."""
    response = read_response("anthropic", body)
    try:
        _check(body)
        return msgspec.json.encode(_completion(response, created))
    except MALFORMED:
        raise unusable_response("it is not a valid message of Anthropic's API") from None


def _completion(response: dict[str, Any], created: int) -> dict[str, Any]:
    message = _message(response["content"] or [], response)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": to_finish_reason(response.get("stop_reason"), "tool_calls" in message),
    }
    return {
        "id": response.get("id") or "",
        "object": "chat.completion",
        "created": created,
        "model": response.get("model") or "",
        "choices": [choice],
        "usage": to_usage(response["usage"]) if response.get("usage") else None,
    }


def to_finish_reason(stop_reason: Any, has_calls: bool) -> str:
    """Return OpenAI's finish reason. An unknown stop reason becomes `stop`; `extra_of` reports the original."""
    if stop_reason is None:
        return "tool_calls" if has_calls else "stop"
    return _FINISH_REASONS.get(stop_reason, "stop")


def _message(blocks: list[dict[str, Any]], response: dict[str, Any]) -> dict[str, Any]:
    """Return the assistant's message: text, calls and reasoning, the rest under `provider_specific_fields`."""
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
        "refusal": refusal_of(response),
    }
    if calls:
        message["tool_calls"] = calls
    if thinking:
        message["reasoning_content"] = thinking
    annotations = list(to_annotations(blocks))
    if annotations:
        message["annotations"] = annotations
    extra = extra_of(blocks, response)
    if extra:
        message[EXTRA_FIELDS] = {"anthropic": extra}
    return message


def arguments_text(call_input: Any) -> str:
    """Return a call's input as JSON text. Some hosts of this format send it as text already."""
    return call_input if isinstance(call_input, str) and call_input else json_text(call_input or {})


def refusal_of(response: dict[str, Any]) -> str | None:
    """Return the explanation of a refusal, or None if the model did not refuse to answer."""
    if response.get("stop_reason") != "refusal":
        return None
    details = response.get("stop_details")
    return (details.get("explanation") if isinstance(details, dict) else None) or "the model refused to answer"


def to_annotations(blocks: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield the web citations, with their position in the joined text."""
    position = 0
    for block in blocks:
        if block.get("type") != "text":
            continue
        end = position + len(block.get("text") or "")
        for citation in block.get("citations") or ():
            if citation.get("url"):
                span = {"start_index": position, "end_index": end, "title": citation.get("title") or ""}
                yield {"type": "url_citation", "url_citation": {**span, "url": citation["url"]}}
        position = end


_TRANSLATED = frozenset({"id", "type", "role", "model", "content", "usage", "stop_reason"})
_TRANSLATED_USAGE = frozenset(
    {"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}
)


def extra_of(blocks: list[dict[str, Any]], response: dict[str, Any]) -> dict[str, Any]:
    """Return what the OpenAI format cannot hold."""
    extra = {name: value for name, value in response.items() if name not in _TRANSLATED and value is not None}
    if response.get("stop_reason") not in (None, "end_turn", "tool_use", "max_tokens"):
        extra["stop_reason"] = response["stop_reason"]
    if not all(_is_plain(block) for block in blocks):
        extra["content"] = blocks
    usage = response.get("usage") or {}
    more = {name: value for name, value in usage.items() if name not in _TRANSLATED_USAGE and value is not None}
    if more:
        extra["usage"] = more
    return extra


def _is_plain(block: dict[str, Any]) -> bool:
    """Return whether the OpenAI format can hold the whole block."""
    return block.get("type") in _PLAIN_BLOCKS and block.keys() <= _PLAIN_MEMBERS


def to_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """Return the usage in OpenAI's format.

    Anthropic's `input_tokens` do not include cached tokens, while OpenAI's `prompt_tokens` include them all.
    """
    read, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    prompt = (usage.get("input_tokens") or 0) + read + written
    completion = usage.get("output_tokens") or 0
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    hour = (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    hour_tokens = {"cache_write_1h_tokens": hour} if hour else {}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written, **hour_tokens},
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }
