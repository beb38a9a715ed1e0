"""Reading what a provider wrote: how it shows that it is not what it should be, and the failure that makes."""

import struct

import msgspec

from nulpoint.errors import ClientCause, Failure, Kind

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Also of code that reads members as if all were there and of the right type.
MALFORMED = (
    *NOT_JSON, msgspec.MsgspecError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, struct.error,
)  # fmt: skip


def malformed_response(why: str, cause: ClientCause | None = None) -> Failure:
    """A good status over something nobody can use. `cause`: why a caller may have brought it about, if one can."""
    return Failure(Kind.UPSTREAM, 502, why, code="provider_malformed", client_cause=cause)


def unusable_response(why: str, cause: ClientCause | None = None) -> Failure:
    """Return the failure for a response that cannot be used; `why` completes the sentence after "it"."""
    return malformed_response(f"the provider's answer cannot be used: {why}", cause)
