"""The identities in the configuration: cloud accounts whose tokens or signatures are used instead of keys."""

from nulpoint.config.problems import Problem, Problems
from nulpoint.config.sections.endpoints import Lookup
from nulpoint.credentials.kinds import KINDS, has_extra
from nulpoint.credentials.source import InvalidSetting, Values
from nulpoint.providers.spec import IdentityKind, IdentitySettings, ProviderSpec


def identity_variables(spec: ProviderSpec) -> tuple[str, ...]:
    """Return the variables that the provider's identity reads."""
    return KINDS[spec.identity].variables if spec.identity else ()


def is_identity_requested(spec: ProviderSpec, lookup: Lookup) -> bool:
    """Return whether the variables request this identity, even if some of them are invalid."""
    return spec.identity is not None and _read(spec.identity, spec, "", lookup, []) is not None


def _read(
    identity: IdentityKind, spec: ProviderSpec, base_url: str, lookup: Lookup, invalid: list[InvalidSetting]
) -> Values | None:
    names = (*KINDS[identity].variables, *spec.variables)
    texts = {name: text for name in names if (text := lookup(name) or spec.variables.get(name))}
    return KINDS[identity].read(texts, base_url, invalid)


def read_identity(spec: ProviderSpec, base_url: str, lookup: Lookup, problems: Problems) -> IdentitySettings | None:
    """Return the identity, or None if the provider has none or the user has not requested it.

    Problems are added to `problems`, each variable at most once.
    """
    if spec.identity is None:
        return None
    kind = KINDS[spec.identity]
    invalid: list[InvalidSetting] = []
    values = _read(spec.identity, spec, base_url, lookup, invalid)
    if values is None:
        return None
    if not kind.works_without_extra(values) and not has_extra(kind):
        remedy = f"needs the package {kind.module}; run pip install 'nulpoint[{kind.extra}]'"
        name = spec.required_variables[0] if spec.required_variables else spec.name
        invalid.append(InvalidSetting(name, "is set", remedy))
    known = {name for name, _, _ in problems}
    problems += [Problem(*setting) for setting in invalid if setting.name not in known]
    return IdentitySettings(spec.identity, tuple(sorted(values.items())))


def is_autodetected(spec: ProviderSpec, lookup: Lookup) -> bool:
    """Return whether a variable hints at the provider and the packages of its identity are installed."""
    kind = KINDS[spec.identity] if spec.identity else None
    return kind is not None and any(lookup(name) for name in kind.hint_variables) and has_extra(kind)


def has_explicit_identity(spec: ProviderSpec, lookup: Lookup) -> bool:
    """Return whether a variable of its identity is set that is more than a hint."""
    kind = KINDS[spec.identity] if spec.identity else None
    return kind is not None and any(lookup(name) for name in kind.variables if name not in kind.hint_variables)


def credential_remedy(spec: ProviderSpec) -> str:
    """Return what to set for a provider that has neither a key nor an identity."""
    ways = [spec.key_env] if spec.key_env else []
    ways += [KINDS[spec.identity].remedy] if spec.identity else []
    return ", or ".join(ways)
