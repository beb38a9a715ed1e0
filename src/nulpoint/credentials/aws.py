"""Obtain AWS credentials: static keys, or else what botocore finds in profiles, roles, containers and instances.

The variables and the order of the chain are those of botocore (its guide "Credentials"; read 2026-11). Static keys need
no package, because nulpoint signs requests itself.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

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
from nulpoint.providers.sigv4 import AwsKeys, AwsSigner
from nulpoint.providers.spec import Secret

ACCESS_KEY, SECRET_KEY, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
REGION = "AWS_REGION"
# The other variables that botocore's chain reads.
_CHAIN = (
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}")
# The service's hosts: plain, FIPS, dual-stack, VPC endpoints and China ("Amazon Bedrock endpoints and quotas").
_HOST = re.compile(
    r"\bbedrock-runtime(?:-fips)?\.([a-z]{2,4}(?:-[a-z]+)+-\d{1,2})\.(?:vpce\.)?(?:amazonaws\.(?:com(?:\.cn)?|eu)|api\.aws)$"
)
_SERVICE = "bedrock"
_environment = ScopedEnviron()
_METADATA_TIMEOUT = 0.5  # seconds for each of two calls; an instance's metadata server is local and answers quickly


def read(variables: Mapping[str, str], base_url: str, problems: list[InvalidSetting]) -> Values | None:
    """Read the settings, as `IdentityDescriptor.read` describes. Without keys, botocore searches its chain."""
    region = _region(variables, base_url, problems)
    keys = [name for name in (ACCESS_KEY, SECRET_KEY, TOKEN) if name in variables]
    problems += [
        InvalidSetting(name, "= ***", "must be printable ASCII without spaces; copy it from AWS again")
        for name in keys
        if not _is_header_safe(variables[name])
    ]
    for name in (ACCESS_KEY, SECRET_KEY) if keys else ():
        if name not in variables:
            remedy = f"{' and '.join(keys)} alone cannot be used; set {ACCESS_KEY} and {SECRET_KEY} together"
            problems.append(InvalidSetting(name, "is not set", remedy))
    names = keys or [name for name in _CHAIN if name in variables]
    return {REGION: Secret(region), **{name: Secret(variables[name]) for name in names}}


def _is_header_safe(text: str) -> bool:
    """Return whether the text can be the value of a header."""
    return text.isascii() and text.isprintable() and " " not in text


def _region(variables: Mapping[str, str], base_url: str, problems: list[InvalidSetting]) -> str:
    """Return the region to sign for: that of an AWS host, or else that of a variable.

    The host comes first so that several providers can use different regions.
    """
    host = _HOST.search(urlsplit(base_url).hostname or "")
    if host:
        return host[1]
    name = next(
        (name for name in variables if name.endswith("_REGION") and name != REGION), REGION
    )  # a provider's own variable comes first
    region = variables.get(name, "")
    if not region:
        problems.append(
            InvalidSetting(name, "is not set", "requests are signed for one region; set it, for example to us-east-1")
        )
    elif not _REGION.fullmatch(region):
        problems.append(
            InvalidSetting(name, f"= {display_value(region)}", "use the code of a region, for example us-east-1")
        )
    return region


def open_source(values: Values) -> CredentialSource:
    """Return the source of the credentials."""
    variables = {name: value.reveal() for name, value in values.items()}
    region = variables.pop(REGION)
    if ACCESS_KEY in variables:
        keys = AwsKeys(variables[ACCESS_KEY], variables[SECRET_KEY], variables.get(TOKEN))
        return StaticSource(AwsSigner(keys, region, _SERVICE))
    return ChainSource(region, variables)


class StaticSource:
    """The keys in the configuration, which do not expire."""

    def __init__(self, signer: AwsSigner) -> None:
        self._signer = signer

    def fetch(self) -> Credential:
        return Credential(self._signer, float("inf"))


class ChainSource:
    """Searches botocore's chain again for each fetch, so that the credential is as fresh as possible.

    `variables` may come from config.yaml. They are put into the environment, the only place where botocore reads them.
    """

    def __init__(self, region: str, variables: Mapping[str, str] = MappingProxyType({})) -> None:
        self._region = region
        self._variables = variables
        silence_libraries("botocore", "urllib3")

    def fetch(self) -> Credential:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.session import Session

        try:
            with _environment.applied(self._variables):
                credentials = Session().get_credentials()
                if credentials is None:
                    raise CredentialError(
                        "botocore found no credentials in variables, profiles, roles, containers or instances"
                    )
                keys = credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise CredentialError(safe_message(str(error))) from None
        if not all(_is_header_safe(text) for text in (keys.access_key, keys.secret_key, keys.token or "")):
            raise CredentialError("the credentials that botocore found are not printable ASCII without spaces")
        signer = AwsSigner(AwsKeys(keys.access_key, keys.secret_key, keys.token), self._region, _SERVICE)
        return Credential(signer, _expiry(credentials))


def has_default_credentials() -> bool:
    """Return whether botocore's chain finds credentials, even invalid ones; fetching those reports what is wrong."""
    from botocore.configprovider import ConstantProvider
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    silence_libraries("botocore", "urllib3")
    session = Session()
    timeout = ConstantProvider(_METADATA_TIMEOUT)  # as a variable it would be rounded down to whole seconds
    session.get_component("config_store").set_config_provider("metadata_service_timeout", timeout)
    try:
        return session.get_credentials() is not None
    except (BotoCoreError, ClientError, OSError):
        return True


def _expiry(credentials: Any) -> float:
    """Return when the credentials expire, in Unix seconds. Only a private attribute of botocore says so."""
    expiry = getattr(credentials, "_expiry_time", None)
    return expiry.timestamp() if expiry is not None else float("inf")


KIND = IdentityDescriptor(
    extra="aws",
    module="botocore",
    variables=(ACCESS_KEY, SECRET_KEY, TOKEN, REGION, *_CHAIN),
    remedy=f"{ACCESS_KEY} and {SECRET_KEY}",
    read=read,
    open=open_source,
    works_without_extra=lambda values: ACCESS_KEY in values,
    hint_variables=(REGION,),
    has_default_credentials=has_default_credentials,
)
