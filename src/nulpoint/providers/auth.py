"""Turn credentials into request headers."""

from collections.abc import Mapping
from typing import Protocol

from nulpoint.providers.spec import ProviderSpec
from nulpoint.redaction.credential_matcher import CredentialMatcher


def credential_headers(spec: ProviderSpec, key: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that carry the key to this provider. Keys never go into URLs, because those are logged."""
    value = key.encode("ascii")
    if spec.auth == "none":
        return []
    if spec.auth == "bearer":
        return [(b"authorization", b"Bearer " + value)]
    return [(spec.auth.encode("ascii"), value)]


class Signer(Protocol):
    """Authenticates requests with one credential, without waiting or reading a clock.

    A signer is an immutable value; each renewal of the credential creates a new one.
    """

    def headers(self, method: str, host: str, path: str, body: bytes, now: float) -> bytes:
        """Return the headers of one request, each with its line end.

        `host` is the value of the `Host` header, `path` the request target with its query as it is sent, and `now`
        is in Unix seconds.
        """

    @property
    def secret(self) -> str:
        """The part of the credential that differs from the previous one."""

    @property
    def matcher(self) -> CredentialMatcher:
        """Recognises the credential in text that a provider sends back, so that it is not shown."""

    def is_refusal(self, status: int, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a response says that this credential is no longer valid but another one may be."""


class Identity(Protocol):
    """An account whose credential expires and is renewed in the background; ask it for a signer for each request."""

    def signer(self, now: float) -> Signer:
        """Return the signer that is valid at `now` (Unix seconds).

        Raises Failure (502, after which other targets may be tried) if there is none yet or it has expired.
        """

    async def renew(self, refused: Signer, deadline: float) -> bool:
        """Replace a signer that the provider did not accept (401); return whether a different one is available.

        Waits for a short time, and not beyond `deadline` (loop time).
        """


Identities = Mapping[str, Identity]


class Bearer:
    """A bearer token. Raises ValueError for text that cannot be one (RFC 6750, 2.1, is even stricter)."""

    __slots__ = ("_headers", "matcher", "secret")

    def __init__(self, token: str) -> None:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("not a token")
        self.secret = token
        self.matcher = CredentialMatcher(token, long_lived=True)
        self._headers = b"authorization: Bearer %b\r\n" % token.encode("ascii")

    def headers(self, _method: str, _host: str, _path: str, _body: bytes, _now: float) -> bytes:
        return self._headers

    def is_refusal(self, status: int, _headers: Mapping[bytes, bytes]) -> bool:
        return status == 401
