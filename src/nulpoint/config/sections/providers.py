"""The providers part of the configuration: keys, base URLs, the user's own rows and aliases."""

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from nulpoint.config import values
from nulpoint.config.sections.endpoints import Found, Lookup, is_asked_for, resolve_endpoint, unsound
from nulpoint.config.sections.identities import (
    identity_is_set,
    identity_variables,
    is_hinted_at,
    key_remedy,
    read_identity,
    speaks_for_itself,
)
from nulpoint.config.sections.targets import remedy_for
from nulpoint.config.settings import BY_KEY
from nulpoint.providers.catalog import CATALOG
from nulpoint.providers.spec import Provider, ProviderSpec, Secret

FILE = "config.yaml"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def read_providers(
    environ: Mapping[str, str], document: Mapping[str, Any], *, forward_keys: bool
) -> tuple[dict[str, Provider], dict[str, ProviderSpec], dict[str, str], Found]:
    """Providers in use, all known rows, the user's aliases, and what is wrong with any of it."""
    found: Found = []
    known = {**CATALOG, **_own_rows(document.get("providers"), found)}
    _refuse_unknown(document, known, found)
    in_use = {}
    for name, spec in known.items():
        provider = _configured(spec, environ, document, forward_keys, name not in CATALOG, found)
        if provider is not None:
            in_use[name] = provider
    aliases = _aliases(document.get("aliases"), known, found)
    if not in_use and not found:
        keys = [spec.key_env for spec in known.values() if spec.key_env and not spec.variables]
        variables = ", ".join(dict.fromkeys([*keys, *(name for spec in known.values() for name in spec.needs)]))
        text = f"set a key ({variables}) or ALLOW_CLIENT_API_KEYS=true; to try it without any, run `make demo`"
        found.append(("providers", "none is configured", text))
    return in_use, known, aliases, found


def _own_rows(section: Any, found: Found) -> dict[str, ProviderSpec]:
    if section is None:
        return {}
    if not isinstance(section, list):
        found.append(("providers", f"({FILE})", "must be a list of provider records"))
        return {}
    rows = {}
    for index, record in enumerate(section):
        where = f"providers[{index}]"
        row = _row(where, record, found)
        if row is not None and row.name in rows:
            found.append((f"{where}.name", f"= {row.name!r}", "is given twice"))
        elif row is not None:
            rows[row.name] = row
    return rows


def _row(where: str, record: Any, found: Found) -> ProviderSpec | None:
    """A user's record; with the name of a catalogue row, or `like` one, it changes just the fields it gives."""
    if not isinstance(record, dict):
        found.append((where, f"({FILE})", "must be a mapping with at least name, base_url and key_env"))
        return None
    like = record.get("like", record.get("name"))
    base = CATALOG.get(str(like))
    if base is None and "like" in record:
        found.append((f"{where}.like", f"= {str(like)!r}", f"is no provider nulpoint knows{_close(str(like))}"))
        return None
    given = {key: value for key, value in record.items() if key != "like"}
    merged = {**(msgspec.to_builtins(base) if base else {}), **given}
    try:
        row = msgspec.convert(merged, ProviderSpec)
    except msgspec.ValidationError as error:
        found.append((where, f"({FILE})", str(error)))
        return None
    return row if _is_sound(where, row, found) else None


def _close(name: str) -> str:
    close = difflib.get_close_matches(name, CATALOG, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _is_sound(where: str, row: ProviderSpec, found: Found) -> bool:
    before = len(found)
    if not _NAME.fullmatch(row.name):
        found.append((f"{where}.name", f"= {row.name!r}", "use lower-case letters, digits, - and _"))
    found += unsound(where, row)
    for name, value in row.headers.items():
        if not _FIELD_NAME.fullmatch(name) or not value.isascii() or not value.isprintable():
            shown = repr(name.partition(":")[0][:40])  # what stands behind a colon is a value
            found.append((f"{where}.headers", shown, "is not a header field"))
    if row.idle_timeout is not None and not 0 < row.idle_timeout < math.inf:
        found.append((f"{where}.idle_timeout", f"= {row.idle_timeout}", "use seconds above zero"))
    if row.key_env is not None and not _VARIABLE.fullmatch(row.key_env):
        text = "is no variable's name; name the variable that holds the key, for example OWN_API_KEY"
        found.append((f"{where}.key_env", "= ***", text))  # likely the key itself
    if row.key_env is None and row.auth != "none" and row.identity is None:
        found.append((f"{where}.key_env", "is null", "name the variable that holds the key, or set auth: none"))
    return len(found) == before


def _configured(
    spec: ProviderSpec, environ: Mapping[str, str], document: Mapping[str, Any], forward_keys: bool, own: bool,
    found: Found,
) -> Provider | None:  # fmt: skip
    base_url = _read(spec.base_url_env, values.url, environ, document, found)
    keys = _keys(spec, environ, document, found)

    def lookup(name: str) -> str | None:
        text: str | None = _read(name, values.text_value, environ, document, found)
        return text

    if spec.variables or spec.identity:
        asked = keys or base_url is not None or is_asked_for(spec, lookup) or (own and identity_is_set(spec, lookup))
        if not asked and not is_hinted_at(spec, lookup):
            return None
        provider = _placed(spec, base_url, keys, forward_keys, lookup, found)
        hinted = not asked and not speaks_for_itself(spec, lookup)
        return msgspec.structs.replace(provider, hinted=True) if hinted else provider
    # A host without a key is in use when the user says where it is: by variable, or by a row of his own.
    usable = keys or (forward_keys if spec.key_env else base_url is not None or own)
    if not usable:
        return None
    return Provider(spec=spec, base_url=base_url or spec.base_url.rstrip("/"), credentials=keys, paths=dict(spec.paths))


def _placed(
    spec: ProviderSpec, base_url: str | None, keys: tuple[Secret, ...], forward_keys: bool, lookup: Lookup,
    found: Found,
) -> Provider:  # fmt: skip
    """A provider that must be told where it is, or who we are there."""
    where = resolve_endpoint(spec, base_url, lookup, found)
    identity = None if keys else read_identity(spec, where.base_url, lookup, found)
    if not keys and identity is None and not forward_keys and spec.auth != "none":
        found.append((spec.name, "is asked for, but has no credential", f"set {key_remedy(spec)}"))
    return Provider(spec=spec, base_url=where.base_url, credentials=keys, paths=where.paths, identity=identity)


def _keys(
    spec: ProviderSpec, environ: Mapping[str, str], document: Mapping[str, Any], found: Found
) -> tuple[Secret, ...]:
    """The one key, and those of the list; each counts once."""
    if spec.key_env is None or spec.keys_env is None:
        return ()
    one: Secret | None = _read(spec.key_env, values.secret, environ, document, found)
    several: tuple[Secret, ...] = _read(spec.keys_env, values.secrets, environ, document, found) or ()
    return tuple(dict.fromkeys(((one,) if one else ()) + several))


def _read(variable: str, reader: values.Reader, environ: Mapping[str, str], document: Mapping[str, Any],
          found: Found) -> Any:  # fmt: skip
    text, origin = environ.get(variable), "environment"
    if not text:
        text, origin = document.get(variable.lower()), FILE
        text = ",".join(map(str, text)) if isinstance(text, list) else text
    if not text:
        return None
    try:
        return reader(str(text).strip())
    except ValueError as error:
        shown = "***" if reader in (values.secret, values.secrets) else values.shown(str(text))
        found.append((variable, f"= {shown} ({origin})", str(error)))
        return None


def _refuse_unknown(document: Mapping[str, Any], known: Mapping[str, ProviderSpec], found: Found) -> None:
    variables = {spec.base_url_env.lower() for spec in known.values()}
    for spec in known.values():
        own = (*spec.variables, *spec.asked_for_by, *identity_variables(spec))
        variables |= {name.lower() for name in (spec.key_env, spec.keys_env, *own) if name}
    allowed = {*BY_KEY, *variables, "providers", "aliases", "fallbacks", "prices"}
    for key in document:
        if key not in allowed:
            close = difflib.get_close_matches(key.lower(), allowed, 1)
            found.append((key, f"({FILE})", f"unknown key; did you mean {close[0]}?" if close else "unknown key"))


def _aliases(section: Any, known: Mapping[str, ProviderSpec], found: Found) -> dict[str, str]:
    if section is None:
        return {}
    if not isinstance(section, dict):
        found.append(("aliases", f"({FILE})", "must be a mapping of names to provider/model"))
        return {}
    aliases = {}
    for name, target in section.items():
        if remedy := remedy_for(str(target), known):
            found.append((f"aliases.{name}", f"= {target!r}", remedy))
        aliases[str(name)] = str(target)
    return aliases
