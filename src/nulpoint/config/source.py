"""Where the configuration of a process comes from, to be read at its start and again while it runs."""

import os
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import msgspec
from dotenv import dotenv_values

from nulpoint.config.autodetect import drop_unavailable
from nulpoint.config.loader import FILE, NOTHING, ConfigError, Problem, load
from nulpoint.config.model import Config
from nulpoint.config.safeguards import InForce, environment_only
from nulpoint.config.settings import SETTINGS
from nulpoint.files import read_regular_file

GONE_ENV_FILE = "was there and is gone; put it back, or restart the gateway without it"
EMPTY_ENV_FILE = (
    "has no variable in it any more, as while it is being written; put them back, or restart the gateway without them"
)
Signature = tuple[tuple[int, int, int] | None, ...]


class ConfigSource(NamedTuple):
    """`environ`: as it was when the process started. `env_file`: more variables, which the environment outdoes."""

    environ: Mapping[str, str]
    directory: Path
    env_file: Path | None = None

    def load(self, running: Config | None = None, in_force: InForce | None = None) -> Config:
        """The configuration as it is written now. `running`: the one in force, which it is to follow.

        `in_force`: what is known of that one where it is another process's. Blocks for some seconds at most (see
        `hints`), and as long as a file system that hangs. Raises ConfigError.
        """
        if in_force is None:
            in_force = InForce.of(running) if running is not None else NOTHING
        config = drop_unavailable(self._load(running, in_force))
        if not config.providers:
            raise ConfigError([Problem(name, "is left out", why) for name, why in config.left_out.items()])
        return config

    def _load(self, running: Config | None, in_force: InForce) -> Config:
        if self.env_file is None:
            return load(self.environ, self.directory, running, in_force)
        given = read_env_file(self.env_file)
        name = str(self.env_file)
        if given is None and name in in_force.files:
            raise ConfigError([Problem(name, "", GONE_ENV_FILE)])
        if not given and name in in_force.sources:
            raise ConfigError([Problem(name, "", EMPTY_ENV_FILE)])
        config = _load_with(given or {}, name, self, running, in_force)
        if given is None:
            return config
        own = {variable: name for variable in given if not self.environ.get(variable)}
        origins = {
            variable: own.get(variable, origin) if origin == "environment" else origin
            for variable, origin in config.origins.items()
        }
        return msgspec.structs.replace(config, origins=origins, files=config.files | {name})

    def plain(self, name: str) -> str | None:
        """A variable's text, where it is given outside config.yaml. Raises ConfigError."""
        given = read_env_file(self.env_file)
        return self.environ.get(name) or (given or {}).get(name)

    def signature(self) -> Signature:
        """The same as long as no file has changed: time, size and inode of each, None where it is not there.

        Symbolic links are followed: Kubernetes changes a mounted file by changing a link to its directory.
        """
        files = [self.directory / FILE, *([self.env_file] if self.env_file is not None else [])]
        return tuple(_signature(path) for path in files)


def _load_with(
    given: Mapping[str, str], name: str, source: ConfigSource, running: Config | None, in_force: InForce
) -> Config:
    """Load with the variables of the env file `name`, but for those that count in the environment alone."""
    misplaced = [setting.name for setting in SETTINGS if setting.environment_only and setting.name in given]
    problems = [Problem(variable, f"({name})", environment_only(name)) for variable in misplaced]
    rest = {variable: text for variable, text in given.items() if variable not in misplaced}
    try:
        config = load({**rest, **source.environ}, source.directory, running, in_force)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return config


def read_env_file(path: Path | None) -> dict[str, str] | None:
    """The variables in it that are not empty; None where there is no such file. Raises ConfigError."""
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
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
