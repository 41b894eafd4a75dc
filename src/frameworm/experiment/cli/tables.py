"""Tables that fit the terminal: less important columns go first, then long texts lose their middle.

Everything printed is a rich ``Text``, never markup, and passes through ``inert`` first: a name such as
``[red]`` or one with an escape sequence is shown as it is spelled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from frameworm.experiment.cli.text import inert

_GAP = 2
_UNLIMITED = 1_000_000
_LINES_AT_ONCE = 50
"""Lines given to rich in one call: one by one 10,000 take 5 s, all at once 4 s, so 1.6 s."""

STATUS_STYLES = {
    "pending": ("○", "dim"),
    "running": ("●", "cyan"),
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "killed": ("■", "yellow"),
    "crashed": ("!", "bold red"),
}
"""Symbol and style: a status is told by its word, its symbol and its colour."""


@dataclass(slots=True)
class Column:
    """One column of a table.

    Attributes:
        title: heading.
        cells: one a row; str or styled Text.
        right: aligned to the right, as numbers are.
        drop: the column with the highest goes first when the table is too wide; 0 never goes.
        shrink: cells it can do with, its texts losing their middle; None if it is shown whole or not at all.
        style: of all its cells.
    """

    title: str
    cells: Sequence[str | Text]
    right: bool = False
    drop: int = 0
    shrink: int | None = None
    style: str = ""

    @property
    def natural(self) -> int:
        """Cells that its widest text takes."""
        return max([cell_len(self.title), *(cell_len(str(cell)) for cell in self.cells)])

    @property
    def least(self) -> int:
        """Cells that it can do with."""
        return self.natural if self.shrink is None else min(self.natural, max(self.shrink, cell_len(self.title)))


class Screen:
    """Where the tables go: a terminal of some width, or a pipe, which takes lines of any length.

    Colours are rich's decision: none in a pipe or with ``NO_COLOR``, always with ``FORCE_COLOR``.
    """

    def __init__(self) -> None:
        self._console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
        self.is_terminal = sys.stdout.isatty()
        self.width = self._console.width if self.is_terminal else _UNLIMITED
        self.height = self._console.height
        self.colors = self._console.color_system is not None and not self._console.no_color

    def line(self, *parts: str | tuple[str, str]) -> None:
        """Print one line made of texts and (text, style) pairs."""
        self.lines([Text.assemble(*parts)])

    def lines(self, lines: Sequence[Text]) -> None:
        """Print lines that are already made to fit."""
        if not self._console.is_terminal:
            self._console.file.write("".join(f"{line.plain}\n" for line in lines))
            return
        for start in range(0, len(lines), _LINES_AT_ONCE):
            self._console.print(Text("\n").join(lines[start : start + _LINES_AT_ONCE]))

    def finished(self, text: str) -> None:
        """Print lines of which we made every character, escape sequences for colours among them."""
        self._console.file.write(f"{text}\n")

    def table(self, columns: Sequence[Column], indent: int = 0) -> None:
        """Print a table that fits."""
        self.lines(layout(columns, self.width - indent, indent))


def layout(columns: Sequence[Column], width: int, indent: int = 0) -> list[Text]:
    """Return the lines of a table no wider than ``width``: a heading, then one a row."""
    fitted = _fit([column for column in columns if column.title or column.cells], width)
    lines = [_line([(column, cells, Text(column.title)) for column, cells in fitted], indent, "bold")]
    for row in range(len(columns[0].cells)):
        cells = [
            (column, size, cell if isinstance(cell, Text) else Text(cell, column.style))
            for column, size in fitted
            for cell in [column.cells[row]]
        ]
        lines.append(_line(cells, indent))
    return lines


def _fit(columns: list[Column], width: int) -> list[tuple[Column, int]]:
    """Choose the columns that stay and how many cells each gets."""

    def needed(some: list[Column]) -> int:
        return sum(column.least for column in some) + _GAP * (len(some) - 1)

    while needed(columns) > width and any(column.drop for column in columns):
        columns.remove(max(columns, key=lambda column: column.drop))
    sizes = [column.least for column in columns]
    spare = width - needed(columns)
    natural = [column.natural for column in columns]
    # Spare cells go one by one to the narrowest column that could use more; missing ones come off the widest.
    while spare > 0 and (open_ := [i for i in range(len(sizes)) if sizes[i] < natural[i]]):
        sizes[min(open_, key=sizes.__getitem__)] += 1
        spare -= 1
    while spare < 0 and max(sizes) > 3:
        sizes[max(range(len(sizes)), key=sizes.__getitem__)] -= 1
        spare += 1
    return list(zip(columns, sizes, strict=True))


def _line(cells: Sequence[tuple[Column, int, Text]], indent: int, style: str = "") -> Text:
    line = Text(" " * indent, style)
    for column, size, text in cells:
        shown = middle(text, size)
        padding = " " * (size - shown.cell_len)
        line.append_text(Text.assemble(padding, shown) if column.right else Text.assemble(shown, padding))
        line.append(" " * _GAP)
    line.rstrip()
    return line


def middle(text: Text, size: int) -> Text:
    """Return a text of at most ``size`` cells, its middle replaced by an ellipsis if it is longer."""
    if text.cell_len <= size:
        return text
    plain = text.plain
    tail_size = (size - 1) // 2
    head = set_cell_size(plain, size - 1 - tail_size).rstrip()
    start = len(plain)
    while start > 0 and cell_len(plain[start - 1 :]) <= tail_size:
        start -= 1
    style = text.style or (text.spans[0].style if text.spans else "")
    return Text(f"{head}…{plain[start:].lstrip()}", style)


def status_text(status: str) -> Text:
    """Return a status with its symbol, coloured."""
    symbol, style = STATUS_STYLES.get(status, ("?", ""))
    return Text(f"{symbol} {inert(status)}", style)


def tree(config: dict[str, Any], indent: int, render: Callable[[Any], str]) -> list[Text]:
    """Return a nested mapping as indented lines, the values of one level aligned."""
    leaves = [inert(key) for key, value in config.items() if not (isinstance(value, dict) and value)]
    column = min(max(map(cell_len, leaves), default=0), 30)
    lines = []
    for key, value in config.items():
        label = inert(key)
        if isinstance(value, dict) and value:
            lines.append(Text.assemble(" " * indent, (label, "cyan")))
            lines += tree(value, indent + 2, render)
        else:
            padding = " " * max(0, column - cell_len(label))
            lines.append(Text.assemble(" " * indent, (label, "cyan"), padding, "  ", render(value)))
    return lines
