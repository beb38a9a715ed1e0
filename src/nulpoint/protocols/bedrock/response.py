"""Reads responses of Bedrock's Converse API.

If a response has more than text and tool calls (reasoning with its signature, citations, images), all its blocks are in
the provider's data unchanged, for clients whose format does not hold them. When such a client sends the message back,
Bedrock receives exactly these blocks again. The body of a response has neither an id nor the name of its model.
Sources: the service model of `bedrock-runtime` and AWS's documentation.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from nulpoint.conversation.parts import NO_MEMBERS, Citation, Part, ProviderPart, Reasoning, Text, ToolCall
from nulpoint.conversation.response import Choice, ConversationResponse, FinishReason
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import ClientCause, Failure
from nulpoint.formats.malformed import MALFORMED, malformed_response, unusable_response
from nulpoint.protocols.bedrock.messages import PROVIDER, calls_of, text_of
from nulpoint.protocols.openai.chat import json_text, read_response
from nulpoint.protocols.response_members import other_members
from nulpoint.protocols.response_types import BedrockResponse

_FINISH_REASONS: dict[Any, FinishReason] = {
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
_PLAIN_BLOCKS = ({"text"}, {"toolUse"})
_TRANSLATED = frozenset({"output", "stopReason", "usage"})
_TRANSLATED_USAGE = frozenset(
    {"inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens"}
)


ID_HEADER = b"x-amzn-requestid"  # the response header with the id of the response


def parse(body: bytes, model: str, response_id: str = "") -> ConversationResponse:
    """Read a complete response. `model` is the requested model.

    Raises Failure (502) if the response is an error or malformed.
    """
    response = read_response("bedrock", body)
    try:
        _check(body)
        return _response(response, model, completion_id(response_id, body))
    except MALFORMED:
        raise unusable_response("it is not a valid response of Bedrock's Converse API") from None


def completion_id(response_id: str, body: bytes) -> str:
    """Return an id made of AWS's id of the response, or else of the body, so that equal responses have equal ids."""
    return f"chatcmpl-{response_id or hashlib.sha256(body).hexdigest()[:24]}"


def _response(response: dict[str, Any], model: str, response_id: str) -> ConversationResponse:
    blocks = response["output"]["message"]["content"] or []
    stop_reason = response["stopReason"]
    check_readable(blocks, stop_reason)
    parts = tuple([part for block in blocks for part in _parts(block)])
    reason = to_finish_reason(stop_reason, any([isinstance(part, ToolCall) for part in parts]))
    choice = Choice(parts, reason, provider_data(blocks, response))
    usage = read_usage(response["usage"]) if response.get("usage") else None
    return ConversationResponse(response_id, model, (choice,), usage)


def _parts(block: dict[str, Any]) -> Iterable[Part]:
    """Yield the part that a block holds. A block has one kind of content. Should it have several, none is lost."""
    if "reasoningContent" in block:
        yield _reasoning(block["reasoningContent"])
    text, calls = text_of([block]), calls_of([block])
    cited = block.get("citationsContent") or {}
    citations = tuple(read_citations(cited.get("citations") or ()))
    if text or citations:
        others = {name: value for name, value in cited.items() if name != "content"}
        yield Text(text, citations, {PROVIDER: others} if others else NO_MEMBERS)
    for use in calls:
        yield ToolCall(use["toolUseId"], None, use["name"], json_text(use.get("input") or {}))
    read = {"reasoningContent", "text", "toolUse" if calls else "", "citationsContent" if text or citations else ""}
    unread = {name: value for name, value in block.items() if name not in read}
    if unread:
        yield ProviderPart(unread, PROVIDER)


def _reasoning(content: dict[str, Any]) -> Reasoning:
    if content.get("redactedContent"):
        return Reasoning("", {PROVIDER: {"redacted": content["redactedContent"]}})
    shown = content.get("reasoningText") or {}
    return Reasoning(
        shown.get("text") or "", {PROVIDER: {name: value for name, value in shown.items() if name != "text"}}
    )


def check_readable(blocks: list[dict[str, Any]], stop_reason: Any) -> None:
    """Raise Failure (502) if the model's output was unreadable for Bedrock. The request may be tried again."""
    if stop_reason in _UNREADABLE_OUTPUT and not text_of(blocks) and not calls_of(blocks):
        raise no_output_failure(stop_reason)


def no_output_failure(stop_reason: str) -> Failure:
    return malformed_response(f"Bedrock could not read the model's output ({stop_reason})", ClientCause.NO_OUTPUT)


def to_finish_reason(stop_reason: Any, has_calls: bool) -> FinishReason:
    """Return the finish reason. An unknown stop reason becomes `stop`; `provider_data` has the original."""
    if stop_reason is None:
        return "tool_calls" if has_calls else "stop"
    return _FINISH_REASONS.get(stop_reason, "stop")


def read_citations(citations: Iterable[dict[str, Any]]) -> Iterable[Citation]:
    """Yield those citations that are of web pages."""
    for citation in citations:
        web = (citation.get("location") or {}).get("web") or {}
        if web.get("url"):
            yield Citation(web["url"], citation.get("title") or "")


def provider_data(blocks: list[dict[str, Any]], response: dict[str, Any]) -> dict[str, Any]:
    """Return what the conversation does not hold, by provider, for a response with these blocks."""
    extra = other_members(response, _TRANSLATED)
    if response.get("stopReason") not in (None, "end_turn", "tool_use", "max_tokens"):
        extra["stopReason"] = response["stopReason"]
    if not all([_is_plain(block) for block in blocks]) or _has_text_after_call(blocks):
        extra["content"] = blocks
    usage = response.get("usage") or {}
    more = {name: value for name, value in usage.items() if name not in _TRANSLATED_USAGE and value}
    if more:
        extra["usage"] = more
    return {PROVIDER: extra} if extra else {}


def _is_plain(block: dict[str, Any]) -> bool:
    """Return whether the conversation holds the whole block."""
    return set(block) in _PLAIN_BLOCKS and not (block.get("toolUse") or {}).get("type")


def _has_text_after_call(blocks: list[dict[str, Any]]) -> bool:
    """Return whether the blocks have an order that a message with its calls beside its text does not show."""
    calls = [at for at, block in enumerate(blocks) if "toolUse" in block]
    return bool(calls) and any(["text" in block for block in blocks[calls[0] :]])


def read_usage(usage: dict[str, Any]) -> UsageReport:
    """Return the usage. Bedrock's `inputTokens` do not include cached tokens, while `prompt` includes them all."""
    read, written = usage.get("cacheReadInputTokens") or 0, usage.get("cacheWriteInputTokens") or 0
    prompt = (usage.get("inputTokens") or 0) + read + written
    return UsageReport(prompt, usage.get("outputTokens") or 0, read, None, written)
