"""The list of requests that `nulpoint logs` prints, one line for each request."""

import sqlite3
from collections.abc import Sequence

import msgspec

from nulpoint.cli.log import formatting
from nulpoint.cli.log.table import Paint, Table, TableCell, TableColumn

COLUMNS = (
    TableColumn("#", right_aligned=True),
    TableColumn("UTC"),
    TableColumn("CODE", right_aligned=True),
    TableColumn("MODEL", min_width=14),
    TableColumn("PROVIDER", min_width=7, drop_rank=1),
    TableColumn("TOTAL", right_aligned=True),
    TableColumn("FIRST", right_aligned=True, drop_rank=5),
    TableColumn("TOKENS", right_aligned=True, drop_rank=4),
    TableColumn("COST", right_aligned=True, drop_rank=2),
    TableColumn("", drop_rank=3),
    TableColumn("KEY", drop_rank=7),
    TableColumn("ERROR", min_width=20, drop_rank=6),
)


class Listing:
    """A table laid out to fit `rows` into `width` columns. Rows that arrive later can be printed with it too."""

    def __init__(self, rows: Sequence[sqlite3.Row], width: int, paint: Paint) -> None:
        self._show_date = len({row["time"][:10] for row in rows}) > 1
        self._table = Table(COLUMNS, [_cells(row, self._show_date) for row in rows], width, paint)

    def head(self) -> str:
        return self._table.head()

    def line(self, row: sqlite3.Row) -> str:
        return self._table.row(_cells(row, self._show_date))


def _cells(row: sqlite3.Row, show_date: bool) -> list[TableCell]:
    return [
        TableCell(str(row["number"]), "dim"),
        TableCell(_format_time(row["time"], show_date)),
        TableCell(str(row["status"]), status_style(row["status"], row["error"])),
        TableCell(_format_model(row)),
        TableCell(formatting.clean(row["provider"] or "")),
        TableCell(formatting.duration(row["total_us"])),
        TableCell(formatting.duration(_first_token_us(row))),
        TableCell(_format_tokens(row)),
        TableCell(formatting.dollars(row["cost"])),
        TableCell(_format_marks(row), "mark"),
        TableCell(row["key"] or "", "dim"),
        TableCell(formatting.clean(row["message"] or row["error"] or ""), "bad" if row["error"] else ""),
    ]


def _format_time(text: str, show_date: bool) -> str:
    """Return the time of day, with the month and day if the list covers more than one day."""
    return f"{text[5:10]} {text[11:19]}" if show_date else text[11:19]


def _format_model(row: sqlite3.Row) -> str:
    """Return the requested model, followed by the responding model if that is a different one."""
    requested, reported = row["model"] or row["route"], row["answered_model"] or ""
    name = requested.partition("/")[2] or requested
    differs = reported and not reported.startswith((name, requested))
    return formatting.clean(f"{requested} > {reported}" if differs else requested)


def _first_token_us(row: sqlite3.Row) -> float | None:
    """Return the microseconds to the first token, or to the first byte if there was no first token."""
    token: float | None = row["first_token_us"]
    byte: float | None = row["first_byte_us"]
    return byte if token is None else token


def _format_tokens(row: sqlite3.Row) -> str:
    if row["prompt"] is None:
        return ""
    return f"{formatting.count(row['prompt'])}+{formatting.count(row['completion'])}"


def _format_marks(row: sqlite3.Row) -> str:
    """Mark what was special: a cache hit, a shared upstream call, several attempts, or a rate limit."""
    marks = [row["cache"].lower()] if row["cache"] == "HIT" else []
    if row["coalesced"]:
        marks.append("shared")
    attempts = len(msgspec.json.decode(row["attempts"])) if row["attempts"] else 0
    if attempts > 1:
        marks.append(f"{attempts} tries")
    if row["limit"] not in (None, "allowed"):
        marks.append(row["limit"])
    return " ".join(marks)


def status_style(status: int, error: str | None) -> str:
    if status >= 500 or (error and status < 400):
        return "bad"
    return "warn" if status >= 400 else "good"
