"""Converts a provider's error response to the failure shown to the client.

The failure has the provider's message and code, but the gateway's own status, and never a credential. A missing model,
a prompt that is too long and an account without credit have one code whatever the provider (`error_meaning.py`).
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from nulpoint.errors import ERROR_TYPES, Cooldown, Failure, Kind
from nulpoint.formats.malformed import MALFORMED
from nulpoint.protocols.error_body import (
    MAX_LABEL_LENGTH,
    MAX_MESSAGE_LENGTH,
    NO_MEMBERS,
    ErrorBody,
    decoded,
    read_error_body,
)
from nulpoint.protocols.error_meaning import ErrorMeaning, meaning_of
from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.redaction.text import redact, redacted_prefix

DEFAULT_RETRY_AFTER = 60.0  # seconds, for a 429 that names no time to wait
_MAX_KEPT_LENGTH = 8192  # characters of a member that is kept; a longer one is left out
_MAX_KEPT_NODES = 200  # objects and lists in it, which also bounds its depth
_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?)s")
_UNKNOWN = 500  # the status of an error with a success status that does not say which it stands for

_KINDS = {
    401: Kind.AUTH,
    402: Kind.QUOTA,
    403: Kind.AUTH,
    404: Kind.NOT_FOUND,
    408: Kind.TIMEOUT,
    410: Kind.NOT_FOUND,
    413: Kind.TOO_LONG,
    424: Kind.UPSTREAM,
    429: Kind.RATE_LIMIT,
    499: Kind.UPSTREAM,
}
# 499 is Google's CANCELLED: Google gave up, not the client. 424 is AWS's code for a model that failed, which is not the
# client's fault either.
_STATUSES = {
    401: 401, 402: 402, 403: 401, 404: 404, 408: 504, 409: 409, 410: 404, 413: 413, 424: 502, 429: 429, 499: 502,
}  # fmt: skip
# The kind of an error with one of the codes that are the same for all providers, and its status if that of the response
# is not one of those named.
_BY_MEANING: dict[str, tuple[Kind, int, frozenset[int]]] = {
    "invalid_api_key": (Kind.AUTH, 401, frozenset()),
    "insufficient_quota": (Kind.QUOTA, 402, frozenset({429})),
    "model_not_found": (Kind.NOT_FOUND, 404, frozenset()),
    "context_length_exceeded": (Kind.TOO_LONG, 400, frozenset()),
}
_OF_ONE_TYPE = frozenset({Kind.QUOTA, Kind.NOT_FOUND, Kind.TOO_LONG})
# What the model generated is not what was asked for (Groq). That is the fault of neither the client nor the host.
_MODEL_FAILED = frozenset({"tool_use_failed", "json_validate_failed"})
# OpenAI's codes and types for providers that use others or none: by status, and by the provider's `type`.
_CODES = {
    401: "invalid_api_key",
    402: "insufficient_quota",
    404: "model_not_found",
    410: "model_not_found",
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
    "engine_overloaded_error": "service_unavailable_error",
    "rate_limited": "rate_limit_error",
    "service_tier_capacity_exceeded": "service_unavailable_error",
}
_OVERLOADED = frozenset(
    {"overloaded_error", "service_tier_capacity_exceeded", "engine_overloaded_error", "UNAVAILABLE"}
)
# The status that an error with a success status stands for, by its `type`, or else by its `code`.
_STATUS_BY_TYPE_OR_CODE = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "rate_limited": 429,
    "insufficient_quota": 429, "tokens": 429, "requests": 429, "timeout_error": 504, "overloaded_error": 529,
    "service_unavailable_error": 503, "invalid_api_key": 401, "model_not_found": 404, "rate_limit_exceeded": 429,
    "context_length_exceeded": 400, "server_is_overloaded": 503,
}  # fmt: skip


def provider_failure(
    provider: str, status: int, body: bytes, retry_after: float | None, credential: CredentialMatcher | None = None
) -> Failure:
    """Return the failure for an error response.

    A 5xx status becomes 502, and a 4xx status becomes 400 if there is no other rule for it.

    `credential` recognises the credential that was sent, in case the provider repeats it. For None, see
    `embedded_failure`. `retry_after` is the wait in seconds that the response's headers name.
    """
    error = read_error_body(body, credential)
    return _failure(provider, status, error, meaning_of(error, status), retry_after, credential)


def embedded_failure(provider: str, body: bytes, credential: CredentialMatcher | None = None) -> Failure:
    """Return the failure for an error that came with a success status or inside a stream.

    The body of the error determines the status. Codecs do not know the credential, so their callers pass the failure to
    `redact_failure`. Until then its texts are longer than what is shown, so that no credential is cut before it can be
    recognised.
    """
    error = read_error_body(body, credential)
    named_status = _STATUS_BY_TYPE_OR_CODE.get(error.type or "") or _STATUS_BY_TYPE_OR_CODE.get(error.code or "")
    status = error.number or named_status or 0
    return _failure(provider, status or _UNKNOWN, error, meaning_of(error, status), None, credential)


def _failure(
    provider: str,
    status: int,
    error: ErrorBody,
    meaning: ErrorMeaning | None,
    retry_after: float | None,
    credential: CredentialMatcher | None,
) -> Failure:
    kind = _kind(status, error)
    if meaning is not None:
        kind, usual_status, own_statuses = _BY_MEANING[meaning.code]
        status = status if status in own_statuses else usual_status
    if retry_after is None:
        retry_after = _retry_delay(error)
    client_status = _STATUSES.get(status, 400 if 400 <= status < 500 else 502)
    wait_guessed = retry_after is None and client_status == 429
    failure = Failure(
        kind,
        client_status,
        error.message or f"{provider} answered {status} without saying why",
        code=_code(status, error) if meaning is None else meaning.code,
        param=error.param,
        retry_after=DEFAULT_RETRY_AFTER if wait_guessed else retry_after,
        type=ERROR_TYPES[kind] if kind in _OF_ONE_TYPE else _type(status, kind, error),
        provider_status=status,
        retry_after_guessed=wait_guessed,
        provider_members=error.kept,
        cooldown=_cooldown(kind, meaning),
    )
    return failure if credential is None else redact_failure(failure, credential)


def _kind(status: int, error: ErrorBody) -> Kind:
    if error.code in _MODEL_FAILED:
        return Kind.UPSTREAM
    if status == 404 and error.param not in (None, "", "model"):
        return Kind.REJECTED  # the request refers to something else that does not exist, such as a file
    return _KINDS.get(status, Kind.REJECTED if 400 <= status < 500 else Kind.UPSTREAM)


def _cooldown(kind: Kind, meaning: ErrorMeaning | None) -> Cooldown | None:
    if meaning is None or not meaning.is_lasting:
        return None
    return {Kind.QUOTA: Cooldown.KEY, Kind.NOT_FOUND: Cooldown.KEY_AND_MODEL}.get(kind)


def redact_failure(failure: Failure, credential: CredentialMatcher) -> Failure:
    """Return the failure with shorter texts and without the credential. Doing it twice does no harm.

    The message also loses everything that merely looks like a credential.
    """
    return failure.with_texts(
        redacted_prefix(failure.message, MAX_MESSAGE_LENGTH, lambda text: redact(text, credential)),
        failure.code and _label(failure.code, credential),
        failure.param and _label(failure.param, credential),
        _label(failure.type, credential),
        _without_secrets(failure.provider_members, credential) if failure.provider_members else NO_MEMBERS,
    )


def _label(text: str, credential: CredentialMatcher) -> str:
    return redacted_prefix(text, MAX_LABEL_LENGTH, credential.redact)


def _without_secrets(members: Mapping[str, Any], credential: CredentialMatcher) -> Mapping[str, Any]:
    """Return kept members without credentials, or none if they are too large or redaction would break their JSON."""
    try:
        text = msgspec.json.encode(members).decode()
    except MALFORMED:
        return NO_MEMBERS
    if len(text) > _MAX_KEPT_LENGTH or text.count("{") + text.count("[") > _MAX_KEPT_NODES:
        return NO_MEMBERS
    redacted = decoded(redact(text, credential))
    return redacted if isinstance(redacted, dict) else NO_MEMBERS


def _code(status: int, error: ErrorBody) -> str:
    """Return the provider's own code if it is a word as OpenAI's codes are. Mistral's codes are numbers."""
    if _KINDS.get(status) is Kind.NOT_FOUND and error.param in (None, "", "model"):
        return _CODES[404]
    if error.code and not error.code.isdigit():
        return error.code
    if error.type in _OVERLOADED or error.status in _OVERLOADED:
        return _CODES[529]
    return _CODES.get(status) or error.code or error.status or f"provider_{status}"


def _type(status: int, kind: Kind, error: ErrorBody) -> str:
    if error.type:
        return _TYPES_BY_PROVIDER_TYPE.get(error.type, error.type)
    return _TYPES[529] if error.status in _OVERLOADED else _TYPES.get(status, ERROR_TYPES[kind])


def _retry_delay(error: ErrorBody) -> float | None:
    """Return the seconds of a google.rpc.RetryInfo (`"45.8s"`)."""
    for detail in error.details:
        match = _SECONDS.fullmatch(str(detail.get("retryDelay")))
        if match and float(match[1]) > 0:
            return float(match[1])
    return None
