"""Finds a model in a provider's table of what its models accept.

A table is a tuple of rows. Each row has `names`, which are patterns for the names of its models, where `*` stands for
any text. The first row that matches counts, so exceptions come before general rows. The last row has the name `*`: it
is for names that nobody knows, and says what the strictest model of the family says.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

DATA_DATE = date(2026, 11, 30)  # the tables say what was true on this day
_VERSION_SUFFIX = re.compile(r"(-\d{8}|@\d{8}|-\d{4}-\d{2}-\d{2}|@default|-v\d+(:\d+)?|-v\d+:\d+)$")


class Row(Protocol):
    """The part of a row that this module uses."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def retires(self) -> Mapping[str, str]: ...


RowType = TypeVar("RowType", bound=Row)


def find_row(table: Sequence[RowType], name: str) -> RowType:
    """Return the first row for a name, which may end in a date or version that the row does not mention."""
    spellings = [name]
    while (shorter := _VERSION_SUFFIX.sub("", spellings[-1])) != spellings[-1]:
        spellings.append(shorter)
    return next(row for row in table if any(fnmatchcase(text, pattern) for pattern in row.names for text in spellings))


def is_retired(row: Row, host: str, today: date) -> bool:
    """Return whether the models of a row have ended at a host. They end at the beginning of the day in the row."""
    end = row.retires.get(host)
    return end is not None and today >= date.fromisoformat(end)
