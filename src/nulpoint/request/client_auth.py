"""Who is calling: a credential becomes a digest before anything is looked up, and is kept nowhere."""

import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from nulpoint.errors import Failure, Kind

# Where providers' keys are forwarded as well, the gateway's own may come in a field of its own.
KEY_HEADER = b"x-nulpoint-api-key"
_SHORTEST = 8  # bytes; a shorter key may be part of a word by chance
_SEPARATORS = re.compile(rb"[\s,;:=&?/|\"'`<>()\[\]{}]+")


class ClientIdentity(NamedTuple):
    """Digests, empty where there is nothing to tell apart.

    `identity` is whose limits count; `namespace` whose cached answers may be given out; `own_key` is the provider
    credential to forward.
    """

    identity: bytes
    cache_namespace: bytes
    api_key: bytes


ANONYMOUS = ClientIdentity(b"", b"", b"")


class ClientAuthenticator:
    """`keys`: SHA-256 digests of the gateway's keys; none: anybody may call. `forward`: callers bring provider keys.

    `tell_apart`: limits for each key are on. `reserved`: digests of other keys that no provider may see.
    """

    def __init__(
        self, keys: Sequence[bytes], *, forward: bool, distinguish: bool, reserved: Sequence[bytes] = ()
    ) -> None:
        self._keys = tuple(keys)
        self._withheld = frozenset((*keys, *reserved))
        self._forward = forward
        self._anonymous = not (self._keys or forward or distinguish)

    def authenticate(self, headers: Mapping[bytes, bytes]) -> ClientIdentity:
        """`fields`: header fields by lower-case name. Raises Failure (401), always the same."""
        if self._anonymous:
            return ANONYMOUS
        if not self._keys:
            presented = credential(headers)
            identity = sha256(presented).digest() if presented else b""
            own_key = self._own_key(headers)
            return ClientIdentity(identity, sha256(own_key).digest() if own_key else b"", own_key)
        named = headers.get(KEY_HEADER, b"")
        identity = sha256(named or credential(headers)).digest()
        if not self._is_known(identity):
            raise unauthorised()
        own_key = self._own_key(headers) if named else b""
        return ClientIdentity(identity, sha256(identity + own_key).digest() if own_key else identity, own_key)

    def _own_key(self, fields: Mapping[bytes, bytes]) -> bytes:
        """The first credential that may be forwarded, if any may."""
        if not self._forward:
            return b""
        candidates = (_bearer(fields), fields.get(b"x-api-key", b"").strip())
        return next((one for one in candidates if one and not self.withholds(one, fields)), b"")

    def withholds(self, value: bytes, fields: Mapping[bytes, bytes]) -> bool:
        """Whether this value of a header field holds one of the gateway's keys, so that no provider may see it.

        Only digests of the keys are known. The key that the caller identified itself with is found anywhere in the
        value, in upper or lower case; others are found where they stand by themselves.
        """
        if not self._withheld:
            return False
        if self._keys:
            presented = fields.get(KEY_HEADER) or credential(fields)
            if len(presented) >= _SHORTEST and presented.lower() in value.lower():
                return True
        return any(sha256(word).digest() in self._withheld for word in {value.strip(), *_words(value)})

    def _is_known(self, identity: bytes) -> bool:
        """Takes the same time whichever key it is, and if it is none."""
        found = False
        for key in self._keys:
            found |= hmac.compare_digest(key, identity)
        return found


def credential(fields: Mapping[bytes, bytes]) -> bytes:
    """A bearer token, else `x-api-key`, else nothing."""
    return _bearer(fields) or fields.get(b"x-api-key", b"").strip()


def _bearer(fields: Mapping[bytes, bytes]) -> bytes:
    scheme, _, token = fields.get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _words(value: bytes) -> list[bytes]:
    """What could be a key in there: keys have no spaces, and rarely anything else that separates words."""
    return [*value.split(), *_SEPARATORS.split(value)]


def unauthorised() -> Failure:
    """One body for a key that is missing, malformed, unknown or withdrawn."""
    text = "a valid API key is needed; send it as `Authorization: Bearer ...`"
    challenge = b"www-authenticate: Bearer\r\n"  # RFC 9110, 15.5.2
    return Failure(Kind.AUTH, 401, text, code="invalid_api_key", headers=challenge)


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
