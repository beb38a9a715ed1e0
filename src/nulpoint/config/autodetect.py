"""Drop providers that were only auto-detected and have no usable credentials.

AWS_REGION may be set for Bedrock or for something else. If no other setting asks for Bedrock, the credential chain is
searched once, when the configuration is read. Without this check, a provider without credentials would be listed and
tried, and would be reported as unhealthy for ever.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

import msgspec

from nulpoint.config.model import Config
from nulpoint.config.sections.identities import credential_remedy
from nulpoint.credentials.kinds import KINDS
from nulpoint.providers.spec import Provider

TIMEOUT = 2.0  # seconds; a search for credentials delays the start by no more than this
AvailabilityCheck = Callable[[Provider], bool]


def is_available(provider: Provider) -> bool:
    """Return whether the provider's identity finds a credential on this machine.

    A search that does not finish within TIMEOUT counts as success. If there is a problem, it is reported later, when
    the credential is fetched.
    """
    kind = KINDS[provider.identity.kind] if provider.identity else None
    if kind is None:
        return True
    results: list[bool] = []

    def search() -> None:
        with contextlib.suppress(Exception):  # raised by a library; reported when a credential is fetched
            results.append(kind.has_default_credentials())

    thread = threading.Thread(target=search, name="autodetect", daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return results != [False]


def drop_unavailable(config: Config, check: AvailabilityCheck = is_available) -> Config:
    """Return the configuration without auto-detected providers that have no credentials; `left_out` names them.

    If clients may bring their own keys, such a provider stays in use for those, without an identity.
    """
    named = set(_named_providers(config))
    candidates = [p for name, p in config.providers.items() if p.autodetected and name not in named]
    unavailable = {provider.spec.name: provider for provider in candidates if not check(provider)}
    if not unavailable:
        return config
    if config.allow_client_api_keys:
        for_clients = {name: msgspec.structs.replace(p, identity=None) for name, p in unavailable.items()}
        return msgspec.structs.replace(config, providers={**config.providers, **for_clients})
    providers = {name: provider for name, provider in config.providers.items() if name not in unavailable}
    left_out = {name: _remedy(provider) for name, provider in unavailable.items()}
    return msgspec.structs.replace(config, providers=providers, left_out=left_out)


def _named_providers(config: Config) -> Iterator[str]:
    """Yield the names of the providers that the user's own settings mention."""
    yield config.default_provider
    yield from (target.partition("/")[0] for target in config.aliases.values())
    for chain in config.chains.values():
        yield from (weighted.target.partition("/")[0] for step in chain for weighted in step)


def _remedy(provider: Provider) -> str:
    kind = KINDS[provider.identity.kind] if provider.identity else None
    variables = ", ".join(kind.hint_variables) if kind else ""
    text = f"{variables} is set, but no credentials were found on this machine"
    return f"{text}; to use this provider, set {credential_remedy(provider.spec)}"
