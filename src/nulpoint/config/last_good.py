"""The files of the last good configuration, for workers that have to start while what is written is not good.

Without it a worker that dies then could not be replaced. They are in memory, and on disk (in a folder that nobody else
can read) only as long as what is written is not good.
"""

import contextlib
import logging
import shutil
from pathlib import Path

import msgspec

from nulpoint.config.loader import FILE, ConfigError
from nulpoint.config.model import Config
from nulpoint.config.safeguards import InForce
from nulpoint.config.source import ConfigSource, Signature
from nulpoint.files import read_regular_file

logger = logging.getLogger(__name__)

_ENV_FILE = "env"


class LastGood:
    """Keeps them. `config`: what has just been loaded from `place`; `folder`: where they go when they are needed."""

    def __init__(self, source: ConfigSource, config: Config, folder: Path) -> None:
        self._source = source
        self._config = config
        self._folder = folder
        self._texts = self._read()
        self._seen: Signature | None = source.signature()
        self._before: Signature | None = None
        self._missing = False  # they are needed, and could not be written

    @property
    def in_force(self) -> InForce:
        """What a worker that starts must not take away."""
        return InForce.of(self._config)

    def look(self) -> None:
        """To be called now and then. A change counts when it is found twice, so that no half-written file does."""
        now = self._source.signature()
        if now != self._seen and now == self._before:
            self._seen = now
            texts = self._read()
            try:
                self._config = self._source.load(self._config)
            except ConfigError:
                self._keep()
            else:
                self._texts, self._missing = texts, False
                shutil.rmtree(self._folder, ignore_errors=True)
        elif self._missing:
            self._keep()
        self._before = now

    def _keep(self) -> None:
        try:
            self._write()
        except OSError as error:
            if not self._missing:
                text = (
                    "the last good configuration cannot be kept for workers that have to start: %s; it is tried again"
                )
                logger.error(text, error.strerror)
            self._missing = True
        else:
            self._missing = False

    def _read(self) -> dict[str, bytes]:
        found = {}
        for name, path in _files(self._source).items():
            with contextlib.suppress(OSError):
                found[name] = read_regular_file(path)
        return found

    def _write(self) -> None:
        """Whole or not at all: half a file may be good too, and something else. Raises OSError."""
        if self._folder.is_dir():
            return
        fresh = self._folder.with_suffix(".new")
        fresh.mkdir(mode=0o700, exist_ok=True)
        for name, text in self._texts.items():
            path = fresh / name
            path.touch(mode=0o600)
            path.write_bytes(text)
        fresh.rename(self._folder)


def load_last_good(source: ConfigSource, folder: Path) -> Config | None:
    """In a worker: what `LastGood` has put into `folder`, None where there is nothing. Raises ConfigError."""
    if not folder.is_dir():
        return None
    stand_in = source._replace(directory=folder, env_file=folder / _ENV_FILE if source.env_file is not None else None)
    config = stand_in.load()
    names = {str(stand_in.env_file): str(source.env_file)}
    origins = {variable: names.get(origin, origin) for variable, origin in config.origins.items()}
    return msgspec.structs.replace(
        config, origins=origins, files=frozenset(names.get(one, one) for one in config.files)
    )


def _files(source: ConfigSource) -> dict[str, Path]:
    files = {FILE: source.directory / FILE}
    return files | {_ENV_FILE: source.env_file} if source.env_file is not None else files
