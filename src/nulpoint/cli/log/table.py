"""Tables that fit the width of the terminal.

Columns first shrink; if that is not enough, the less important ones are dropped. This module does no input or output.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from nulpoint.cli.log.formatting import fit, width

GAP = 2

Paint = Callable[[str, str], str]  # takes a text and the name of a style, returns the text in colour


class TableColumn(NamedTuple):
    """A column of a table.

    It can shrink to `min_width`; 0 means that it cannot shrink. Columns with the highest `drop_rank` are dropped first;
    a column with drop_rank 0 is never dropped.
    """

    title: str
    right_aligned: bool = False
    min_width: int = 0
    drop_rank: int = 0


class TableCell(NamedTuple):
    """The text of a cell and the name of its style (see `Paint`); an empty style is plain text."""

    text: str
    style: str = ""


class Table:
    """A table laid out for some rows. Other rows can be printed with the same layout."""

    def __init__(
        self, columns: Sequence[TableColumn], rows: Sequence[Sequence[TableCell]], terminal_width: int, paint: Paint
    ) -> None:
        self._columns = columns
        self._paint = paint
        self._widths = _layout(columns, rows, terminal_width)

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
            parts.append(space + painted if column.right_aligned else painted + space)
        return (" " * GAP).join(parts).rstrip()


def _layout(
    columns: Sequence[TableColumn], rows: Sequence[Sequence[TableCell]], terminal_width: int
) -> list[tuple[int, int]]:
    """Return the index and width of each visible column."""
    natural = [
        max([width(column.title), *(width(row[number].text) for row in rows)]) for number, column in enumerate(columns)
    ]
    visible = [
        number
        for number, column in enumerate(columns)
        if not rows or column.drop_rank == 0 or any(row[number].text for row in rows)
    ]
    while True:
        widths = _shrink_to_fit(columns, visible, natural, terminal_width)
        droppable = [number for number in visible if columns[number].drop_rank]
        if sum(widths.values()) + GAP * (len(visible) - 1) <= terminal_width or not droppable:
            return [(number, widths[number]) for number in visible]
        visible.remove(max(droppable, key=lambda number: columns[number].drop_rank))


def _shrink_to_fit(
    columns: Sequence[TableColumn], visible: Sequence[int], natural: Sequence[int], terminal_width: int
) -> dict[int, int]:
    """Return the widths of the visible columns, shrinking the widest shrinkable column first."""
    widths = {number: natural[number] for number in visible}
    excess = sum(widths.values()) + GAP * (len(visible) - 1) - terminal_width
    while excess > 0:
        shrinkable = [number for number in visible if 0 < columns[number].min_width < widths[number]]
        if not shrinkable:
            break
        widths[max(shrinkable, key=lambda number: widths[number])] -= 1
        excess -= 1
    return widths
