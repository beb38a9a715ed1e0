"""Load the configuration: read every part of it and report all problems at once."""

import difflib
import importlib.util
import ssl
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from nulpoint.config.document import UnreadableConfigError, read_document
from nulpoint.config.model import Config
from nulpoint.config.problems import ConfigError, Problem, Problems
from nulpoint.config.retirements import retirement_problems
from nulpoint.config.safeguards import ReloadGuard, environment_only
from nulpoint.config.sections.fallbacks import read_chains
from nulpoint.config.sections.identities import identity_variables
from nulpoint.config.sections.models import read_models
from nulpoint.config.sections.prices import read_prices
from nulpoint.config.sections.providers import read_providers
from nulpoint.config.sections.request_log import unwritable_targets
from nulpoint.config.settings import BY_KEY, SETTINGS, Setting
from nulpoint.config.values import display_text
from nulpoint.files import read_regular_file
from nulpoint.http.server.tls import server_context
from nulpoint.models.catalog import Models
from nulpoint.models.retirement import NO_DAY
from nulpoint.providers.spec import ProviderSpec
from nulpoint.routing.retirements import configured_targets

FILE = "config.yaml"
LIMITS = ("rpm_limit", "rpm_limit_per_key", "tpm_limit", "tpm_limit_per_key", "max_parallel_per_key")
SECTIONS = ("providers", "aliases", "fallbacks", "models", "prices")
NO_GUARD = ReloadGuard()


class SettingText(NamedTuple):
    """A setting's text and its origin: the environment or a file."""

    text: str
    origin: str


def load(
    environ: Mapping[str, str],
    directory: Path,
    running: Config | None = None,
    guard: ReloadGuard = NO_GUARD,
    today: date = NO_DAY,
) -> Config:
    """Load the configuration from the environment and `directory`/config.yaml. Raises ConfigError.

    The environment takes precedence; empty variables count as unset. `running` is the configuration in force, if there
    is one: settings that need a restart keep its values. `guard` says what must not be removed by accident. Targets
    whose models have retired on `today` are problems, except for those that the guard has.
    """
    problems: Problems = []
    file = _read_file(directory / FILE, guard, problems)
    unreadable = bool(problems)
    document = file or {}
    texts = _setting_texts(environ, document, problems)
    fields: dict[str, Any] = {setting.key: _value(setting, texts.get(setting.key), problems) for setting in SETTINGS}
    sections = {key: value for key, value in document.items() if key in SECTIONS or key not in BY_KEY}
    forward_keys = bool(fields["allow_client_api_keys"])
    providers, known, aliases, provider_problems = read_providers(environ, sections, forward_keys=forward_keys)
    chains, chain_problems = read_chains(document.get("fallbacks"), known)
    models, model_problems = read_models(document.get("models"), known)
    prices, price_problems = read_prices(document.get("prices"), known)
    problems += [*provider_problems, *chain_problems, *model_problems, *price_problems]
    chosen = configured_targets(aliases, chains, known, Models(tuple(models.values())))
    problems += retirement_problems(chosen, guard.targets, today)
    if not unreadable:
        reported = {problem.key.upper() for problem in problems}
        problems += [problem for problem in guard.removed_keys(fields) if problem.key not in reported]
    problems += _cross_checks(fields, known)  # as the next start would see the settings
    after_restart = _keep_restart_settings(fields, running)
    if after_restart:  # and as they would be in force now
        problems += [problem for problem in _cross_checks(fields, known) if problem not in problems]
    if problems:
        raise ConfigError(problems)
    origins = {setting.name: texts[setting.key].origin if setting.key in texts else "default" for setting in SETTINGS}
    origins |= {name: origin for spec in known.values() for name, origin in _origins(spec, environ, document)}
    return Config(
        **fields,
        providers=providers,
        known=known,
        aliases=aliases,
        chains=chains,
        models=models,
        prices=prices,
        origins=origins,
        files=frozenset([FILE] if file is not None else []),
        after_restart=after_restart,
    )


def _keep_restart_settings(fields: dict[str, Any], running: Config | None) -> tuple[str, ...]:
    """Put back the running values of settings that need a restart; return the names of those that would change."""
    if running is None:
        return ()
    fixed = [setting for setting in SETTINGS if setting.restart]
    changed = tuple(setting.name for setting in fixed if fields[setting.key] != getattr(running, setting.key))
    fields |= {setting.key: getattr(running, setting.key) for setting in fixed}
    return changed


def _origins(spec: ProviderSpec, environ: Mapping[str, str], document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the variables of a provider that are set, each with its origin."""
    for name in (spec.base_url_env, spec.key_env, spec.keys_env, *spec.variables, *identity_variables(spec)):
        if name and environ.get(name):
            yield name, "environment"
        elif name and document.get(name.lower()):
            yield name, FILE


def _read_file(path: Path, guard: ReloadGuard, problems: Problems) -> dict[str, Any] | None:
    try:
        return read_document(path, expected=FILE in guard.files)
    except UnreadableConfigError as reason:
        problems.append(Problem(FILE, "", str(reason)))
        return {}


def _setting_texts(environ: Mapping[str, str], document: dict[str, Any], problems: Problems) -> dict[str, SettingText]:
    texts: dict[str, SettingText] = {}
    for key, value in document.items():
        setting = BY_KEY.get(key)
        if setting is None or (key in SECTIONS and isinstance(value, dict | list)):
            continue  # a section, a provider's variable or an unknown key, which `read_providers` reports
        if setting.environment_only:
            problems.append(Problem(key, f"({FILE})", environment_only(FILE)))
            continue
        if isinstance(value, list):
            value = ",".join(str(item) for item in value)
        if isinstance(value, dict):
            problems.append(Problem(key, f"({FILE})", "must be a plain value, not a mapping"))
        elif value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            texts[key] = SettingText(text.strip(), FILE)
    for setting in SETTINGS:
        text = environ.get(setting.name, "")
        if not text and setting.name.endswith("PROXY"):  # these two are often written in lower case
            text = environ.get(setting.key, "")
        if text:
            texts[setting.key] = SettingText(text.strip(), "environment")
    return texts


def _value(setting: Setting, source: SettingText | None, problems: Problems) -> Any:
    if source is None:
        return setting.read_default()
    try:
        return setting.reader(source.text)
    except ValueError as error:
        text = "***" if setting.secret else display_text(source.text)
        name = setting.name if source.origin == "environment" else setting.key
        problems.append(Problem(name, f"= {text} ({source.origin})", str(error)))
        return setting.read_default()


def _cross_checks(fields: dict[str, Any], known: Mapping[str, Any]) -> Problems:
    """Return the problems that only show when settings are looked at together, or at files and packages."""
    problems = []
    problems += _redis_problems(fields)
    problems += _limit_problems(fields)
    problems += _admin_problems(fields)
    problems += [
        Problem("REQUEST_LOG", f"= {log!r}", reason) for log, reason in unwritable_targets(fields["request_log"])
    ]
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
    """Return why a file cannot be read, or an empty text if it can."""
    try:
        read_regular_file(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError:  # a null byte
        return "is not a valid path"
    return ""


def _redis_problems(fields: dict[str, Any]) -> Problems:
    if fields["redis_url"] is None:
        if fields["cache_mode"] != "redis":
            return []
        return [
            Problem(
                "REDIS_URL", "is not set", "CACHE_MODE=redis needs it; set it to, for example, redis://localhost:6379"
            )
        ]
    if importlib.util.find_spec("redis") is None:
        return [Problem("REDIS_URL", "is set", "needs the package redis; run pip install 'nulpoint[redis]'")]
    from nulpoint.redis_client.connection import connection_factory  # imported here because the package is optional

    try:
        connection_factory(fields["redis_url"].reveal())
    except (ValueError, TypeError) as error:
        reason = str(error) if isinstance(error, ValueError) else "redis-py does not know one of its options"
        return [Problem("REDIS_URL", "= ***", f"cannot be used: {reason}"[:200])]
    return []


def _limit_problems(fields: dict[str, Any]) -> Problems:
    """Report limits with several workers and no Redis: each worker would admit the whole limit."""
    if fields["workers"] == 1 or fields["redis_url"] is not None:
        return []
    remedy = "several workers can only share a limit through Redis; set REDIS_URL, or WORKERS=1"
    return [Problem(name.upper(), f"= {fields[name]}", remedy) for name in LIMITS if fields[name]]


def _admin_problems(fields: dict[str, Any]) -> Problems:
    problems, port = [], fields["admin_port"]
    if port and port == fields["port"]:
        problems.append(
            Problem("ADMIN_PORT", f"= {port}", "is the same as PORT; choose another port for the admin pages")
        )
    if fields["admin_host"] and port is None:
        problems.append(
            Problem("ADMIN_HOST", f"= {fields['admin_host']!r}", "has no effect without ADMIN_PORT; set that too")
        )
    if fields["admin_api_key"] in fields["gateway_api_keys"]:
        problems.append(Problem("ADMIN_API_KEY", "= ***", "is also one of GATEWAY_API_KEYS; use a different key"))
    return problems


def _tls_problems(cert: str | None, key: str | None) -> Problems:
    if bool(cert) != bool(key):
        missing, present = ("TLS_KEY", "TLS_CERT") if cert else ("TLS_CERT", "TLS_KEY")
        return [Problem(missing, "is not set", f"{present} is set, and https needs both")]
    if not cert or not key:
        return []
    unreadable = [
        (name, path, why) for name, path in (("TLS_CERT", cert), ("TLS_KEY", key)) if (why := _unreadable(path))
    ]
    if unreadable:
        return [Problem(name, f"= {display_text(path)}", why) for name, path, why in unreadable]
    try:
        server_context(cert, key)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or "it is not in PEM format"
        return [Problem("TLS_CERT", f"= {cert!r}", f"cannot be loaded together with TLS_KEY: {reason}")]
    return []
