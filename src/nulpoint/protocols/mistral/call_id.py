"""Ids of tool calls as Mistral takes them (its error 3280): nine letters and digits."""

import hashlib
import re

_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def call_id(given: str) -> str:
    """The given id where Mistral takes it, else always the same one for it."""
    if _CALL_ID.fullmatch(given):
        return given
    number = int.from_bytes(hashlib.sha256(given.encode()).digest()[:8])
    digits = []
    for _ in range(9):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(digits)
