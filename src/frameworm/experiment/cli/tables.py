"""Tables that fit the terminal: less important columns go first, then long texts lose their middle.

Lines are lists of (text, style) pairs: nothing in them is markup. What users wrote passes through ``inert`` first,
so a name such as ``[red]`` or one with an escape sequence is shown as it is spelled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from frameworm.experiment.cli.text import inert

Span = tuple[str, str]
"""A text and its style, as rich spells it; no style is an empty text."""
Line = list[Span]

_GAP = 2
_UNLIMITED = 1_000_000
_LINES_AT_ONCE = 50
"""Lines given to rich in one call: more or fewer take longer."""

STATUS_STYLES = {
    "pending": ("○", "dim"),
    "running": ("●", "cyan"),
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "killed": ("■", "yellow"),
    "crashed": ("!", "bold red"),
    "damaged": ("?", "bold red"),
}
"""Symbol and style: a status is told by its word, its symbol and its colour."""


@dataclass(slots=True)
class Column:
    """One column of a table.

    Attributes:
        title: heading.
        cells: one a row; a text, or a text with a style of its own.
        right: aligned to the right, as numbers are.
        drop: the column with the highest goes first when the table is too wide; 0 never goes.
        shrink: cells it can do with, its texts losing their middle; None if it is shown whole or not at all.
        style: of all its cells.
        natural: cells that its widest text takes.
    """

    title: str
    cells: Sequence[str | Span]
    right: bool = False
    drop: int = 0
    shrink: int | None = None
    style: str = ""
    natural: int = field(init=False)

    def __post_init__(self) -> None:
        texts = (self.span(row)[0] for row in range(len(self.cells)))
        self.natural = max([cell_len(self.title), *map(cell_len, texts)])

    @property
    def least(self) -> int:
        """Cells that it can do with."""
        return self.natural if self.shrink is None else min(self.natural, max(self.shrink, cell_len(self.title)))

    def span(self, row: int) -> Span:
        """Return the text and the style of a cell."""
        cell = self.cells[row]
        return (cell, self.style) if isinstance(cell, str) else cell


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

    def line(self, *parts: str | Span) -> None:
        """Print one line."""
        self.lines([[(part, "") if isinstance(part, str) else part for part in parts]])

    def lines(self, lines: Sequence[Line]) -> None:
        """Print lines that are already made to fit."""
        if not self.colors:
            self._console.file.write("".join("".join(text for text, _ in line) + "\n" for line in lines))
            return
        for start in range(0, len(lines), _LINES_AT_ONCE):
            some = lines[start : start + _LINES_AT_ONCE]
            self._console.print(Text("\n").join(Text.assemble(*line) for line in some))

    def finished(self, text: str) -> None:
        """Print lines of which we made every character, escape sequences for colours among them."""
        self._console.file.write(f"{text}\n")

    def table(self, columns: Sequence[Column], indent: int = 0) -> None:
        """Print a table that fits."""
        self.lines(layout(columns, self.width - indent, indent))


def layout(columns: Sequence[Column], width: int, indent: int = 0) -> list[Line]:
    """Return the lines of a table no wider than ``width``: a heading, then one a row."""
    fitted = _fit(list(columns), width)
    lines = [_line([(column, cells, (column.title, "bold")) for column, cells in fitted], indent)]
    for row in range(len(columns[0].cells)):
        lines.append(_line([(column, cells, column.span(row)) for column, cells in fitted], indent))
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


def _line(cells: Sequence[tuple[Column, int, Span]], indent: int) -> Line:
    line: Line = []
    space = " " * indent  # kept back, so that no line ends in spaces
    for column, size, (text, style) in cells:
        shown = middle(text, size)
        padding = " " * (size - cell_len(shown))
        if shown:
            line += [(space + padding if column.right else space, ""), (shown, style)]
            space = "" if column.right else padding
        else:
            space += padding
        space += " " * _GAP
    return line


def middle(text: str, size: int) -> str:
    """Return a text of at most ``size`` cells, its middle replaced by an ellipsis if it is longer."""
    if cell_len(text) <= size:
        return text
    size = max(size, 1)
    tail_size = (size - 1) // 2
    head = set_cell_size(text, size - 1 - tail_size).rstrip()
    start = len(text)
    while start > 0 and cell_len(text[start - 1 :]) <= tail_size:
        start -= 1
    return f"{head}…{text[start:].lstrip()}"


def status_span(status: str) -> Span:
    """Return a status with its symbol and colour."""
    symbol, style = STATUS_STYLES.get(status, ("?", ""))
    return f"{symbol} {inert(status)}", style


def tree(config: dict[str, Any], width: int, indent: int, render: Callable[[Any], str]) -> list[Line]:
    """Return a nested mapping as indented lines no wider than ``width``, the values of one level aligned."""
    leaves = [inert(key) for key, value in config.items() if not (isinstance(value, dict) and value)]
    indent = min(indent, width // 2)  # a config may be a hundred deep
    column = min(max(map(cell_len, leaves), default=0), 30, width // 4)
    lines: list[Line] = []
    for key, value in config.items():
        label = middle(inert(key), width - indent - 8)
        if isinstance(value, dict) and value:
            lines.append([(" " * indent, ""), (label, "cyan")])
            lines += tree(value, width, indent + 2, render)
        else:
            padding = " " * (max(column - cell_len(label), 0) + 2)
            room = width - indent - cell_len(label) - len(padding)
            lines.append([(" " * indent, ""), (label, "cyan"), (padding, ""), (middle(render(value), room), "")])
    return lines
