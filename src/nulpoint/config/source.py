"""The files and variables that a process's configuration is read from, at the start and again while it runs."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import msgspec
from dotenv import dotenv_values

from nulpoint.config.autodetect import drop_unavailable
from nulpoint.config.loader import FILE, NO_GUARD, load
from nulpoint.config.model import Config
from nulpoint.config.problems import ConfigError, Problem
from nulpoint.config.safeguards import ReloadGuard, environment_only
from nulpoint.config.settings import SETTINGS
from nulpoint.files import read_regular_file

GONE_ENV_FILE = "has been removed; put it back, or restart the gateway without it"
EMPTY_ENV_FILE = (
    "no longer sets any variable, perhaps because it is being written; put them back, or restart the gateway without it"
)
Signature = tuple[tuple[int, int, int] | None, ...]


def utc_today() -> date:
    """Return the date. Hosts retire models on a day of UTC, as far as they say so."""
    return datetime.now(UTC).date()


class ConfigSource(NamedTuple):
    """The sources of a configuration.

    `environ` is the environment as it was when the process started. `env_file` sets further variables, over which
    the environment takes precedence. `directory` may contain config.yaml. `today` returns the date, from which it
    follows which models have retired.
    """

    environ: Mapping[str, str]
    directory: Path
    env_file: Path | None = None
    today: Callable[[], date] = utc_today

    def load(self, running: Config | None = None, guard: ReloadGuard | None = None) -> Config:
        """Read the configuration. Raises ConfigError.

        `running` is the configuration in force, if this one is to follow it; `guard` protects the one in force when
        it belongs to another process. Blocks for `autodetect.TIMEOUT` at most, or as long as a file system hangs.
        """
        if guard is None:
            guard = ReloadGuard.of(running) if running is not None else NO_GUARD
        config = drop_unavailable(self._load(running, guard))
        if not config.providers:
            raise ConfigError([Problem(name, "is left out", why) for name, why in config.left_out.items()])
        return config

    def _load(self, running: Config | None, guard: ReloadGuard) -> Config:
        if self.env_file is None:
            return load(self.environ, self.directory, running, guard, self.today())
        variables = read_env_file(self.env_file)
        name = str(self.env_file)
        if variables is None and name in guard.files:
            raise ConfigError([Problem(name, "", GONE_ENV_FILE)])
        if not variables and name in guard.sources:
            raise ConfigError([Problem(name, "", EMPTY_ENV_FILE)])
        config = _load_with(variables or {}, name, self, running, guard)
        if variables is None:
            return config
        in_env_file = {variable for variable in variables if not self.environ.get(variable)}
        origins = {
            variable: name if origin == "environment" and variable in in_env_file else origin
            for variable, origin in config.origins.items()
        }
        return msgspec.structs.replace(config, origins=origins, files=config.files | {name})

    def raw_variable(self, name: str) -> str | None:
        """Return a variable's text from the environment or the env file, unchecked. Raises ConfigError."""
        variables = read_env_file(self.env_file)
        return self.environ.get(name) or (variables or {}).get(name)

    def signature(self) -> Signature:
        """Return the time, size and inode of each file (None if missing), which stay equal while nothing changes.

        Symbolic links are followed: Kubernetes updates a mounted file by switching a link to its directory.
        """
        files = [self.directory / FILE, *([self.env_file] if self.env_file is not None else [])]
        return tuple(_signature(path) for path in files)


def _load_with(
    variables: Mapping[str, str], name: str, source: ConfigSource, running: Config | None, guard: ReloadGuard
) -> Config:
    """Load with the variables of the env file `name`; report those that may only be set in the environment."""
    misplaced = [setting.name for setting in SETTINGS if setting.environment_only and setting.name in variables]
    problems = [Problem(variable, f"({name})", environment_only(name)) for variable in misplaced]
    rest = {variable: text for variable, text in variables.items() if variable not in misplaced}
    try:
        config = load({**rest, **source.environ}, source.directory, running, guard, source.today())
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return config


def read_env_file(path: Path | None) -> dict[str, str] | None:
    """Return the file's variables that are not empty, or None if there is no such file. Raises ConfigError."""
    if path is None:
        return None
    try:
        text = read_regular_file(path).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = f"cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}"
        raise ConfigError([Problem(str(path), "", reason)]) from None
    return {name: value for name, value in dotenv_values(stream=StringIO(text, newline=None)).items() if value}


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
