"""Authorization for the Bedrock mock: a bearer key, or a complete AWS signature (version 4) made with SECRET_KEY.

| Credentials | Response |
|---|---|
| the bearer key or the access key id `bad-key` | 403 UnrecognizedClientException |
| another secret key, or a changed body, path or signed header | 403 InvalidSignatureException |
| a session token `until-<Unix seconds>` after that time | 403 ExpiredTokenException |
"""

import hashlib
import hmac
import re
import time
from calendar import timegm
from collections.abc import Mapping
from urllib.parse import quote

from nulpoint.mock.interface import MockRequest

SECRET_KEY = "mock-secret-access-key"
_MAX_CLOCK_SKEW = 300  # seconds by which the time of a signature may differ
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([a-z0-9-]+)/bedrock/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
_TIMESTAMP = re.compile(r"\d{8}T\d{6}Z")
_TOKEN_EXPIRY = re.compile(r"until-(\d+)")
_REQUIRED_HEADERS = {"host", "x-amz-date"}

Rejection = tuple[str, str]  # the type of the error and its message


def check_authorization(request: MockRequest, now: float | None = None) -> Rejection | None:
    """Return why the request is rejected, or None. `now` is Unix time, by default the current time."""
    header = request.headers.get("authorization", "")
    if header.startswith("Bearer "):
        key = header.removeprefix("Bearer ")
        return ("UnrecognizedClientException", "Invalid API Key format") if key in ("", "bad-key") else None
    match = _AUTHORIZATION.fullmatch(header)
    if match is None:
        return "MissingAuthenticationTokenException", "Missing Authentication Token"
    return _check_signature(request, match, time.time() if now is None else now)


def access_key(headers: Mapping[str, str]) -> str:
    """Return the bearer key or the id of the access key, which stands for an account."""
    header = headers.get("authorization", "")
    match = _AUTHORIZATION.fullmatch(header)
    return match[1] if match else header.removeprefix("Bearer ")


def _check_signature(request: MockRequest, match: re.Match[str], now: float) -> Rejection | None:
    access_key, day, region, names, signature = match.groups()
    if access_key == "bad-key":
        return "UnrecognizedClientException", "The security token included in the request is invalid."
    timestamp = request.headers.get("x-amz-date", "")
    if (
        not _TIMESTAMP.fullmatch(timestamp)
        or not timestamp.startswith(day)
        or abs(_parse_time(timestamp) - now) > _MAX_CLOCK_SKEW
    ):
        return "InvalidSignatureException", f"Signature expired: {timestamp} is now earlier than it may be"
    token = request.headers.get("x-amz-security-token")
    expiry = _TOKEN_EXPIRY.fullmatch(token or "")
    if expiry is not None and now >= int(expiry[1]):
        return "ExpiredTokenException", "The security token included in the request is expired"
    required_headers = _REQUIRED_HEADERS | ({"x-amz-security-token"} if token else set())
    signed_headers = names.split(";")
    if not required_headers <= set(signed_headers) or signed_headers != sorted(signed_headers):
        return "InvalidSignatureException", f"{', '.join(sorted(required_headers))} must be signed headers, in order"
    if signature != _signature(request, signed_headers, timestamp, region):
        text = (
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret"
            " Access Key and signing method. Consult the service documentation for details."
        )
        return "InvalidSignatureException", text
    return None


def _parse_time(timestamp: str) -> int:
    return timegm(time.strptime(timestamp, "%Y%m%dT%H%M%SZ"))


def _signature(request: MockRequest, signed_headers: list[str], timestamp: str, region: str) -> str:
    canonical = "\n".join(
        [
            request.method,
            quote(request.path, safe="/~"),
            "",
            *(f"{name}:{request.headers.get(name, '').strip()}" for name in signed_headers),
            "",
            ";".join(signed_headers),
            hashlib.sha256(request.raw_body).hexdigest(),
        ]
    )
    scope = [timestamp[:8], region, "bedrock", "aws4_request"]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", timestamp, "/".join(scope), digest])
    key = b"AWS4" + SECRET_KEY.encode()
    for part in [*scope, text]:
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key.hex()
