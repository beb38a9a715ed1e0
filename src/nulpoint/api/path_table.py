"""The paths that a port serves, in all their spellings. This module does no I/O.

Clients write an operation or the list of models below `/v1`, without it, and as at Azure OpenAI: below `/openai/v1`,
below `/openai`, and an operation below `/openai/deployments/{model}`. The query string with Azure's `api-version` is
ignored.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from nulpoint.providers.operations import MODEL

VERSION = "/v1"
_PREFIXES = (VERSION, "", "/openai/v1", "/openai")
_DEPLOYMENT = f"/openai/deployments/{MODEL}"
_PARAMETER = re.compile(r"\{(\w+)\}")


class ServedPath(NamedTuple):
    """A path that is served: its usual spelling, which is its label in logs and metrics, and its methods."""

    label: str
    methods: tuple[str, ...]

    @property
    def allow(self) -> bytes:
        """The value of the `Allow` header."""
        return ", ".join((*self.methods, "OPTIONS")).encode("ascii")


class PathMatch(NamedTuple):
    """A path of a request: what it stands for, and the value of the parameter in it, percent-encoded."""

    served: ServedPath
    parameter: str | None = None


def spellings(path: str) -> tuple[str, ...]:
    """Return all spellings of a path below the version."""
    return tuple(prefix + path for prefix in _PREFIXES)


def operation_spellings(path: str) -> tuple[str, ...]:
    """Return all spellings of the path of an operation. In a deployment's path, the deployment stands for the model."""
    return spellings(path) if MODEL in path else (*spellings(path), _DEPLOYMENT + path)


class PathTable:
    """Finds what a path stands for. Paths without a parameter are found by one look-up; the others are patterns."""

    def __init__(self, paths: Iterable[tuple[str, ServedPath]]) -> None:
        """Set up the table from pairs of a path, with at most one parameter in braces, and what it stands for."""
        self.exact: dict[str, ServedPath] = {}
        self._patterns: list[tuple[re.Pattern[str], ServedPath]] = []
        for path, served in paths:
            if _PARAMETER.search(path):
                self._patterns.append((_compiled(path), served))
            else:
                self.exact[path] = served

    def find(self, path: str) -> PathMatch | None:
        served = self.exact.get(path)
        if served is not None:
            return PathMatch(served)
        for pattern, served in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                return PathMatch(served, match[1])
        return None


def _compiled(path: str) -> re.Pattern[str]:
    """Return the pattern of a path with a parameter, whose value may have slashes only at the end of the path."""
    before, _, after = _PARAMETER.split(path)
    return re.compile(re.escape(before) + ("([^/]+)" if after else "(.*)") + re.escape(after))
