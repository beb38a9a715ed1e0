"""The identities part of the configuration: whose tokens stand in for keys."""

from nulpoint.config.sections.endpoints import Found, Lookup
from nulpoint.credentials.kinds import KINDS, has_extra
from nulpoint.credentials.source import InvalidSetting, Values
from nulpoint.providers.spec import IdentityKind, IdentitySettings, ProviderSpec


def identity_variables(spec: ProviderSpec) -> tuple[str, ...]:
    """Those its identity reads."""
    return KINDS[spec.identity].variables if spec.identity else ()


def identity_is_set(spec: ProviderSpec, lookup: Lookup) -> bool:
    """Whether any of its variables asks for it, whatever else is wrong with them."""
    return spec.identity is not None and _read(spec.identity, spec, "", lookup, []) is not None


def _read(
    identity: IdentityKind, spec: ProviderSpec, base_url: str, lookup: Lookup, wrong: list[InvalidSetting]
) -> Values | None:
    names = (*KINDS[identity].variables, *spec.variables)
    given = {name: text for name in names if (text := lookup(name) or spec.variables.get(name))}
    return KINDS[identity].read(given, base_url, wrong)


def read_identity(spec: ProviderSpec, base_url: str, lookup: Lookup, found: Found) -> IdentitySettings | None:
    """None where the row has none, or the user has not asked for it. What is wrong goes to `found`, once."""
    if spec.identity is None:
        return None
    kind = KINDS[spec.identity]
    wrong: list[InvalidSetting] = []
    values = _read(spec.identity, spec, base_url, lookup, wrong)
    if values is None:
        return None
    if not kind.by_itself(values) and not has_extra(kind):
        remedy = f"needs the package {kind.module}: pip install 'nulpoint[{kind.extra}]'"
        wrong.append(InvalidSetting(spec.needs[0] if spec.needs else spec.name, "is set", remedy))
    known = {name for name, _, _ in found}
    found += [(one.name, one.given, one.remedy) for one in wrong if one.name not in known]
    return IdentitySettings(spec.identity, tuple(sorted(values.items())))


def is_hinted_at(spec: ProviderSpec, lookup: Lookup) -> bool:
    """Whether the user has what its identity needs installed, and a variable that is for it then."""
    kind = KINDS[spec.identity] if spec.identity else None
    return kind is not None and any(lookup(name) for name in kind.hints) and has_extra(kind)


def speaks_for_itself(spec: ProviderSpec, lookup: Lookup) -> bool:
    """Whether a variable of its identity is set that is no mere hint."""
    kind = KINDS[spec.identity] if spec.identity else None
    return kind is not None and any(lookup(name) for name in kind.variables if name not in kind.hints)


def key_remedy(spec: ProviderSpec) -> str:
    """What makes a provider usable that is asked for and has neither a key nor an identity."""
    ways = [spec.key_env] if spec.key_env else []
    ways += [KINDS[spec.identity].remedy] if spec.identity else []
    return ", or ".join(ways)
