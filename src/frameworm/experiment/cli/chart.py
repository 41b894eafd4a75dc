"""Curves drawn in the terminal: Braille dots in colours, or a character a curve where there are no colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator
from uniplot import plot_to_string

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from frameworm.experiment.visualization.curves import Curve

    Floats = NDArray[np.float64]

COLORS = ("cyan", "yellow", "magenta", "green", "red", "blue")
MARKS = ("+", "x", "o", "*", "~", ".")
_MARGIN = 0.01
_CELLS_A_TICK = 12
_LINES_A_TICK = 3


def mark(position: int, colors: bool) -> tuple[str, str]:
    """Return the text and the style by which a legend names the line at a position."""
    if colors:
        return "━━", COLORS[position % len(COLORS)]
    return MARKS[position % len(MARKS)], ""


def draw(curves: Sequence[Curve], *, width: int, height: int, log: bool, colors: bool) -> str | None:
    """Draw curves into a box with an axis on the left and one below.

    Args:
        curves: thinned and smoothed; NaN is a gap, on a logarithmic axis also what is not above zero.
        width: cells of the longest line.
        height: lines, axis and frame included.
        log: logarithmic y axis.
        colors: Braille dots in colours; otherwise a character a curve.

    Returns:
        the lines, coloured by escape sequences, or None if no curve has a point to draw.
    """
    drawn = [(i, curve.x, np.log10(curve.y) if log else curve.y) for i, curve in enumerate(curves)]
    drawn = [(i, x, y) for i, x, y in drawn if np.isfinite(y).any()]
    if not drawn:
        return None
    x_low, x_high = _range([x[np.isfinite(y)] for _, x, y in drawn])
    y_low, y_high = _range([y[np.isfinite(y)] for _, _, y in drawn])
    rows = max(3, height - 3)
    y_ticks = _labels(_log_ticks(y_low, y_high, rows) if log else _ticks(y_low, y_high, rows // _LINES_A_TICK))
    gutter = max((len(label) for _, label in y_ticks), default=0) + 1
    columns = max(10, width - gutter - 2)
    # The library is given the unit square: ranges such as 1e-300 or 1e150 are past its arithmetic.
    text: str = plot_to_string(
        xs=[(x - x_low) / (x_high - x_low) for _, x, _ in drawn],
        ys=[(y - y_low) / (y_high - y_low) for _, _, y in drawn],
        x_min=-_MARGIN,
        x_max=1 + _MARGIN,
        y_min=-_MARGIN,
        y_max=1 + _MARGIN,
        lines=True,
        width=columns,
        height=rows,
        x_labels=False,
        y_labels=False,
        x_gridlines=[],
        y_gridlines=[],
        rounded_corners=True,
        character_set="braille" if colors else "ascii",
        force_ascii_characters=[mark(i, False)[0] for i, _, _ in drawn],
        color=[mark(i, True)[1] for i, _, _ in drawn] if colors else False,
    )
    x_ticks = _labels(_ticks(x_low, x_high, columns // _CELLS_A_TICK))
    places_y = {rows - 1 - _place(at, y_low, y_high, rows): label for at, label in y_ticks}
    places_x = {_place(at, x_low, x_high, columns): label for at, label in x_ticks}
    return _with_axes(text.splitlines(), gutter, columns, places_x, places_y)


def _with_axes(lines: list[str], gutter: int, columns: int, places_x: dict[int, str], places_y: dict[int, str]) -> str:
    """Put labels and tick marks to a framed drawing."""
    top, *body, bottom = lines
    framed = [" " * gutter + top]
    for row, line in enumerate(body):
        label = places_y.get(row, "")
        framed.append(f"{label:>{gutter - 1}} " + ("┤" if label else line[0]) + line[1:])
    edge = list(bottom)
    below = [" "] * (gutter + columns + 2)
    free_from = 0
    for column, label in sorted(places_x.items()):
        edge[1 + column] = "┬"
        start = min(gutter + 1 + column - len(label) // 2, len(below) - len(label))
        if start >= free_from:
            below[start : start + len(label)] = label
            free_from = start + len(label) + 1
    framed += [" " * gutter + "".join(edge), "".join(below).rstrip()]
    return "\n".join(framed)


def _range(parts: list[Floats]) -> tuple[float, float]:
    low, high = (float(f(np.concatenate(parts))) for f in (np.min, np.max))
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    around = abs(low) / 10 or 1.0  # a range of no length
    return low - around, high + around


def _place(value: float, low: float, high: float, cells: int) -> int:
    part = ((value - low) / (high - low) + _MARGIN) / (1 + 2 * _MARGIN)
    return min(cells - 1, int(part * cells))


def _ticks(low: float, high: float, most: int) -> list[tuple[float, float]]:
    """Return round values within a range, as (where, value)."""
    values = MaxNLocator(nbins=max(1, most), steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    # What should be zero may be the rounding error of a sum.
    rounded = [0.0 if abs(value) < 1e-9 * (high - low) else float(value) for value in values]
    return [(value, value) for value in rounded if low <= value <= high]


def _log_ticks(low: float, high: float, rows: int) -> list[tuple[float, float]]:
    """Return round values within a range of powers of ten, as (exponent, value)."""
    most, decades = rows // _LINES_A_TICK, high - low
    digits = (1, 2, 3, 5, 7) if decades < 1.5 else (1, 2, 5) if decades < most else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1, max(1, math.ceil(decades / max(1, most))))
    values = [digit * 10.0**power for power in powers for digit in digits]
    if sum(low <= math.log10(value) <= high for value in values) < 2:
        values = [value for _, value in _ticks(10**low, 10**high, most)]
    ticks: list[tuple[float, float]] = []
    for value in values:
        at = math.log10(value) if value > 0 else -math.inf
        if low <= at <= high and (not ticks or (at - ticks[-1][0]) / decades * rows >= 2):
            ticks.append((at, value))
    return ticks


def _labels(ticks: list[tuple[float, float]]) -> list[tuple[float, str]]:
    """Return ticks with the shortest text that tells each value."""
    labels = []
    for at, value in ticks:
        plain = value == 0 or 1e-4 <= abs(value) < 1e7
        labels.append((at, f"{value:,.10g}" if plain else f"{value:.6g}"))
    return labels
