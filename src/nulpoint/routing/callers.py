"""Who is calling: a credential becomes a digest before anything is looked up, and is kept nowhere."""

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from nulpoint.errors import Failure, Kind

# Where providers' keys are forwarded as well, the gateway's own may come in a field of its own.
KEY_FIELD = b"x-nulpoint-api-key"


class Caller(NamedTuple):
    """Digests, empty where there is nothing to tell apart.

    `identity` is whose limits count; `namespace` whose cached answers may be given out; `own_key` is the provider
    credential to forward.
    """

    identity: bytes
    namespace: bytes
    own_key: bytes


ANYBODY = Caller(b"", b"", b"")


class Callers:
    """`keys`: SHA-256 digests of the gateway's keys; none: anybody may call. `forward`: callers bring provider keys.

    `tell_apart`: limits for each key are on.
    """

    def __init__(self, keys: Sequence[bytes], *, forward: bool, tell_apart: bool) -> None:
        self._keys = tuple(keys)
        self._forward = forward
        self._anybody = not (self._keys or forward or tell_apart)

    def identify(self, fields: Mapping[bytes, bytes]) -> Caller:
        """`fields`: header fields by lower-case name. Raises Failure (401), always the same."""
        if self._anybody:
            return ANYBODY
        presented = credential(fields)
        if not self._keys:
            identity = sha256(presented).digest() if presented else b""
            return Caller(identity, identity, presented) if self._forward else Caller(identity, b"", b"")
        named = fields.get(KEY_FIELD, b"")
        identity = sha256(named or presented).digest()
        if not self._knows(identity):
            raise unauthorised()
        own_key = presented if self._forward and named else b""
        return Caller(identity, sha256(identity + own_key).digest() if own_key else identity, own_key)

    def _knows(self, identity: bytes) -> bool:
        """Takes the same time whichever key it is, and if it is none."""
        found = False
        for key in self._keys:
            found |= hmac.compare_digest(key, identity)
        return found


def credential(fields: Mapping[bytes, bytes]) -> bytes:
    """A bearer token, else `x-api-key`, else nothing."""
    scheme, _, token = fields.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and token.strip():
        return token.strip()
    return fields.get(b"x-api-key", b"").strip()


def unauthorised() -> Failure:
    """One body for a key that is missing, malformed, unknown or withdrawn."""
    text = "a valid API key is needed; send it as `Authorization: Bearer ...`"
    failure = Failure(Kind.AUTH, 401, text, code="invalid_api_key")
    failure.fields = b"www-authenticate: Bearer\r\n"  # RFC 9110, 15.5.2
    return failure


def key_digest(text: str) -> bytes:
    """Of a configured key: in plain, or as `sha256:` and 64 hexadecimal digits. Raises ValueError with the remedy."""
    if not text.startswith("sha256:"):
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("use keys of ASCII characters without spaces, or sha256:<64 hexadecimal digits>")
        return sha256(text.encode("ascii")).digest()
    try:
        digest = bytes.fromhex(text.removeprefix("sha256:"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ValueError("after sha256: there must be 64 hexadecimal digits, as `printf %s KEY | sha256sum` prints")
    return digest
