"""Makes ids of tool calls that Mistral accepts: nine letters and digits (otherwise it returns its error 3280)."""

import hashlib
import re

_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def call_id(original: str) -> str:
    """Return the id if Mistral accepts it, or else an id that is derived from it."""
    if _CALL_ID.fullmatch(original):
        return original
    number = int.from_bytes(hashlib.sha256(original.encode()).digest()[:8])
    digits = []
    for _ in range(9):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(digits)
