"""The token servers beside the clouds' mocks (OAuth 2.0, RFC 6749 and 7523), and the tokens they give out.

A token says itself until when it counts, so that every mock can judge those of another one.
"""

import base64
import itertools
from time import time
from typing import Any
from urllib.parse import parse_qs

import msgspec

from nulpoint.mock.interface import MockRequest, MockResponse, json_response

_NUMBERS = itertools.count(1)
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def google_token(call: MockRequest) -> MockResponse:
    """What oauth2.googleapis.com/token answers to a service account's assertion. Signatures are not looked at."""
    form = _form(call)
    claims = _claims(form.get("assertion", ""))
    if form.get("grant_type") != _JWT_BEARER or claims is None:
        return oauth_error("invalid_grant", "Invalid JWT Signature.")
    if "cloud-platform" not in str(claims.get("scope")):
        return oauth_error("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    return json_response({"access_token": new_token("ya29.mock", call), **_expires_in(call), "token_type": "Bearer"})


def entra_token(call: MockRequest) -> MockResponse:
    """What login.microsoftonline.com answers to a client and its secret."""
    form = _form(call)
    if form.get("grant_type") != "client_credentials" or not form.get("client_secret"):
        return oauth_error("invalid_request", "AADSTS900144: The request body must contain 'client_secret'.")
    if form["client_secret"].startswith("bad"):
        return oauth_error("invalid_client", "AADSTS7000215: Invalid client secret provided.", 401)
    return json_response(
        {"access_token": new_token("eyJmock.entra", call), **_expires_in(call), "token_type": "Bearer"}
    )


def managed_token(call: MockRequest) -> MockResponse:
    """What the endpoint of a managed identity answers (App Service's, 2019-08-01)."""
    if not call.headers.get("x-identity-header"):
        return json_response({"statusCode": 401, "message": "no identity header"}, 401)
    until = str(int(time() + call.token_seconds))
    return json_response(
        {
            "access_token": new_token("eyJmock.managed", call),
            "expires_on": until,
            "resource": "x",
            "token_type": "Bearer",
        }
    )


def oauth_error(error: str, description: str, status: int = 400) -> MockResponse:
    return json_response({"error": error, "error_description": description}, status)


def new_token(kind: str, call: MockRequest) -> str:
    """A token unlike any other."""
    return f"{kind}-{next(_NUMBERS)}-{int((time() + call.token_seconds) * 1000)}"


def is_valid_token(token: str) -> bool:
    """One of ours that has not run out."""
    until = token.rpartition("-")[2]
    return token.startswith(("ya29.mock-", "eyJmock.")) and until.isdigit() and time() * 1000 < int(until)


def _form(call: MockRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(call.raw_body.decode("latin-1")).items()}


def _expires_in(call: MockRequest) -> dict[str, int]:
    return {"expires_in": max(1, round(call.token_seconds))}


def _claims(assertion: str) -> dict[str, Any] | None:
    part = assertion.split(".")[1] if assertion.count(".") == 2 else ""
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (msgspec.DecodeError, ValueError):
        return None
    return claims if isinstance(claims, dict) and claims.get("iss") else None
