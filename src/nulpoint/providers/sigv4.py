"""AWS Signature Version 4 for requests with a body and no query. The time is an argument, so no clock is read.

Sources: "Create a signed AWS API request" in the IAM user guide, and AWS's published test suite. The path that is
signed is encoded once more than the path that is sent, as every service except S3 requires.
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
# Errors, all with status 403, that may not occur with another set of credentials.
_REFUSALS = frozenset(
    {b"ExpiredTokenException", b"ExpiredToken", b"UnrecognizedClientException", b"InvalidClientTokenId"}
)


class AwsKeys(NamedTuple):
    """A set of AWS credentials. Temporary ones include a session token."""

    access_key: str
    secret_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"AwsKeys({self.access_key[:4]}***)"


class AwsSigner:
    """Signs requests to one service in one region with one set of keys. The signing key is derived once a day."""

    def __init__(self, keys: AwsKeys, region: str, service: str) -> None:
        self._secret_key, self._token = keys.secret_key, keys.session_token
        self._access_key = keys.access_key
        self._scope_end = f"{region}/{service}/aws4_request"
        self._region, self._service = region, service
        self._day, self._key = "", b""
        self.matcher = CredentialMatcher(*(part for part in keys if part is not None), long_lived=True)

    @property
    def secret(self) -> str:
        """The session token, which is sent with requests, or else the secret key, which never is."""
        return self._token or self._secret_key

    def headers(self, method: str, host: str, path: str, body: bytes, now: float) -> bytes:
        """Return the headers of a request with a JSON body; see `auth.Signer`."""
        added = self.sign(method, path, {"content-type": _CONTENT_TYPE, "host": host}, body, now)
        return "".join([f"{name}: {value}\r\n" for name, value in added.items()]).encode("ascii")

    def is_refusal(self, status: int, headers: Mapping[bytes, bytes]) -> bool:
        return status == 403 and headers.get(_ERROR_TYPE, b"").partition(b":")[0] in _REFUSALS

    def sign(self, method: str, path: str, headers: Mapping[str, str], body: bytes, now: float) -> dict[str, str]:
        """Return the headers to add to a request that has these `headers`, with names in lower case and with `host`.

        `path` is the path as it is sent, and `now` is in Unix seconds.
        """
        time = _time_of(int(now))
        added = {"x-amz-date": time}
        if self._token is not None:
            added["x-amz-security-token"] = self._token
        signed = sorted({**headers, **added}.items())
        names = ";".join([name for name, _ in signed])
        lines = "".join([f"{name}:{' '.join(value.split())}\n" for name, value in signed])
        request = f"{method}\n{_canonical_path(path)}\n\n{lines}\n{names}\n{sha256(body).hexdigest()}"
        added["authorization"] = self._authorization(time, names, request)
        return added

    def _authorization(self, time: str, names: str, request: str) -> str:
        """Return the `authorization` header for `request`, which is in AWS's canonical form."""
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
