"""Writes errors as OpenAI's API does: an `error` with message, type, param and code."""

from typing import Any

import msgspec

from nulpoint.errors import Failure
from nulpoint.formats import sse


def error_body(failure: Failure) -> bytes:
    """Return the body of an error response."""
    error: dict[str, Any] = {
        "message": failure.message,
        "type": failure.type,
        "param": failure.param,
        "code": failure.code,
    }
    error |= failure.provider_members
    if failure.attempts:
        error["attempts"] = failure.attempts
    return msgspec.json.encode({"error": {**error, **failure.more_members()}})


def error_event(failure: Failure) -> bytes:
    """Return the event that reports a failure inside a stream. OpenAI's SDKs raise an exception for it.

    It begins with an empty line, which ends an event that may be incomplete, because very large events are sent in
    pieces.
    """
    return b"\n\n" + sse.encode(error_body(failure))
