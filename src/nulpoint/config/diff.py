"""Compare two configurations and name what differs. Values are not reported, because they may be secrets."""

from collections.abc import Iterator, Mapping
from typing import Any

from nulpoint.config.model import Config
from nulpoint.config.settings import SETTINGS

_SECTIONS = (
    ("providers", "providers"),
    ("known", "providers"),
    ("aliases", "aliases"),
    ("chains", "fallbacks"),
    ("models", "models"),
    ("prices", "prices"),
)


def changes(before: Config, after: Config) -> tuple[str, ...]:
    """Return the names of what differs, for example `RPM_LIMIT`, `providers.groq` or `aliases.fast`."""
    named = [setting.name for setting in SETTINGS if getattr(before, setting.key) != getattr(after, setting.key)]
    for field, section in _SECTIONS:
        named += [f"{section}.{name}" for name in _differing(getattr(before, field), getattr(after, field))]
    return tuple(dict.fromkeys(named))


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield name
