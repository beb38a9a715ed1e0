"""Reading the configuration: everything is looked at, and all that is wrong is told at once."""

import difflib
import importlib.util
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nulpoint.config.document import UnreadableConfigError, read_document
from nulpoint.config.model import Config
from nulpoint.config.safeguards import InForce, environment_only
from nulpoint.config.sections.fallbacks import read_chains
from nulpoint.config.sections.identities import identity_variables
from nulpoint.config.sections.prices import read_prices
from nulpoint.config.sections.providers import read_providers
from nulpoint.config.sections.request_log import unusable
from nulpoint.config.settings import BY_KEY, SETTINGS, Setting
from nulpoint.config.values import shown
from nulpoint.files import read_regular_file
from nulpoint.http.server.tls import server_context
from nulpoint.providers.spec import ProviderSpec

FILE = "config.yaml"
LIMITS = ("rpm_limit", "rpm_limit_per_key", "tpm_limit", "tpm_limit_per_key", "max_parallel_per_key")
SECTIONS = ("providers", "aliases", "fallbacks", "prices")


NOTHING = InForce()


class Problem(NamedTuple):
    """One thing that is wrong: where, what was given (never a secret), and what would be right."""

    key: str
    given: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key} {self.given}: {self.remedy}" if self.given else f"{self.key}: {self.remedy}"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds every reason."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


class SettingSource(NamedTuple):
    """A setting's text and where it came from."""

    text: str
    origin: str


def load(
    environ: Mapping[str, str], directory: Path, running: Config | None = None, in_force: InForce = NOTHING
) -> Config:
    """The configuration from the environment and `directory`/config.yaml; the environment wins.

    Empty variables count as unset. `running`: the configuration in force, if this is to follow it: what cannot change
    without a restart stays as it is there. `in_force`: what must not go by accident. Raises ConfigError.
    """
    problems: list[Problem] = []
    read = _read_file(directory / FILE, in_force, problems)
    unreadable = bool(problems)
    document = read or {}
    given = _given(environ, document, problems)
    fields: dict[str, Any] = {}
    for setting in SETTINGS:
        fields[setting.key] = _value(setting, given.get(setting.key), problems)
    providers, known, aliases, found = read_providers(
        environ, {key: document.get(key) for key in document if key in SECTIONS or key not in BY_KEY},
        forward_keys=bool(fields["allow_client_api_keys"]),
    )  # fmt: skip
    chains, wrong_chains = read_chains(document.get("fallbacks"), known)
    prices, wrong_prices = read_prices(document.get("prices"), known)
    problems += [Problem(*item) for item in (*found, *wrong_chains, *wrong_prices)]
    if not unreadable:
        wrong = {problem.key.upper() for problem in problems}
        problems += [Problem(*item) for item in in_force.removed_keys(fields) if item[0] not in wrong]
    problems += _cross_checks(fields, known)  # as the next start would see it
    waiting = _hold(fields, running)
    if waiting:  # and as it would be in force now
        problems += [problem for problem in _cross_checks(fields, known) if problem not in problems]
    if problems:
        raise ConfigError(problems)
    pending = tuple(setting.name for setting in SETTINGS if setting.pending and setting.key in given)
    origins = {setting.name: given[setting.key].origin if setting.key in given else "default" for setting in SETTINGS}
    origins |= {name: origin for spec in known.values() for name, origin in _origins(spec, environ, document)}
    return Config(
        **fields, providers=providers, known=known, aliases=aliases, chains=chains, prices=prices,
        pending_set=pending,
        origins=origins, files=frozenset([FILE] if read is not None else []), after_restart=waiting,
    )  # fmt: skip


def _hold(fields: dict[str, Any], running: Config | None) -> tuple[str, ...]:
    """Keep what cannot change while the gateway runs; gives the settings that would have another value."""
    if running is None:
        return ()
    fixed = [setting for setting in SETTINGS if setting.restart]
    waiting = tuple(setting.name for setting in fixed if fields[setting.key] != getattr(running, setting.key))
    fields |= {setting.key: getattr(running, setting.key) for setting in fixed}
    return waiting


def _origins(spec: ProviderSpec, environ: Mapping[str, str], document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where the variables of a provider that are given come from."""
    for name in (spec.base_url_env, spec.key_env, spec.keys_env, *spec.variables, *identity_variables(spec)):
        if name and environ.get(name):
            yield name, "environment"
        elif name and document.get(name.lower()):
            yield name, FILE


def _read_file(path: Path, in_force: InForce, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        return read_document(path, expected=FILE in in_force.files)
    except UnreadableConfigError as reason:
        problems.append(Problem(FILE, "", str(reason)))
        return {}


def _given(environ: Mapping[str, str], document: dict[str, Any], problems: list[Problem]) -> dict[str, SettingSource]:
    given: dict[str, SettingSource] = {}
    for key, value in document.items():
        setting = BY_KEY.get(key)
        if setting is None or (key in SECTIONS and isinstance(value, dict | list)):
            continue  # a section, a provider's variable, or unknown: `read_providers` and `read_chains` tell
        if setting.environment_only:
            problems.append(Problem(key, f"({FILE})", environment_only(FILE)))
            continue
        if isinstance(value, list):
            value = ",".join(str(item) for item in value)
        if isinstance(value, dict):
            problems.append(Problem(key, f"({FILE})", "must be a plain value, not a mapping"))
        elif value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            given[key] = SettingSource(text.strip(), FILE)
    for setting in SETTINGS:
        text = environ.get(setting.name, "")
        if not text and setting.name.endswith("PROXY"):  # these two are customary in lower case too
            text = environ.get(setting.key, "")
        if text:
            given[setting.key] = SettingSource(text.strip(), "environment")
    return given


def _value(setting: Setting, source: SettingSource | None, problems: list[Problem]) -> Any:
    if source is None:
        return setting.read_default()
    try:
        return setting.reader(source.text)
    except ValueError as error:
        text = "***" if setting.secret else shown(source.text)
        name = setting.name if source.origin == "environment" else setting.key
        problems.append(Problem(name, f"= {text} ({source.origin})", str(error)))
        return setting.read_default()


def _cross_checks(fields: dict[str, Any], known: Mapping[str, Any]) -> list[Problem]:
    problems = []
    problems += _redis_problems(fields)
    problems += _limit_problems(fields)
    problems += _admin_problems(fields)
    problems += [Problem("REQUEST_LOG", f"= {place!r}", why) for place, why in unusable(fields["request_log"])]
    if fields["default_provider"] not in known:
        close = difflib.get_close_matches(fields["default_provider"], known, 1)
        hint = f"did you mean {close[0]}?" if close else f"use one of: {', '.join(known)}"
        problems.append(Problem("DEFAULT_PROVIDER", f"= {fields['default_provider']!r}", hint))
    problems += _tls_problems(fields["tls_cert"], fields["tls_key"])
    roots = fields["ssl_cert_file"]
    if roots and (why := _unreadable(roots)):
        problems.append(Problem("SSL_CERT_FILE", f"= {roots!r}", why))
    return problems


def _unreadable(path: str) -> str:
    """Say why a file cannot be read; empty if it can."""
    try:
        read_regular_file(path)
    except OSError as error:
        return f"no such readable file: {error.strerror}"
    except ValueError:  # a null byte
        return "is no path of a file"
    return ""


def _redis_problems(fields: dict[str, Any]) -> list[Problem]:
    if fields["redis_url"] is None:
        if fields["cache_mode"] != "redis":
            return []
        return [Problem("REDIS_URL", "is not set", "CACHE_MODE=redis needs it, e.g. redis://localhost:6379")]
    if importlib.util.find_spec("redis") is None:
        return [Problem("REDIS_URL", "is set", "needs the package redis: pip install 'nulpoint[redis]'")]
    from nulpoint.redis_client.connection import (
        connection_factory,
    )  # only now: whoever has no Redis need not have the package

    try:
        connection_factory(fields["redis_url"].reveal())
    except (ValueError, TypeError) as error:
        reason = str(error) if isinstance(error, ValueError) else "an option is unknown to redis-py"
        return [Problem("REDIS_URL", "= ***", f"cannot be used: {reason}"[:200])]
    return []


def _limit_problems(fields: dict[str, Any]) -> list[Problem]:
    """Workers that do not know of each other would each admit the whole limit."""
    if fields["workers"] == 1 or fields["redis_url"] is not None:
        return []
    remedy = "several workers need one place to count: set REDIS_URL, or WORKERS=1"
    return [Problem(name.upper(), f"= {fields[name]}", remedy) for name in LIMITS if fields[name]]


def _admin_problems(fields: dict[str, Any]) -> list[Problem]:
    problems, port = [], fields["admin_port"]
    if port and port == fields["port"]:
        problems.append(Problem("ADMIN_PORT", f"= {port}", "is PORT too; operators' pages need a port of their own"))
    if fields["admin_host"] and port is None:
        problems.append(Problem("ADMIN_HOST", f"= {fields['admin_host']!r}", "says where ADMIN_PORT listens; set that"))
    if fields["admin_api_key"] in fields["gateway_api_keys"]:
        problems.append(Problem("ADMIN_API_KEY", "= ***", "is one of GATEWAY_API_KEYS; a caller's key must not be it"))
    return problems


def _tls_problems(cert: str | None, key: str | None) -> list[Problem]:
    if bool(cert) != bool(key):
        missing, present = ("TLS_KEY", "TLS_CERT") if cert else ("TLS_CERT", "TLS_KEY")
        return [Problem(missing, "is not set", f"{present} is; https needs both")]
    if not cert or not key:
        return []
    unreadable = [
        (name, path, why) for name, path in (("TLS_CERT", cert), ("TLS_KEY", key)) if (why := _unreadable(path))
    ]
    if unreadable:
        return [Problem(name, f"= {shown(path)}", why) for name, path, why in unreadable]
    try:
        server_context(cert, key)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or "not PEM"
        return [Problem("TLS_CERT", f"= {cert!r}", f"does not load together with TLS_KEY: {reason}")]
    return []
