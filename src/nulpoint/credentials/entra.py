"""Tokens of Microsoft Entra ID, by azure-identity: a client secret, a workload identity, a managed identity.

Variables and their meaning are azure-identity's own (its README, "Environment variables"; read 2026-11).
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
    safe_message,
    shown,
    silence_libraries,
)
from nulpoint.files import read_regular_file
from nulpoint.providers.auth import Bearer
from nulpoint.providers.spec import Secret

SCOPE = "https://cognitiveservices.azure.com/.default"
# Of Azure's sovereign clouds, by the end of a resource's host ("Azure Government: endpoint mapping", Azure China's).
_SCOPES = {".azure.us": "https://cognitiveservices.azure.us/.default",
           ".azure.cn": "https://cognitiveservices.azure.cn/.default"}  # fmt: skip
_SCOPE = "scope"  # among the values; where there is none it is the public cloud's
TENANT, CLIENT, SECRET = "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"
TOKEN_FILE, AUTHORITY, WHICH = "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST", "AZURE_TOKEN_CREDENTIALS"
MANAGED, WORKLOAD = "managedidentitycredential", "workloadidentitycredential"
_PATIENCE: dict[str, Any] = {
    "connection_timeout": 10,
    "read_timeout": 10,
    "retry_total": 1,
}  # seconds; the keeper tries again itself


def read(given: Mapping[str, str], base_url: str, wrong: list[InvalidSetting]) -> Values | None:
    """See `source.Kind`. AZURE_TOKEN_CREDENTIALS says which one where several could be meant."""
    values = _who(given, wrong)
    host = urlsplit(base_url).hostname or ""
    scope = next((scope for end, scope in _SCOPES.items() if host.endswith(end)), None)
    return {**values, _SCOPE: Secret(scope)} if values is not None and scope is not None else values


def _who(given: Mapping[str, str], wrong: list[InvalidSetting]) -> Values | None:
    which = given.get(WHICH, "").lower()
    authority = given.get(AUTHORITY, "")
    if authority and not authority.startswith("https://"):
        wrong.append(InvalidSetting(AUTHORITY, f"= {shown(authority)}", "use an https URL"))
    if which == MANAGED:
        return _chosen(given, CLIENT)
    if which == WORKLOAD or (TOKEN_FILE in given and SECRET not in given):
        return _all_of(given, wrong, TENANT, CLIENT, TOKEN_FILE)
    if which and which != "environmentcredential":
        remedy = "use ManagedIdentityCredential, WorkloadIdentityCredential or EnvironmentCredential, or unset it"
        wrong.append(InvalidSetting(WHICH, f"= {shown(given[WHICH])}", remedy))
        return {}
    if not which and given.keys().isdisjoint({TENANT, CLIENT, SECRET}):
        return None
    return _all_of(given, wrong, TENANT, CLIENT, SECRET)


def _all_of(given: Mapping[str, str], wrong: list[InvalidSetting], *names: str) -> Values:
    there = [name for name in names if name in given]
    for name in names:
        if name not in given:
            beside = f"{' and '.join(there)} alone" if there else "without it, an Entra identity"
            remedy = f"{beside} cannot be used: set {', '.join(names)} together; for a managed identity set {WHICH}"
            wrong.append(InvalidSetting(name, "is not set", f"{remedy}=ManagedIdentityCredential"))
    return _chosen(given, *names)


def _chosen(given: Mapping[str, str], *names: str) -> Values:
    return {name: Secret(given[name]) for name in (*names, AUTHORITY) if name in given}


def open_source(values: Values) -> CredentialSource:
    """See `source.Kind`."""
    return EntraSource({name: value.reveal() for name, value in values.items()})


def _credential(values: dict[str, str]) -> Any:
    from azure.identity import ClientSecretCredential, ManagedIdentityCredential, WorkloadIdentityCredential

    silence_libraries("azure.identity", "msal")
    # An authority of the user's own is trusted as it is: the public one, which knows the others, may be out of reach.
    own = AUTHORITY in values
    options: dict[str, Any] = {"authority": values[AUTHORITY], "disable_instance_discovery": True} if own else {}
    options |= _PATIENCE
    if SECRET in values:
        return ClientSecretCredential(values[TENANT], values[CLIENT], values[SECRET], **options)
    if TOKEN_FILE in values:
        return WorkloadIdentityCredential(
            tenant_id=values[TENANT], client_id=values[CLIENT], token_file_path=values[TOKEN_FILE], **options
        )
    return ManagedIdentityCredential(client_id=values.get(CLIENT), **_PATIENCE)


class EntraSource:
    """The library's objects keep a token until shortly before its end, also one that was refused: each fetch makes new
    ones."""

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
            raise CredentialError(self._told(error)) from None
        return Credential(Bearer(token.token), float(token.expires_on))

    def _check_token_file(self) -> None:
        """Refuse a pipe, say: the library would wait for its writer without an end."""
        try:
            read_regular_file(self._values[TOKEN_FILE])
        except OSError as error:
            raise CredentialError(f"{TOKEN_FILE} cannot be read: {error.strerror}") from None

    def _told(self, error: Exception) -> str:
        """Entra's own sentence, which names the mistake by number (AADSTS...)."""
        return safe_message(str(getattr(error, "message", error)), self._values.get(SECRET))


KIND = IdentityDescriptor(
    extra="azure",
    module="azure.identity",
    variables=(TENANT, CLIENT, SECRET, TOKEN_FILE, AUTHORITY, WHICH),
    remedy=f"for an Entra identity {TENANT}, {CLIENT} and {SECRET}, or {WHICH}=ManagedIdentityCredential",
    read=read,
    open=open_source,
)
