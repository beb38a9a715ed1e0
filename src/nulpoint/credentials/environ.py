"""Variables for libraries that read them in the environment alone, where those of somebody else may stand."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class ScopedEnviron:
    """Lends the environment to one thread after the other, so that nobody reads what was put there for somebody else.

    Identities that read the same variables share one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def applied(self, given: Mapping[str, str]) -> Iterator[None]:
        """The environment has these variables, and afterwards again what it had."""
        with self._lock:
            before = {name: os.environ.get(name) for name in given}
            os.environ.update(given)
            try:
                yield
            finally:
                for name, text in before.items():
                    if text is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = text
