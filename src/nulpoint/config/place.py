"""Where the configuration of a process comes from, to be read at its start and again while it runs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from dotenv import dotenv_values

from nulpoint.config.document import GONE
from nulpoint.config.hints import without_unfounded
from nulpoint.config.loader import FILE, ConfigError, Problem, load
from nulpoint.config.model import Config

Signature = tuple[tuple[int, int, int] | None, ...]


class Place(NamedTuple):
    """`environ`: as it was when the process started. `env_file`: more variables, which the environment outdoes."""

    environ: Mapping[str, str]
    directory: Path
    env_file: Path | None = None

    def load(self, running: Config | None = None) -> Config:
        """The configuration as it is written now. `running`: the one in force, which it is to follow.

        Blocks for some seconds at most (see `hints`). Raises ConfigError.
        """
        config = without_unfounded(self._load(running))
        if not config.providers:
            raise ConfigError([Problem(name, "is left out", why) for name, why in config.left_out.items()])
        return config

    def _load(self, running: Config | None) -> Config:
        if self.env_file is None:
            return load(self.environ, self.directory, running)
        given = read_env_file(self.env_file)
        name = str(self.env_file)
        if given is None and running is not None and name in running.files:
            raise ConfigError([Problem(name, "", GONE)])
        config = load({**(given or {}), **self.environ}, self.directory, running)
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


def read_env_file(path: Path | None) -> dict[str, str] | None:
    """The variables in it that are not empty; None where there is no such file. Raises ConfigError."""
    if path is None or not path.exists():
        return None
    try:
        return {name: value for name, value in dotenv_values(path).items() if value}
    except (OSError, UnicodeDecodeError) as error:
        reason = f"cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}"
        raise ConfigError([Problem(str(path), "", reason)]) from None


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
