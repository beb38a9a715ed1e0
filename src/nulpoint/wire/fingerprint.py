"""What makes two requests the same question: a SHA-256 over the canonical whole request.

Order of keys, white space, escapes and the spelling of numbers do not count; everything else does, members nobody here
has heard of included. Two requests that differ in anything a provider could read must never share a fingerprint, while
a fingerprint too many costs one call: so in doubt it differs. `null` is not "absent", and `user`, `metadata`,
`prompt_cache_key` or `service_tier` count, although most answers do not depend on them.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import msgspec

# These say how an answer is delivered, not what it is: a whole body and a stream share an entry.
DELIVERY = ("stream", "stream_options")
MAX_BYTES = 4 * 1024 * 1024  # the canonical form of a longer body would hold the event loop for over 10 ms
MAX_DECIMALS = 10_000  # a number spelled with a point or an exponent costs a microsecond
_WHOLE_DIGITS = 40  # beyond, a whole number counts by its spelling: 1e999999999 must not become a gigabyte


class Unfit(Exception):
    """The request has no fingerprint: it is no JSON object, or not every reader would read it alike."""


def fingerprint(body: bytes, route: str, namespace: bytes, chain: bytes) -> bytes | None:
    """32 bytes, or None where the cache has to be bypassed.

    `namespace` is the digest of the caller's key, or empty where all callers share; `chain` identifies the targets that
    may answer. A body in which a key is given twice has no fingerprint: some providers read the first, some the last.
    """
    try:
        question, _ = separate(body, DELIVERY)
    except Unfit:
        return None
    return digest(route.encode(), namespace, chain, question)


def separate(body: bytes, names: Iterable[str]) -> tuple[bytes, dict[str, Any]]:
    """The canonical text of a request without the named members, and those of them that are there. Raises Unfit."""
    if len(body) > MAX_BYTES:
        raise Unfit
    _DECIMALS.left = MAX_DECIMALS
    try:
        members: dict[str, Any] = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise Unfit from None
    if not isinstance(members, dict):
        raise Unfit
    apart = {name: members.pop(name) for name in names if name in members}
    text = canonical(members)
    if _repeats_a_key(body, text, canonical(apart) if apart else b""):
        raise Unfit
    return text, apart


def canonical(value: Any) -> bytes:
    """The JSON text of a decoded value: keys sorted, no white space. Raises Unfit."""
    try:
        return msgspec.json.encode(value, order="sorted")
    except (RecursionError, ValueError):
        raise Unfit from None


def digest(*parts: bytes) -> bytes:
    """SHA-256 of the parts, each with its length, so that none can pose as a piece of its neighbour."""
    lengths = b",".join([b"%d" % len(part) for part in parts])
    return hashlib.sha256(b":".join((lengths, *parts))).digest()


def _repeats_a_key(body: bytes, *texts: bytes) -> bool:
    """Whether a key stands twice in one object of `body`, at any depth. `texts`: what was decoded, written again.

    Decoding keeps one of the two, so what is written again lacks at least the colon between the other and its value.
    Only a colon that the body spells as an escape could make up for it.
    """
    if b"\\u003a" in body or b"\\u003A" in body:
        return _repeats_a_key_by_name(body)
    return body.count(b":") != sum([text.count(b":") for text in texts])


def _repeats_a_key_by_name(body: bytes) -> bool:
    try:
        json.loads(body, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        return True
    return False


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError


class _Decimals:
    """Spells numbers with a point or an exponent in one way, exactly: 1.0, 1e0 and 10e-1 are 1."""

    left = 0

    def spelled(self, text: str) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ValueError
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


_DECIMALS = _Decimals()
_DECODER = msgspec.json.Decoder(float_hook=_DECIMALS.spelled)
