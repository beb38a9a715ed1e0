"""Render the configuration in force for the admin page: every value and its origin, with secrets masked."""

from typing import Any

import msgspec

from nulpoint.config.model import Config
from nulpoint.config.sections.identities import identity_variables
from nulpoint.config.settings import SETTINGS, Setting
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.spec import Provider

STARS = "***"


def dump(config: Config) -> dict[str, Any]:
    """Return every setting with its value and origin. Durations are in seconds, sizes in bytes.

    A secret is shown as stars; a list of secrets shows how many there are.
    """
    return {
        "settings": {
            setting.name: {"value": _value(setting, config), "origin": config.origins.get(setting.name, "default")}
            for setting in SETTINGS
        },
        "providers": {name: _provider(provider, config) for name, provider in config.providers.items()},
        "left_out": dict(config.left_out),
        "aliases": dict(config.aliases),
        "fallbacks": {
            model: [{weighted.target: weighted.weight for weighted in step} for step in chain]
            for model, chain in config.chains.items()
        },
        "models": {name: msgspec.to_builtins(row.facts) for name, row in config.models.items()},
        "prices": msgspec.to_builtins(config.prices),
        "files": sorted(config.files),
        "after_restart": list(config.after_restart),
    }


def _value(setting: Setting, config: Config) -> Any:
    value = getattr(config, setting.key)
    if setting.key == "request_log":
        return list(map(str, value))
    if not setting.secret or value is None:
        return value
    return [STARS] * len(value) if isinstance(value, tuple) else STARS


def _provider(provider: Provider, config: Config) -> dict[str, Any]:
    """Render one provider. Fixed headers may hold a credential, so their values are masked too."""
    spec = provider.spec
    variables = (spec.base_url_env, spec.key_env, spec.keys_env, *spec.variables, *identity_variables(spec))
    return {
        "base_url": provider.base_url,
        "format": spec.wire,
        "keys": [STARS] * len(provider.credentials),
        "identity": provider.identity.kind if provider.identity is not None else None,
        "headers": dict.fromkeys(spec.headers, STARS),
        "row": "built-in" if CATALOG.get(spec.name) == spec else "config.yaml",
        "origins": {name: config.origins[name] for name in variables if name and name in config.origins},
    }
