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

from nulpoint.providers.spec import Secret

_ALGORITHM = "AWS4-HMAC-SHA256"


class AwsKeys(NamedTuple):
    """What AWS calls credentials; temporary ones have a session token."""

    access_key: str
    secret_key: Secret
    session_token: Secret | None = None


class Signer:
    """Signs for one service of one region with one set of keys. The key of a day is derived once a day."""

    def __init__(self, keys: AwsKeys, region: str, service: str) -> None:
        self._secret = keys.secret_key.reveal()
        self._token = keys.session_token.reveal() if keys.session_token else None
        self._access_key = keys.access_key
        self._scope_end = f"{region}/{service}/aws4_request"
        self._region, self._service = region, service
        self._day, self._key = "", b""

    def sign(self, method: str, path: str, fields: Mapping[str, str], body: bytes, now: float) -> dict[str, str]:
        """The header fields to add to a request with these `fields` (names in lower case, `host` among them).

        `path` is as it goes onto the wire. `now`: Unix seconds.
        """
        time = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        added = {"x-amz-date": time}
        if self._token is not None:
            added["x-amz-security-token"] = self._token
        signed = sorted({**fields, **added}.items())
        names = ";".join([name for name, _ in signed])
        lines = "".join([f"{name}:{' '.join(value.split())}\n" for name, value in signed])
        request = f"{method}\n{_canonical_path(path)}\n\n{lines}\n{names}\n{sha256(body).hexdigest()}"
        scope = f"{time[:8]}/{self._scope_end}"
        text = f"{_ALGORITHM}\n{time}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key_of(time[:8]), text.encode(), "sha256").hex()
        credential = f"Credential={self._access_key}/{scope}"
        added["authorization"] = f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"
        return added

    def _key_of(self, day: str) -> bytes:
        if day != self._day:
            key = f"AWS4{self._secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._day, self._key = day, key
        return self._key


@lru_cache(maxsize=1024)
def _canonical_path(path: str) -> str:
    return quote(path, safe="/-_.~")
