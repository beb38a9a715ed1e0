"""Reads responses of Anthropic's Messages API (version 2023-06-01).

If a response has more than text and tool calls (thinking with its signature, citations, tools that the provider ran),
all its blocks are in the provider's data unchanged, for clients whose format does not hold them. When such a client
sends the message back, Anthropic receives exactly these blocks again. Sources: the types of the `anthropic` SDK and
recorded traffic.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from nulpoint.conversation.parts import (
    NO_MEMBERS,
    Citation,
    Members,
    Part,
    ProviderPart,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from nulpoint.conversation.response import Choice, ConversationResponse, FinishReason
from nulpoint.conversation.usage import UsageReport
from nulpoint.formats.malformed import MALFORMED, NOT_JSON, unusable_response
from nulpoint.protocols.anthropic.messages import PROVIDER
from nulpoint.protocols.anthropic.plain import read_plain_message
from nulpoint.protocols.openai.chat import json_text, read_response
from nulpoint.protocols.response_members import other_members
from nulpoint.protocols.response_types import AnthropicMessage

_FINISH_REASONS: dict[Any, FinishReason] = {
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


def parse(body: bytes) -> ConversationResponse:
    """Read a complete response. Raises Failure (502) if it is an error or malformed."""
    plain = _plain_response(body)
    if plain is not None:
        return plain
    response = read_response("anthropic", body)
    try:
        _check(body)
        return _response(response)
    except MALFORMED:
        raise unusable_response("it is not a valid message of Anthropic's API") from None


def _plain_response(body: bytes) -> ConversationResponse | None:
    """Read a response with a single text and no members that are unusual. Return None for any other."""
    try:
        message = read_plain_message(body)
    except NOT_JSON:
        return None
    usage = message.usage
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    more: dict[str, Any] = {}
    written_1h = 0
    if usage.cache_creation is not None:
        more["cache_creation"] = msgspec.to_builtins(usage.cache_creation)
        written_1h = usage.cache_creation.ephemeral_1h_input_tokens or 0
    if usage.inference_geo is not None:
        more["inference_geo"] = usage.inference_geo
    if usage.service_tier is not None:
        more["service_tier"] = usage.service_tier
    reason: FinishReason = "stop" if message.stop_reason == "end_turn" else "length"
    choice = Choice((Text(message.content[0].text),), reason, {PROVIDER: {"usage": more}} if more else NO_MEMBERS)
    report = UsageReport(usage.input_tokens + read + written, usage.output_tokens, read, 0, written, written_1h)
    return ConversationResponse(message.id, message.model, (choice,), report)


def _response(response: dict[str, Any]) -> ConversationResponse:
    blocks = response["content"] or []
    parts = [_part(block) for block in blocks]
    has_calls = any([isinstance(part, ToolCall) for part in parts])
    refusal = refusal_of(response)
    if refusal is not None:
        parts.append(Refusal(refusal))
    reason = to_finish_reason(response.get("stop_reason"), has_calls)
    return ConversationResponse(
        response.get("id") or "",
        response.get("model") or "",
        (Choice(tuple(parts), reason, provider_data(blocks, response)),),
        read_usage(response["usage"]) if response.get("usage") else None,
    )


_READ_OF_TEXT = frozenset({"type", "text"})
_READ_OF_CALL = frozenset({"type", "id", "name", "input"})
_READ_OF_THINKING = frozenset({"type", "thinking"})
_READ_OF_REDACTED = frozenset({"type", "data"})


def _part(block: dict[str, Any]) -> Part:
    match block.get("type"):
        case "text":
            citations = tuple(read_citations(block.get("citations") or ()))
            data = _rest_of(block, _READ_OF_TEXT) if len(block) > len(_READ_OF_TEXT) else NO_MEMBERS
            return Text(block.get("text") or "", citations, data)
        case "tool_use":
            data = _rest_of(block, _READ_OF_CALL) if len(block) > len(_READ_OF_CALL) else NO_MEMBERS
            text = input_text(block.get("input"))
            return ToolCall(block.get("id"), None, block.get("name"), text, provider_data=data)
        case "thinking":
            return Reasoning(block.get("thinking") or "", _rest_of(block, _READ_OF_THINKING))
        case "redacted_thinking":
            return Reasoning("", _rest_of(block, _READ_OF_REDACTED, redacted=block.get("data")))
    return ProviderPart(block, PROVIDER)


def _rest_of(block: dict[str, Any], read: frozenset[str], **more: Any) -> Members:
    """Return the members of a block that a part does not hold, by provider."""
    return {PROVIDER: {**{name: value for name, value in block.items() if name not in read}, **more}}


def to_finish_reason(stop_reason: Any, has_calls: bool) -> FinishReason:
    """Return the finish reason. An unknown stop reason becomes `stop`; `provider_data` has the original."""
    if stop_reason is None:
        return "tool_calls" if has_calls else "stop"
    return _FINISH_REASONS.get(stop_reason, "stop")


def input_text(call_input: Any) -> str:
    """Return a call's input as JSON text. Some hosts of this format send it as text already."""
    return call_input if isinstance(call_input, str) and call_input else json_text(call_input or {})


def refusal_of(response: dict[str, Any]) -> str | None:
    """Return the explanation of a refusal, or None if the model did not refuse to answer."""
    if response.get("stop_reason") != "refusal":
        return None
    details = response.get("stop_details")
    return (details.get("explanation") if isinstance(details, dict) else None) or "the model refused to answer"


def read_citations(citations: Iterable[dict[str, Any]]) -> Iterable[Citation]:
    """Yield those citations that are of web pages."""
    for citation in citations:
        if citation.get("url"):
            yield Citation(citation["url"], citation.get("title") or "")


_TRANSLATED = frozenset({"id", "type", "role", "model", "content", "usage", "stop_reason"})
_USUAL = _TRANSLATED | {"stop_sequence", "stop_details"}
_TRANSLATED_USAGE = frozenset(
    {"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}
)


def provider_data(blocks: list[dict[str, Any]], response: dict[str, Any]) -> dict[str, Any]:
    """Return what the conversation does not hold, by provider, for a response with these blocks."""
    extra: dict[str, Any] = {}
    if response.get("stop_sequence") is not None or not response.keys() <= _USUAL or response.get("stop_details"):
        extra = other_members(response, _TRANSLATED)
    if response.get("stop_reason") not in (None, "end_turn", "tool_use", "max_tokens"):
        extra["stop_reason"] = response["stop_reason"]
    if not all([_is_plain(block) for block in blocks]) or _has_text_after_call(blocks):
        extra["content"] = blocks
    usage = response.get("usage") or {}
    more = other_members(usage, _TRANSLATED_USAGE)
    if more:
        extra["usage"] = more
    return {PROVIDER: extra} if extra else {}


def _is_plain(block: dict[str, Any]) -> bool:
    """Return whether the conversation holds the whole block."""
    return block.get("type") in _PLAIN_BLOCKS and block.keys() <= _PLAIN_MEMBERS


def _has_text_after_call(blocks: list[dict[str, Any]]) -> bool:
    """Return whether the blocks have an order that a message with its calls beside its text does not show."""
    types = [block.get("type") for block in blocks]
    return "tool_use" in types and "text" in types[types.index("tool_use") :]


def read_usage(usage: dict[str, Any]) -> UsageReport:
    """Return the usage. Anthropic's `input_tokens` do not include cached tokens, while `prompt` includes them all."""
    read, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    return UsageReport(
        prompt=(usage.get("input_tokens") or 0) + read + written,
        completion=usage.get("output_tokens") or 0,
        cached=read,
        reasoning=(usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
        written=written,
        written_1h=(usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0,
    )
