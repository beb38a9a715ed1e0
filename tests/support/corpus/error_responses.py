"""Judges errors: the status of the documented table, the provider's own message, and no secret in it."""

import json
import re
from typing import Any

from nulpoint.errors import Kind
from nulpoint.formats.retry_after import parse_retry_after
from nulpoint.protocols.openai.client import OPENAI_CLIENT
from nulpoint.protocols.provider_errors import provider_failure
from nulpoint.redaction.credential_matcher import CredentialMatcher
from support.corpus.formats import same
from support.corpus.records import Recording

SECRET = "hunter2-configured"
_STATUSES = {401: 401, 402: 402, 403: 401, 404: 404, 408: 504, 409: 409, 413: 413, 429: 429}
_KINDS = {400: Kind.REJECTED, 401: Kind.AUTH, 402: Kind.QUOTA, 404: Kind.NOT_FOUND, 409: Kind.REJECTED,
          413: Kind.TOO_LONG, 429: Kind.RATE_LIMIT, 502: Kind.UPSTREAM, 504: Kind.TIMEOUT}  # fmt: skip
# The codes for errors to which the provider gives no code of OpenAI's.
_CODES = {401: "invalid_api_key", 402: "insufficient_quota", 404: "model_not_found", 413: "request_too_large",
          429: "rate_limit_exceeded"}  # fmt: skip
_KEY = re.compile(r"AIz\w{10}|sk-\w")


def seen_status(recording: Recording) -> int:
    """The error that the client must receive."""
    return _status(recording.record["status"], _error(recording.record["response_body"]))


def judge_error(recording: Recording) -> None:
    record = recording.record
    headers = {name.lower(): value for name, value in record["response_headers"].items()}
    wait = headers.get("retry-after")
    wait = parse_retry_after(wait.encode() if wait else None, 0.0)
    failure = provider_failure(recording.host.name, record["status"], recording.body, wait, CredentialMatcher(SECRET))
    error = _error(record["response_body"])
    status = _status(record["status"], error)
    same("status", failure.status, status)
    same("kind", failure.kind, _kind(status, error))
    same_message(failure.message, _message(error))
    code = error.get("code")
    if failure.kind is Kind.TOO_LONG:
        same("code", failure.code, "context_length_exceeded")
    elif isinstance(code, str) and not code.isdigit() and (status, record["status"]) != (401, 400):
        same("code", failure.code, code)
        same("type", failure.type, error.get("type") or failure.type)
    elif status in _CODES and record["status"] != 403:
        same("code", failure.code, _CODES[status])
    same("retry after", failure.retry_after, _wait(wait, error) if status == 429 else wait)
    shown = json.loads(OPENAI_CLIENT.error_body(failure))["error"]
    assert set(shown) - {"failed_generation"} == {"message", "type", "param", "code"}
    same("param", shown["param"], error.get("param"))
    assert not _KEY.search(str(shown)), "a key is shown"
    assert "<html" not in str(shown).lower()


def _error(body: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except json.JSONDecodeError:
        return {}
    answer = answer[0] if isinstance(answer, list) else answer
    error = answer.get("error", answer)
    return {**answer, "message": error} if isinstance(error, str) else error


def _status(status: int, error: dict[str, Any]) -> int:
    reasons = [one.get("reason") for one in error.get("details") or [] if isinstance(one, dict)]
    if "API_KEY_INVALID" in reasons or (status == 400 and _message(error).startswith("Incorrect API key provided")):
        return 401
    if status == 400 and error.get("code") == "model_not_found":
        return 404
    return _STATUSES.get(status, 502 if status >= 500 else 400)


def _kind(status: int, error: dict[str, Any]) -> Kind:
    if status == 400 and "prompt is too long" in _message(error):
        return Kind.TOO_LONG
    return Kind.UPSTREAM if error.get("code") == "tool_use_failed" else _KINDS[status]


def _message(error: dict[str, Any]) -> str:
    return str(error.get("message") or error.get("detail") or "")


def _wait(header: float | None, error: dict[str, Any]) -> float:
    delays = [one["retryDelay"] for one in error.get("details") or [] if "retryDelay" in one]
    return header or (float(delays[0].rstrip("s")) if delays else 60.0)


def same_message(shown: str, recorded: str) -> None:
    """Return the recorded message with only keys removed."""
    assert shown, "no message"
    pieces = shown.split("[redacted]")
    if len(pieces) == 1 and recorded:
        same("message", shown, recorded)
    for piece in pieces:
        assert not recorded or piece in recorded, "the message changed"
