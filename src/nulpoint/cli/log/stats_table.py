"""Figures as a table, a line a group and one for all."""

from collections.abc import Iterator, Mapping

from nulpoint.cli.log import formatting
from nulpoint.cli.log.summary import Figures, percentile
from nulpoint.cli.log.table import Cell, Column, Paint, Table

ALL = "all"
_NOBODY = "(none)"


def lines(total: Figures, groups: Mapping[str, Figures], by: str, most: int, paint: Paint) -> Iterator[str]:
    """In a terminal of `most` columns."""
    columns = (
        Column(by.upper(), least=14),
        Column("REQS", right=True),
        Column("ERR", right=True),
        Column("P50", right=True),
        Column("P95", right=True, rank=2),
        Column("P99", right=True),
        Column("TTFT50", right=True, rank=3),
        Column("TTFT95", right=True, rank=5),
        Column("IN", right=True, rank=4),
        Column("OUT", right=True, rank=4),
        Column("COST", right=True),
        Column("SAVED", right=True, rank=6),
        Column("HITS", right=True, rank=1),
    )
    rows = [_cells(formatting.clean(name) or _NOBODY, figures) for name, figures in groups.items()]
    last = [Cell(cell.text, cell.style or "head") for cell in _cells(ALL, total)]
    table = Table(columns, [*rows, last], most, paint)
    yield table.head()
    for row in rows:
        yield table.row(row)
    yield table.row(last)
    yield from _notes(total, paint)


def _cells(name: str, figures: Figures) -> list[Cell]:
    took, first = sorted(figures.took), sorted(figures.first_token)
    return [
        Cell(name),
        Cell(formatting.count(figures.requests)),
        Cell(formatting.share(figures.errors, figures.requests), "bad" if figures.errors else ""),
        *(Cell(formatting.time_taken(percentile(took, percent))) for percent in (50, 95, 99)),
        *(Cell(formatting.time_taken(percentile(first, percent))) for percent in (50, 95)),
        Cell(formatting.count(figures.prompt) if figures.prompt else ""),
        Cell(formatting.count(figures.completion) if figures.completion else ""),
        Cell(_cost(figures)),
        Cell(formatting.dollars(figures.saved / 1e12) if figures.saved else ""),
        Cell(formatting.share(figures.hits, figures.asked)),
    ]


def _cost(figures: Figures) -> str:
    """With a mark where part of it is not known; nothing where all of it is not."""
    if not (figures.prompt or figures.completion or figures.hits or figures.coalesced):
        return ""
    if not figures.unpriced:
        return formatting.dollars(figures.cost / 1e12)
    return formatting.dollars(figures.cost / 1e12) + "+?" if figures.cost else "?"


def _notes(total: Figures, paint: Paint) -> Iterator[str]:
    notes = []
    if total.failed_over:
        notes.append(f"{formatting.count(total.failed_over)} took more than one attempt")
    if total.coalesced:
        notes.append(f"{formatting.count(total.coalesced)} shared another's call")
    if total.left:
        notes.append(f"{formatting.count(total.left)} callers left")
    if total.unpriced:
        notes.append(f"?: {formatting.count(total.unpriced)} have no price in the list (config.yaml: prices)")
    for note in notes:
        yield paint(note, "dim")
