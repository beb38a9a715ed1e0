"""Answers of Bedrock's Converse API in the OpenAI chat format.

Facts: the service model of `bedrock-runtime` and AWS's documentation. What the OpenAI shape cannot hold comes back
under `provider_specific_fields.bedrock`: where an answer has more than text and tool calls (reasoning with its
signature, citations, pictures), all its blocks stand there as they came, and when a caller hands the message back they
are sent again exactly. An answer names neither itself nor its model.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from nulpoint.errors import ClientCause, Failure
from nulpoint.formats.malformed import MALFORMED, malformed_response
from nulpoint.protocols.bedrock.messages import calls_of, text_of
from nulpoint.protocols.openai.chat import EXTRA, json_text, read_answer
from nulpoint.protocols.response_types import BedrockAnswer

_STOPS = {
    "end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length",
    "model_context_window_exceeded": "length", "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter", "refusal": "content_filter",
}  # fmt: skip
_check = msgspec.json.Decoder(BedrockAnswer).decode
_MALFORMED = frozenset({"malformed_model_output", "malformed_tool_use"})
_TEXT = frozenset({"text"})
_PLAIN = ({"text"}, {"toolUse"})
_MAPPED = frozenset({"output", "stopReason", "usage"})
_COUNTED = frozenset({"inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens"})


ID = b"x-amzn-requestid"  # the header field that names an answer


def decode(body: bytes, created: int, model: str, answer_id: str = "") -> bytes:
    """A whole answer in the OpenAI shape. `model` is what was asked. Raises Failure (502) for what is no answer."""
    answer = read_answer("bedrock", body)
    try:
        _check(body)
        made = _completion(answer, created, model)
        made["id"] = made_id(answer_id, body)
        return msgspec.json.encode(made)
    except MALFORMED:
        raise malformed_response("the provider's answer cannot be used: it is none of Bedrock's Converse API") from None


def made_id(answer_id: str, body: bytes) -> str:
    """AWS's own id of an answer; without one, always the same for the same answer."""
    return f"chatcmpl-{answer_id or hashlib.sha256(body).hexdigest()[:24]}"


def _completion(answer: dict[str, Any], created: int, model: str) -> dict[str, Any]:
    blocks = answer["output"]["message"]["content"] or []
    reason = answer["stopReason"]
    check_made(blocks, reason)
    message = _message(blocks, answer)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_of(reason, "tool_calls" in message),
    }
    return {
        "id": "",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": usage_of(answer["usage"]) if answer.get("usage") else None,
    }


def check_made(blocks: list[dict[str, Any]], reason: Any) -> None:
    """Raises Failure (502), which may be tried again, for a model that wrote what could not be read."""
    if reason in _MALFORMED and not text_of(blocks) and not calls_of(blocks):
        raise nothing_made(reason)


def nothing_made(reason: str) -> Failure:
    return malformed_response(f"the model's answer could not be read by Bedrock ({reason})", ClientCause.NOTHING_MADE)


def finish_of(reason: Any, called: bool) -> str:
    """A reason nobody knows is an end like another; it stands in the extra fields."""
    if reason is None:
        return "tool_calls" if called else "stop"
    return _STOPS.get(reason, "stop")


def _message(blocks: list[dict[str, Any]], answer: dict[str, Any]) -> dict[str, Any]:
    """The assistant's message: text, calls, reasoning, and under `provider_specific_fields` all that is more."""
    kinds = {name for block in blocks for name in block}
    plain = kinds <= _TEXT
    calls = (
        []
        if plain
        else [
            {
                "id": use["toolUseId"],
                "type": "function",
                "function": {"name": use["name"], "arguments": json_text(use.get("input") or {})},
            }
            for use in calls_of(blocks)
        ]
    )
    text = text_of(blocks)
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    thinking = reasoning_of(blocks) if "reasoningContent" in kinds else ""
    if thinking:
        message["reasoning_content"] = thinking
    annotations = list(annotations_of(blocks)) if "citationsContent" in kinds else []
    if annotations:
        message["annotations"] = annotations
    extra = extra_of(blocks, answer)
    if extra:
        message[EXTRA] = {"bedrock": extra}
    return message


def reasoning_of(blocks: list[dict[str, Any]]) -> str:
    thoughts = [block["reasoningContent"].get("reasoningText") or {} for block in blocks if "reasoningContent" in block]
    return "".join([thought.get("text") or "" for thought in thoughts])


def annotations_of(blocks: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Web citations, with their place in the joined text."""
    position = 0
    for block in blocks:
        end = position + len(text_of([block]))
        for citation in (block.get("citationsContent") or {}).get("citations") or ():
            web = (citation.get("location") or {}).get("web") or {}
            if web.get("url"):
                place = {"start_index": position, "end_index": end, "title": citation.get("title") or ""}
                yield {"type": "url_citation", "url_citation": {**place, "url": web["url"]}}
        position = end


def extra_of(blocks: list[dict[str, Any]], answer: dict[str, Any]) -> dict[str, Any]:
    """What the OpenAI shape has no place for."""
    extra = {name: value for name, value in answer.items() if name not in _MAPPED and value is not None}
    if answer.get("stopReason") not in (None, "end_turn", "tool_use", "max_tokens"):
        extra["stopReason"] = answer["stopReason"]
    if any(set(block) not in _PLAIN or (block.get("toolUse") or {}).get("type") for block in blocks):
        extra["content"] = blocks
    usage = answer.get("usage") or {}
    more = {name: value for name, value in usage.items() if name not in _COUNTED and value}
    if more:
        extra["usage"] = more
    return extra


def usage_of(usage: dict[str, Any]) -> dict[str, Any]:
    """Bedrock's `inputTokens` are only those that were not cached; OpenAI's prompt counts them all."""
    read, written = usage.get("cacheReadInputTokens") or 0, usage.get("cacheWriteInputTokens") or 0
    prompt = (usage.get("inputTokens") or 0) + read + written
    completion = usage.get("outputTokens") or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
    }
