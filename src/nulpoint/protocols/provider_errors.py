"""Converts a provider's error response to the failure shown to the client.

The failure has the provider's message and code, but the gateway's own status, and never a credential.

Formats of the body (from recordings and the documentation of the providers): OpenAI's
`{"error": {message, type, param, code}}`, Anthropic's `{"type": "error", "error": {...}}`, Gemini's
`{"error": {code, message, status}}` or a list of it, Mistral's `{"message": ..}`, `{"detail": ..}`, plain
`{"error": "text", "code": ..}`, and HTML pages of intermediaries. Typed members of the body (`type`, `code`, `reason`)
may refine the status; the text of the message never does.
"""

import re
from typing import Any, NamedTuple

import msgspec

from nulpoint.errors import ERROR_TYPES, Failure, Kind
from nulpoint.formats.malformed import MALFORMED, NOT_JSON
from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.redaction.text import LOOKAHEAD, redact, redacted_body_prefix, redacted_prefix

DEFAULT_RETRY_AFTER = 60.0  # seconds, for a 429 that names no time to wait
_MAX_MESSAGE_LENGTH = 8192  # characters of a message that are shown
_MAX_LABEL_LENGTH = 256  # characters of a code, a type or a parameter's name that are shown
_MAX_UNKNOWN_BODY = 8192  # bytes that are read of a body in an unknown format
_MAX_UNKNOWN_TEXT = 200  # characters of its text that are shown
_MAX_DETAILS = 100  # entries that are read of Google's `details`, and of the violations in each entry
_MAX_INNER_LENGTH = 8192  # characters of an `innererror`; a longer one is not a content filter's result
_MAX_INNER_NODES = 200  # objects and lists in an `innererror`, which also bounds its depth
_TAG = re.compile(r"<!--.*?(?:-->|$)|<(script|style).*?(?:</\1>|$)|<[^>]*(?:>|$)", re.DOTALL | re.IGNORECASE)
_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?)s")

# Codes that say the credit of the credential is exhausted; waiting does not help after a 429 with one of them.
_QUOTA_EXHAUSTED = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_error",
    }
)

_KINDS = {
    401: Kind.AUTH,
    402: Kind.QUOTA,
    403: Kind.AUTH,
    408: Kind.TIMEOUT,
    424: Kind.UPSTREAM,
    429: Kind.RATE_LIMIT,
    499: Kind.UPSTREAM,
}
# 499 is Google's CANCELLED: Google gave up, not the client. 424 is AWS's code for a model that failed, which is not the
# client's fault either.
_STATUSES = {401: 401, 402: 402, 403: 401, 404: 404, 408: 504, 409: 409, 413: 413, 424: 502, 429: 429, 499: 502}
# OpenAI's codes and types for providers that use others or none: by status, and by the provider's `type`.
_CODES = {
    401: "invalid_api_key",
    402: "insufficient_quota",
    404: "model_not_found",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    408: "provider_timeout",
    504: "provider_timeout",
    529: "server_is_overloaded",
}
_TYPES = {402: "insufficient_quota", 403: "permission_error", 504: "timeout_error", 529: "service_unavailable_error"}
_TYPES_BY_PROVIDER_TYPE = {
    "not_found_error": "invalid_request_error",
    "request_too_large": "invalid_request_error",
    "conflict_error": "invalid_request_error",
    "billing_error": "insufficient_quota",
    "overloaded_error": "service_unavailable_error",
    "rate_limited": "rate_limit_error",
    "service_tier_capacity_exceeded": "service_unavailable_error",
}
_OVERLOADED = frozenset({"overloaded_error", "service_tier_capacity_exceeded", "UNAVAILABLE"})
# The status that an error with a success status stands for, by its `type`, or else by its `code`.
_STATUS_BY_TYPE_OR_CODE = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "rate_limited": 429,
    "insufficient_quota": 429, "tokens": 429, "requests": 429, "timeout_error": 504, "overloaded_error": 529,
    "service_unavailable_error": 503, "invalid_api_key": 401, "model_not_found": 404, "rate_limit_exceeded": 429,
    "context_length_exceeded": 400, "server_is_overloaded": 503,
}  # fmt: skip


class _Error(NamedTuple):
    """The content of an error body. `status` is Google's name for the kind of error, `number` an HTTP status."""

    message: str = ""
    code: str | None = None
    param: str | None = None
    type: str | None = None
    status: str | None = None
    number: int | None = None
    details: tuple[dict[str, Any], ...] = ()
    inner: dict[str, Any] | None = None  # Azure's `innererror`, the result of a content filter


def provider_failure(
    provider: str, status: int, body: bytes, retry_after: float | None, credential: CredentialMatcher | None = None
) -> Failure:
    """Return the failure for an error response.

    A 5xx status becomes 502, and a 4xx status becomes 400 if there is no other rule for it.

    `credential` recognises the credential that was sent, in case the provider repeats it. For None, see
    `embedded_failure`. `retry_after` is the wait in seconds that the response's headers name.
    """
    return _failure(provider, status, _read(body, credential), retry_after, credential)


def embedded_failure(provider: str, body: bytes, credential: CredentialMatcher | None = None) -> Failure:
    """Return the failure for an error that came with a success status or inside a stream.

    The body of the error determines the status. Codecs do not know the credential, so their callers pass the failure to
    `redact_failure`. Until then its texts are longer than what is shown, so that no credential is cut before it can be
    recognised.
    """
    error = _read(body, credential)
    named_status = _STATUS_BY_TYPE_OR_CODE.get(error.type or "") or _STATUS_BY_TYPE_OR_CODE.get(error.code or "")
    return _failure(provider, error.number or named_status or 500, error, None, credential)


def has_embedded_error(body: bytes) -> bool:
    """Return whether a response with a success status is an error.

    A response with both an error and choices counts as an error only if a choice has no proper end.
    """
    response = _decoded(body)
    if isinstance(response, list) and response:
        response = response[0]
    if not isinstance(response, dict):
        return False
    choices = response.get("choices")
    if isinstance(choices, list) and choices:
        broken = any(isinstance(choice, dict) and choice.get("finish_reason") in (None, "error") for choice in choices)
        return bool(response.get("error")) and broken
    return bool(response.get("error")) or response.get("object") == "error"


def _failure(
    provider: str, status: int, error: _Error, retry_after: float | None, credential: CredentialMatcher | None
) -> Failure:
    if any(detail.get("reason") == "API_KEY_INVALID" for detail in error.details):
        status = 401  # Gemini sends 400
    kind = _KINDS.get(status, Kind.REJECTED if 400 <= status < 500 else Kind.UPSTREAM)
    code, type_ = _code(status, error), _type(status, kind, error)
    if kind is Kind.RATE_LIMIT and _has_daily_quota(error):
        code = type_ = "insufficient_quota"
    if kind is Kind.RATE_LIMIT and not _QUOTA_EXHAUSTED.isdisjoint((code, error.type)):
        kind = Kind.QUOTA
    if retry_after is None:
        retry_after = _retry_delay(error)
    client_status = _STATUSES.get(status, 400 if 400 <= status < 500 else 502)
    wait_guessed = retry_after is None and client_status == 429
    failure = Failure(
        kind,
        client_status,
        error.message or f"{provider} answered {status} without saying why",
        code=code,
        param=error.param,
        retry_after=DEFAULT_RETRY_AFTER if wait_guessed else retry_after,
        type=type_,
        provider_status=status,
        retry_after_guessed=wait_guessed,
        inner_error=error.inner,
    )
    return failure if credential is None else redact_failure(failure, credential)


def redact_failure(failure: Failure, credential: CredentialMatcher) -> Failure:
    """Return the failure with shorter texts and without the credential. Doing it twice does no harm.

    The message also loses everything that merely looks like a credential.
    """
    return failure.with_texts(
        redacted_prefix(failure.message, _MAX_MESSAGE_LENGTH, lambda text: redact(text, credential)),
        failure.code and _label(failure.code, credential),
        failure.param and _label(failure.param, credential),
        _label(failure.type, credential),
        None if failure.inner_error is None else _without_secrets(failure.inner_error, credential),
    )


def _label(text: str, credential: CredentialMatcher) -> str:
    return redacted_prefix(text, _MAX_LABEL_LENGTH, credential.redact)


def _without_secrets(inner: dict[str, Any], credential: CredentialMatcher) -> dict[str, Any] | None:
    """Return an `innererror` without credentials, or None if it is too large or redaction would break its JSON."""
    try:
        text = msgspec.json.encode(inner).decode()
    except MALFORMED:
        return None
    if len(text) > _MAX_INNER_LENGTH or text.count("{") + text.count("[") > _MAX_INNER_NODES:
        return None
    redacted = _decoded(redact(text, credential).encode())
    return redacted if isinstance(redacted, dict) else None


def _code(status: int, error: _Error) -> str:
    """Return the provider's own code if it is a word as OpenAI's codes are. Mistral's codes are numbers."""
    if error.code and not error.code.isdigit():
        return error.code
    if error.type in _OVERLOADED or error.status in _OVERLOADED:
        return _CODES[529]
    return _CODES.get(status) or error.code or error.status or f"provider_{status}"


def _type(status: int, kind: Kind, error: _Error) -> str:
    if error.type:
        return _TYPES_BY_PROVIDER_TYPE.get(error.type, error.type)
    return _TYPES[529] if error.status in _OVERLOADED else _TYPES.get(status, ERROR_TYPES[kind])


def _has_daily_quota(error: _Error) -> bool:
    """Return whether a google.rpc.QuotaFailure names a daily quota, which no wait of seconds restores."""
    lists = [entries for detail in error.details if isinstance(entries := detail.get("violations"), list)]
    violations = [entry for entries in lists for entry in entries[:_MAX_DETAILS] if isinstance(entry, dict)]
    return any("PerDay" in str(violation.get("quotaId")) for violation in violations)


def _retry_delay(error: _Error) -> float | None:
    """Return the seconds of a google.rpc.RetryInfo (`"45.8s"`)."""
    for detail in error.details:
        match = _SECONDS.fullmatch(str(detail.get("retryDelay")))
        if match and float(match[1]) > 0:
            return float(match[1])
    return None


def _decoded(body: bytes) -> Any:
    """Return the JSON value of a body, or None if the body is not JSON."""
    try:
        return msgspec.json.decode(body)
    except NOT_JSON:
        return None


def _read(body: bytes, credential: CredentialMatcher | None) -> _Error:
    """Read an error body in any of the known formats. For other bodies the message is the beginning of their text."""
    try:
        return _read_json(body, credential)
    except MALFORMED:
        return _Error(_plain_text(body, credential))


def _read_json(body: bytes, credential: CredentialMatcher | None) -> _Error:
    response = _decoded(body)
    if isinstance(response, list) and response:
        response = response[0]
    if not isinstance(response, dict):
        return _Error(_plain_text(body, credential))
    error = response.get("error") or response
    if isinstance(error, str):
        error = {**response, "message": error, "error": None}
    if not isinstance(error, dict):
        return _Error(_plain_text(body, credential))
    message = error.get("message") or error.get("detail") or ""
    details, inner = error.get("details"), error.get("innererror")
    if not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    return _Error(
        message[: _MAX_MESSAGE_LENGTH + LOOKAHEAD + 1],
        _text(error.get("code")),
        _text(error.get("param")),
        _text(error.get("type")),
        _text(error.get("status")),
        _number(error),
        tuple(d for d in details[:_MAX_DETAILS] if isinstance(d, dict)) if isinstance(details, list) else (),
        inner if isinstance(inner, dict) else None,
    )


def _number(error: dict[str, Any]) -> int | None:
    numbers = [error.get(name) for name in ("code", "status_code", "raw_status_code")]
    return next((number for number in numbers if isinstance(number, int) and 400 <= number < 600), None)


def _text(value: Any) -> str | None:
    return value[: _MAX_LABEL_LENGTH + LOOKAHEAD + 1] if isinstance(value, str) and value else None


def _plain_text(body: bytes, credential: CredentialMatcher | None) -> str:
    """Return the beginning of a body's text, which of an HTML page is its visible text.

    The credential is removed before each cut, because a part of a credential would not be recognised.
    """
    text = redacted_body_prefix(body, _MAX_UNKNOWN_BODY, lambda text: redact(text, credential)).strip()
    if text.startswith("<"):
        text = _TAG.sub(" ", text)
    return redact(" ".join(text.split()), credential)[:_MAX_UNKNOWN_TEXT]
