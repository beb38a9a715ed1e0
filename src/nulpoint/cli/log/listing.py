"""Requests as lines of a table, one each."""

import sqlite3
from collections.abc import Sequence

import msgspec

from nulpoint.cli.log import formatting
from nulpoint.cli.log.table import Paint, Table, TableCell, TableColumn

COLUMNS = (
    TableColumn("#", right=True),
    TableColumn("UTC"),
    TableColumn("CODE", right=True),
    TableColumn("MODEL", least=14),
    TableColumn("PROVIDER", least=7, rank=1),
    TableColumn("TOTAL", right=True),
    TableColumn("FIRST", right=True, rank=5),
    TableColumn("TOKENS", right=True, rank=4),
    TableColumn("COST", right=True, rank=2),
    TableColumn("", rank=3),
    TableColumn("KEY", rank=7),
    TableColumn("ERROR", least=20, rank=6),
)


class Listing:
    """A table for these rows, in a terminal of `most` columns; rows that come later can be shown in it too."""

    def __init__(self, rows: Sequence[sqlite3.Row], most: int, paint: Paint) -> None:
        self._days = len({row["time"][:10] for row in rows}) > 1
        self._table = Table(COLUMNS, [_cells(row, self._days) for row in rows], most, paint)

    def head(self) -> str:
        return self._table.head()

    def line(self, row: sqlite3.Row) -> str:
        return self._table.row(_cells(row, self._days))


def _cells(row: sqlite3.Row, days: bool) -> list[TableCell]:
    return [
        TableCell(str(row["number"]), "dim"),
        TableCell(_time(row["time"], days)),
        TableCell(str(row["status"]), status_style(row["status"], row["error"])),
        TableCell(_model(row)),
        TableCell(formatting.clean(row["provider"] or "")),
        TableCell(formatting.time_taken(row["total_us"])),
        TableCell(formatting.time_taken(_first(row))),
        TableCell(_tokens(row)),
        TableCell(formatting.dollars(row["cost"])),
        TableCell(_marks(row), "mark"),
        TableCell(row["key"] or "", "dim"),
        TableCell(formatting.clean(row["message"] or row["error"] or ""), "bad" if row["error"] else ""),
    ]


def _time(text: str, days: bool) -> str:
    """The time of day, with its day where there are several; which year is known."""
    return f"{text[5:10]} {text[11:19]}" if days else text[11:19]


def _model(row: sqlite3.Row) -> str:
    """As asked, and what it became where that is another."""
    asked, answered = row["model"] or row["route"], row["answered_model"] or ""
    name = asked.partition("/")[2] or asked
    moved = answered and not answered.startswith((name, asked))
    return formatting.clean(f"{asked} > {answered}" if moved else asked)


def _first(row: sqlite3.Row) -> float | None:
    """Microseconds to the first token of a stream, or the first byte."""
    token: float | None = row["first_token_us"]
    byte: float | None = row["first_byte_us"]
    return byte if token is None else token


def _tokens(row: sqlite3.Row) -> str:
    if row["prompt"] is None:
        return ""
    return f"{formatting.count(row['prompt'])}+{formatting.count(row['completion'])}"


def _marks(row: sqlite3.Row) -> str:
    """What was special: an answer of the cache, one that was shared, how many attempts it took."""
    said = [row["cache"].lower()] if row["cache"] == "HIT" else []
    if row["coalesced"]:
        said.append("shared")
    tried = len(msgspec.json.decode(row["attempts"])) if row["attempts"] else 0
    if tried > 1:
        said.append(f"{tried} tries")
    if row["limit"] not in (None, "allowed"):
        said.append(row["limit"])
    return " ".join(said)


def status_style(status: int, error: str | None) -> str:
    if status >= 500 or (error and status < 400):
        return "bad"
    return "warn" if status >= 400 else "good"
