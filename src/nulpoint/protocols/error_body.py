"""Reads the body of a provider's error response.

Formats (from recordings and the documentation of the providers): OpenAI's `{"error": {message, type, param, code}}`, or
the same members without `error` (Mistral, Cerebras, SGLang); Anthropic's `{"type": "error", "error": {...}}`; Gemini's
`{"error": {code, message, status}}` or a list of it; `{"error": "text", "code": ..}` (xAI, LM Studio, TGI);
`{"detail": ..}` (Mistral, DeepInfra, NVIDIA); `{"errors": [{code, message}]}` (Cloudflare); `{error_code, message}`
(Databricks); `{"fault": {"faultstring", "detail": {"errorcode"}}}` (Fireworks); MiniMax's `{"base_resp": {status_code,
status_msg}}`; and HTML pages of intermediaries. A router such as OpenRouter puts the error of the host behind it into
`metadata.raw`.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from nulpoint.formats.malformed import MALFORMED, NOT_JSON
from nulpoint.redaction.credential_matcher import CredentialMatcher
from nulpoint.redaction.text import LOOKAHEAD, redact, redacted_body_prefix

MAX_MESSAGE_LENGTH = 8192  # characters of a message that are shown
MAX_LABEL_LENGTH = 256  # characters of a code, a type or a parameter's name that are shown
MAX_DETAILS = 100  # entries that are read of Google's `details`, and of the violations in each entry
_MAX_UNKNOWN_BODY = 8192  # bytes that are read of a body in an unknown format
_MAX_UNKNOWN_TEXT = 200  # characters of its text that are shown
_MAX_RAW_LENGTH = 65_536  # characters that are decoded of an error within an error
_TAG = re.compile(r"<!--.*?(?:-->|$)|<(script|style).*?(?:</\1>|$)|<[^>]*(?:>|$)", re.DOTALL | re.IGNORECASE)
_PROSE = re.compile(r"\s")
_MESSAGES = ("message", "detail", "msg", "faultstring", "status_msg")
_CODES = ("code", "error_code", "errorcode")
_TYPES = ("type", "error_type")
# Members that clients get as they are: the result of Azure's content filter, and what Groq's model generated instead of
# a call or of JSON.
_KEPT = ("innererror", "failed_generation")
# The statuses for which MiniMax's own codes stand: too many requests, a wrong key, an empty balance. Source:
# https://github.com/CherryHQ/cherry-studio/issues/11287 (November 2026).
_MINIMAX_STATUSES = {1002: 429, 1004: 401, 1008: 402}
NO_MEMBERS: Mapping[str, Any] = MappingProxyType({})


class ErrorBody(NamedTuple):
    """The content of an error body.

    Fields:
        code: the provider's code, unless it is prose. A number is a text of digits.
        status: Google's name for the kind of error.
        number: the HTTP status that the body names.
        details: Google's details.
        kept: the members that clients get as they are.
    """

    message: str = ""
    code: str | None = None
    param: str | None = None
    type: str | None = None
    status: str | None = None
    number: int | None = None
    details: tuple[dict[str, Any], ...] = ()
    kept: Mapping[str, Any] = NO_MEMBERS


def read_error_body(body: bytes, credential: CredentialMatcher | None) -> ErrorBody:
    """Read an error body in any of the known formats. For other bodies the message is the beginning of their text."""
    try:
        error = _read(decoded(body))
    except MALFORMED:
        error = None
    return ErrorBody(_plain_text(body, credential)) if error is None else error


def has_embedded_error(body: bytes) -> bool:
    """Return whether a response with a success status is an error.

    A response with both an error and choices counts as an error only if a choice has no proper end.
    """
    response = decoded(body)
    if isinstance(response, list) and response:
        response = response[0]
    if not isinstance(response, dict):
        return False
    if is_minimax_error(response.get("base_resp")):
        return True
    choices = response.get("choices")
    if isinstance(choices, list) and choices:
        broken = any(isinstance(choice, dict) and choice.get("finish_reason") in (None, "error") for choice in choices)
        return bool(response.get("error")) and broken
    return bool(response.get("error")) or response.get("object") == "error"


def is_minimax_error(base_resp: Any) -> bool:
    """Return whether the member `base_resp` of a response with a success status says that the request failed."""
    return isinstance(base_resp, dict) and base_resp.get("status_code") not in (None, 0)


def decoded(body: bytes | str) -> Any:
    """Return the JSON value of a body, or None if the body is not JSON."""
    try:
        return msgspec.json.decode(body)
    except NOT_JSON:
        return None


def _read(response: Any, *, is_inner: bool = False) -> ErrorBody | None:
    """Return the content of a decoded body, or None if its format is unknown."""
    if isinstance(response, list) and response:
        response = response[0]
    if not isinstance(response, dict):
        return None
    base_resp = response.get("base_resp")
    if isinstance(base_resp, dict) and is_minimax_error(base_resp) and not response.get("error"):
        return ErrorBody(_message(base_resp), number=_MINIMAX_STATUSES.get(base_resp["status_code"]))
    error = _error_of(response)
    if error is None:
        return None
    read = _members(error)
    raw = _raw_error(error) if not is_inner else None
    return read if raw is None else _with_inner(read, raw)


def _error_of(response: dict[str, Any]) -> dict[str, Any] | None:
    """Return the object with the members of the error, or None for a format that is unknown."""
    errors = response.get("errors")
    error = response.get("error") or response.get("fault") or (isinstance(errors, list) and errors) or response
    if isinstance(error, list):
        error = error[0]
    if isinstance(error, str):
        return {**response, "message": error, "error": None}
    if not isinstance(error, dict):
        return None
    detail = error.get("detail")
    if isinstance(detail, dict) and not error.get("message"):
        return {**error, **detail, "detail": None}
    return error


def _members(error: dict[str, Any]) -> ErrorBody:
    details = error.get("details")
    kept = {name: error[name] for name in _KEPT if isinstance(error.get(name), dict | str) and error[name]}
    code = next((text for name in _CODES if (text := _code(error.get(name)))), None)
    return ErrorBody(
        _message(error),
        code,
        _text(error.get("param")),
        next((text for name in _TYPES if (text := _text(error.get(name)))), None),
        _text(error.get("status")),
        _number(error),
        tuple(d for d in details[:MAX_DETAILS] if isinstance(d, dict)) if isinstance(details, list) else (),
        kept or NO_MEMBERS,
    )


def _raw_error(error: dict[str, Any]) -> ErrorBody | None:
    """Return the error of the host behind a router, as the router repeats it, or None if there is none."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not isinstance(raw, str) or not raw:
        return None
    content = decoded(raw[:_MAX_RAW_LENGTH])
    if content is None:
        return ErrorBody(raw[: MAX_MESSAGE_LENGTH + LOOKAHEAD + 1])
    return _read(content, is_inner=True)


def _with_inner(error: ErrorBody, inner: ErrorBody) -> ErrorBody:
    """Return a router's error with what the host behind it says."""
    message = f"{error.message}: {inner.message}" if error.message and inner.message else error.message or inner.message
    return error._replace(
        message=message[: MAX_MESSAGE_LENGTH + LOOKAHEAD + 1],
        code=inner.code or error.code,
        param=error.param or inner.param,
        type=inner.type or error.type,
        kept=error.kept or inner.kept,
    )


def _message(error: Mapping[str, Any]) -> str:
    message = next((error[name] for name in _MESSAGES if error.get(name)), "")
    if not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    return message[: MAX_MESSAGE_LENGTH + LOOKAHEAD + 1]


def _number(error: dict[str, Any]) -> int | None:
    numbers = [error.get(name) for name in ("code", "status_code", "raw_status_code")]
    return next((number for number in numbers if isinstance(number, int) and 400 <= number < 600), None)


def _code(value: Any) -> str | None:
    """Return a code as text. Some hosts put a sentence there, which is none, and others a number."""
    if type(value) is int:
        return None if 400 <= value < 600 else str(value)[:MAX_LABEL_LENGTH]
    text = _text(value)
    return None if text is None or _PROSE.search(text.strip()) else text.strip() or None


def _text(value: Any) -> str | None:
    return value[: MAX_LABEL_LENGTH + LOOKAHEAD + 1] if isinstance(value, str) and value else None


def _plain_text(body: bytes, credential: CredentialMatcher | None) -> str:
    """Return the beginning of a body's text, which of an HTML page is its visible text.

    The credential is removed before each cut, because a part of a credential would not be recognised.
    """
    text = redacted_body_prefix(body, _MAX_UNKNOWN_BODY, lambda text: redact(text, credential)).strip()
    if text.startswith("<"):
        text = _TAG.sub(" ", text)
    return redact(" ".join(text.split()), credential)[:_MAX_UNKNOWN_TEXT]
