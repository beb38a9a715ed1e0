"""A provider's error answer, told to the caller: its own message and code, our status, never a credential.

Shapes seen (recordings and documentation of the providers): OpenAI's `{"error": {message, type, param, code}}`,
Anthropic's `{"type": "error", "error": {...}}`, Gemini's `{"error": {code, message, status}}` or a list of it,
Mistral's `{"message": ..}`, `{"detail": ..}`, plain `{"error": "text", "code": ..}`, and HTML pages of whatever stands
in between. A status may be refined by what is typed in the body (`type`, `code`, `reason`), never by its prose.
"""

import re
from typing import Any, NamedTuple

import msgspec

from nulpoint.errors import ERROR_TYPES, Failure, Kind
from nulpoint.formats.malformed import MALFORMED, NOT_JSON
from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.redaction.text import BEYOND, beginning, beginning_of_body, redact

DEFAULT_RETRY_AFTER = 60.0  # seconds, for a 429 that does not say (product brief)
_MESSAGE = 8192  # characters shown of a message
_LABEL = 256  # characters shown of a code, a type or the name of a parameter
_PAGE = 8192  # bytes read of an answer in no known shape
_FOREIGN_TEXT = 200  # characters shown of it
_MOST_DETAILS = 100  # of Google's `details`, and of the violations in each
_INNER_TEXT = 8192  # characters of an `innererror`; a longer one is no filter's verdict
_INNER_PARTS = 200  # objects and lists in it, which bounds how deep it is nested
_TAG = re.compile(r"<!--.*?(?:-->|$)|<(script|style).*?(?:</\1>|$)|<[^>]*(?:>|$)", re.DOTALL | re.IGNORECASE)
_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?)s")

# Typed codes that say the credential's credit is used up; a 429 with one of them does not pass by waiting.
_USED_UP = frozenset(
    {
        "insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded", "organization_usage_limit_exceeded", "billing_error",
    }
)  # fmt: skip

_KINDS = {401: Kind.AUTH, 402: Kind.QUOTA, 403: Kind.AUTH, 408: Kind.TIMEOUT, 424: Kind.UPSTREAM,
          429: Kind.RATE_LIMIT, 499: Kind.UPSTREAM}  # fmt: skip
# 499 is Google's CANCELLED: it gave up, not the caller. 424 is AWS's: the model failed, which is not the caller either.
_STATUSES = {401: 401, 402: 402, 403: 401, 404: 404, 408: 504, 409: 409, 413: 413, 424: 502, 429: 429, 499: 502}
# OpenAI's words, for providers that have others or none: by status, by the provider's `type`, by Google's `status`.
_CODES = {401: "invalid_api_key", 402: "insufficient_quota", 404: "model_not_found", 413: "request_too_large",
          429: "rate_limit_exceeded", 408: "provider_timeout", 504: "provider_timeout",
          529: "server_is_overloaded"}  # fmt: skip
_TYPES = {402: "insufficient_quota", 403: "permission_error", 504: "timeout_error", 529: "service_unavailable_error"}
_FOREIGN_TYPES = {
    "not_found_error": "invalid_request_error", "request_too_large": "invalid_request_error",
    "conflict_error": "invalid_request_error", "billing_error": "insufficient_quota",
    "overloaded_error": "service_unavailable_error", "rate_limited": "rate_limit_error",
    "service_tier_capacity_exceeded": "service_unavailable_error",
}  # fmt: skip
_OVERLOADED = frozenset({"overloaded_error", "service_tier_capacity_exceeded", "UNAVAILABLE"})
# What an error means that came with a good status, by its `type`, else by its `code`.
_MEANT = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "rate_limited": 429,
    "insufficient_quota": 429, "tokens": 429, "requests": 429, "timeout_error": 504, "overloaded_error": 529,
    "service_unavailable_error": 503, "invalid_api_key": 401, "model_not_found": 404, "rate_limit_exceeded": 429,
    "context_length_exceeded": 400, "server_is_overloaded": 503,
}  # fmt: skip


class _Error(NamedTuple):
    """What an error body tells. `status`: Google's word for the kind; `number`: the status it says it means."""

    message: str = ""
    code: str | None = None
    param: str | None = None
    type: str | None = None
    status: str | None = None
    number: int | None = None
    details: tuple[dict[str, Any], ...] = ()
    inner: dict[str, Any] | None = None  # Azure's `innererror`: what a content filter has found


def provider_failure(
    provider: str, status: int, body: bytes, retry_after: float | None, credential: CredentialMatcher | None = None
) -> Failure:
    """The failure an error answer stands for. Statuses as in the product brief: 5xx becomes 502, other 4xx 400.

    `credential` recognises what was sent, in case the provider repeats it. None: see `embedded_failure`.
    """
    return _failure(provider, status, _read(body, credential), retry_after, credential)


def embedded_failure(provider: str, body: bytes, credential: CredentialMatcher | None = None) -> Failure:
    """The failure for an error that came with a good status or inside a stream. It says itself what it means.

    Codecs do not know the credential: whoever calls them passes the failure to `hide`. Until then its texts are longer
    than what is shown, so that no credential is cut before it can be recognised.
    """
    error = _read(body, credential)
    meant = error.number or _MEANT.get(error.type or "") or _MEANT.get(error.code or "") or 500
    return _failure(provider, meant, error, None, credential)


def embedded_error(body: bytes) -> bool:
    """Whether an answer with a good status is an error all the same. One that has choices too is, if one broke off."""
    answer = _decoded(body)
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if not isinstance(answer, dict):
        return False
    choices = answer.get("choices")
    if isinstance(choices, list) and choices:
        broken = any(isinstance(one, dict) and one.get("finish_reason") in (None, "error") for one in choices)
        return bool(answer.get("error")) and broken
    return bool(answer.get("error")) or answer.get("object") == "error"


def _failure(
    provider: str, status: int, error: _Error, retry_after: float | None, credential: CredentialMatcher | None
) -> Failure:
    if any(one.get("reason") == "API_KEY_INVALID" for one in error.details):
        status = 401  # Gemini says 400
    kind = _KINDS.get(status, Kind.REJECTED if 400 <= status < 500 else Kind.UPSTREAM)
    code, type_ = _code(status, error), _type(status, kind, error)
    if kind is Kind.RATE_LIMIT and _quota_of_a_day(error):
        code = type_ = "insufficient_quota"
    if kind is Kind.RATE_LIMIT and not _USED_UP.isdisjoint((code, error.type)):
        kind = Kind.QUOTA
    if retry_after is None:
        retry_after = _retry_delay(error)
    seen = _STATUSES.get(status, 400 if 400 <= status < 500 else 502)
    guessed = retry_after is None and seen == 429
    failure = Failure(
        kind,
        seen,
        error.message or f"{provider} answered {status} without saying why",
        code=code,
        param=error.param,
        retry_after=DEFAULT_RETRY_AFTER if guessed else retry_after,
        type=type_,
        provider_status=status,
        wait_guessed=guessed,
        inner_error=error.inner,
    )
    return failure if credential is None else redact_failure(failure, credential)


def redact_failure(failure: Failure, credential: CredentialMatcher) -> Failure:
    """Return the failure with texts of limited length, without the credential or anything that looks like one.

    Redacting a failure twice does no harm.
    """
    return failure.with_texts(
        beginning(failure.message, _MESSAGE, lambda text: redact(text, credential)),
        failure.code and _label(failure.code, credential),
        failure.param and _label(failure.param, credential),
        _label(failure.type, credential),
        None if failure.inner_error is None else _without_secrets(failure.inner_error, credential),
    )


def _label(text: str, credential: CredentialMatcher) -> str:
    return beginning(text, _LABEL, credential.redact)


def _without_secrets(inner: dict[str, Any], credential: CredentialMatcher) -> dict[str, Any] | None:
    """As it came, but for what must not be shown; None where that would break it, or it is too much to tell."""
    try:
        text = msgspec.json.encode(inner).decode()
    except MALFORMED:
        return None
    if len(text) > _INNER_TEXT or text.count("{") + text.count("[") > _INNER_PARTS:
        return None
    shown = _decoded(redact(text, credential).encode())
    return shown if isinstance(shown, dict) else None


def _code(status: int, error: _Error) -> str:
    """The provider's own code where it has OpenAI's kind of codes; Mistral's are numbers."""
    if error.code and not error.code.isdigit():
        return error.code
    if error.type in _OVERLOADED or error.status in _OVERLOADED:
        return _CODES[529]
    return _CODES.get(status) or error.code or error.status or f"provider_{status}"


def _type(status: int, kind: Kind, error: _Error) -> str:
    if error.type:
        return _FOREIGN_TYPES.get(error.type, error.type)
    return _TYPES[529] if error.status in _OVERLOADED else _TYPES.get(status, ERROR_TYPES[kind])


def _quota_of_a_day(error: _Error) -> bool:
    """Whether a google.rpc.QuotaFailure names a quota that no wait of seconds brings back."""
    lists = [found for detail in error.details if isinstance(found := detail.get("violations"), list)]
    violations = [one for found in lists for one in found[:_MOST_DETAILS] if isinstance(one, dict)]
    return any("PerDay" in str(one.get("quotaId")) for one in violations)


def _retry_delay(error: _Error) -> float | None:
    """Seconds of a google.rpc.RetryInfo (`"45.8s"`)."""
    for one in error.details:
        found = _SECONDS.fullmatch(str(one.get("retryDelay")))
        if found and float(found[1]) > 0:
            return float(found[1])
    return None


def _decoded(body: bytes) -> Any:
    """The JSON of a body; None where it is none."""
    try:
        return msgspec.json.decode(body)
    except NOT_JSON:
        return None


def _read(body: bytes, credential: CredentialMatcher | None) -> _Error:
    """What an error body in any of the known shapes tells, and the beginning of its text where it has none of them."""
    try:
        return _told(body, credential)
    except MALFORMED:
        return _Error(_plain_text(body, credential))


def _told(body: bytes, credential: CredentialMatcher | None) -> _Error:
    answer = _decoded(body)
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if not isinstance(answer, dict):
        return _Error(_plain_text(body, credential))
    error = answer.get("error") or answer
    if isinstance(error, str):
        error = {**answer, "message": error, "error": None}
    if not isinstance(error, dict):
        return _Error(_plain_text(body, credential))
    message = error.get("message") or error.get("detail") or ""
    details, inner = error.get("details"), error.get("innererror")
    if not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    return _Error(
        message[: _MESSAGE + BEYOND + 1],
        _text(error.get("code")),
        _text(error.get("param")),
        _text(error.get("type")),
        _text(error.get("status")),
        _number(error),
        tuple(one for one in details[:_MOST_DETAILS] if isinstance(one, dict)) if isinstance(details, list) else (),
        inner if isinstance(inner, dict) else None,
    )


def _number(error: dict[str, Any]) -> int | None:
    numbers = [error.get(name) for name in ("code", "status_code", "raw_status_code")]
    return next((one for one in numbers if isinstance(one, int) and 400 <= one < 600), None)


def _text(value: Any) -> str | None:
    return value[: _LABEL + BEYOND + 1] if isinstance(value, str) and value else None


def _plain_text(body: bytes, credential: CredentialMatcher | None) -> str:
    """What people read of a page, or the text as it is; the beginning of either.

    The credential goes before each cut: one through it would leave a part that nobody recognises.
    """
    text = beginning_of_body(body, _PAGE, lambda text: redact(text, credential)).strip()
    if text.startswith("<"):
        text = _TAG.sub(" ", text)
    return redact(" ".join(text.split()), credential)[:_FOREIGN_TEXT]
