"""A provider's error answer, told to the caller: its own message and code, our status, never a credential.

Shapes seen (recordings and documentation of the providers): OpenAI's `{"error": {message, type, param, code}}`,
Anthropic's `{"type": "error", "error": {...}}`, Gemini's `{"error": {code, message, status}}` or a list of it,
Mistral's `{"message": ..}`, `{"detail": ..}`, plain `{"error": "text"}`, and HTML pages of whatever stands in between.
"""

import re
from typing import Any

import msgspec

from nulpoint.errors import Failure, Kind

DEFAULT_RETRY_AFTER = 60.0  # seconds, for a 429 that does not say (product brief)
_FOREIGN_TEXT = 200  # characters shown of an answer in no known shape
_TAG = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
# Tokens as providers print them, whole or with the middle starred out.
_SECRET = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|key|pplx|fw|nvapi|r8|hf|csk|AIza|AQ)[-_.]?[\w*.-]{8,}|Bearer\s+[^\s,;\"']+"
)

_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?)s")

# Typed codes that say the credential's credit is used up; a 429 with one of them does not pass by waiting.
_USED_UP = frozenset(
    {
        "insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded", "organization_usage_limit_exceeded", "billing_error",
    }
)  # fmt: skip

# Codes and types of errors in the OpenAI format (OpenAI's error guide), and the status each comes with.
_EMBEDDED = {
    "invalid_request_error": 400, "context_length_exceeded": 400, "content_policy_violation": 400,
    "authentication_error": 401, "invalid_api_key": 401, "permission_error": 403, "not_found_error": 404,
    "model_not_found": 404, "rate_limit_error": 429, "rate_limit_exceeded": 429, "insufficient_quota": 429,
    "overloaded_error": 529,
}  # fmt: skip
_NUMBER = re.compile(r"[45][0-9]{2}")

_KINDS = {401: Kind.AUTH, 402: Kind.QUOTA, 403: Kind.AUTH, 408: Kind.TIMEOUT, 429: Kind.RATE_LIMIT}
_STATUSES = {401: 401, 402: 402, 403: 401, 404: 404, 408: 504, 409: 409, 413: 413, 429: 429}


def provider_failure(
    provider: str, status: int, body: bytes, retry_after: float | None, secret: str | None = None
) -> Failure:
    """The failure an error answer stands for. Statuses as in the product brief: 5xx becomes 502, other 4xx 400.

    `secret` is the credential that was sent, in case the provider repeats it.
    """
    details = _google_details(body)
    if any(one.get("reason") == "API_KEY_INVALID" for one in details):
        status = 401  # Gemini says 400
    if retry_after is None:
        retry_after = _retry_delay(details)
    kind = _KINDS.get(status, Kind.REJECTED if 400 <= status < 500 else Kind.UPSTREAM)
    seen = _STATUSES.get(status, 400 if 400 <= status < 500 else 502)
    message, code, param, type_ = _details(body)
    if kind is Kind.RATE_LIMIT and not _USED_UP.isdisjoint((code, type_)):
        kind = Kind.QUOTA
    text = redact(message or f"{provider} answered {status} without saying why", secret)
    guessed = retry_after is None and seen == 429
    default_code = "rate_limit_exceeded" if kind is Kind.RATE_LIMIT else f"provider_{status}"
    return Failure(
        kind,
        seen,
        text,
        code=code or default_code,
        param=param,
        retry_after=DEFAULT_RETRY_AFTER if guessed else retry_after,
        type=type_,
        answered=status,
        wait_guessed=guessed,
    )


def _google_details(body: bytes) -> list[dict[str, Any]]:
    """The `details` of a google.rpc.Status, which stands alone or in a list of one."""
    try:
        answer: Any = msgspec.json.decode(body)
        error = (answer[0] if isinstance(answer, list) else answer)["error"]
        return [one for one in error["details"] if isinstance(one, dict)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError):
        return []


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    """Seconds of a google.rpc.RetryInfo (`"45.8s"`)."""
    for one in details:
        found = _SECONDS.fullmatch(str(one.get("retryDelay")))
        if found and float(found[1]) > 0:
            return float(found[1])
    return None


def redact(text: str, secret: str | None = None) -> str:
    """The text without the credential and without whatever looks like one."""
    if secret:
        text = text.replace(secret, "[redacted]")
    return _SECRET.sub("[redacted]", text)


def embedded_error(body: bytes) -> bool:
    """Whether an answer with a good status is an error all the same (OpenRouter does that)."""
    if b'"error"' not in body[:2048]:
        return False
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(answer, dict) and bool(answer.get("error")) and not answer.get("choices")


def embedded_status(body: bytes) -> int:
    """The status meant by an error that came with a good one, or inside a stream; 500 where it does not say.

    Hosts that put a number into it say it best; else the typed code, then the type, as the OpenAI API has them.
    """
    answer: Any = msgspec.json.decode(body)
    error = answer["error"] if isinstance(answer["error"], dict) else {}
    words = [str(error.get(name)) for name in ("code", "status_code", "type")]
    numbers = [int(word) for word in words if _NUMBER.fullmatch(word)]
    typed = [_EMBEDDED[word] for word in words if word in _EMBEDDED]
    return next(iter([*numbers, *typed]), 500)


def _details(body: bytes) -> tuple[str, str | None, str | None, str | None]:
    """Message, code, param and type of an error body in any of the known shapes."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _plain_text(body), None, None, None
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if not isinstance(answer, dict):
        return _plain_text(body), None, None, None
    error = answer.get("error", answer)
    if isinstance(error, str):
        return error, None, None, None
    if not isinstance(error, dict):
        return _plain_text(body), None, None, None
    message = error.get("message") or error.get("detail") or ""
    if not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    code = error.get("code") if isinstance(error.get("code"), str) else error.get("status")
    return message, _text(code), _text(error.get("param")), _text(error.get("type"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _plain_text(body: bytes) -> str:
    text = _TAG.sub(" ", body[:8192].decode("utf-8", "replace"))
    return " ".join(text.split())[:_FOREIGN_TEXT]
