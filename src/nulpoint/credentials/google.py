"""Google access tokens from google-auth: with a service account file, a workload identity or the metadata server.

The order in which these are tried is that of google-auth ("Application Default Credentials"; read 2026-11).
"""

from collections.abc import Mapping
from datetime import UTC
from functools import partial
from typing import Any

import msgspec

from nulpoint.credentials.environ import ScopedEnviron
from nulpoint.credentials.source import (
    Credential,
    CredentialError,
    CredentialSource,
    IdentityDescriptor,
    InvalidSetting,
    Values,
    display_value,
    safe_message,
    silence_libraries,
)
from nulpoint.files import read_regular_file
from nulpoint.formats.malformed import NOT_JSON
from nulpoint.providers.auth import Bearer
from nulpoint.providers.spec import Secret

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
FILE = "GOOGLE_APPLICATION_CREDENTIALS"
SERVICE_ACCOUNT = "service_account"
_TYPES = (
    SERVICE_ACCOUNT,
    "authorized_user",
    "external_account",
    "external_account_authorized_user",
    "impersonated_service_account",
    "gdch_service_account",
)
_REQUIRED = ("client_email", "private_key", "token_uri")  # in a service account file
_environment = ScopedEnviron()
_TIMEOUT = 10.0  # seconds for one call to the token server


def read(variables: Mapping[str, str], _base_url: str, problems: list[InvalidSetting]) -> Values | None:
    """Read the settings (see `IdentityDescriptor.read`). Without the variable, google-auth searches itself."""
    path = variables.get(FILE)
    if path is None:
        return {}
    problem = _problem(path)
    if problem is not None:
        problems.append(InvalidSetting(FILE, f"= {display_value(path)}", problem))
    return {FILE: Secret(path)}


def _problem(path: str) -> str | None:
    """Return what is wrong with a credentials file, without repeating any of its content."""
    try:
        document = msgspec.json.decode(read_regular_file(path))
    except OSError as error:
        return f"the credentials file cannot be read: {error.strerror or type(error).__name__}"
    except NOT_JSON:
        return "the credentials file is not JSON; download the service account key again"
    except ValueError:  # a null byte
        return "is not a valid path"
    if not isinstance(document, dict) or document.get("type") not in _TYPES:
        return f"is not a Google credentials file: its `type` must be one of {', '.join(_TYPES)}"
    if document["type"] != SERVICE_ACCOUNT:
        return None
    missing = [name for name in _REQUIRED if not isinstance(document.get(name), str) or not document[name]]
    if missing:
        return f"the service account file lacks {', '.join(missing)}; download the key again"
    if "-----BEGIN" not in document["private_key"]:
        return "the private_key in the service account file is not in PEM format; download the key again"
    return None


def open_source(values: Values) -> CredentialSource:
    """Return the source of the tokens."""
    path = values.get(FILE)
    return GoogleSource(path.reveal() if path else None)


class GoogleSource:
    """Fetches tokens from Google.

    A credentials file is read again for each token, because keys are rotated. Without a file, the library's object is
    created once and kept, because finding out where the process runs may take seconds.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._credentials: Any = None

    def fetch(self) -> Credential:
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        try:
            if self._credentials is None or self._path is not None:
                self._credentials = _load_credentials(self._path)
            self._credentials.refresh(partial(Request(), timeout=_TIMEOUT))
        except GoogleAuthError as error:
            raise CredentialError(_message(error)) from None
        except ValueError:  # an unreadable key; the message may contain a part of it
            raise CredentialError("the private key in the credentials file cannot be used; download it again") from None
        if not self._credentials.token:
            raise CredentialError("Google's response contains no token")
        expiry = self._credentials.expiry  # a datetime in UTC without a time zone
        expires = expiry.replace(tzinfo=UTC).timestamp() if expiry else float("inf")
        return Credential(Bearer(self._credentials.token), expires)


def _load_credentials(path: str | None) -> Any:
    import google.auth
    from google.oauth2 import service_account

    silence_libraries("google.auth")
    if path is None:
        with _environment.applied({}):
            return google.auth.default(scopes=[SCOPE])[0]
    document = msgspec.json.decode(read_regular_file(path))
    if document.get("type") == SERVICE_ACCOUNT:
        return service_account.Credentials.from_service_account_info(document, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    with _environment.applied({FILE: path}):  # google-auth reads it only in the environment, not in config.yaml
        return google.auth.default(scopes=[SCOPE])[0]


def _message(error: Exception) -> str:
    """Return the error's first argument; further ones repeat the whole response of the token server."""
    return safe_message(str(error.args[0] if error.args else type(error).__name__))


KIND = IdentityDescriptor(
    extra="gcp",
    module="google.auth",
    variables=(FILE,),
    remedy=f"{FILE} to the path of a service account file",
    read=read,
    open=open_source,
)
