"""Finds the rows about a model without trying the patterns of all rows."""

import re
from collections.abc import Iterator, Sequence

from nulpoint.models.rows import ANY, DATE, VERSION, ModelRow, compiled, regex

_DATE = re.compile(f"{DATE}$", re.IGNORECASE)
_VERSION = re.compile(f"{VERSION}$", re.IGNORECASE)


class RowIndex:
    """The rows of a host. Most of their patterns are plain names, which are looked up; the others are tried in turn."""

    def __init__(self, rows: Sequence[ModelRow]) -> None:
        self.rows = tuple(rows)
        self._by_name: dict[str, list[int]] = {}
        self._with_wildcards: list[tuple[int, re.Pattern[str]]] = []
        for position, row in enumerate(self.rows):
            for name in row.origin.models:
                if ANY not in name:
                    self._by_name.setdefault(name.lower(), []).append(position)
            if wildcards := [pattern for pattern in row.origin.models if ANY in pattern]:
                self._with_wildcards.append((position, compiled("|".join(map(regex, wildcards)))))

    def about(self, names: Sequence[str]) -> Iterator[ModelRow]:
        """Yield the rows about the model with one of these names, in their order."""
        found: set[int] = set()
        for name in names:
            found.update(position for part in _parts(name) for position in self._by_name.get(part, ()))
            found.update([position for position, pattern in self._with_wildcards if pattern.fullmatch(name)])
        return (self.rows[position] for position in sorted(found))


def _parts(name: str) -> Iterator[str]:
    """Yield the names, in lower case, to which a name may be a date or a version longer."""
    name = name.lower()
    yield name
    if match := _DATE.search(name):
        yield name[: match.start()]
    if match := _VERSION.search(name):
        yield name[: match.start()]
        if date := _DATE.search(name, 0, match.start()):
            yield name[: date.start()]
