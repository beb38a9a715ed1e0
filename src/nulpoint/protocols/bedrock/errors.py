"""Reads Bedrock's errors by the type that AWS gives them, because one status may stand for several types.

Smithy ("AWS restJson1 protocol", operation error serialization) defines where the type is: in the header
`x-amzn-errortype`, sometimes with a URI after a colon, or else in `__type` or `code` of the body, sometimes with a
namespace before `#`. Inside a stream it is in `:exception-type` and begins with a lower-case letter. The meanings and
statuses of the types are from the service model of `bedrock-runtime` and from "Troubleshooting Amazon Bedrock API error
codes" of the user guide (read 2026-11). Four types are treated in a way of their own:

- ServiceQuotaExceededException arrives with 400, but is a limit of the account for one model. It becomes 429, because
  another target may succeed.
- ModelNotReadyException arrives with 429, but nobody has sent too many requests. It becomes 503, so that it does not
  count as a rate limit.
- ThrottlingException becomes 429 whatever status it arrives with.
- ValidationException is 400 for any invalid request, also for a prompt that is too long or a model that is not there:
  those are told by their sentences (`protocols/error_sentences.py`).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from nulpoint.formats.malformed import NOT_JSON

TYPE_HEADER = b"x-amzn-errortype"


class _Meaning(NamedTuple):
    status: int
    code: str | None = None  # OpenAI's code for the error; None: the type is the code


_MEANINGS: Mapping[str, _Meaning] = {
    "AccessDeniedException": _Meaning(403),
    "InternalServerException": _Meaning(500),
    "ModelErrorException": _Meaning(424),
    "ModelNotReadyException": _Meaning(503),
    "ModelStreamErrorException": _Meaning(424),
    "ModelTimeoutException": _Meaning(408, "provider_timeout"),
    "ResourceNotFoundException": _Meaning(404),
    "ServiceQuotaExceededException": _Meaning(429, "service_quota_exceeded"),
    "ServiceUnavailableException": _Meaning(503, "server_is_overloaded"),
    "ThrottlingException": _Meaning(429, "rate_limit_exceeded"),
    "ValidationException": _Meaning(400),
    # These are errors of every AWS service ("Common errors") for a credential that is not accepted.
    "ExpiredTokenException": _Meaning(403, "invalid_api_key"),
    "IncompleteSignatureException": _Meaning(403, "invalid_api_key"),
    "InvalidSignatureException": _Meaning(403, "invalid_api_key"),
    "MissingAuthenticationTokenException": _Meaning(403, "invalid_api_key"),
    "UnrecognizedClientException": _Meaning(403, "invalid_api_key"),
}
_IDENTITY = re.compile(r"\bUser: \S+")  # the gateway's AWS identity, which clients must not see
_MAX_MESSAGE_LENGTH = 10_000  # characters of a message that are processed; fewer are shown
_UNKNOWN_STREAM_ERROR_STATUS = 500


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> tuple[int, bytes]:
    """Return the status that an error response stands for, and its body in OpenAI's format.

    An error without a type is returned unchanged.
    """
    error = _object(body)
    name = headers.get(TYPE_HEADER, b"").decode("latin-1") or _text(error.get("__type")) or _text(error.get("code"))
    name = name.partition(":")[0].rpartition("#")[2].strip()
    if not name:
        return status, body
    return _translate(name, error, status)


def stream_error_body(name: str, payload: bytes, header_message: Any) -> bytes:
    """Return an exception in the middle of a stream as an error body in OpenAI's format.

    `header_message` is used if the payload has no message.
    """
    name = name[:1].upper() + name[1:]
    error = _object(payload)
    if not _text(error.get("message")):
        error["message"] = _text(header_message) or f"the stream broke off: {name or 'no reason given'}"
    return _translate(name or "provider_500", error, _UNKNOWN_STREAM_ERROR_STATUS)[1]


def _translate(name: str, aws_error: dict[str, Any], status: int) -> tuple[int, bytes]:
    meaning = _MEANINGS.get(name, _Meaning(status))
    text = _text(aws_error.get("message")) or _text(aws_error.get("Message"))
    # After an empty line, messages about signatures repeat the signed request.
    text = _IDENTITY.sub("the gateway's identity", text[:_MAX_MESSAGE_LENGTH].partition("\n\n")[0])
    code = meaning.code or name
    error = {"message": text or name, "code": code, "status_code": meaning.status}
    if code == "server_is_overloaded":
        error["type"] = "service_unavailable_error"
    return meaning.status, msgspec.json.encode({"error": error})


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(body)
    except NOT_JSON:
        return {}
    return content if isinstance(content, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
