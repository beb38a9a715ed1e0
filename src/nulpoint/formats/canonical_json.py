"""The canonical text of a JSON object: equal texts for equal objects, different texts for different ones.

The order of keys, white space, escapes and the spelling of numbers make no difference; everything else does. `null`
differs from an absent member. An object that has the same key twice, at any depth, has no canonical text, because some
readers take the first value and some the last.
"""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec

from nulpoint.formats.json_nodes import LONG_TEXT, exceeds_node_count, holds_long_number

MAX_BYTES = 4 * 1024 * 1024  # rewriting a longer text would block the event loop for over 10 ms
MAX_NODES = 80_000  # names and values; decoding and sorting this many different names takes 30 ms
MAX_DECIMALS = 10_000  # each number with a decimal point or an exponent takes a microsecond
_SHORT_BYTES = 8 * 1024  # a text of at most this size needs no checks
_UNCHECKED_BYTES = 256 * 1024  # a text of at most this size cannot have too many nodes
_MANY_NAMES = 1024  # msgspec sorts up to this many names in 2 ms, whatever their order
_WIDE = 64  # larger objects in a body with many names are sorted here
_WHOLE_DIGITS = 40  # longer whole numbers keep their exponent: 1e999999999 must not become a gigabyte of digits
_ESCAPED_COLON = re.compile(rb"\\u003[aA]")


class NoCanonicalTextError(Exception):
    """The text is not a JSON object, not all readers would read it in the same way, or rewriting it takes too long."""


def separate(body: bytes, names: Iterable[str]) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """Return the canonical text of a JSON object without the named members, its other members, and the named ones.

    Raises NoCanonicalTextError.
    """
    if len(body) > _SHORT_BYTES:
        _check_size(body)
    colons = body.count(b":")
    _DECIMALS.remaining = MAX_DECIMALS
    removed: dict[str, Any] = {}
    try:
        members = _decode(body)
        if type(members) is not dict:
            raise NoCanonicalTextError
        if colons > _MANY_NAMES:
            _sort_wide_objects(members)
        for name in names:
            if name in members:
                removed[name] = members.pop(name)
        text = _encode(members)
        remaining_colons = text.count(b":") + (_encode(removed).count(b":") if removed else 0)
    except _UNREADABLE:
        raise NoCanonicalTextError from None
    if colons != remaining_colons or (b"\\" in body and b"\\u003" in body):  # the second search is the slow one
        _check_keys(body, remaining_colons)
    return text, members, removed


def _check_size(body: bytes) -> None:
    """Raise NoCanonicalTextError if making the canonical form of the body could take long."""
    if len(body) > MAX_BYTES or (len(body) > _UNCHECKED_BYTES and exceeds_node_count(body, MAX_NODES)):
        raise NoCanonicalTextError
    if len(body) > LONG_TEXT and holds_long_number(body):
        raise NoCanonicalTextError


def _sort_wide_objects(value: Any) -> None:
    """Sort the names of large objects at any depth.

    msgspec sorts names with a quicksort. If the greatest name comes first and the others are in order, it takes
    quadratic time and recurses once per name until the stack overflows, and the client chooses the order. It is fast
    for names in order, and Python's sort is fast for any order.
    """
    pending = [value]
    while pending:
        value = pending.pop()
        if type(value) is dict:
            if len(value) > _WIDE:
                members = sorted(value.items(), key=itemgetter(0))
                value.clear()
                value.update(members)
            value = value.values()
        pending += [inner for inner in value if type(inner) is dict or type(inner) is list]


def canonical(value: Any) -> bytes:
    """Return the JSON text of a decoded value with sorted keys and no white space. Raises NoCanonicalTextError."""
    try:
        return _encode(value)
    except _UNREADABLE:
        raise NoCanonicalTextError from None


def _check_keys(body: bytes, colons: int) -> None:
    """Raise NoCanonicalTextError if an object of `body`, at any depth, has the same key twice.

    `colons` is the number of colons in the canonical text. Decoding keeps only one of two equal keys, so that text has
    fewer colons than the body; only a colon that the body writes as an escape can hide that.
    """
    # For 160 kB these two searches take 2 and 55 us. A single search for both spellings of a colon would take 150 us.
    if b"\\" not in body or not _ESCAPED_COLON.search(body):
        if body.count(b":") != colons:
            raise NoCanonicalTextError
        return
    try:
        json.loads(body, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise NoCanonicalTextError from None


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError


class _Decimals:
    """Gives equal numbers with a decimal point or an exponent the same text. Limits their number per request."""

    remaining = 0

    def canonical(self, text: str) -> Any:
        self.remaining -= 1
        if self.remaining < 0:
            raise ValueError
        return _cached_number(text) if len(text) < _CACHED_LENGTH else _canonical_number(text)


def _canonical_number(text: str) -> Any:
    """Return the canonical form of a number, without loss: 1.0, 1e0 and 10e-1 all become 1."""
    mantissa, _, power = text.lower().partition("e")
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return 0
    exponent = int(power or 0) - len(fraction) + len(digits) - len(significant)
    sign = "-" if text[0] == "-" else ""
    if exponent >= 0 and len(significant) + exponent <= _WHOLE_DIGITS:
        return int(sign + significant + "0" * exponent)
    return msgspec.Raw(f"{sign}{significant}e{exponent}".encode())


_cached_number = lru_cache(1024)(_canonical_number)  # most numbers are temperatures and the like, which are few
_CACHED_LENGTH = 16
_DECIMALS = _Decimals()
_decode = msgspec.json.Decoder(float_hook=_DECIMALS.canonical).decode
_encode = msgspec.json.Encoder(order="sorted").encode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)
