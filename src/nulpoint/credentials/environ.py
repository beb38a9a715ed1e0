"""Temporary environment variables, for libraries that read their settings only from the environment."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class ScopedEnviron:
    """Sets environment variables for one thread at a time, so that no identity reads the variables of another.

    Identities that read the same variables share an instance.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def applied(self, variables: Mapping[str, str]) -> Iterator[None]:
        """Set these variables in the environment and restore it afterwards."""
        with self._lock:
            before = {name: os.environ.get(name) for name in variables}
            os.environ.update(variables)
            try:
                yield
            finally:
                for name, text in before.items():
                    if text is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = text
