"""Reads Gemini's responses and streams for the judge."""

from typing import Any

from support.corpus.formats import Expected, Format, events

_FILTERED = {
    "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION", "PUP_LIMITED_DISABLED",
}  # fmt: skip
_BROKEN = {"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE", "CONTINUATION"}
_COUNTED = {
    "promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount",
    "cachedContentTokenCount",
}  # fmt: skip


def assembled(text: str) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    counts: dict[str, Any] = {}
    for event in events(text):
        counts |= event.get("usageMetadata") or {}
        for position, one in enumerate(event.get("candidates") or []):
            candidate = candidates.setdefault(one.get("index", position), {"content": {"parts": []}})
            candidate["content"]["parts"] += (one.get("content") or {}).get("parts") or []
            for name, value in one.items():
                if name == "citationMetadata" and name in candidate:
                    for key, found in value.items():
                        candidate[name][key] = candidate[name].get(key, []) + found
                elif name != "content":
                    candidate[name] = value
        for name, value in event.items():
            if name not in ("candidates", "usageMetadata", "modelVersion", "responseId") or name not in answer:
                answer[name] = value
    for candidate in candidates.values():
        candidate["content"]["parts"] = _joined_calls(candidate["content"]["parts"])
    return {**answer, "usageMetadata": counts, "candidates": [candidates[index] for index in sorted(candidates)]}


def _joined_calls(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Assemble calls that came in pieces. In the recordings all their arguments are texts at the top level."""
    whole: list[dict[str, Any]] = []
    going_on = False
    for part in parts:
        call = part.get("functionCall")
        if going_on and call is not None:
            for piece in call.get("partialArgs", []):
                name = piece["jsonPath"].removeprefix("$.")
                arguments = whole[-1]["functionCall"].setdefault("args", {})
                arguments[name] = arguments.get(name, "") + piece["stringValue"]
        else:
            whole.append(part)
        going_on = bool(call and call.pop("willContinue", False)) if call is not None else False
    return whole


def failed(answer: dict[str, Any]) -> bool:
    """Return whether there is no response, or an empty one whose reason does not explain that."""
    candidates = answer.get("candidates") or []
    made = [part for one in candidates for part in (one.get("content") or {}).get("parts") or []]
    made = [part for part in made if any(part.values())]
    proper = {"MAX_TOKENS", "CONTINUATION", *_FILTERED}
    if not candidates:
        return not answer.get("promptFeedback")
    reasons = [one.get("finishReason") for one in candidates]
    return all(reason in _BROKEN for reason in reasons) or (not made and proper.isdisjoint(reasons))


def choices(answer: dict[str, Any]) -> list[Expected]:
    if not answer.get("candidates"):
        return [Expected("content_filter", refusal=answer["promptFeedback"].get("blockReason") or "")]
    return [_choice(candidate) for candidate in answer["candidates"]]


def _choice(candidate: dict[str, Any]) -> Expected:
    parts = (candidate.get("content") or {}).get("parts") or []
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    return Expected(
        finish=_finish(candidate.get("finishReason"), bool(calls)),
        text="".join(part.get("text", "") for part in parts if not part.get("thought")),
        thinking="".join(part.get("text", "") for part in parts if part.get("thought")),
        calls=[(call.get("id"), call["name"], call.get("args") or {}) for call in calls],
        citations=_citations(candidate.get("groundingMetadata") or {}),
    )


def _finish(reason: str | None, called: bool) -> str:
    if reason in ("MAX_TOKENS", "TOO_MANY_TOOL_CALLS"):
        return "length"
    if reason in _FILTERED:
        return "content_filter"
    return "tool_calls" if called and reason in ("STOP", None) else "stop"


def _citations(grounding: dict[str, Any]) -> list[str]:
    sources = [
        chunk.get("web") or chunk.get("retrievedContext") or {} for chunk in grounding.get("groundingChunks", [])
    ]
    used = [index for support in grounding.get("groundingSupports", [])
            for index in support.get("groundingChunkIndices", []) if index < len(sources)]  # fmt: skip
    return [sources[index]["uri"] for index in used if sources[index].get("uri")]


def usage(answer: dict[str, Any]) -> dict[str, int] | None:
    counts = answer.get("usageMetadata")
    if not counts:
        return None
    prompt = counts.get("promptTokenCount", 0) + counts.get("toolUsePromptTokenCount", 0)
    completion = counts.get("candidatesTokenCount", 0) + counts.get("thoughtsTokenCount", 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": counts.get("totalTokenCount", prompt + completion),
        "cached_tokens": counts.get("cachedContentTokenCount", 0),
        "reasoning_tokens": counts.get("thoughtsTokenCount", 0),
    }


def rest(answer: dict[str, Any]) -> Any:
    """Return the rest of text and calls: only members beyond the ones that are compared."""
    left = {name: value for name, value in answer.items() if name not in ("responseId", "usageMetadata")}
    if answer.get("modelVersion"):
        left["model"] = left.pop("modelVersion")
    counts = answer.get("usageMetadata") or {}
    left["usageMetadata"] = {name: value for name, value in counts.items() if name not in _COUNTED}
    left["candidates"] = [_candidate_rest(candidate) for candidate in answer.get("candidates", [])]
    return left


def _candidate_rest(candidate: dict[str, Any]) -> dict[str, Any]:
    left = {name: value for name, value in candidate.items() if name not in ("content", "index")}
    if left.get("finishReason") in ("STOP", "MAX_TOKENS"):
        del left["finishReason"]
    left["parts"] = [
        {name: value for name, value in part.items() if name != "text"}
        for part in (candidate.get("content") or {}).get("parts") or []
    ]
    return left


FORMAT = Format(assembled, failed, choices, usage, rest, {})
