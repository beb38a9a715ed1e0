"""Figures as a table, a line a group and one for all."""

from collections.abc import Iterator, Mapping

from nulpoint.cli.log import formatting
from nulpoint.cli.log.summary import Statistics, percentile
from nulpoint.cli.log.table import Paint, Table, TableCell, TableColumn

ALL = "all"
_NOBODY = "(none)"


def lines(total: Statistics, groups: Mapping[str, Statistics], by: str, most: int, paint: Paint) -> Iterator[str]:
    """In a terminal of `most` columns."""
    columns = (
        TableColumn(by.upper(), least=14),
        TableColumn("REQS", right=True),
        TableColumn("ERR", right=True),
        TableColumn("P50", right=True),
        TableColumn("P95", right=True, rank=2),
        TableColumn("P99", right=True),
        TableColumn("TTFT50", right=True, rank=3),
        TableColumn("TTFT95", right=True, rank=5),
        TableColumn("IN", right=True, rank=4),
        TableColumn("OUT", right=True, rank=4),
        TableColumn("COST", right=True),
        TableColumn("SAVED", right=True, rank=6),
        TableColumn("HITS", right=True, rank=1),
    )
    rows = [_cells(formatting.clean(name) or _NOBODY, figures) for name, figures in groups.items()]
    last = [TableCell(cell.text, cell.style or "head") for cell in _cells(ALL, total)]
    table = Table(columns, [*rows, last], most, paint)
    yield table.head()
    for row in rows:
        yield table.row(row)
    yield table.row(last)
    yield from _notes(total, paint)


def _cells(name: str, figures: Statistics) -> list[TableCell]:
    took, first = sorted(figures.took), sorted(figures.first_token)
    return [
        TableCell(name),
        TableCell(formatting.count(figures.requests)),
        TableCell(formatting.share(figures.errors, figures.requests), "bad" if figures.errors else ""),
        *(TableCell(formatting.time_taken(percentile(took, percent))) for percent in (50, 95, 99)),
        *(TableCell(formatting.time_taken(percentile(first, percent))) for percent in (50, 95)),
        TableCell(formatting.count(figures.prompt) if figures.prompt else ""),
        TableCell(formatting.count(figures.completion) if figures.completion else ""),
        TableCell(_cost(figures)),
        TableCell(formatting.dollars(figures.saved / 1e12) if figures.saved else ""),
        TableCell(formatting.share(figures.hits, figures.asked)),
    ]


def _cost(figures: Statistics) -> str:
    """With a mark where part of it is not known; nothing where all of it is not."""
    if not (figures.prompt or figures.completion or figures.hits or figures.coalesced):
        return ""
    if not figures.unpriced:
        return formatting.dollars(figures.cost / 1e12)
    return formatting.dollars(figures.cost / 1e12) + "+?" if figures.cost else "?"


def _notes(total: Statistics, paint: Paint) -> Iterator[str]:
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
