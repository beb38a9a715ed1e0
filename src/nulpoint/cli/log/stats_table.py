"""The table that `nulpoint stats` prints: one line for each group, and one for the total."""

from collections.abc import Iterator, Mapping

from nulpoint.cli.log import formatting
from nulpoint.cli.log.summary import Statistics, percentile
from nulpoint.cli.log.table import Paint, Table, TableCell, TableColumn

TOTAL_LABEL = "all"
_NO_NAME = "(none)"


def lines(total: Statistics, groups: Mapping[str, Statistics], by: str, width: int, paint: Paint) -> Iterator[str]:
    """Lay the statistics out for a terminal of `width` columns."""
    columns = (
        TableColumn(by.upper(), min_width=14),
        TableColumn("REQS", right_aligned=True),
        TableColumn("ERR", right_aligned=True),
        TableColumn("P50", right_aligned=True),
        TableColumn("P95", right_aligned=True, drop_rank=2),
        TableColumn("P99", right_aligned=True),
        TableColumn("TTFT50", right_aligned=True, drop_rank=3),
        TableColumn("TTFT95", right_aligned=True, drop_rank=5),
        TableColumn("IN", right_aligned=True, drop_rank=4),
        TableColumn("OUT", right_aligned=True, drop_rank=4),
        TableColumn("COST", right_aligned=True),
        TableColumn("SAVED", right_aligned=True, drop_rank=6),
        TableColumn("HITS", right_aligned=True, drop_rank=1),
    )
    rows = [_cells(formatting.clean(name) or _NO_NAME, statistics) for name, statistics in groups.items()]
    total_row = [TableCell(cell.text, cell.style or "head") for cell in _cells(TOTAL_LABEL, total)]
    table = Table(columns, [*rows, total_row], width, paint)
    yield table.head()
    for row in rows:
        yield table.row(row)
    yield table.row(total_row)
    yield from _notes(total, paint)


def _cells(name: str, statistics: Statistics) -> list[TableCell]:
    latencies, first_tokens = sorted(statistics.latencies_us), sorted(statistics.first_token_us)
    return [
        TableCell(name),
        TableCell(formatting.count(statistics.requests)),
        TableCell(formatting.share(statistics.errors, statistics.requests), "bad" if statistics.errors else ""),
        *(TableCell(formatting.duration(percentile(latencies, percent))) for percent in (50, 95, 99)),
        *(TableCell(formatting.duration(percentile(first_tokens, percent))) for percent in (50, 95)),
        TableCell(formatting.count(statistics.prompt) if statistics.prompt else ""),
        TableCell(formatting.count(statistics.completion) if statistics.completion else ""),
        TableCell(_format_cost(statistics)),
        TableCell(formatting.dollars(statistics.saved / 1e12) if statistics.saved else ""),
        TableCell(formatting.share(statistics.cache_hits, statistics.cache_lookups)),
    ]


def _format_cost(statistics: Statistics) -> str:
    """Format the cost, with a question mark if the price of some or all requests is unknown."""
    if not (statistics.prompt or statistics.completion or statistics.cache_hits or statistics.coalesced):
        return ""
    if not statistics.unpriced:
        return formatting.dollars(statistics.cost / 1e12)
    return formatting.dollars(statistics.cost / 1e12) + "+?" if statistics.cost else "?"


def _notes(total: Statistics, paint: Paint) -> Iterator[str]:
    notes = []
    if total.failed_over:
        notes.append(f"{formatting.count(total.failed_over)} took more than one attempt")
    if total.coalesced:
        notes.append(f"{formatting.count(total.coalesced)} shared the upstream call of an identical request")
    if total.disconnected:
        notes.append(f"{formatting.count(total.disconnected)} ended because the client disconnected")
    if total.unpriced:
        notes.append(f"?: {formatting.count(total.unpriced)} have no known price; add it under prices in config.yaml")
    for note in notes:
        yield paint(note, "dim")
