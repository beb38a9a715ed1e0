"""Translates responses of Bedrock's Converse API to the OpenAI chat format.

What the OpenAI format cannot hold goes into `provider_specific_fields.bedrock`. If a response has more than text and
tool calls (reasoning with its signature, citations, images), all its blocks are there unchanged, and when the client
sends the message back, Bedrock receives exactly these blocks again. The body of a response has neither an id nor the
name of its model. Sources: the service model of `bedrock-runtime` and AWS's documentation.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from nulpoint.errors import ClientCause, Failure
from nulpoint.formats.malformed import MALFORMED, malformed_response, unusable_response
from nulpoint.protocols.bedrock.messages import calls_of, text_of
from nulpoint.protocols.openai.chat import EXTRA_FIELDS, json_text, read_response
from nulpoint.protocols.response_types import BedrockResponse

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
}
_check = msgspec.json.Decoder(BedrockResponse).decode
_UNREADABLE_OUTPUT = frozenset({"malformed_model_output", "malformed_tool_use"})
_TEXT = frozenset({"text"})
_PLAIN_BLOCKS = ({"text"}, {"toolUse"})
_TRANSLATED = frozenset({"output", "stopReason", "usage"})
_TRANSLATED_USAGE = frozenset(
    {"inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens"}
)


ID_HEADER = b"x-amzn-requestid"  # the response header with the id of the response


def decode(body: bytes, created: int, model: str, response_id: str = "") -> bytes:
    """Return a complete response in OpenAI's format. `model` is the requested model.

    Raises Failure (502) if the response is an error or malformed.
    """
    response = read_response("bedrock", body)
    try:
        _check(body)
        completion = _completion(response, created, model)
        completion["id"] = completion_id(response_id, body)
        return msgspec.json.encode(completion)
    except MALFORMED:
        raise unusable_response("it is not a valid response of Bedrock's Converse API") from None


def completion_id(response_id: str, body: bytes) -> str:
    """Return an id made of AWS's id of the response, or else of the body, so that equal responses have equal ids."""
    return f"chatcmpl-{response_id or hashlib.sha256(body).hexdigest()[:24]}"


def _completion(response: dict[str, Any], created: int, model: str) -> dict[str, Any]:
    blocks = response["output"]["message"]["content"] or []
    stop_reason = response["stopReason"]
    check_readable(blocks, stop_reason)
    message = _message(blocks, response)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": to_finish_reason(stop_reason, "tool_calls" in message),
    }
    return {
        "id": "",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": to_usage(response["usage"]) if response.get("usage") else None,
    }


def check_readable(blocks: list[dict[str, Any]], stop_reason: Any) -> None:
    """Raise Failure (502) if the model's output was unreadable for Bedrock. The request may be tried again."""
    if stop_reason in _UNREADABLE_OUTPUT and not text_of(blocks) and not calls_of(blocks):
        raise no_output_failure(stop_reason)


def no_output_failure(stop_reason: str) -> Failure:
    return malformed_response(f"Bedrock could not read the model's output ({stop_reason})", ClientCause.NO_OUTPUT)


def to_finish_reason(stop_reason: Any, has_calls: bool) -> str:
    """Return OpenAI's finish reason. An unknown stop reason becomes `stop`; `extra_of` reports the original."""
    if stop_reason is None:
        return "tool_calls" if has_calls else "stop"
    return _FINISH_REASONS.get(stop_reason, "stop")


def _tool_call(use: dict[str, Any]) -> dict[str, Any]:
    function = {"name": use["name"], "arguments": json_text(use.get("input") or {})}
    return {"id": use["toolUseId"], "type": "function", "function": function}


def _message(blocks: list[dict[str, Any]], response: dict[str, Any]) -> dict[str, Any]:
    """Return the assistant's message: text, calls and reasoning, the rest under `provider_specific_fields`."""
    kinds = {name for block in blocks for name in block}
    calls = [] if kinds <= _TEXT else [_tool_call(use) for use in calls_of(blocks)]
    text = text_of(blocks)
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    thinking = reasoning_of(blocks) if "reasoningContent" in kinds else ""
    if thinking:
        message["reasoning_content"] = thinking
    annotations = list(to_annotations(blocks)) if "citationsContent" in kinds else []
    if annotations:
        message["annotations"] = annotations
    extra = extra_of(blocks, response)
    if extra:
        message[EXTRA_FIELDS] = {"bedrock": extra}
    return message


def reasoning_of(blocks: list[dict[str, Any]]) -> str:
    thoughts = [block["reasoningContent"].get("reasoningText") or {} for block in blocks if "reasoningContent" in block]
    return "".join([thought.get("text") or "" for thought in thoughts])


def to_annotations(blocks: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield the web citations, with their position in the joined text."""
    position = 0
    for block in blocks:
        end = position + len(text_of([block]))
        for citation in (block.get("citationsContent") or {}).get("citations") or ():
            web = (citation.get("location") or {}).get("web") or {}
            if web.get("url"):
                span = {"start_index": position, "end_index": end, "title": citation.get("title") or ""}
                yield {"type": "url_citation", "url_citation": {**span, "url": web["url"]}}
        position = end


def extra_of(blocks: list[dict[str, Any]], response: dict[str, Any]) -> dict[str, Any]:
    """Return what the OpenAI format cannot hold."""
    extra = {name: value for name, value in response.items() if name not in _TRANSLATED and value is not None}
    if response.get("stopReason") not in (None, "end_turn", "tool_use", "max_tokens"):
        extra["stopReason"] = response["stopReason"]
    if any(set(block) not in _PLAIN_BLOCKS or (block.get("toolUse") or {}).get("type") for block in blocks):
        extra["content"] = blocks
    usage = response.get("usage") or {}
    more = {name: value for name, value in usage.items() if name not in _TRANSLATED_USAGE and value}
    if more:
        extra["usage"] = more
    return extra


def to_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """Return the usage in OpenAI's format.

    Bedrock's `inputTokens` do not include cached tokens, while OpenAI's `prompt_tokens` include them all.
    """
    read, written = usage.get("cacheReadInputTokens") or 0, usage.get("cacheWriteInputTokens") or 0
    prompt = (usage.get("inputTokens") or 0) + read + written
    completion = usage.get("outputTokens") or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
    }
