"""The fingerprint of a request, by which the cache finds it again: a SHA-256 over the canonical text of the request.

The spelling of a short request makes no difference; everything else does, unknown members included. A long request
consists mostly of text, and decoding and encoding that would cost more than all the rest of the request: its
fingerprint is made from its unchanged bytes, so its spelling counts too.

Two requests that differ in anything a provider could read must never share a fingerprint, while two fingerprints for
the same request only cost one call, so fingerprints differ in case of doubt. `null` differs from an absent member, and
`user`, `metadata`, `prompt_cache_key` and `service_tier` count, although most responses do not depend on them.
"""

import hashlib

import msgspec

from nulpoint.formats import json_edit
from nulpoint.formats.canonical_json import MAX_BYTES, NoCanonicalTextError, separate
from nulpoint.protocols.openai.envelope import DELIVERY

LONG_BODY = 8 * 1024  # bytes; making the canonical text of these takes about as long as hashing 30 kB


def fingerprint(
    body: bytes, route: bytes, namespace: bytes, chain: bytes, *, has_delivery: bool = True
) -> bytes | None:
    """Return the fingerprint of a request (32 bytes), or None if the cache has to be bypassed.

    `namespace` is the digest of the client's key, or empty if all clients share the cache. `chain` identifies the
    targets that may serve the request. `has_delivery` is False if the body is known to have no DELIVERY members but
    null ones. A short body that has the same key twice in an object has no fingerprint, because some providers read the
    first value and some the last. For a long one this does not matter: only equal bytes share a fingerprint.

    The fingerprint of a short request is the `digest` of the other arguments and its canonical text.
    """
    if len(body) > MAX_BYTES:
        return None
    if len(body) > LONG_BODY:
        return digest(route, namespace, chain, b"bytes", _without_delivery(body) if has_delivery else body)
    try:
        text, _, _ = separate(body, DELIVERY)
    except NoCanonicalTextError:
        return None
    return digest(route, namespace, chain, text)


def _without_delivery(body: bytes) -> bytes:
    """Return a valid JSON object as it would have been written without its DELIVERY members."""
    found = json_edit.members(body)
    kept: list[bytes] = []
    for previous, member in zip((found[0], *found), found, strict=False):
        if member.key not in DELIVERY:
            start = previous.end if kept else member.key_start  # with the comma and the white space before it
            kept.append(body[start : member.end])
    return b"".join((body[: found[0].key_start], *kept, body[found[-1].end :]))


def digest(*parts: bytes) -> bytes:
    """Return the SHA-256 of the parts with their lengths (in MessagePack), so that no two lists of parts hash alike."""
    return hashlib.sha256(msgspec.msgpack.encode(parts)).digest()
