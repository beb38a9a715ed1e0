"""Google's access tokens, by google-auth: a service account's file, a workload identity, the metadata server.

What counts, in this order, is google-auth's ("Application Default Credentials"; read 2026-11).
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
    safe_message,
    shown,
    silence_libraries,
)
from nulpoint.files import read_regular_file
from nulpoint.formats.malformed import NOT_JSON
from nulpoint.providers.auth import Bearer
from nulpoint.providers.spec import Secret

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
FILE = "GOOGLE_APPLICATION_CREDENTIALS"
SERVICE_ACCOUNT = "service_account"
_TYPES = (SERVICE_ACCOUNT, "authorized_user", "external_account", "external_account_authorized_user",
          "impersonated_service_account", "gdch_service_account")  # fmt: skip
_NEEDED = ("client_email", "private_key", "token_uri")  # of a service account's file
_environment = ScopedEnviron()
_TIMEOUT = 10.0  # seconds for one call to the token server


def read(given: Mapping[str, str], _base_url: str, wrong: list[InvalidSetting]) -> Values | None:
    """See `source.Kind`. Without the variable it is what google-auth finds by itself."""
    path = given.get(FILE)
    if path is None:
        return {}
    problem = _problem(path)
    if problem is not None:
        wrong.append(InvalidSetting(FILE, f"= {shown(path)}", problem))
    return {FILE: Secret(path)}


def _problem(path: str) -> str | None:
    """What is wrong with a credentials file. Nothing of what stands in it is ever said."""
    try:
        document = msgspec.json.decode(read_regular_file(path))
    except OSError as error:
        return f"the credentials file cannot be read: {error.strerror or type(error).__name__}"
    except NOT_JSON:
        return "the credentials file is not JSON; download the key of the service account again"
    except ValueError:  # a null byte
        return "is no path of a file"
    if not isinstance(document, dict) or document.get("type") not in _TYPES:
        return f"is no credentials file of Google's: its `type` must be one of {', '.join(_TYPES)}"
    if document["type"] != SERVICE_ACCOUNT:
        return None
    missing = [name for name in _NEEDED if not isinstance(document.get(name), str) or not document[name]]
    if missing:
        return f"the service account's file lacks {', '.join(missing)}; download its key again"
    if "-----BEGIN" not in document["private_key"]:
        return "the service account's file has a private_key that is no PEM; download its key again"
    return None


def open_source(values: Values) -> CredentialSource:
    """See `source.Kind`."""
    path = values.get(FILE)
    return GoogleSource(path.reveal() if path else None)


class GoogleSource:
    """A file is read again for each token, since keys are exchanged. Without one the library's object is made with the
    first token and kept: to find out where it runs may take seconds."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._credentials: Any = None

    def fetch(self) -> Credential:
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        try:
            if self._credentials is None or self._path is not None:
                self._credentials = _find(self._path)
            self._credentials.refresh(partial(Request(), timeout=_TIMEOUT))
        except GoogleAuthError as error:
            raise CredentialError(_told(error)) from None
        except ValueError:  # a key that cannot be read; the text may hold a part of it
            raise CredentialError("the private key in the credentials file cannot be used; download it again") from None
        if not self._credentials.token:
            raise CredentialError("Google's answer holds no token")
        expiry = self._credentials.expiry  # UTC, without saying so
        expires = expiry.replace(tzinfo=UTC).timestamp() if expiry else float("inf")
        return Credential(Bearer(self._credentials.token), expires)


def _find(path: str | None) -> Any:
    import google.auth
    from google.oauth2 import service_account

    silence_libraries("google.auth")
    if path is None:
        with _environment.applied({}):
            return google.auth.default(scopes=[SCOPE])[0]
    document = msgspec.json.decode(read_regular_file(path))
    if document.get("type") == SERVICE_ACCOUNT:
        return service_account.Credentials.from_service_account_info(document, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    with _environment.applied({FILE: path}):  # it may stand in config.yaml; google-auth reads it only there
        return google.auth.default(scopes=[SCOPE])[0]


def _told(error: Exception) -> str:
    """The library's first sentence; further arguments repeat the whole answer of the token server."""
    return safe_message(str(error.args[0] if error.args else type(error).__name__))


KIND = IdentityDescriptor(
    extra="gcp",
    module="google.auth",
    variables=(FILE,),
    remedy=f"{FILE}, the path of a service account's file",
    read=read,
    open=open_source,
)
