"""Models whose responses are never cached."""

from collections.abc import Sequence

import re2

_MAX_RESULTS = 1024  # the limit is needed because clients can send any number of different names


class CacheExclusions:
    """The set of excluded models: `exact` are whole names, `patterns` RE2 expressions that match anywhere in a name."""

    def __init__(self, exact: Sequence[str], patterns: Sequence[str]) -> None:
        self._exact = frozenset(exact)
        self._patterns = [re2.compile(pattern) for pattern in patterns]
        self._results: dict[str, bool] = {}

    def __contains__(self, model: str) -> bool:
        excluded = self._results.get(model)
        if excluded is None:
            excluded = model in self._exact or any(pattern.search(model) for pattern in self._patterns)
            if len(self._results) < _MAX_RESULTS:
                self._results[model] = excluded
        return excluded
