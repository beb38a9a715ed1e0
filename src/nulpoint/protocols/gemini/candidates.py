"""What Gemini answers, in the OpenAI shape: the pieces that whole answers and streams share.

Facts: the types of the `google-genai` SDK and recorded traffic. Any of candidates, content, parts, finishReason and
index may be missing; a reason nobody knows is an end like another and stands in the extra fields.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from nulpoint.errors import ClientCause, Failure, Kind
from nulpoint.formats.malformed import malformed_response
from nulpoint.protocols.openai.chat import EXTRA, index_of, json_text

_FILTERED = frozenset(
    {
        "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION", "PUP_LIMITED_DISABLED",
    }
)  # fmt: skip
_LENGTH = frozenset({"MAX_TOKENS", "CONTINUATION"})
_PLAIN_REASONS = frozenset({"STOP", "MAX_TOKENS"})
_CANDIDATE_MAPPED = frozenset({"content", "index"})
_MAPPED = frozenset({"candidates", "usageMetadata", "modelVersion", "responseId"})
_COUNTED = frozenset(
    {
        "promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount",
        "cachedContentTokenCount",
    }
)  # fmt: skip
_MODALITIES = {"AUDIO": "audio_tokens", "IMAGE": "image_tokens", "TEXT": "text_tokens"}
# Members of a candidate that come in pieces, a part of their lists in each event of a stream.
_IN_PIECES = frozenset({"citationMetadata", "logprobsResult"})
_MOST_CITED = 4 * 1024 * 1024  # characters of the sources that an answer cites


def answer_id(answer: dict[str, Any], body: bytes) -> str:
    """The id it gives, else one made of what it holds: calls without an id get theirs from it."""
    given = answer.get("responseId")
    return f"chatcmpl-{given or hashlib.sha256(body).hexdigest()[:24]}"


def blocked_of(answer: dict[str, Any]) -> str | None:
    """Why the prompt was not answered, if that is told. Feedback alone says it too, where there are no candidates."""
    feedback = answer.get("promptFeedback") or {}
    if not feedback:
        return None
    told = [str(feedback[name]) for name in ("blockReason", "blockReasonMessage") if feedback.get(name)]
    return ": ".join(["the prompt was blocked", *told])


def nothing_made(reasons: list[Any]) -> Failure | None:
    """The failure that candidates without any content are; None where their reason makes them answers all the same."""
    odd = [reason for reason in reasons if reason != "STOP" and reason not in _LENGTH and reason not in _FILTERED]
    if len(odd) < len(reasons):
        return None
    named = ", ".join(sorted({str(reason) for reason in odd if reason}))
    text = f"gemini answered with nothing: {named or 'it gives no reason'}"
    cause = ClientCause.NOTHING_MADE if named else None
    return Failure(Kind.UPSTREAM, 502, text, code="provider_error", client_cause=cause)


def parts_of_candidate(candidate: dict[str, Any]) -> list[dict[str, Any]]:
    return (candidate.get("content") or {}).get("parts") or []


def is_made(part: dict[str, Any]) -> bool:
    """Whether the part is something for a caller: more than a thought, an empty text or a signature."""
    return not part.get("thought") and bool(part.get("text") or set(part) - {"text", "thoughtSignature"})


def text_of(parts: list[dict[str, Any]], *, thought: bool = False) -> str:
    return "".join([part.get("text") or "" for part in parts if bool(part.get("thought")) == thought])


def calls_of(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [part for part in parts if part.get("functionCall")]


def choice_of(candidate: dict[str, Any], number: int, made_id: str, more: dict[str, Any]) -> dict[str, Any]:
    """A candidate as a choice; `more` joins its extra fields."""
    parts = parts_of_candidate(candidate)
    index = index_of(candidate, number)
    calls = [call_of(part, made_id, index, count) for count, part in enumerate(calls_of(parts))]
    text = text_of(parts)
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    thoughts = text_of(parts, thought=True)
    if thoughts:
        message["reasoning_content"] = thoughts
    message |= notes_of(text, candidate)
    extra = {**extra_of(parts, candidate), **more}
    if extra:
        message[EXTRA] = {"gemini": extra}
    finish = finish_of(candidate.get("finishReason"), bool(calls))
    return {"index": index, "message": message, "logprobs": logprobs_of(candidate), "finish_reason": finish}


def call_of(part: dict[str, Any], made_id: str, choice: int, number: int) -> dict[str, Any]:
    """A call; older models give none an id, so it gets one that is the same for the same answer."""
    function = part["functionCall"]
    made = hashlib.sha256(f"{made_id}/{choice}/{number}".encode()).hexdigest()[:24]
    call: dict[str, Any] = {
        "id": function.get("id") or f"call_{made}",
        "type": "function",
        "function": {"name": function.get("name"), "arguments": json_text(function.get("args") or {})},
    }
    if part.get("thoughtSignature"):
        call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return call


def finish_of(reason: Any, called: bool) -> str:
    if reason in _LENGTH:
        return "length"
    if reason in _FILTERED:
        return "content_filter"
    return "tool_calls" if called and reason in (None, "STOP") else "stop"


def notes_of(text: str, candidate: dict[str, Any]) -> dict[str, Any]:
    """The `annotations` member of a message, if there are sources to cite."""
    found = list(_citations(text.encode(), candidate.get("groundingMetadata") or {}))
    return {"annotations": found} if found else {}


def _citations(text: bytes, grounding: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Sources by the places they support. Gemini counts places in bytes, OpenAI in characters.

    Raises Failure (502) where a few long sources are named so often that the annotations would outgrow the answer.
    """
    chunks, supports = grounding.get("groundingChunks") or [], grounding.get("groundingSupports")
    if not supports:
        return
    segments = [support.get("segment") or {} for support in supports]
    ends = [(segment.get("startIndex") or 0, segment.get("endIndex") or 0) for segment in segments]
    characters = _characters_before(text, {offset for pair in ends for offset in pair})
    size = 0
    for support, (start, end) in zip(supports, ends, strict=True):
        place = {"start_index": characters[start], "end_index": max(characters[start], characters[end])}
        for number in support.get("groundingChunkIndices") or []:
            chunk = chunks[number] if number < len(chunks) else {}
            source = chunk.get("web") or chunk.get("retrievedContext") or {}
            if source.get("uri"):
                cited = {"url": source["uri"], "title": source.get("title") or ""}
                size += len(cited["url"]) + len(cited["title"])
                if size > _MOST_CITED:
                    raise malformed_response(f"the provider sent citations of over {_MOST_CITED} characters")
                yield {"type": "url_citation", "url_citation": {**place, **cited}}


def _characters_before(text: bytes, offsets: Iterable[int]) -> dict[int, int]:
    """How many whole characters of a UTF-8 text come before each offset, counted in one pass."""
    before = {}
    at = count = 0
    for offset in sorted(offsets):
        end = max(0, min(offset, len(text)))
        while end < len(text) and text[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        if end > at:
            count += len(text[at:end].decode())
            at = end
        before[offset] = count
    return before


def logprobs_of(candidate: dict[str, Any]) -> dict[str, Any] | None:
    result = candidate.get("logprobsResult") or {}
    chosen = result.get("chosenCandidates") or []
    if not chosen:
        return None
    tops = [one.get("candidates") or [] for one in result.get("topCandidates") or []]
    tops += [[]] * (len(chosen) - len(tops))
    pairs = zip(chosen, tops, strict=False)
    tokens = [{**_token(one), "top_logprobs": [_token(other) for other in top]} for one, top in pairs]
    return {"content": tokens, "refusal": None}


def _token(one: dict[str, Any]) -> dict[str, Any]:
    token = one.get("token") or ""
    # JSON leaves out what is 0, and a certain token's logarithm is.
    return {"token": token, "logprob": float(one.get("logProbability") or 0), "bytes": list(token.encode())}


def extra_of(parts: list[dict[str, Any]], candidate: dict[str, Any]) -> dict[str, Any]:
    """What the OpenAI shape has no place for."""
    extra = {name: value for name, value in candidate.items() if name not in _CANDIDATE_MAPPED and value is not None}
    if extra.get("finishReason") in _PLAIN_REASONS:
        del extra["finishReason"]
    if any(set(part) - {"text"} for part in parts):
        extra["parts"] = parts
    return extra


def rest_of(answer: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    """What is more of an answer than its candidates and counts; it joins the first choice's extra fields."""
    rest = {name: value for name, value in answer.items() if name not in _MAPPED and value is not None}
    more = {name: value for name, value in usage.items() if name not in _COUNTED and value is not None}
    return {**rest, "usageMetadata": more} if more else rest


def usage_of(usage: dict[str, Any]) -> dict[str, Any]:
    """Gemini counts thoughts beside the candidates; OpenAI's completion counts both."""
    thoughts = usage.get("thoughtsTokenCount") or 0
    prompt = (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0)
    completion = (usage.get("candidatesTokenCount") or 0) + thoughts
    cached = usage.get("cachedContentTokenCount") or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": usage.get("totalTokenCount") or prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, **_modalities(usage.get("promptTokensDetails"))},
        "completion_tokens_details": {
            "reasoning_tokens": thoughts,
            **_modalities(usage.get("candidatesTokensDetails")),
        },
    }


def _modalities(details: list[dict[str, Any]] | None) -> dict[str, int]:
    counted = {}
    for one in details or []:
        name = _MODALITIES.get(str(one.get("modality")))
        if name:
            counted[name] = one.get("tokenCount") or 0
    return counted


def merge_candidate(into: dict[str, Any], event: dict[str, Any]) -> None:
    """Add what a further event of a stream tells of a candidate, its content apart."""
    for name, value in event.items():
        before = into.get(name)
        if name == "content" or value is None:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            _merge(name, before, value)
        else:
            into[name] = value


def _merge(member: str, into: dict[str, Any], value: dict[str, Any]) -> None:
    for key, one in value.items():
        before = into.get(key)
        if member in _IN_PIECES and isinstance(before, list) and isinstance(one, list):
            before += one
        else:
            into[key] = one
