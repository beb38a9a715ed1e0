"""What makes two requests the same question: a SHA-256 over the canonical whole request.

Order of keys, white space, escapes and the spelling of numbers do not count; everything else does, members nobody here
has heard of included. Two requests that differ in anything a provider could read must never share a fingerprint, while
a fingerprint too many costs one call: so in doubt it differs. `null` is not "absent", and `user`, `metadata`,
`prompt_cache_key` or `service_tier` count, although most answers do not depend on them.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec

from nulpoint.formats.json_nodes import LONG_TEXT, exceeds_node_count, holds_long_number

# These say how an answer is delivered, not what it is: a whole body and a stream share an entry.
DELIVERY = ("stream", "stream_options")
MAX_BYTES = 4 * 1024 * 1024  # the canonical form of a longer body would hold the event loop for over 10 ms
MAX_NODES = 150_000  # names and values; sorting so many different names takes 30 ms
_COUNTED = 256 * 1024  # bytes; a shorter body cannot hold what takes longer than that
MAX_DECIMALS = 10_000  # a number spelled with a point or an exponent costs a microsecond
_MANY_NAMES = 1024  # in a body; in any order, msgspec sorts so few in 2 ms
_WIDE = 64  # names in one object of a body with many
_WHOLE_DIGITS = 40  # beyond, a whole number counts by its spelling: 1e999999999 must not become a gigabyte
_ESCAPED_COLON = re.compile(rb"\\u003[aA]")


class UncacheableRequestError(Exception):
    """The request has no fingerprint: it is no JSON object, or not every reader would read it alike."""


def fingerprint(body: bytes, route: str, namespace: bytes, chain: bytes) -> bytes | None:
    """32 bytes, or None where the cache has to be bypassed.

    `namespace` is the digest of the caller's key, or empty where all callers share; `chain` identifies the targets that
    may answer. A body in which a key is given twice has no fingerprint: some providers read the first, some the last.
    """
    try:
        lookup, _ = separate(body, DELIVERY)
    except UncacheableRequestError:
        return None
    return digest(route.encode(), namespace, chain, lookup)


def separate(body: bytes, names: Iterable[str]) -> tuple[bytes, dict[str, Any]]:
    """Return the canonical text of a request without the named members, and those of them that it has.

    Raises UncacheableRequestError.
    """
    if len(body) > MAX_BYTES or (len(body) > _COUNTED and exceeds_node_count(body, MAX_NODES)):
        raise UncacheableRequestError
    if len(body) > LONG_TEXT and holds_long_number(body):
        raise UncacheableRequestError
    _DECIMALS.left = MAX_DECIMALS
    try:
        members: dict[str, Any] = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise UncacheableRequestError from None
    if not isinstance(members, dict):
        raise UncacheableRequestError
    if body.count(b":") > _MANY_NAMES:
        _sort_wide_objects(members)
    apart = {name: members.pop(name) for name in names if name in members}
    text = canonical(members)
    colons = text.count(b":")
    if apart:
        colons += canonical(apart).count(b":")
    if body.count(b":") != colons or (b"\\" in body and b"\\u003" in body):  # the second search is the slow one
        _check_keys(body, colons)
    return text, apart


def _sort_wide_objects(value: Any) -> None:
    """Sort the names of large objects, here and inside.

    msgspec sorts names by a quicksort that takes quadratic time where the greatest name comes first and the others in
    order, and then recurses as deep as there are names, until the stack ends: the caller chooses their order. It is
    fast for names that are in order, and Python's sort is for any.
    """
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            if len(value) > _WIDE:
                members = sorted(value.items(), key=itemgetter(0))
                value.clear()
                value.update(members)
            value = value.values()
        waiting += [inner for inner in value if type(inner) is dict or type(inner) is list]


def canonical(value: Any) -> bytes:
    """The JSON text of a decoded value: keys sorted, no white space. Raises UncacheableRequestError."""
    try:
        return msgspec.json.encode(value, order="sorted")
    except (RecursionError, ValueError):
        raise UncacheableRequestError from None


def digest(*parts: bytes) -> bytes:
    """SHA-256 of the parts, each with its length (as MessagePack has it), so that none can pose as part of another."""
    return hashlib.sha256(msgspec.msgpack.encode(parts)).digest()


def _check_keys(body: bytes, colons: int) -> None:
    """Raise UncacheableRequestError where a key stands twice in one object of `body`, at any depth.

    `colons`: how many the same has when it is written again after decoding. That kept one of the two, so it lacks at
    least the colon between the other and its value; only a colon that the body spells as an escape can make up for it.
    """
    if b"\\" not in body or not _ESCAPED_COLON.search(body):  # 160 kB: 2 or 55 us; 150 to search for either spelling
        if body.count(b":") != colons:
            raise UncacheableRequestError
        return
    try:
        json.loads(body, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise UncacheableRequestError from None


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError


class _Decimals:
    """Spells numbers with a point or an exponent in one way, and not too many of them a request."""

    left = 0

    def spelled(self, text: str) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ValueError
        return _remembered(text) if len(text) < _REMEMBERED_LENGTH else _spelled(text)


def _spelled(text: str) -> Any:
    """One way for each number, exactly: 1.0, 1e0 and 10e-1 are 1."""
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


_remembered = lru_cache(1024)(_spelled)  # temperatures and the like are few
_REMEMBERED_LENGTH = 16
_DECIMALS = _Decimals()
_DECODER = msgspec.json.Decoder(float_hook=_DECIMALS.spelled)
