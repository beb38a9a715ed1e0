"""Bedrock's errors, told by their type: AWS names it, and one status may stand for several.

Where the type stands is Smithy's ("AWS restJson1 protocol", operation error serialization): the header field
`x-amzn-errortype`, at times with a URI after a colon, else `__type` or `code` in the body, at times with a namespace
before `#`; inside a stream it is `:exception-type`, which begins with a small letter. What a type means, and its
status, is from the service model of `bedrock-runtime` and from "Troubleshooting Amazon Bedrock API error codes" of the
user guide (read 2026-11). What differs from the status on the wire, and why:

- ServiceQuotaExceededException comes with 400, and is a limit of the account for one model: 429, another target may do
  better.
- ModelNotReadyException comes with 429, but nobody has asked too often: 503, so that no limit is thought to be reached.
- ThrottlingException is 429 whatever it comes with.
- ValidationException is 400 for whatever is wrong. A prompt that is too long gets OpenAI's code for it, by the
  sentences of the models' makers; the status never depends on a sentence.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from nulpoint.formats.malformed import NOT_JSON

TYPE = b"x-amzn-errortype"
_VALIDATION = "ValidationException"


class _Meaning(NamedTuple):
    status: int
    code: str | None = None  # OpenAI's word, where it has one; else the type itself stands there


_MEANINGS: Mapping[str, _Meaning] = {
    "AccessDeniedException": _Meaning(403),
    "InternalServerException": _Meaning(500),
    "ModelErrorException": _Meaning(424),
    "ModelNotReadyException": _Meaning(503),
    "ModelStreamErrorException": _Meaning(424),
    "ModelTimeoutException": _Meaning(408, "provider_timeout"),
    "ResourceNotFoundException": _Meaning(404, "model_not_found"),
    "ServiceQuotaExceededException": _Meaning(429, "service_quota_exceeded"),
    "ServiceUnavailableException": _Meaning(503, "server_is_overloaded"),
    "ThrottlingException": _Meaning(429, "rate_limit_exceeded"),
    _VALIDATION: _Meaning(400),
    # Of every AWS service ("Common errors"): the credential is not accepted.
    "ExpiredTokenException": _Meaning(403, "invalid_api_key"),
    "IncompleteSignatureException": _Meaning(403, "invalid_api_key"),
    "InvalidSignatureException": _Meaning(403, "invalid_api_key"),
    "MissingAuthenticationTokenException": _Meaning(403, "invalid_api_key"),
    "UnrecognizedClientException": _Meaning(403, "invalid_api_key"),
}
_TOO_LONG = re.compile(
    r"(?:input|prompt) is too long|too many input tokens|input tokens exceed|exceeds? (?:the )?context (?:limit|window)"
    r"|maximum context length|expected maxLength",
    re.IGNORECASE,
)
_WHO = re.compile(r"\bUser: \S+")  # the name of the gateway's identity, which is no caller's business
_LONGEST = 10_000  # characters of a message that are looked at; fewer are shown
_STATUS_IN_STREAMS = 500  # of a type nobody knows


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> tuple[int, bytes]:
    """The status an error answer stands for, and its body as OpenAI would have it. As it came where it has no type."""
    answer = _object(body)
    name = headers.get(TYPE, b"").decode("latin-1") or _text(answer.get("__type")) or _text(answer.get("code"))
    name = name.partition(":")[0].rpartition("#")[2].strip()
    if not name:
        return status, body
    return _told(name, answer, status)


def stream_error_body(name: str, payload: bytes, told: Any) -> bytes:
    """An exception in the middle of a stream, as the body of an error. `told`: what a header says in place of it."""
    name = name[:1].upper() + name[1:]
    answer = _object(payload)
    if not _text(answer.get("message")):
        answer["message"] = _text(told) or f"the stream broke off: {name or 'no reason given'}"
    return _told(name or "provider_500", answer, _STATUS_IN_STREAMS)[1]


def _told(name: str, answer: dict[str, Any], status: int) -> tuple[int, bytes]:
    meaning = _MEANINGS.get(name, _Meaning(status))
    text = _text(answer.get("message")) or _text(answer.get("Message"))
    text = _WHO.sub(
        "the gateway's identity", text[:_LONGEST].partition("\n\n")[0]
    )  # what follows repeats what was signed
    code = meaning.code or name
    if name == _VALIDATION and _TOO_LONG.search(text):
        code = "context_length_exceeded"
    error = {"message": text or name, "code": code, "status_code": meaning.status}
    if code == "server_is_overloaded":
        error["type"] = "service_unavailable_error"
    return meaning.status, msgspec.json.encode({"error": error})


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except NOT_JSON:
        return {}
    return answer if isinstance(answer, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
