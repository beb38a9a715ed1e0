"""The exceptions that reading a malformed provider response raises, and the failures it is reported as."""

import struct

import msgspec

from nulpoint.errors import ClientCause, Failure, Kind

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Includes the exceptions of code that reads members without checking that they exist and have the right type.
MALFORMED = (
    *NOT_JSON, msgspec.MsgspecError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, struct.error,
)  # fmt: skip


def malformed_response(why: str, cause: ClientCause | None = None) -> Failure:
    """Return the failure for a malformed response with a success status. `cause` is set if a client can cause it."""
    return Failure(Kind.UPSTREAM, 502, why, code="provider_malformed", client_cause=cause)


def unusable_response(why: str, cause: ClientCause | None = None) -> Failure:
    """Return the failure for a response that cannot be used; `why` is a clause such as "it is not JSON"."""
    return malformed_response(f"the provider's response cannot be used: {why}", cause)
