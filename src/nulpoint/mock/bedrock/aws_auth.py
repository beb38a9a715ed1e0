"""Who may ask the mock of Bedrock: a bearer key, or a signature (version 4) made with SECRET_KEY, checked in full.

| Given | Answered |
|---|---|
| the bearer key or the access key id `bad-key` | 403 UnrecognizedClientException |
| another secret key, changed body, path or signed field | 403 InvalidSignatureException |
| a session token `until-<Unix seconds>` after that time | 403 ExpiredTokenException |
"""

import hashlib
import hmac
import re
import time
from calendar import timegm
from urllib.parse import quote

from nulpoint.mock.interface import MockRequest

SECRET_KEY = "mock-secret-access-key"
_SKEW = 300  # seconds a signature's time may be off
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([a-z0-9-]+)/bedrock/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
_TIME = re.compile(r"\d{8}T\d{6}Z")
_UNTIL = re.compile(r"until-(\d+)")
_MUST_BE_SIGNED = {"host", "x-amz-date"}

Rejection = tuple[str, str]  # the error's type and its sentence


def check_authorization(request: MockRequest, now: float | None = None) -> Rejection | None:
    """Why this call is not let in."""
    given = request.headers.get("authorization", "")
    if given.startswith("Bearer "):
        key = given.removeprefix("Bearer ")
        return ("UnrecognizedClientException", "Invalid API Key format") if key in ("", "bad-key") else None
    found = _AUTHORIZATION.fullmatch(given)
    if found is None:
        return "MissingAuthenticationTokenException", "Missing Authentication Token"
    return _check_signature(request, found, time.time() if now is None else now)


def _check_signature(request: MockRequest, found: re.Match[str], now: float) -> Rejection | None:
    access_key, day, region, names, signature = found.groups()
    if access_key == "bad-key":
        return "UnrecognizedClientException", "The security token included in the request is invalid."
    stamp = request.headers.get("x-amz-date", "")
    if not _TIME.fullmatch(stamp) or not stamp.startswith(day) or abs(_seconds(stamp) - now) > _SKEW:
        return "InvalidSignatureException", f"Signature expired: {stamp} is now earlier than it may be"
    token = request.headers.get("x-amz-security-token")
    ends = _UNTIL.fullmatch(token or "")
    if ends is not None and now >= int(ends[1]):
        return "ExpiredTokenException", "The security token included in the request is expired"
    must = _MUST_BE_SIGNED | ({"x-amz-security-token"} if token else set())
    signed = names.split(";")
    if not must <= set(signed) or signed != sorted(signed):
        return "InvalidSignatureException", f"{', '.join(sorted(must))} must be signed headers, in order"
    if signature != _signature(request, signed, stamp, region):
        text = (
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret"
            " Access Key and signing method. Consult the service documentation for details."
        )
        return "InvalidSignatureException", text
    return None


def _seconds(stamp: str) -> int:
    return timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))


def _signature(request: MockRequest, signed: list[str], stamp: str, region: str) -> str:
    canonical = "\n".join(
        [
            request.method,
            quote(request.path, safe="/~"),
            "",
            *(f"{name}:{request.headers.get(name, '').strip()}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(request.raw_body).hexdigest(),
        ]
    )
    scope = [stamp[:8], region, "bedrock", "aws4_request"]
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, "/".join(scope), hashed])
    key = b"AWS4" + SECRET_KEY.encode()
    for part in [*scope, text]:
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key.hex()
