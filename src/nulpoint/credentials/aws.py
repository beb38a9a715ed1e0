"""AWS credentials: the two or three variables, else what botocore finds (profiles, roles, containers, instances).

Variables and the order of the chain are botocore's own (its guide "Credentials"; read 2026-11). Static keys need no
package: the signature is ours.
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
    safe_message,
    shown,
    silence_libraries,
)
from nulpoint.providers.sigv4 import AwsKeys, AwsSigner
from nulpoint.providers.spec import Secret

ACCESS_KEY, SECRET_KEY, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
REGION = "AWS_REGION"
# What the chain reads of the environment beside these.
_CHAIN = (
    "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)  # fmt: skip
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}")
# Hosts of the service: plain, FIPS, dual-stack, of a VPC endpoint, of China ("Amazon Bedrock endpoints and quotas").
_HOST = re.compile(
    r"\bbedrock-runtime(?:-fips)?\.([a-z]{2,4}(?:-[a-z]+)+-\d{1,2})\.(?:vpce\.)?(?:amazonaws\.(?:com(?:\.cn)?|eu)|api\.aws)$"
)
_SERVICE = "bedrock"
_environment = ScopedEnviron()
_METADATA_TIMEOUT = 0.5  # seconds for each of two calls; an instance's own server is as near as can be


def read(given: Mapping[str, str], base_url: str, wrong: list[InvalidSetting]) -> Values | None:
    """See `source.Kind`. Without keys it is what botocore finds by itself."""
    region = _region(given, base_url, wrong)
    keys = [name for name in (ACCESS_KEY, SECRET_KEY, TOKEN) if name in given]
    wrong += [
        InvalidSetting(name, "= ***", "must be printable ASCII without spaces; copy it again")
        for name in keys
        if not _goes_out(given[name])
    ]
    for name in (ACCESS_KEY, SECRET_KEY) if keys else ():
        if name not in given:
            remedy = f"{' and '.join(keys)} alone cannot be used: set {ACCESS_KEY} and {SECRET_KEY} together"
            wrong.append(InvalidSetting(name, "is not set", remedy))
    wanted = keys or [name for name in _CHAIN if name in given]
    return {REGION: Secret(region), **{name: Secret(given[name]) for name in wanted}}


def _goes_out(text: str) -> bool:
    """Whether it can stand in a header field."""
    return text.isascii() and text.isprintable() and " " not in text


def _region(given: Mapping[str, str], base_url: str, wrong: list[InvalidSetting]) -> str:
    """The one a signature is for: that of AWS's host, else what a variable says, so that rows may be of several."""
    host = _HOST.search(urlsplit(base_url).hostname or "")
    if host:
        return host[1]
    name = next((name for name in given if name.endswith("_REGION") and name != REGION), REGION)  # a row's own first
    region = given.get(name, "")
    if not region:
        wrong.append(InvalidSetting(name, "is not set", "a signature is for one region: set it, e.g. us-east-1"))
    elif not _REGION.fullmatch(region):
        wrong.append(InvalidSetting(name, f"= {shown(region)}", "use the code of a region, e.g. us-east-1"))
    return region


def open_source(values: Values) -> CredentialSource:
    """See `source.Kind`."""
    given = {name: value.reveal() for name, value in values.items()}
    region = given.pop(REGION)
    if ACCESS_KEY in given:
        keys = AwsKeys(given[ACCESS_KEY], given[SECRET_KEY], given.get(TOKEN))
        return StaticSource(AwsSigner(keys, region, _SERVICE))
    return ChainSource(region, given)


class StaticSource:
    """Keys of the configuration: they count until somebody withdraws them."""

    def __init__(self, signer: AwsSigner) -> None:
        self._signer = signer

    def fetch(self) -> Credential:
        return Credential(self._signer, float("inf"))


class ChainSource:
    """Walks botocore's chain anew each time, so that what is given out is as fresh as can be had.

    `given`: variables for it, which may stand in config.yaml; botocore reads them in the environment alone.
    """

    def __init__(self, region: str, given: Mapping[str, str] = MappingProxyType({})) -> None:
        self._region = region
        self._given = given
        silence_libraries("botocore", "urllib3")

    def fetch(self) -> Credential:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.session import Session

        try:
            with _environment.applied(self._given):
                credentials = Session().get_credentials()
                if credentials is None:
                    raise CredentialError(
                        "botocore's chain found none: no variables, profile, role, container or instance"
                    )
                keys = credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise CredentialError(safe_message(str(error))) from None
        if not all(_goes_out(text) for text in (keys.access_key, keys.secret_key, keys.token or "")):
            raise CredentialError("what botocore's chain found is no credential: not printable ASCII without spaces")
        signer = AwsSigner(AwsKeys(keys.access_key, keys.secret_key, keys.token), self._region, _SERVICE)
        return Credential(signer, _end_of(credentials))


def has_default_credentials() -> bool:
    """See `source.Kind`. What is there and broken counts as found: whoever fetches will say what is wrong with it."""
    from botocore.configprovider import ConstantProvider
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    silence_libraries("botocore", "urllib3")
    session = Session()
    patience = ConstantProvider(_METADATA_TIMEOUT)  # as a variable it would be cut to whole seconds
    session.get_component("config_store").set_config_provider("metadata_service_timeout", patience)
    try:
        return session.get_credentials() is not None
    except (BotoCoreError, ClientError, OSError):
        return True


def _end_of(credentials: Any) -> float:
    """Unix seconds; those that are renewed know it under a name botocore has no public word for."""
    expiry = getattr(credentials, "_expiry_time", None)
    return expiry.timestamp() if expiry is not None else float("inf")


KIND = IdentityDescriptor(
    extra="aws",
    module="botocore",
    variables=(ACCESS_KEY, SECRET_KEY, TOKEN, REGION, *_CHAIN),
    remedy=f"{ACCESS_KEY} and {SECRET_KEY}",
    read=read,
    open=open_source,
    by_itself=lambda values: ACCESS_KEY in values,
    hints=(REGION,),
    found=has_default_credentials,
)
