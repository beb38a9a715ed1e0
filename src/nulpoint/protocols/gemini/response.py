"""Reads responses of Gemini's generateContent (v1beta).

If a message has parts other than plain text and calls (thoughts with signatures, code that Google ran, media), the
provider's data has all parts as Gemini sent them, for clients whose format does not hold them, and they are sent to
Gemini again if such a client sends the message back unchanged. The signature of a call is also in the data of the call,
as in Google's own OpenAI endpoint. Sources: the types of the `google-genai` SDK and recorded traffic.
"""

from typing import Any

import msgspec

from nulpoint.conversation.parts import NO_MEMBERS, Citation, Members, Part, ProviderPart, Refusal, Text
from nulpoint.conversation.response import Choice, ConversationResponse
from nulpoint.formats.malformed import MALFORMED, NOT_JSON, unusable_response
from nulpoint.protocols.gemini.candidates import (
    PROVIDER,
    block_message,
    broken_failure,
    candidate_extra,
    candidate_parts,
    completion_id,
    is_output,
    is_provider_part,
    no_output_failure,
    read_citations,
    read_usage,
    response_extra,
    response_id,
    to_finish_reason,
    to_logprobs,
    to_text_part,
    to_tool_call,
)
from nulpoint.protocols.gemini.plain import read_plain_response
from nulpoint.protocols.openai.chat import choice_index, read_response
from nulpoint.protocols.response_types import GeminiResponse

_check = msgspec.json.Decoder(GeminiResponse).decode


def parse(body: bytes) -> ConversationResponse:
    """Read a complete response. Raises Failure (502) if it is an error or malformed."""
    plain = _plain_response(body)
    if plain is not None:
        return plain
    response = read_response("gemini", body)
    try:
        _check(body)
        return _response(response, response_id(response, body))
    except MALFORMED:
        raise unusable_response("it is not in the format of Gemini's API") from None


def _plain_response(body: bytes) -> ConversationResponse | None:
    """Read a response with a single text and no members that are unusual. Return None for any other."""
    try:
        response = read_plain_response(body)
    except NOT_JSON:
        return None
    candidate = response.candidates[0]
    part = candidate.content.parts[0]
    if not part.text or part.thought is not msgspec.UNSET or not response.responseId:
        return None
    usage = msgspec.to_builtins(response.usageMetadata or {})
    choice = Choice(
        (Text(part.text),),
        to_finish_reason(candidate.finishReason, has_calls=False),
        provider_data(response_extra({}, usage)),
        candidate.index,
    )
    identifier = completion_id(response.responseId)
    return ConversationResponse(
        identifier, response.modelVersion or "", (choice,), read_usage(usage) if usage else None
    )


def _response(response: dict[str, Any], identifier: str) -> ConversationResponse:
    candidates = response.get("candidates") or []
    usage = response.get("usageMetadata") or {}
    extra = response_extra(response, usage)
    if candidates:
        _check_output(candidates)
        choices = [
            _choice(candidate, choice_index(candidate, number), identifier, {} if number else extra)
            for number, candidate in enumerate(candidates)
        ]
    else:
        choices = [_blocked_choice(response, extra)]
    model = response.get("modelVersion") or ""
    return ConversationResponse(identifier, model, tuple(choices), read_usage(usage) if usage else None)


def _check_output(candidates: list[dict[str, Any]]) -> None:
    """Raise Failure (502) if no candidate is whole, or if none has output and no finish reason explains it."""
    reasons = [candidate.get("finishReason") for candidate in candidates]
    if any(is_output(part) for candidate in candidates for part in candidate_parts(candidate)):
        calls = [any(part.get("functionCall") for part in candidate_parts(candidate)) for candidate in candidates]
        failure = broken_failure(list(zip(reasons, calls, strict=True)))
    else:
        failure = no_output_failure(reasons)
    if failure is not None:
        raise failure


def _blocked_choice(response: dict[str, Any], extra: dict[str, Any]) -> Choice:
    refusal = block_message(response)
    if refusal is None:
        raise unusable_response("it has no candidates")
    return Choice((Refusal(refusal),), "content_filter", provider_data(extra))


def provider_data(extra: dict[str, Any]) -> Members:
    return {PROVIDER: extra} if extra else NO_MEMBERS


def _choice(candidate: dict[str, Any], index: int, identifier: str, extra: dict[str, Any]) -> Choice:
    sent = candidate_parts(candidate)
    parts, call_count = _parts(sent, identifier, index)
    citations = tuple(read_citations(sent, candidate))
    if citations:
        _add_citations(parts, citations)
    reason = to_finish_reason(candidate.get("finishReason"), has_calls=call_count > 0)
    data = provider_data({**candidate_extra(sent, candidate), **extra})
    return Choice(tuple(parts), reason, data, index, to_logprobs(candidate))


def _parts(sent: list[dict[str, Any]], identifier: str, index: int) -> tuple[list[Part], int]:
    """Return the parts without empty ones, and how many of them are calls."""
    parts: list[Part] = []
    call_count = 0
    for part in sent:
        if part.get("text"):
            parts.append(to_text_part(part))
        elif is_provider_part(part):
            parts.append(ProviderPart(part, PROVIDER))
        if part.get("functionCall"):
            parts.append(to_tool_call(part, identifier, index, call_count))
            call_count += 1
    return parts, call_count


def _add_citations(parts: list[Part], citations: tuple[Citation, ...]) -> None:
    """Put the citations at the last text. Their spans are in all the text, as Gemini's own are."""
    for place in reversed(range(len(parts))):
        part = parts[place]
        if isinstance(part, Text):
            parts[place] = Text(part.text, citations, part.provider_data)
            return
    parts.append(Text("", citations))
