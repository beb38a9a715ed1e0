"""Microsoft Entra ID tokens from azure-identity: with a client secret, a workload identity or a managed identity.

The variables have the meaning that azure-identity gives them (its README, "Environment variables"; read 2026-11).
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

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
from nulpoint.providers.auth import Bearer
from nulpoint.providers.spec import Secret

SCOPE = "https://cognitiveservices.azure.com/.default"
# The scopes of Azure's sovereign clouds, by the end of a resource's host (Azure Government's and Azure China's
# endpoint mappings).
_SCOPES = {
    ".azure.us": "https://cognitiveservices.azure.us/.default",
    ".azure.cn": "https://cognitiveservices.azure.cn/.default",
}
_SCOPE = "scope"  # the key among the values; without it, the public cloud's scope is used
TENANT, CLIENT, SECRET = "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"
TOKEN_FILE, AUTHORITY, WHICH = "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST", "AZURE_TOKEN_CREDENTIALS"
MANAGED, WORKLOAD = "managedidentitycredential", "workloadidentitycredential"
_TIMEOUTS: dict[str, Any] = {
    "connection_timeout": 10,
    "read_timeout": 10,
    "retry_total": 1,
}  # seconds; the refresher itself tries again


def read(variables: Mapping[str, str], base_url: str, problems: list[InvalidSetting]) -> Values | None:
    """Read the settings (see `IdentityDescriptor.read`). AZURE_TOKEN_CREDENTIALS selects one of several kinds."""
    values = _identity_values(variables, problems)
    host = urlsplit(base_url).hostname or ""
    scope = next((scope for end, scope in _SCOPES.items() if host.endswith(end)), None)
    return {**values, _SCOPE: Secret(scope)} if values is not None and scope is not None else values


def _identity_values(variables: Mapping[str, str], problems: list[InvalidSetting]) -> Values | None:
    which = variables.get(WHICH, "").lower()
    authority = variables.get(AUTHORITY, "")
    if authority and not authority.startswith("https://"):
        problems.append(InvalidSetting(AUTHORITY, f"= {display_value(authority)}", "use an https URL"))
    if which == MANAGED:
        return _select(variables, CLIENT)
    if which == WORKLOAD or (TOKEN_FILE in variables and SECRET not in variables):
        return _require_all(variables, problems, TENANT, CLIENT, TOKEN_FILE)
    if which and which != "environmentcredential":
        remedy = "use ManagedIdentityCredential, WorkloadIdentityCredential or EnvironmentCredential, or unset it"
        problems.append(InvalidSetting(WHICH, f"= {display_value(variables[WHICH])}", remedy))
        return {}
    if not which and variables.keys().isdisjoint({TENANT, CLIENT, SECRET}):
        return None
    return _require_all(variables, problems, TENANT, CLIENT, SECRET)


def _require_all(variables: Mapping[str, str], problems: list[InvalidSetting], *names: str) -> Values:
    present = [name for name in names if name in variables]
    for name in names:
        if name not in variables:
            subject = f"{' and '.join(present)} alone" if present else "an Entra identity without it"
            remedy = f"{subject} cannot be used; set {', '.join(names)} together, or for a managed identity {WHICH}"
            problems.append(InvalidSetting(name, "is not set", f"{remedy}=ManagedIdentityCredential"))
    return _select(variables, *names)


def _select(variables: Mapping[str, str], *names: str) -> Values:
    return {name: Secret(variables[name]) for name in (*names, AUTHORITY) if name in variables}


def open_source(values: Values) -> CredentialSource:
    """Return the source of the tokens."""
    return EntraSource({name: value.reveal() for name, value in values.items()})


def _credential(values: dict[str, str]) -> Any:
    from azure.identity import ClientSecretCredential, ManagedIdentityCredential, WorkloadIdentityCredential

    silence_libraries("azure.identity", "msal")
    # A configured authority is trusted without asking the public one about it, which may be out of reach.
    options: dict[str, Any] = dict(_TIMEOUTS)
    if AUTHORITY in values:
        options |= {"authority": values[AUTHORITY], "disable_instance_discovery": True}
    if SECRET in values:
        return ClientSecretCredential(values[TENANT], values[CLIENT], values[SECRET], **options)
    if TOKEN_FILE in values:
        return WorkloadIdentityCredential(
            tenant_id=values[TENANT], client_id=values[CLIENT], token_file_path=values[TOKEN_FILE], **options
        )
    return ManagedIdentityCredential(client_id=values.get(CLIENT), **_TIMEOUTS)


class EntraSource:
    """Fetches tokens with new library objects each time.

    The library's objects cache a token until shortly before it expires, even one that was rejected.
    """

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def fetch(self) -> Credential:
        from azure.core.exceptions import AzureError

        if TOKEN_FILE in self._values:
            self._check_token_file()
        try:
            with _credential(self._values) as credential:
                token = credential.get_token(self._values.get(_SCOPE, SCOPE))
        except AzureError as error:
            raise CredentialError(self._message(error)) from None
        return Credential(Bearer(token.token), float(token.expires_on))

    def _check_token_file(self) -> None:
        """Reject what is not a regular file: the library would wait for ever for the writer of a pipe."""
        try:
            read_regular_file(self._values[TOKEN_FILE])
        except OSError as error:
            raise CredentialError(f"{TOKEN_FILE} cannot be read: {error.strerror}") from None

    def _message(self, error: Exception) -> str:
        """Return Entra's message, which contains the number of the error (AADSTS...)."""
        return safe_message(str(getattr(error, "message", error)), self._values.get(SECRET))


KIND = IdentityDescriptor(
    extra="azure",
    module="azure.identity",
    variables=(TENANT, CLIENT, SECRET, TOKEN_FILE, AUTHORITY, WHICH),
    remedy=f"for an Entra identity {TENANT}, {CLIENT} and {SECRET}, or {WHICH}=ManagedIdentityCredential",
    read=read,
    open=open_source,
)
