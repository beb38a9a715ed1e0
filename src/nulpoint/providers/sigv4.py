"""AWS Signature Version 4 for requests with a body and no query. Pure: the time is an argument.

Facts: "Create a signed AWS API request" of the IAM user guide, and AWS's published test suite. A path is encoded once
more than it is on the wire, as every service but S3 has it.
"""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote

from nulpoint.redaction.credential_matcher import CredentialMatcher

_ALGORITHM = "AWS4-HMAC-SHA256"
_CONTENT_TYPE = "application/json"
_ERROR_TYPE = b"x-amzn-errortype"
# Errors, all with 403, that another set of credentials may not bring about.
_REFUSALS = frozenset(
    {b"ExpiredTokenException", b"ExpiredToken", b"UnrecognizedClientException", b"InvalidClientTokenId"}
)


class AwsKeys(NamedTuple):
    """What AWS calls credentials; temporary ones have a session token."""

    access_key: str
    secret_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"AwsKeys({self.access_key[:4]}***)"


class AwsSigner:
    """Signs for one service of one region with one set of keys. The key of a day is derived once a day."""

    def __init__(self, keys: AwsKeys, region: str, service: str) -> None:
        self._secret_key, self._token = keys.secret_key, keys.session_token
        self._access_key = keys.access_key
        self._scope_end = f"{region}/{service}/aws4_request"
        self._region, self._service = region, service
        self._day, self._key = "", b""
        self.matcher = CredentialMatcher(*(part for part in keys if part is not None), long_lived=True)

    @property
    def secret(self) -> str:
        """The one of the two that goes over the wire, else the one that never does."""
        return self._token or self._secret_key

    def fields(self, method: str, host: str, path: str, body: bytes, now: float) -> bytes:
        """As `auth.Signer` has it, for a body that is JSON."""
        added = self.sign(method, path, {"content-type": _CONTENT_TYPE, "host": host}, body, now)
        return "".join([f"{name}: {value}\r\n" for name, value in added.items()]).encode("ascii")

    def refused(self, status: int, headers: Mapping[bytes, bytes]) -> bool:
        return status == 403 and headers.get(_ERROR_TYPE, b"").partition(b":")[0] in _REFUSALS

    def sign(self, method: str, path: str, fields: Mapping[str, str], body: bytes, now: float) -> dict[str, str]:
        """The header fields to add to a request with these `fields` (names in lower case, `host` among them).

        `path` is as it goes onto the wire. `now`: Unix seconds.
        """
        time = _time_of(int(now))
        added = {"x-amz-date": time}
        if self._token is not None:
            added["x-amz-security-token"] = self._token
        signed = sorted({**fields, **added}.items())
        names = ";".join([name for name, _ in signed])
        lines = "".join([f"{name}:{' '.join(value.split())}\n" for name, value in signed])
        request = f"{method}\n{_canonical_path(path)}\n\n{lines}\n{names}\n{sha256(body).hexdigest()}"
        added["authorization"] = self._authorization(time, names, request)
        return added

    def _authorization(self, time: str, names: str, request: str) -> str:
        """`request` in AWS's canonical form."""
        day = time[:8]
        scope = f"{day}/{self._scope_end}"
        text = f"{_ALGORITHM}\n{time}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key_of(day), text.encode(), "sha256").hex()
        credential = f"Credential={self._access_key}/{scope}"
        return f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"

    def _key_of(self, day: str) -> bytes:
        if day != self._day:
            key = f"AWS4{self._secret_key}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._day, self._key = day, key
        return self._key


@lru_cache(maxsize=8)
def _time_of(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=1024)
def _canonical_path(path: str) -> str:
    return quote(path, safe="/-_.~")
