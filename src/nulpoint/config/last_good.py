"""Keep the files of the last valid configuration, for workers that must start while the present files are invalid.

Without them, a worker that dies at such a time could not be replaced. They are kept in memory, and on disk (in a
directory that only this user can read) only while the present files are invalid.
"""

import contextlib
import logging
import shutil
from pathlib import Path

import msgspec

from nulpoint.config.loader import FILE, NO_GUARD
from nulpoint.config.model import Config
from nulpoint.config.problems import ConfigError
from nulpoint.config.safeguards import ReloadGuard
from nulpoint.config.source import ConfigSource, Signature
from nulpoint.files import read_regular_file

logger = logging.getLogger(__name__)

_ENV_FILE = "env"


class LastGoodConfig:
    """Remembers the files of `config`, which has just been loaded from `source`; writes them to `folder` if needed."""

    def __init__(self, source: ConfigSource, config: Config, folder: Path) -> None:
        self._source = source
        self._config = config
        self._folder = folder
        self._texts = self._read()
        self._loaded: Signature | None = source.signature()  # of the files that were loaded last, valid or not
        self._previous: Signature | None = None  # at the previous check
        self._missing = False  # whether the files are needed but could not be written

    @property
    def guard(self) -> ReloadGuard:
        """The guard for workers that start, whose configuration must not remove keys that are in force."""
        return ReloadGuard.of(self._config)

    def check(self) -> None:
        """Look for changed files; to be called periodically.

        A change counts once two calls in a row have seen it, so that a half-written file is not read.
        """
        now = self._source.signature()
        if now != self._loaded and now == self._previous:
            self._loaded = now
            texts = self._read()
            try:
                self._config = self._source.load(self._config)
            except ConfigError:
                self._store()
            else:
                self._texts, self._missing = texts, False
                shutil.rmtree(self._folder, ignore_errors=True)
        elif self._missing:
            self._store()
        self._previous = now

    def _store(self) -> None:
        try:
            self._write()
        except OSError as error:
            if not self._missing:
                text = "cannot store the last valid configuration for restarted workers: %s; will try again"
                logger.error(text, error.strerror)
            self._missing = True
        else:
            self._missing = False

    def _read(self) -> dict[str, bytes]:
        texts = {}
        for name, path in _files(self._source).items():
            with contextlib.suppress(OSError):
                texts[name] = read_regular_file(path)
        return texts

    def _write(self) -> None:
        """Write all files or none: part of a file could be valid too and mean something else. Raises OSError."""
        if self._folder.is_dir():
            return
        fresh = self._folder.with_suffix(".new")
        fresh.mkdir(mode=0o700, exist_ok=True)
        for name, text in self._texts.items():
            path = fresh / name
            path.touch(mode=0o600)
            path.write_bytes(text)
        fresh.rename(self._folder)


def load_last_good(source: ConfigSource, folder: Path, guard: ReloadGuard = NO_GUARD) -> Config | None:
    """Load, in a worker, what `LastGoodConfig` wrote to `folder`; None if there is nothing. Raises ConfigError.

    Of the guard only the targets count: the files are those of the configuration in force, under other names.
    """
    if not folder.is_dir():
        return None
    stand_in = source._replace(directory=folder, env_file=folder / _ENV_FILE if source.env_file is not None else None)
    config = stand_in.load(guard=ReloadGuard(targets=guard.targets))
    names = {str(stand_in.env_file): str(source.env_file)}
    origins = {variable: names.get(origin, origin) for variable, origin in config.origins.items()}
    files = frozenset(names.get(file, file) for file in config.files)
    return msgspec.structs.replace(config, origins=origins, files=files)


def _files(source: ConfigSource) -> dict[str, Path]:
    files = {FILE: source.directory / FILE}
    return files | {_ENV_FILE: source.env_file} if source.env_file is not None else files
