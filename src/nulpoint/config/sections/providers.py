"""The providers in the configuration: keys, base URLs, the user's own provider records and aliases."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from nulpoint.config import values
from nulpoint.config.problems import Problem, Problems
from nulpoint.config.sections.endpoints import is_requested, resolve_endpoint, template_problems
from nulpoint.config.sections.identities import (
    credential_remedy,
    has_explicit_identity,
    identity_variables,
    is_autodetected,
    is_identity_requested,
    read_identity,
)
from nulpoint.config.sections.targets import target_problem
from nulpoint.config.settings import BY_KEY
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.dialect import PLAIN, Dialect
from nulpoint.providers.operations import OPERATIONS
from nulpoint.providers.spec import Provider, ProviderSpec, Secret
from nulpoint.providers.wire_formats import CALLS

FILE = "config.yaml"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def read_providers(
    environ: Mapping[str, str], document: Mapping[str, Any], *, forward_keys: bool
) -> tuple[dict[str, Provider], dict[str, ProviderSpec], dict[str, str], Problems]:
    """Return the providers in use, all known providers, the user's aliases, and the problems found in them."""
    problems: Problems = []
    known = {**CATALOG, **_configured_rows(document.get("providers"), problems)}
    _reject_unknown_keys(document, known, problems)
    variables = _Variables(environ, document, problems)
    in_use = {}
    for name, spec in known.items():
        provider = _provider(spec, variables, forward_keys=forward_keys, is_custom=name not in CATALOG)
        if provider is not None:
            in_use[name] = provider
    aliases = _aliases(document.get("aliases"), known, problems)
    if not in_use and not problems:
        keys = [spec.key_env for spec in known.values() if spec.key_env and not spec.variables]
        names = ", ".join(
            dict.fromkeys([*keys, *(name for spec in known.values() for name in spec.required_variables)])
        )
        text = f"set a key ({names}) or ALLOW_CLIENT_API_KEYS=true; to try nulpoint without a key, run `make demo`"
        problems.append(Problem("providers", "none is configured", text))
    return in_use, known, aliases, problems


def _configured_rows(section: Any, problems: Problems) -> dict[str, ProviderSpec]:
    if section is None:
        return {}
    if not isinstance(section, list):
        problems.append(Problem("providers", f"({FILE})", "must be a list of provider records"))
        return {}
    rows = {}
    for index, record in enumerate(section):
        location = f"providers[{index}]"
        row = _row(location, record, problems)
        if row is not None and row.name in rows:
            problems.append(
                Problem(
                    f"{location}.name", f"= {row.name!r}", "is the name of an earlier record too; rename one of them"
                )
            )
        elif row is not None:
            rows[row.name] = row
    return rows


def _row(location: str, record: Any, problems: Problems) -> ProviderSpec | None:
    """Read a user's record; one that names a known provider, or is `like` one, changes only the fields it gives."""
    if not isinstance(record, dict):
        problems.append(Problem(location, f"({FILE})", "must be a mapping with at least name, base_url and key_env"))
        return None
    like = record.get("like") or record.get("name")
    base = CATALOG.get(str(like))
    if base is None and record.get("like") is not None:
        problems.append(
            Problem(f"{location}.like", f"= {str(like)!r}", f"is not a known provider{_suggestion(str(like))}")
        )
        return None
    merged = _with_operations({**(msgspec.to_builtins(base) if base else {}), **record})
    if "dialect" in record:
        unknown = _dialect_problems(f"{location}.dialect", record["dialect"])
        problems += unknown
        if unknown:
            return None
        merged["dialect"] = {**(msgspec.to_builtins(base.dialect) if base else {}), **record["dialect"]}
    try:
        row = msgspec.convert(merged, ProviderSpec)
    except msgspec.ValidationError as error:
        problems.append(Problem(location, f"({FILE})", str(error)))
        return None
    return row if _is_sound(location, row, problems) else None


def _dialect_problems(location: str, dialect: Any) -> Problems:
    """Return a problem for each field that no dialect has."""
    if not isinstance(dialect, dict):
        text = "must be a mapping, for example {roles: {developer: system}}"
        return [Problem(location, f"({FILE})", text)]
    known = Dialect.__struct_fields__
    return [
        Problem(f"{location}.{field}", f"({FILE})", f"is not a field of a dialect{_suggestion(str(field), known)}")
        for field in dialect
        if field not in known
    ]


def _with_operations(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with `operations` in place of `completions: true` and `embeddings: true` of earlier versions."""
    operations = record.get("operations", ("chat",))
    for name in ("completions", "embeddings"):
        if isinstance(record.get(name), bool) and isinstance(operations, (list, tuple)):
            others = [each for each in operations if each != name]
            operations = [*others, name] if record[name] else others
            record = {key: value for key, value in record.items() if key != name}
    return {**record, "operations": operations}


def _suggestion(name: str, known: Iterable[str] = CATALOG) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _is_sound(location: str, row: ProviderSpec, problems: Problems) -> bool:
    before = len(problems)
    if not _NAME.fullmatch(row.name):
        problems.append(Problem(f"{location}.name", f"= {row.name!r}", "use lower-case letters, digits, - and _"))
    problems += template_problems(location, row)
    problems += _operation_problems(location, row)
    for name, value in row.headers.items():
        if not _HEADER_NAME.fullmatch(name) or not value.isascii() or not value.isprintable():
            shown = repr(name.partition(":")[0][:40])  # text after a colon may be a secret value
            problems.append(Problem(f"{location}.headers", shown, "is not a valid header: use an ASCII name and value"))
    if row.wire != "openai" and row.dialect != PLAIN:
        text = f"has an effect only with wire: openai, and this is {row.wire}; remove it"
        problems.append(Problem(f"{location}.dialect", f"({FILE})", text))
    if row.idle_timeout is not None and not 0 < row.idle_timeout < math.inf:
        problems.append(
            Problem(f"{location}.idle_timeout", f"= {row.idle_timeout}", "use a number of seconds greater than zero")
        )
    if row.key_env is not None and not _VARIABLE.fullmatch(row.key_env):
        text = "is not the name of a variable; name the variable that holds the key, for example MY_API_KEY"
        problems.append(Problem(f"{location}.key_env", "= ***", text))  # likely the key itself
    if row.key_env is None and row.auth != "none" and row.identity is None:
        problems.append(
            Problem(f"{location}.key_env", "is null", "name the variable that holds the key, or set auth: none")
        )
    return len(problems) == before


def _operation_problems(location: str, row: ProviderSpec) -> Problems:
    """Return a problem for each name in a record that is not one of an operation."""
    named = [("operations", name) for name in row.operations]
    named += [("rename_response", name) for name in row.rename_response]
    named += [("paths", name) for paths in (row.paths, *(one.paths for one in row.variants)) for name in paths]
    return [
        Problem(f"{location}.{field}", f"= {name!r}", f"is not one of {', '.join(known)}{_suggestion(name, known)}")
        for field, name in named
        if name not in (known := CALLS if field == "paths" else tuple(OPERATIONS))
    ]


class _Variables:
    """Reads the variables of providers from the environment or config.yaml, and collects problems."""

    def __init__(self, environ: Mapping[str, str], document: Mapping[str, Any], problems: Problems) -> None:
        self._environ = environ
        self._document = document
        self.problems = problems

    def read(self, variable: str, reader: values.Reader) -> Any:
        text, origin = self._environ.get(variable), "environment"
        if not text:
            text, origin = self._document.get(variable.lower()), FILE
            text = ",".join(map(str, text)) if isinstance(text, list) else text
        if not text:
            return None
        try:
            return reader(str(text).strip())
        except ValueError as error:
            shown = "***" if reader in (values.secret, values.secrets) else values.display_text(str(text))
            self.problems.append(Problem(variable, f"= {shown} ({origin})", str(error)))
            return None

    def lookup(self, variable: str) -> str | None:
        text: str | None = self.read(variable, values.text_value)
        return text

    def keys(self, spec: ProviderSpec) -> tuple[Secret, ...]:
        """Return the single key followed by those of the list, without duplicates."""
        if spec.key_env is None or spec.keys_env is None:
            return ()
        single: Secret | None = self.read(spec.key_env, values.secret)
        several: tuple[Secret, ...] = self.read(spec.keys_env, values.secrets) or ()
        return tuple(dict.fromkeys(((single,) if single else ()) + several))


def _provider(spec: ProviderSpec, variables: _Variables, *, forward_keys: bool, is_custom: bool) -> Provider | None:
    """Read one provider's settings; return None if nothing brings it into use."""
    base_url = variables.read(spec.base_url_env, values.url)
    keys = variables.keys(spec)
    if spec.variables or spec.identity:
        lookup = variables.lookup
        requested = keys or base_url is not None or is_requested(spec, lookup)
        requested = requested or (is_custom and is_identity_requested(spec, lookup))
        if not requested and not is_autodetected(spec, lookup):
            return None
        provider = _cloud_provider(spec, base_url, keys, variables, forward_keys=forward_keys)
        autodetected = not requested and not has_explicit_identity(spec, lookup)
        return msgspec.structs.replace(provider, autodetected=True) if autodetected else provider
    # A host without a key is in use when the user gives its address: by a variable, or by their own record.
    usable = keys or (forward_keys if spec.key_env else base_url is not None or is_custom)
    if not usable:
        return None
    return Provider(spec=spec, base_url=base_url or spec.base_url.rstrip("/"), credentials=keys, paths=dict(spec.paths))


def _cloud_provider(
    spec: ProviderSpec, base_url: str | None, keys: tuple[Secret, ...], variables: _Variables, *, forward_keys: bool
) -> Provider:
    """Build a provider whose endpoint has variables or which has an identity."""
    endpoint = resolve_endpoint(spec, base_url, variables.lookup, variables.problems)
    identity = None if keys else read_identity(spec, endpoint.base_url, variables.lookup, variables.problems)
    if not keys and identity is None and not forward_keys and spec.auth != "none":
        remedy = f"set {credential_remedy(spec)}"
        variables.problems.append(Problem(spec.name, "is configured but has no credential", remedy))
    return Provider(spec=spec, base_url=endpoint.base_url, credentials=keys, paths=endpoint.paths, identity=identity)


def _reject_unknown_keys(document: Mapping[str, Any], known: Mapping[str, ProviderSpec], problems: Problems) -> None:
    variables = {spec.base_url_env.lower() for spec in known.values()}
    for spec in known.values():
        names = (spec.key_env, spec.keys_env, *spec.variables, *spec.asked_for_by, *identity_variables(spec))
        variables |= {name.lower() for name in names if name}
    allowed = {*BY_KEY, *variables, "providers", "aliases", "fallbacks", "models", "prices"}
    for key in document:
        if key not in allowed:
            close = difflib.get_close_matches(key.lower(), allowed, 1)
            hint = f"did you mean {close[0]}?" if close else "remove it, or see docs/configuration.md for all keys"
            problems.append(Problem(key, f"({FILE})", f"unknown key; {hint}"))


def _aliases(section: Any, known: Mapping[str, ProviderSpec], problems: Problems) -> dict[str, str]:
    if section is None:
        return {}
    if not isinstance(section, dict):
        problems.append(Problem("aliases", f"({FILE})", "must be a mapping of names to provider/model"))
        return {}
    aliases = {}
    for name, target in section.items():
        if remedy := target_problem(str(target), known):
            problems.append(Problem(f"aliases.{name}", f"= {target!r}", remedy))
        aliases[str(name)] = str(target)
    return aliases
