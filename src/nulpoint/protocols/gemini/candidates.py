"""Reads the members of Gemini's candidates and responses, for both complete responses and streams.

Sources: the types of the `google-genai` SDK and recorded traffic. Any of candidates, content, parts, finishReason and
index may be missing. An unknown finish reason becomes `stop`, and the original is in the provider's data. If a reason
says that the output is broken or unfinished, the response is a failure, whatever it has.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from nulpoint.conversation.parts import NO_MEMBERS, Citation, Reasoning, Text, ToolCall
from nulpoint.conversation.response import FinishReason
from nulpoint.conversation.usage import UsageReport
from nulpoint.errors import ClientCause, Failure, Kind
from nulpoint.formats.malformed import malformed_response
from nulpoint.protocols.call_ids import derived_call_id
from nulpoint.protocols.openai.chat import json_text

PROVIDER = "gemini"
_FILTERED = frozenset(
    {
        "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION", "PUP_LIMITED_DISABLED",
    }
)  # fmt: skip
# The model reached its limit of tokens, or Google's limit of calls of its own tools within a response.
_LENGTH = frozenset({"MAX_TOKENS", "TOO_MANY_TOOL_CALLS"})
# There is more of the response, which must be requested with a token.
CONTINUATION = "CONTINUATION"
# The model wanted to say something else than what it has said.
_BROKEN = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"}
)
_MAY_BE_EMPTY = frozenset({"STOP", "MAX_TOKENS"}) | _FILTERED
_PLAIN_REASONS = frozenset({"STOP", "MAX_TOKENS"})
_CANDIDATE_MEMBERS = frozenset({"content", "index"})
_NO_OUTPUT = frozenset({"text", "thought", "thoughtSignature"})  # members of a part without a text that show nothing
_READ_OF_TEXT = frozenset({"text", "thought", "thoughtSignature", "functionCall"})
_RESPONSE_MEMBERS = frozenset({"candidates", "usageMetadata", "modelVersion", "responseId"})
_USAGE_MEMBERS = frozenset(
    {
        "promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount",
        "cachedContentTokenCount",
    }
)  # fmt: skip
_MODALITIES = {"AUDIO": "audio_tokens", "IMAGE": "image_tokens", "TEXT": "text_tokens"}
# Members of a candidate whose lists are split over the events of a stream.
_STREAMED_LISTS = frozenset({"citationMetadata", "logprobsResult"})
_MAX_CITED_LENGTH = 4 * 1024 * 1024  # characters of all the sources that a response cites


def response_id(response: dict[str, Any], body: bytes) -> str:
    """Return the id of a response, or one derived from its body. The ids of calls without an id are derived from it."""
    return completion_id(response.get("responseId") or hashlib.sha256(body).hexdigest()[:24])


def completion_id(provider_id: str) -> str:
    return f"chatcmpl-{provider_id}"


def block_message(response: dict[str, Any]) -> str | None:
    """Return why the prompt was blocked, or None if it was not. Feedback without a reason counts as blocked."""
    feedback = response.get("promptFeedback") or {}
    if not feedback:
        return None
    reasons = [str(feedback[name]) for name in ("blockReason", "blockReasonMessage") if feedback.get(name)]
    return ": ".join(["the prompt was blocked", *reasons])


def no_output_failure(reasons: list[Any]) -> Failure | None:
    """Return the failure for candidates without content, or None if a finish reason explains the empty response."""
    if any(reason in _MAY_BE_EMPTY for reason in reasons):
        return None
    return _failure("gemini sent a response without content", reasons)


def broken_failure(ends: list[tuple[Any, bool]]) -> Failure | None:
    """Return the failure for candidates that all ended before they were whole, or None.

    Each end is the finish reason, and whether the candidate has calls. A call of an unknown function is left to the
    client, which can tell the model.
    """
    reasons = [reason for reason, has_calls in ends if is_broken(reason, has_calls=has_calls)]
    return _failure("gemini sent a broken response", reasons) if ends and len(reasons) == len(ends) else None


def is_broken(reason: Any, *, has_calls: bool) -> bool:
    if reason == "UNEXPECTED_TOOL_CALL":
        return not has_calls
    return reason == CONTINUATION or reason in _BROKEN


def _failure(text: str, reasons: list[Any]) -> Failure:
    names = ", ".join(sorted({str(reason) for reason in reasons if reason}))
    cause = ClientCause.NO_OUTPUT if names else None
    text = f"{text}: {names or 'it gives no reason'}"
    return Failure(Kind.UPSTREAM, 502, text, code="provider_error", client_cause=cause)


def candidate_parts(candidate: dict[str, Any]) -> list[dict[str, Any]]:
    return (candidate.get("content") or {}).get("parts") or []


def is_output(part: dict[str, Any]) -> bool:
    """Return whether a part is output for the client, that is, not only a thought, an empty text or a signature."""
    return not part.get("thought") and bool(part.get("text") or set(part) - _NO_OUTPUT)


def parts_text(parts: list[dict[str, Any]]) -> str:
    return "".join([part.get("text") or "" for part in parts if not part.get("thought")])


def to_text_part(part: dict[str, Any]) -> Text | Reasoning:
    """Return a part with a text. Its signature is left to the call if it has one, too."""
    if len(part) == 1:
        return Text(part["text"])
    others = {name: value for name, value in part.items() if name not in _READ_OF_TEXT}
    signature = part.get("thoughtSignature")
    if signature and not part.get("functionCall"):
        others["signature"] = signature
    if part.get("thought"):
        return Reasoning(part["text"], {PROVIDER: others})
    return Text(part["text"], provider_data={PROVIDER: others} if others else NO_MEMBERS)


def is_provider_part(part: dict[str, Any]) -> bool:
    """Return whether a part has something that only Gemini can read: media, code that it ran, or a signature."""
    return not (part.get("text") or "functionCall" in part or part.keys() <= {"text", "thought"})


def to_tool_call(part: dict[str, Any], response_id: str, choice: int, number: int) -> ToolCall:
    """Return a part with a function call. If it has no id (as in older models), one is derived from the response's.

    `choice` and `number` are the indexes of the choice and of the call in it.
    """
    function = part["functionCall"]
    call_id = function.get("id") or derived_call_id(f"{response_id}/{choice}/{number}")
    signature = part.get("thoughtSignature")
    data = {"google": {"thought_signature": signature}} if signature else NO_MEMBERS
    return ToolCall(call_id, None, function.get("name"), json_text(function.get("args") or {}), provider_data=data)


def to_finish_reason(reason: Any, *, has_calls: bool) -> FinishReason:
    if reason in _LENGTH or is_broken(reason, has_calls=has_calls):
        return "length"
    if reason in _FILTERED:
        return "content_filter"
    return "tool_calls" if has_calls and reason in (None, "STOP", "UNEXPECTED_TOOL_CALL") else "stop"


def read_citations(parts: list[dict[str, Any]], candidate: dict[str, Any]) -> Iterator[Citation]:
    """Yield a citation for each source of each segment. Gemini counts positions in bytes, the span in characters.

    Raises Failure (502) if long sources are cited so often that the citations would be much larger than the response.
    """
    grounding = candidate.get("groundingMetadata") or {}
    chunks, supports = grounding.get("groundingChunks") or [], grounding.get("groundingSupports")
    if not supports:
        return
    segments = [support.get("segment") or {} for support in supports]
    ends = [(segment.get("startIndex") or 0, segment.get("endIndex") or 0) for segment in segments]
    characters = _characters_before(parts_text(parts).encode(), {offset for pair in ends for offset in pair})
    size = 0
    for support, (start, end) in zip(supports, ends, strict=True):
        span = (characters[start], max(characters[start], characters[end]))
        for number in support.get("groundingChunkIndices") or []:
            chunk = chunks[number] if number < len(chunks) else {}
            source = chunk.get("web") or chunk.get("retrievedContext") or {}
            if source.get("uri"):
                citation = Citation(source["uri"], source.get("title") or "", span)
                size += len(citation.url) + len(citation.title)
                if size > _MAX_CITED_LENGTH:
                    raise malformed_response(f"the provider sent citations of over {_MAX_CITED_LENGTH} characters")
                yield citation


def _characters_before(text: bytes, offsets: Iterable[int]) -> dict[int, int]:
    """Return the number of complete characters of a UTF-8 text before each offset, counted in a single pass."""
    before = {}
    at = count = 0
    for offset in sorted(offsets):
        end = max(0, min(offset, len(text)))
        while end < len(text) and text[end] & 0xC0 == 0x80:  # the position is inside a character
            end -= 1
        if end > at:
            count += len(text[at:end].decode())
            at = end
        before[offset] = count
    return before


def to_logprobs(candidate: dict[str, Any]) -> dict[str, Any] | None:
    result = candidate.get("logprobsResult") or {}
    chosen = result.get("chosenCandidates") or []
    if not chosen:
        return None
    alternatives = [position.get("candidates") or [] for position in result.get("topCandidates") or []]
    alternatives += [[]] * (len(chosen) - len(alternatives))
    pairs = zip(chosen, alternatives, strict=False)
    tokens = [
        {**_token_logprob(token), "top_logprobs": [_token_logprob(other) for other in top]} for token, top in pairs
    ]
    return {"content": tokens, "refusal": None}


def _token_logprob(token: dict[str, Any]) -> dict[str, Any]:
    text = token.get("token") or ""
    # Gemini leaves out values of 0, which is the log probability of a certain token.
    return {"token": text, "logprob": float(token.get("logProbability") or 0), "bytes": list(text.encode())}


def candidate_extra(parts: list[dict[str, Any]], candidate: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a candidate, and its parts, that a conversation does not hold."""
    extra = {name: value for name, value in candidate.items() if name not in _CANDIDATE_MEMBERS and value is not None}
    if extra.get("finishReason") in _PLAIN_REASONS:
        del extra["finishReason"]
    if any(set(part) - {"text"} for part in parts):
        extra["parts"] = parts
    return extra


def response_extra(response: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a response and its usage that a conversation does not hold.

    They are in the provider's data of the first choice.
    """
    extra = {name: value for name, value in response.items() if name not in _RESPONSE_MEMBERS and value is not None}
    usage_extra = {name: value for name, value in usage.items() if name not in _USAGE_MEMBERS and value is not None}
    return {**extra, "usageMetadata": usage_extra} if usage_extra else extra


def read_usage(usage: dict[str, Any]) -> UsageReport:
    """Return the usage. Its completion includes the thoughts, which Gemini counts apart."""
    thoughts = usage.get("thoughtsTokenCount") or 0
    return UsageReport(
        prompt=(usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0),
        completion=(usage.get("candidatesTokenCount") or 0) + thoughts,
        cached=usage.get("cachedContentTokenCount") or 0,
        reasoning=thoughts,
        total=usage.get("totalTokenCount") or None,
        prompt_details=_modalities(usage.get("promptTokensDetails")),
        completion_details=_modalities(usage.get("candidatesTokensDetails")),
    )


def _modalities(details: list[dict[str, Any]] | None) -> dict[str, int]:
    counts = {}
    for detail in details or []:
        name = _MODALITIES.get(str(detail.get("modality")))
        if name:
            counts[name] = detail.get("tokenCount") or 0
    return counts


def continuation_token(candidate: dict[str, Any]) -> str | None:
    """Return the token with which the rest of a response can be requested, or None if there is no rest, or no token."""
    token = candidate.get("continuationToken")
    return token if candidate.get("finishReason") == CONTINUATION and isinstance(token, str) and token else None


def sum_usage(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the usage of two parts of a response together. The counts are summed, also those by modality."""
    total = dict(first)
    for name, value in second.items():
        before = total.get(name)
        if isinstance(before, int) and isinstance(value, int):
            total[name] = before + value
        elif isinstance(before, list) and isinstance(value, list):
            counts: dict[Any, int] = {}
            for detail in before + value:
                counts[detail.get("modality")] = counts.get(detail.get("modality"), 0) + (detail.get("tokenCount") or 0)
            total[name] = [{"modality": modality, "tokenCount": count} for modality, count in counts.items()]
        else:
            total[name] = value
    return total


def merge_candidate(candidate: dict[str, Any], event: dict[str, Any]) -> None:
    """Add the members of a candidate in a further event of a stream, except its content, to those before."""
    for name, value in event.items():
        before = candidate.get(name)
        if name == "content" or value is None:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            _merge(name, before, value)
        else:
            candidate[name] = value


def _merge(member: str, total: dict[str, Any], update: dict[str, Any]) -> None:
    for key, value in update.items():
        before = total.get(key)
        if member in _STREAMED_LISTS and isinstance(before, list) and isinstance(value, list):
            before += value
        else:
            total[key] = value
