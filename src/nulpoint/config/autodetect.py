"""Providers in use by a hint alone: those behind which nothing stands are left out.

AWS_REGION may mean Bedrock, or be there for other reasons. Where nothing else speaks for it, the chain of credentials
is asked once, when the configuration is read, and not with the first request: a provider that can never answer would
be listed, tried, and shown as unwell for ever.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

import msgspec

from nulpoint.config.model import Config
from nulpoint.config.sections.identities import key_remedy
from nulpoint.credentials.kinds import KINDS
from nulpoint.providers.spec import Provider

PATIENCE = 2.0  # seconds that a start is held up at most
Asked = Callable[[Provider], bool]


def is_available(provider: Provider) -> bool:
    """Whether its identity finds a credential on this machine. An answer that does not come in time is a yes: what is
    wrong is then told where credentials are fetched."""
    kind = KINDS[provider.identity.kind] if provider.identity else None
    if kind is None:
        return True
    found: list[bool] = []

    def look() -> None:
        with contextlib.suppress(Exception):  # a library's; it will be told when a credential is fetched
            found.append(kind.found())

    thread = threading.Thread(target=look, name="hints", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return found != [False]


def drop_unavailable(config: Config, ask: Asked = is_available) -> Config:
    """The configuration without what was only hinted at and is not there, by name with what to set.

    Where callers bring keys of their own a provider stays, for those.
    """
    named = set(_named(config))
    hinted = [one for name, one in config.providers.items() if one.hinted and name not in named]
    unfounded = {one.spec.name: one for one in hinted if not ask(one)}
    if not unfounded:
        return config
    if config.allow_client_api_keys:
        for_callers = {name: msgspec.structs.replace(one, identity=None) for name, one in unfounded.items()}
        return msgspec.structs.replace(config, providers={**config.providers, **for_callers})
    providers = {name: one for name, one in config.providers.items() if name not in unfounded}
    left_out = {name: _remedy(one) for name, one in unfounded.items()}
    return msgspec.structs.replace(config, providers=providers, left_out=left_out)


def _named(config: Config) -> Iterator[str]:
    """Providers that the user speaks of."""
    yield config.default_provider
    yield from (target.partition("/")[0] for target in config.aliases.values())
    yield from (one.target.partition("/")[0] for chain in config.chains.values() for step in chain for one in step)


def _remedy(provider: Provider) -> str:
    kind = KINDS[provider.identity.kind] if provider.identity else None
    hints = ", ".join(kind.hints) if kind else ""
    text = f"{hints} is set, but no credentials are found on this machine"
    return f"{text}: to use it set {key_remedy(provider.spec)}"
