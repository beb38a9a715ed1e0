"""Tables that are as wide as the terminal: columns that do not fit shrink, then the less important ones go. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from nulpoint.cli.log.formatting import fit, width

GAP = 2

Paint = Callable[[str, str], str]  # text and the name of a style to the text in colour


class TableColumn(NamedTuple):
    """`least`: columns it can shrink to; 0 where it cannot. The highest `rank` goes first; rank 0 never does."""

    title: str
    right: bool = False
    least: int = 0
    rank: int = 0


class TableCell(NamedTuple):
    """`style`: see `Paint`; empty is plain."""

    text: str
    style: str = ""


class Table:
    """A layout found for some rows; others can be shown in it too."""

    def __init__(
        self, columns: Sequence[TableColumn], rows: Sequence[Sequence[TableCell]], most: int, paint: Paint
    ) -> None:
        """`most`: columns of the terminal."""
        self._columns = columns
        self._paint = paint
        self._widths = _layout(columns, rows, most)

    def head(self) -> str:
        return self._line([TableCell(column.title, "head") for column in self._columns])

    def row(self, cells: Sequence[TableCell]) -> str:
        return self._line(cells)

    def _line(self, cells: Sequence[TableCell]) -> str:
        parts = []
        for number, cells_width in self._widths:
            column, cell = self._columns[number], cells[number]
            text = fit(cell.text, cells_width)
            space = " " * (cells_width - width(text))
            painted = self._paint(text, cell.style) if cell.style else text
            parts.append(space + painted if column.right else painted + space)
        return (" " * GAP).join(parts).rstrip()


def _layout(columns: Sequence[TableColumn], rows: Sequence[Sequence[TableCell]], most: int) -> list[tuple[int, int]]:
    """Which columns are shown, by number, and how wide."""
    natural = [
        max([width(column.title), *(width(row[number].text) for row in rows)]) for number, column in enumerate(columns)
    ]
    shown = [
        number
        for number, column in enumerate(columns)
        if not rows or column.rank == 0 or any(row[number].text for row in rows)
    ]
    while True:
        widths = _shrunk(columns, shown, natural, most)
        droppable = [number for number in shown if columns[number].rank]
        if sum(widths.values()) + GAP * (len(shown) - 1) <= most or not droppable:
            return [(number, widths[number]) for number in shown]
        shown.remove(max(droppable, key=lambda number: columns[number].rank))


def _shrunk(columns: Sequence[TableColumn], shown: Sequence[int], natural: Sequence[int], most: int) -> dict[int, int]:
    """The widest of those that can shrink gives way first."""
    widths = {number: natural[number] for number in shown}
    excess = sum(widths.values()) + GAP * (len(shown) - 1) - most
    while excess > 0:
        able = [number for number in shown if 0 < columns[number].least < widths[number]]
        if not able:
            break
        widths[max(able, key=lambda number: widths[number])] -= 1
        excess -= 1
    return widths
