"""The token servers of the cloud mocks (OAuth 2.0, RFC 6749 and 7523), and the access tokens they issue.

A token contains its own expiry time, so that every mock can check the tokens of another one.
"""

import base64
import itertools
from time import time
from typing import Any
from urllib.parse import parse_qs

import msgspec

from nulpoint.mock.interface import MockRequest, MockResponse, json_response

_TOKEN_NUMBERS = itertools.count(1)
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def google_token(request: MockRequest) -> MockResponse:
    """Respond as oauth2.googleapis.com/token does to a service account's assertion. The signature is not checked."""
    form = _parse_form(request)
    claims = _parse_claims(form.get("assertion", ""))
    if form.get("grant_type") != _JWT_BEARER or claims is None:
        return oauth_error("invalid_grant", "Invalid JWT Signature.")
    if "cloud-platform" not in str(claims.get("scope")):
        return oauth_error("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    return json_response(
        {"access_token": new_token("ya29.mock", request), **_expires_in(request), "token_type": "Bearer"}
    )


def entra_token(request: MockRequest) -> MockResponse:
    """Respond as login.microsoftonline.com does to a client id with its secret."""
    form = _parse_form(request)
    if form.get("grant_type") != "client_credentials" or not form.get("client_secret"):
        return oauth_error("invalid_request", "AADSTS900144: The request body must contain 'client_secret'.")
    if form["client_secret"].startswith("bad"):
        return oauth_error("invalid_client", "AADSTS7000215: Invalid client secret provided.", 401)
    return json_response(
        {"access_token": new_token("eyJmock.entra", request), **_expires_in(request), "token_type": "Bearer"}
    )


def managed_token(request: MockRequest) -> MockResponse:
    """Respond as the managed identity endpoint of App Service does (version 2019-08-01)."""
    if not request.headers.get("x-identity-header"):
        return json_response({"statusCode": 401, "message": "no identity header"}, 401)
    expires_on = str(int(time() + request.token_seconds))
    return json_response(
        {
            "access_token": new_token("eyJmock.managed", request),
            "expires_on": expires_on,
            "resource": "x",
            "token_type": "Bearer",
        }
    )


def oauth_error(error: str, description: str, status: int = 400) -> MockResponse:
    return json_response({"error": error, "error_description": description}, status)


def new_token(kind: str, request: MockRequest) -> str:
    """Issue a unique token."""
    return f"{kind}-{next(_TOKEN_NUMBERS)}-{int((time() + request.token_seconds) * 1000)}"


def is_valid_token(token: str) -> bool:
    """Return whether a mock issued the token, and it has not expired."""
    expires_ms = token.rpartition("-")[2]
    return token.startswith(("ya29.mock-", "eyJmock.")) and expires_ms.isdigit() and time() * 1000 < int(expires_ms)


def _parse_form(request: MockRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.raw_body.decode("latin-1")).items()}


def _expires_in(request: MockRequest) -> dict[str, int]:
    return {"expires_in": max(1, round(request.token_seconds))}


def _parse_claims(assertion: str) -> dict[str, Any] | None:
    payload = assertion.split(".")[1] if assertion.count(".") == 2 else ""
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (msgspec.DecodeError, ValueError):
        return None
    return claims if isinstance(claims, dict) and claims.get("iss") else None
