"""Credential to header fields."""

from collections.abc import Mapping
from typing import Protocol

from nulpoint.providers.spec import ProviderSpec
from nulpoint.redaction.credential_matcher import CredentialMatcher


def credential_headers(spec: ProviderSpec, key: str) -> list[tuple[bytes, bytes]]:
    """The fields that carry the key to this host; keys never go into URLs, which are logged."""
    value = key.encode("ascii")
    if spec.auth == "none":
        return []
    if spec.auth == "bearer":
        return [(b"authorization", b"Bearer " + value)]
    return [(spec.auth.encode("ascii"), value)]


class Signer(Protocol):
    """Proves who we are, by what is held already: never waits, reads no clock. A value, made anew with each renewal."""

    def fields(self, method: str, host: str, path: str, body: bytes, now: float) -> bytes:
        """The header fields of one request, each with its line end.

        `host` is the value of the `Host` field, `path` the target with its query as it goes out, `now` Unix seconds.
        """

    @property
    def secret(self) -> str:
        """What tells this credential from the one before it."""

    @property
    def matcher(self) -> CredentialMatcher:
        """Recognises what must not be shown, should a provider repeat it."""

    def refused(self, status: int, headers: Mapping[bytes, bytes]) -> bool:
        """Whether an answer says that this credential does not count any more, where another one may."""


class Identity(Protocol):
    """A credential that lasts for a time only and is renewed beside the requests: whoever has one asks it each time."""

    def signer(self, now: float) -> Signer:
        """The one that counts at `now` (Unix seconds). Raises Failure (502, other targets may do better) where there
        is none: not fetched yet, or run out."""

    async def renewed(self, refused: Signer, deadline: float) -> bool:
        """The provider did not accept this one (401). Whether another one is there now, after a short wait at most that
        does not go beyond `until` (time of the loop)."""


Identities = Mapping[str, Identity]


class Bearer:
    """A token, sent as it is. Raises ValueError for what is no token (RFC 6750, 2.1, leaves less than this)."""

    __slots__ = ("_fields", "matcher", "secret")

    def __init__(self, token: str) -> None:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("not a token")
        self.secret = token
        self.matcher = CredentialMatcher(token, long_lived=True)
        self._fields = b"authorization: Bearer %b\r\n" % token.encode("ascii")

    def fields(self, _method: str, _host: str, _path: str, _body: bytes, _now: float) -> bytes:
        return self._fields

    def refused(self, status: int, _headers: Mapping[bytes, bytes]) -> bool:
        return status == 401
