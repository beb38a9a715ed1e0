"""Protect against a reload that removes keys or files by accident."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from nulpoint.config.model import Config
from nulpoint.config.problems import Problem
from nulpoint.models.catalog import Models
from nulpoint.routing.retirements import configured_targets

ALLOW = "ALLOW_KEYLESS_RELOAD"
# The keys that restrict access, and what is open to everybody without them.
KEYS = {
    "GATEWAY_API_KEYS": "anybody can send requests",
    "ADMIN_API_KEY": "the admin pages need no key",
}


class ReloadGuard(msgspec.Struct, frozen=True):
    """Remembers what the configuration in force has, so that the next one does not drop it by accident."""

    files: frozenset[str] = frozenset()  # the files that existed
    sources: frozenset[str] = frozenset()  # the origins of its values
    keys: frozenset[str] = frozenset()  # the names in `KEYS` that are set
    targets: frozenset[str] = frozenset()  # the targets of aliases and chains whose models have a day of retirement

    @classmethod
    def of(cls, config: Config) -> "ReloadGuard":
        """Return a guard for this configuration."""
        keys = frozenset(name for name in KEYS if getattr(config, name.lower()))
        targets = configured_targets(config.aliases, config.chains, config.known, Models(tuple(config.models.values())))
        names = frozenset(target.name for target in targets)
        return cls(config.files, frozenset(config.origins.values()), keys, names)

    @classmethod
    def decode(cls, text: str) -> "ReloadGuard":
        """Return the guard that `encode` wrote."""
        return msgspec.convert(json.loads(text), cls)

    def encode(self) -> str:
        """Serialise the guard for another process."""
        return json.dumps(msgspec.to_builtins(self))  # unlike msgspec, json accepts file names that are not UTF-8

    def removed_keys(self, fields: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield a problem for each key in force that `fields` would remove, unless that is allowed."""
        if fields[ALLOW.lower()]:
            return
        for name in sorted(self.keys):
            if not fields[name.lower()]:
                remedy = (
                    f"a reload may not remove it, because without it {KEYS[name]}; put it back, restart the gateway "
                    f"without it, or allow it by starting the gateway with {ALLOW}=true in its environment"
                )
                yield Problem(name, "is in force and would be removed", remedy)


def environment_only(file: str) -> str:
    """Return the remedy for an environment-only setting that was found in `file`."""
    return f"can only be set in the environment of the process, because it limits what {file} may change; remove it"
