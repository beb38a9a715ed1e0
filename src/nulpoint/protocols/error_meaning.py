"""Finds out what a provider's error is about: the key, its credit, the model, or the length of the prompt.

The codes and types decide. A code is asked before the table of sentences (`error_sentences.py`), which is only used if
there is no code, or one that says no more than that the request is bad. Sources of the codes: the error pages of the
providers and recorded traffic, and for those marked, reports of their users (all read in November 2026).
"""

from typing import NamedTuple

from nulpoint.protocols.error_body import MAX_DETAILS, ErrorBody
from nulpoint.protocols.error_sentences import Meaning, find_sentence


class ErrorMeaning(NamedTuple):
    """What an error is about.

    Fields:
        code: OpenAI's code for it.
        is_lasting: it holds for later requests too: those with the same key, or of a missing model those with the same
            key and model.
    """

    code: Meaning
    is_lasting: bool = True


_KEY = ErrorMeaning("invalid_api_key")
_MODEL = ErrorMeaning("model_not_found")
_TOO_LONG = ErrorMeaning("context_length_exceeded", is_lasting=False)
_NO_CREDIT = ErrorMeaning("insufficient_quota")
# The limit may be one of the model, or depend on the size of the request, so that the key serves others.
_NO_CREDIT_FOR_THIS = ErrorMeaning("insufficient_quota", is_lasting=False)

# By `code`, `type` or `status`, in lower case. Numbers are Mistral's (from 1300 on in steps) and Z.ai's business codes.
_MEANINGS: dict[str, ErrorMeaning] = {
    # OpenAI
    "model_not_found": _MODEL,
    "context_length_exceeded": _TOO_LONG,
    "insufficient_quota": _NO_CREDIT_FOR_THIS,
    "credit_balance_exhausted": _NO_CREDIT,
    "organization_spend_limit_exceeded": _NO_CREDIT,
    "project_spend_limit_exceeded": _NO_CREDIT,
    "organization_usage_limit_exceeded": _NO_CREDIT,
    "billing_hard_limit_reached": _NO_CREDIT,
    "billing_not_active": _NO_CREDIT,
    # Azure
    "deploymentnotfound": _MODEL,
    # Anthropic
    "billing_error": _NO_CREDIT,
    # Mistral
    "invalid_model": _MODEL,
    "1500": _MODEL,
    "3051": _TOO_LONG,
    # Groq (https://github.com/RightNow-AI/openfang/issues/60)
    "model_decommissioned": _MODEL,
    # llama.cpp (https://github.com/ggml-org/llama.cpp/pull/15780)
    "exceed_context_size_error": _TOO_LONG,
    # Moonshot (https://github.com/MoonshotAI/Kimi-K2/issues/5)
    "exceeded_current_quota_error": _NO_CREDIT,
    # Z.ai (https://github.com/zai-org/feedback/issues/789; https://docs.z.ai/api-reference/api-code)
    "1113": _NO_CREDIT,
    "1211": _MODEL,
    "1261": _TOO_LONG,
    # Qwen (https://github.com/tencentmusic/supersonic/issues/1572)
    "arrearage": _NO_CREDIT,
    # SambaNova, Novita
    "payment_method_required": _NO_CREDIT,
    "not_enough_balance": _NO_CREDIT,
}
# Codes that say no more than that the request is bad, or was refused.
_GENERAL = frozenset(
    {
        "api_error", "bad_request", "badrequest", "badrequesterror", "error", "failed_precondition", "internal_error",
        "internal_server_error", "internalservererror", "invalid_argument", "invalid_parameter",
        "invalid_parameter_error", "invalid_parameter_value", "invalid_params", "invalid_request",
        "invalid_request_error", "invalidparameter", "not_found", "not_found_error", "notfounderror",
        "permission_denied", "permission_error", "precondition_failed", "resource_exhausted",
        "resourcenotfoundexception", "server_error", "unprocessable_entity", "validation_error", "validationexception",
    }
)  # fmt: skip
_UNKNOWN_STATUS = 0
# The statuses with which each error comes. A refused key (401, 403) may be one that must not use the model.
_STATUSES: dict[str, frozenset[int]] = {
    "invalid_api_key": frozenset({400}),
    "model_not_found": frozenset({_UNKNOWN_STATUS, 400, 404, 410, 422}),
    "context_length_exceeded": frozenset({_UNKNOWN_STATUS, 400, 413, 422, 500}),
    "insufficient_quota": frozenset({_UNKNOWN_STATUS, 400, 402, 403, 412, 429}),
}


def meaning_of(error: ErrorBody, status: int) -> ErrorMeaning | None:
    """Return what an error is about, or None if it is none of the above.

    `status` is that of the response, or 0 for an error with a success status that does not say which it stands for.
    """
    if any(detail.get("reason") == "API_KEY_INVALID" for detail in error.details):
        return _KEY  # Gemini sends 400
    if status == 429 and _has_daily_quota(error):
        return _NO_CREDIT_FOR_THIS
    meaning = _by_code(error)
    if meaning is None and _is_general(error.code):
        sentence = find_sentence(error.message)
        meaning = None if sentence is None else ErrorMeaning(sentence.meaning, sentence.is_lasting)
    if meaning is not None and status in _STATUSES[meaning.code]:
        return meaning
    return _NO_CREDIT_FOR_THIS if status == 402 else None  # the status alone says enough


def _by_code(error: ErrorBody) -> ErrorMeaning | None:
    for name in (error.code, error.type, error.status):
        meaning = _MEANINGS.get(name.lower()) if name else None
        if meaning is not None:
            return meaning
    return None


def _is_general(code: str | None) -> bool:
    return code is None or code.isdigit() or code.lower().replace("-", "_") in _GENERAL


def _has_daily_quota(error: ErrorBody) -> bool:
    """Return whether a google.rpc.QuotaFailure names a daily quota, which no wait of seconds restores."""
    lists = [entries for detail in error.details if isinstance(entries := detail.get("violations"), list)]
    violations = [entry for entries in lists for entry in entries[:MAX_DETAILS] if isinstance(entry, dict)]
    return any("PerDay" in str(violation.get("quotaId")) for violation in violations)
