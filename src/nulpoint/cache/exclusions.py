"""Models whose answers are never cached."""

from collections.abc import Sequence

import re2

_REMEMBERED = 1024  # names; callers may invent any number of them


class CacheExclusions:
    """`exact`: whole names. `patterns`: RE2 expressions, found anywhere in a name, as Go's `MatchString` does."""

    def __init__(self, exact: Sequence[str], patterns: Sequence[str]) -> None:
        self._exact = frozenset(exact)
        self._patterns = [re2.compile(pattern) for pattern in patterns]
        self._known: dict[str, bool] = {}

    def __contains__(self, model: str) -> bool:
        known = self._known.get(model)
        if known is None:
            known = model in self._exact or any(pattern.search(model) for pattern in self._patterns)
            if len(self._known) < _REMEMBERED:
                self._known[model] = known
        return known
