"""The fingerprint of a request, by which the cache finds it again: a SHA-256 over the canonical form of the request.

The order of keys, white space, escapes and the spelling of numbers make no difference; everything else does, unknown
members included. A long request consists mostly of text, and decoding and encoding that would cost more than all the
rest of the request: its fingerprint is made from its unchanged bytes, so its spelling counts too.

Two requests that differ in anything a provider could read must never share a fingerprint, while two fingerprints for
the same request only cost one call, so fingerprints differ in case of doubt. `null` differs from an absent member, and
`user`, `metadata`, `prompt_cache_key` and `service_tier` count, although most responses do not depend on them.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec

from nulpoint.formats import json_edit
from nulpoint.formats.json_nodes import LONG_TEXT, exceeds_node_count, holds_long_number

# These members say how a response is delivered, not what it is: a body and a stream share one cache entry.
DELIVERY = ("stream", "stream_options")
LONG_BODY = 8 * 1024  # bytes; making the canonical form of these takes about as long as hashing 30 kB
MAX_BYTES = 4 * 1024 * 1024  # making the canonical form of a longer body would block the event loop for over 10 ms
MAX_NODES = 80_000  # names and values; decoding and sorting this many different names takes 30 ms
_UNCHECKED_BYTES = 256 * 1024  # a body of at most this size cannot have too many nodes
MAX_DECIMALS = 10_000  # each number with a decimal point or an exponent takes a microsecond
_MANY_NAMES = 1024  # msgspec sorts up to this many names in 2 ms, whatever their order
_WIDE = 64  # larger objects in a body with many names are sorted here
_WHOLE_DIGITS = 40  # longer whole numbers keep their exponent: 1e999999999 must not become a gigabyte of digits
_ESCAPED_COLON = re.compile(rb"\\u003[aA]")


class UncacheableRequestError(Exception):
    """The request has no fingerprint: it is not a JSON object, or not all parsers would read it in the same way."""


def fingerprint(body: bytes, route: str, namespace: bytes, chain: bytes, *, has_delivery: bool = True) -> bytes | None:
    """Return the fingerprint of a request (32 bytes), or None if the cache has to be bypassed.

    `namespace` is the digest of the client's key, or empty if all clients share the cache. `chain` identifies the
    targets that may serve the request. `has_delivery` is False if the body is known to have no DELIVERY members but
    null ones. A short body that has the same key twice in an object has no fingerprint, because some providers read
    the first value and some the last. For a long one this does not matter: only equal bytes share a fingerprint.
    """
    if len(body) > MAX_BYTES:
        return None
    if len(body) > LONG_BODY:
        return digest(route.encode(), namespace, chain, b"bytes", _without_delivery(body) if has_delivery else body)
    try:
        lookup, _ = separate(body, DELIVERY)
    except UncacheableRequestError:
        return None
    return digest(route.encode(), namespace, chain, lookup)


def _without_delivery(body: bytes) -> bytes:
    """Return a valid JSON object as it would have been written without its DELIVERY members."""
    found = json_edit.members(body)
    kept: list[bytes] = []
    for previous, member in zip((found[0], *found), found, strict=False):
        if member.key not in DELIVERY:
            start = previous.end if kept else member.key_start  # with the comma and the white space before it
            kept.append(body[start : member.end])
    return b"".join((body[: found[0].key_start], *kept, body[found[-1].end :]))


def separate(body: bytes, names: Iterable[str]) -> tuple[bytes, dict[str, Any]]:
    """Return the canonical text of a request without the named members, and the members that were removed.

    Raises UncacheableRequestError.
    """
    if len(body) > LONG_BODY:
        _check_size(body)
    _DECIMALS.remaining = MAX_DECIMALS
    try:
        members: dict[str, Any] = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise UncacheableRequestError from None
    if not isinstance(members, dict):
        raise UncacheableRequestError
    colons = body.count(b":")
    if colons > _MANY_NAMES:
        _sort_wide_objects(members)
    removed = {}
    for name in names:
        if name in members:
            removed[name] = members.pop(name)
    text = canonical(members)
    remaining_colons = text.count(b":") + (canonical(removed).count(b":") if removed else 0)
    if colons != remaining_colons or (b"\\" in body and b"\\u003" in body):  # the second search is the slow one
        _check_keys(body, remaining_colons)
    return text, removed


def _check_size(body: bytes) -> None:
    """Raise UncacheableRequestError if making the canonical form of the body could take long."""
    if len(body) > MAX_BYTES or (len(body) > _UNCHECKED_BYTES and exceeds_node_count(body, MAX_NODES)):
        raise UncacheableRequestError
    if len(body) > LONG_TEXT and holds_long_number(body):
        raise UncacheableRequestError


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
    """Return the JSON text of a decoded value with sorted keys and no white space. Raises UncacheableRequestError."""
    try:
        return msgspec.json.encode(value, order="sorted")
    except (RecursionError, ValueError):
        raise UncacheableRequestError from None


def digest(*parts: bytes) -> bytes:
    """Return the SHA-256 of the parts with their lengths (in MessagePack), so that no two lists of parts hash alike."""
    return hashlib.sha256(msgspec.msgpack.encode(parts)).digest()


def _check_keys(body: bytes, colons: int) -> None:
    """Raise UncacheableRequestError if an object of `body`, at any depth, has the same key twice.

    `colons` is the number of colons in the canonical text. Decoding keeps only one of two equal keys, so that text has
    fewer colons than the body; only a colon that the body writes as an escape can hide that.
    """
    # For 160 kB these two searches take 2 and 55 us. A single search for both spellings of a colon would take 150 us.
    if b"\\" not in body or not _ESCAPED_COLON.search(body):
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
_DECODER = msgspec.json.Decoder(float_hook=_DECIMALS.canonical)
