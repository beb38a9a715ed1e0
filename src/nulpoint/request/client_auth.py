"""Authenticates clients by a digest of their credential. The credential itself is never stored.

SDKs send their key in different places: OpenAI's in `Authorization`, Anthropic's in `x-api-key`, Azure's in `api-key`,
Google's in `x-goog-api-key` or in the query parameter `key`. All of them are accepted for every path.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import parse_qsl

from nulpoint.errors import Failure, Kind

# The header for the gateway's key alone, so that the other places are free for a provider's key.
KEY_HEADER = b"x-nulpoint-api-key"
_KEY_HEADERS = (b"x-api-key", b"api-key", b"x-goog-api-key")
_MIN_SEARCHED = 8  # bytes; a shorter key may be a part of a word by chance
_SEPARATORS = re.compile(rb"[\s,;:=&?/|\"'`<>()\[\]{}]+")


class ClientIdentity(NamedTuple):
    """Identifies who sent a request. All values are empty if clients are not distinguished.

    `identity` is the digest by which limits are counted. `cache_namespace` is the digest of those who share cached
    responses. `api_key` is the provider's key to forward, and `gateway_key` the gateway's key that the client sent.
    """

    identity: bytes
    cache_namespace: bytes
    api_key: bytes
    gateway_key: bytes = b""


ANONYMOUS = ClientIdentity(b"", b"", b"")


class ClientAuthenticator:
    """Authenticates requests by the gateway's keys.

    `keys` has the SHA-256 digests of the gateway's keys; if there are none, anyone may send requests. `forward` says
    that clients send keys for providers, and `distinguish` that there are limits for each key. `reserved` has the
    digests of other keys that no provider may see.
    """

    def __init__(
        self, keys: Sequence[bytes], *, forward: bool, distinguish: bool, reserved: Sequence[bytes] = ()
    ) -> None:
        self._keys = tuple(keys)
        self._withheld = frozenset((*keys, *reserved))
        self._forward = forward
        self._anonymous = not (self._keys or forward or distinguish)

    def authenticate(self, headers: Mapping[bytes, bytes], query: str) -> ClientIdentity:
        """Return who sent a request. Header names are in lower case. Raises Failure (401), always the same.

        The gateway's key is in KEY_HEADER, or else it is the first credential that is one of the gateway's keys.
        """
        if self._anonymous:
            return ANONYMOUS
        credentials = presented_credentials(headers, query)
        if not self._keys:
            identity = sha256(credentials[0]).digest() if credentials else b""
            api_key = self._key_to_forward(credentials, b"")
            return ClientIdentity(identity, sha256(api_key).digest() if api_key else b"", api_key)
        gateway_key = headers.get(KEY_HEADER, b"")
        if not self._is_known(gateway_key):
            if gateway_key:
                raise unauthorised()
            gateway_key = next(filter(self._is_known, credentials), b"")
            if not gateway_key:
                raise unauthorised()
        identity = sha256(gateway_key).digest()
        api_key = self._key_to_forward(credentials, gateway_key)
        namespace = sha256(identity + api_key).digest() if api_key else identity
        return ClientIdentity(identity, namespace, api_key, gateway_key)

    def _key_to_forward(self, credentials: Sequence[bytes], gateway_key: bytes) -> bytes:
        """Return the first credential that may be forwarded to a provider, or an empty value."""
        if not self._forward:
            return b""
        return next((key for key in credentials if not self.withholds(key, gateway_key)), b"")

    def withholds(self, value: bytes, gateway_key: bytes) -> bool:
        """Return whether the value of a header contains one of the gateway's keys, so that no provider may see it.

        Only digests of the keys are known. `gateway_key`, with which the client authenticated, is found anywhere in the
        value, in upper or lower case. Other keys are found only if they are separate words.
        """
        if not self._withheld:
            return False
        if len(gateway_key) >= _MIN_SEARCHED and gateway_key.lower() in value.lower():
            return True
        return any(sha256(word).digest() in self._withheld for word in {value.strip(), *_words(value)})

    def _is_known(self, credential: bytes) -> bool:
        """Look a key up in the same time whichever key it is, and if it is unknown."""
        identity = sha256(credential).digest()
        known = False
        for key in self._keys:
            known |= hmac.compare_digest(key, identity)
        return known


def presented_credentials(headers: Mapping[bytes, bytes], query: str) -> list[bytes]:
    """Return the credentials of a request, in the order in which they count: headers, then the parameter `key`."""
    credentials = [_bearer(headers), *(headers.get(name, b"").strip() for name in _KEY_HEADERS)]
    if "key" in query:
        # A credential may be sent to a provider in a header, so it must not contain a line end.
        credentials += [value.encode() for name, value in parse_qsl(query) if name == "key" and value.isprintable()]
    return [credential for credential in credentials if credential and credential.isascii()]


def _bearer(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _words(value: bytes) -> list[bytes]:
    """Return the parts of a value that may be keys, which contain no spaces and rarely any other separators."""
    return [*value.split(), *_SEPARATORS.split(value)]


def unauthorised() -> Failure:
    """Return the failure for a missing, malformed, unknown or revoked key, which is the same for all of them."""
    text = "a valid API key is needed; send it as `Authorization: Bearer ...`"
    challenge = b"www-authenticate: Bearer\r\n"  # RFC 9110, 15.5.2
    return Failure(Kind.AUTH, 401, text, code="invalid_api_key", headers=challenge)


def key_digest(text: str) -> bytes:
    """Return the digest of a configured key, given in plain or as `sha256:` and 64 hexadecimal digits.

    Raises ValueError with a message that says what to do.
    """
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
