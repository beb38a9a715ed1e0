"""Reading what a provider wrote: how it shows that it is not what it should be, and the failure that makes."""

import struct

import msgspec

from nulpoint.errors import Failure, Kind

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Also of code that reads members as if all were there and of the right type.
MISSHAPEN = (
    *NOT_JSON, msgspec.MsgspecError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, struct.error,
)  # fmt: skip


def unusable(why: str) -> Failure:
    """A good status over something nobody can use."""
    return Failure(Kind.UPSTREAM, 502, why, code="provider_malformed")
