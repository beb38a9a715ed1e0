"""What a newer configuration must not take away by accident, and the settings that need more than a reload to go."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from nulpoint.config.model import Config

ALLOW = "ALLOW_KEYLESS_RELOAD"
# The keys without which something is open to everybody, and what that is.
KEYS = {
    "GATEWAY_API_KEYS": "anybody can call",
    "ADMIN_API_KEY": "the operators' pages ask for no key",
}


class InForce(msgspec.Struct, frozen=True):
    """What is remembered of the configuration in force to judge the next one by it."""

    files: frozenset[str] = frozenset()  # that were there
    sources: frozenset[str] = frozenset()  # where values came from
    keys: frozenset[str] = frozenset()  # those of `KEYS` that are set

    @classmethod
    def of(cls, config: Config) -> "InForce":
        """Remember this configuration."""
        keys = frozenset(name for name in KEYS if getattr(config, name.lower()))
        return cls(config.files, frozenset(config.origins.values()), keys)

    @classmethod
    def decode(cls, text: str) -> "InForce":
        """Read what `encode` wrote."""
        return msgspec.convert(json.loads(text), cls)

    def encode(self) -> str:
        """Write it down for another process."""
        return json.dumps(msgspec.to_builtins(self))  # names of files may hold bytes that are no text

    def removed_keys(self, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Name the keys that are in force and would be gone altogether, unless that is allowed."""
        if fields[ALLOW.lower()]:
            return
        for name in sorted(self.keys):
            if not fields[name.lower()]:
                remedy = (
                    f"a reload does not take it away, since without it {KEYS[name]}; put it back, or restart the "
                    f"gateway without it, or set {ALLOW}=true in the environment of the process beforehand"
                )
                yield name, "is in force and would be gone", remedy


def environment_only(where: str) -> str:
    """Say why a setting that stands in a file is refused there."""
    return f"counts in the environment of the process alone, not in {where}, which it is there to judge; remove it"
